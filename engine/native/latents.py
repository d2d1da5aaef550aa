"""Audio latents of a call: rows that stand in place of embeddings, each with a negative id.

With the ids a prompt is one list of ids, which can be compared with the ids that a log holds. A log
that was dropped is built again from the latents of all turns. They lie on the device while their
turn is open, and on the host from then on: an hour of speech would fill as much as many contexts.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True, weakref_slot=True, eq=False)
class Latents:
    """Consecutive latents ``rows`` [n, C] and their ids. No pool holds them. Only the thread that
    owns the device moves and reads the rows."""

    ids: tuple[int, ...]
    rows: Tensor

    def move_to_host(self) -> None:
        """Keep the rows where they take no memory of the device; the bits stay the same."""
        self.rows = on_host(self.rows)


def on_host(rows: Tensor) -> Tensor:
    """A copy of ``rows`` in pinned memory, from which the device can fetch them without a stop;
    the rows themselves if there is no such device."""
    if rows.device.type != "cuda":
        return rows
    return torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True).copy_(rows)


class LatentNames:
    """Gives out the ids of latents, no two the same."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def name(self, rows: Tensor) -> Latents:
        """Give ``rows`` [n, C] new ids. The rows are copied: a view would keep the whole batch
        alive."""
        return Latents(tuple(-next(self._numbers) for _ in range(len(rows))), rows.clone())


@dataclass(frozen=True, slots=True, eq=False)
class LatentSound:
    """The audio of a turn as latents; an `engine.types.Sound`.

    ``ids`` has the ids of the latents and of the marks between blocks, in order.
    """

    ids: tuple[int, ...]
    parts: tuple[Latents, ...]


def rows_of(
    ids: Sequence[int], sounds: Iterable[LatentSound], device: torch.device | str
) -> Tensor:
    """Look up the latents [n, C] of ``ids`` in ``sounds``, on ``device``. There has to be at least
    one id."""
    wanted = set(ids)
    places = {
        id_: (part, index)
        for sound in sounds
        for part in sound.parts
        if not wanted.isdisjoint(part.ids)
        for index, id_ in enumerate(part.ids)
    }
    runs: list[tuple[Latents, int, int]] = []  # what lies together goes over together
    for id_ in ids:
        part, index = places[id_]
        if runs and runs[-1][0] is part and runs[-1][2] == index:
            runs[-1] = (part, runs[-1][1], index + 1)
        else:
            runs.append((part, index, index + 1))
    rows = [part.rows[start:end] for part, start, end in runs]
    return torch.cat([each.to(device, non_blocking=True) for each in rows])

"""Audio latents of a call: rows that stand in place of embeddings, each with a negative id.

With the ids a prompt is one list of ids, which can be compared with the ids that a log holds.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """Consecutive latents ``rows`` [n, C] and their ids. No pool holds them."""

    ids: tuple[int, ...]
    rows: Tensor


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


def rows_of(ids: Sequence[int], sounds: Iterable[LatentSound]) -> Tensor:
    """Look up the latents [n, C] of ``ids`` in ``sounds``. There has to be at least one id."""
    wanted = set(ids)
    found = {
        id_: row
        for sound in sounds
        for part in sound.parts
        if not wanted.isdisjoint(part.ids)
        for id_, row in zip(part.ids, part.rows, strict=True)
    }
    return torch.stack([found[id_] for id_ in ids])

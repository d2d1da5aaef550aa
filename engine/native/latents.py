"""What was heard, as the language model is shown it: rows in place of embeddings, each with a
negative id, so that a prompt is one list of ids and can be compared with what a log holds."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """Consecutive latents ``rows`` [n, C] and their ids; freed when nobody holds them."""

    ids: tuple[int, ...]
    rows: Tensor


class LatentNames:
    """The ids of one call's latents."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def name(self, rows: Tensor) -> Latents:
        """Give ``rows`` [n, C] ids, never used before. They are copied: a view would keep alive
        what was encoded beside them."""
        return Latents(tuple(-next(self._numbers) for _ in range(len(rows))), rows.clone())


@dataclass(frozen=True, slots=True, eq=False)
class LatentSound:
    """What was heard of a turn (a `engine.types.Sound`): ids of latents, and of the marks between
    its blocks; and the latents themselves."""

    ids: tuple[int, ...]
    parts: tuple[Latents, ...]


def rows_of(ids: Sequence[int], sounds: Iterable[LatentSound]) -> Tensor:
    """The latents [n, C] of ``ids``, at least one, which the ``sounds`` have."""
    wanted = set(ids)
    found = {
        id_: row
        for sound in sounds
        for part in sound.parts
        if not wanted.isdisjoint(part.ids)
        for id_, row in zip(part.ids, part.rows, strict=True)
    }
    return torch.stack([found[id_] for id_ in ids])

"""Names for what was heard: each audio latent of a call has a negative id of its own, so that a
prompt is one list of ids, and can be compared with what a log holds."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


class LatentTable:
    """The latents of one call by id."""

    def __init__(self) -> None:
        self._rows: dict[int, Tensor] = {}
        self._next = itertools.count(-1, -1)

    def add(self, latents: Tensor) -> list[int]:
        """Keep ``latents`` [n, C]; returns their ids, never used before."""
        ids = [next(self._next) for _ in range(len(latents))]
        self._rows.update(zip(ids, latents, strict=True))
        return ids

    def rows(self, ids: Sequence[int]) -> Tensor:
        """The latents [n, C] of ``ids``, at least one."""
        return torch.stack([self._rows[id_] for id_ in ids])

    def forget(self, ids: Sequence[int]) -> None:
        """These will not be asked for again."""
        for id_ in ids:
            self._rows.pop(id_, None)

    def __len__(self) -> int:
        return len(self._rows)

# mypy: ignore-errors
"""Attention over a paged cache: how work is laid out on the device.

Everything here follows from sizes the host knows (rows, width of the table, processors), never from
values on the device, so a call can be captured in a CUDA graph and replayed with other contexts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from engine.ops.attention.kernels import attend, attend_shared, merge
from engine.ops.attention.prefix import SharedPrefix
from engine.ops.device import multiprocessors

MAX_SPLITS = 64
WAVES = 2  # programs per multiprocessor wanted before keys are no longer split


class Tile(NamedTuple):
    """Queries x keys of a tile, with the launch parameters that suit it."""

    queries: int
    keys: int
    warps: int
    stages: int


def tile_for(lines, element_size=2):
    """The tile for a number of query lines (rows x heads of a group) that see the same keys."""
    if element_size > 2:  # fp32: fewer keys fit in shared memory
        return Tile(16, 32, 4, 2) if lines <= 16 else Tile(32, 32, 4, 2)
    if lines <= 16:
        return Tile(16, 64, 4, 3)
    if lines <= 32:
        return Tile(32, 64, 4, 3)
    if lines <= 128:
        return Tile(64, 64, 4, 3)
    return Tile(128, 64, 8, 3)


def splits_for(programs, max_keys, tile, processors):
    """Parts of the keys, so that a few programs still fill the device.

    `max_keys` is what a table can hold; a short context uses fewer parts and leaves the rest empty.
    """
    wanted = triton.cdiv(WAVES * processors, programs)
    return max(1, min(wanted, triton.cdiv(max_keys, tile.keys), MAX_SPLITS))


@dataclass(frozen=True, slots=True)
class _Pass:
    """One launch over keys: its tile, how many cover the lines, and in how many parts."""

    tile: Tile
    tiles: int
    splits: int

    @classmethod
    def over(cls, q, keys, lines, repeats, max_keys, splits):
        """For `lines` query lines of each kv head of `repeats` sequences or groups."""
        tile = tile_for(lines, q.element_size())
        tiles = triton.cdiv(lines, tile.queries)
        programs = tiles * keys.shape[1] * repeats
        processors = multiprocessors(q.device)
        return cls(tile, tiles, splits or splits_for(programs, max_keys, tile, processors))

    def constants(self, heads, keys):
        _, kv_heads, block_tokens, dim = keys.shape
        return {
            "GROUP": heads // kv_heads,
            "KV_HEADS": kv_heads,
            "BLOCK_TOKENS": block_tokens,
            "DIM": dim,
            "BLOCK_M": self.tile.queries,
            "BLOCK_N": self.tile.keys,
            "BLOCK_D": _padded(dim),
            "num_warps": self.tile.warps,
            "num_stages": self.tile.stages,
        }


@dataclass(frozen=True, slots=True)
class _Shared:
    """The shared prefix as kernels take it; without one, stand-ins that are never read."""

    members: Tensor
    lengths: Tensor
    groups: int
    per_group: int

    @property
    def count(self):
        return self.groups * self.per_group

    @property
    def constants(self):
        count = max(1, self.count)
        return {"SHARED": self.count > 0, "BLOCK_G": triton.next_power_of_2(count)}


def _padded(dim):
    return max(16, triton.next_power_of_2(dim))  # tl.dot wants 16


def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    query_starts: Tensor,
    contexts: Tensor,
    *,
    causal: bool,
    max_query: int,
    scale: float,
    prefix: SharedPrefix | None = None,
    splits: int | None = None,
) -> Tensor:
    """See `engine.ops.attention.reference.paged_attention`; `splits` overrides the table for tests.

    With a prefix, its keys are read once per group (in as many parts) and the rest once per row.

    Raises:
        ValueError: a tensor has another layout, or a prefix comes with sequences of several rows.
    """
    _check(q, keys, values, tables, max_query, prefix)
    q = q.contiguous()
    out = torch.empty_like(q)
    rows, heads, dim = q.shape
    sequences, width = tables.shape
    if rows == 0 or sequences == 0:
        return out
    group = heads // keys.shape[1]
    max_keys = width * keys.shape[2]
    own = _Pass.over(q, keys, max_query * group, sequences, max_keys, splits)
    shared, parts = _Shared(query_starts, query_starts, 0, 1), own.splits
    if prefix is not None and prefix.members.numel():
        groups, per_group = prefix.members.shape
        shared = _Shared(prefix.members.contiguous(), prefix.lengths, groups, per_group)
        common = _Pass.over(q, keys, per_group * group, groups, max_keys, splits)
        parts += common.splits
    partial = peaks = out
    if parts > 1:
        partial = q.new_empty((parts, rows, heads, dim), dtype=torch.float32)
        peaks = q.new_empty((parts, rows, heads), dtype=torch.float32)
    cache = (keys, values, tables, query_starts)
    _attend(q, cache, contexts, shared, own, partial, peaks, causal, parts > 1, scale)
    if shared.count:
        after = (partial[own.splits :], peaks[own.splits :])
        _attend_shared(q, cache, shared, common, *after, scale)
    if parts > 1:
        _merge(partial, peaks, query_starts, sequences, shared, own.splits, out)
    return out


def _check(q, keys, values, tables, max_query, prefix):
    if not (keys.is_contiguous() and values.is_contiguous() and tables.is_contiguous()):
        raise ValueError("the cache of one layer and the tables are contiguous")
    if q.shape[1] % keys.shape[1]:
        raise ValueError(f"{q.shape[1]} heads do not split over {keys.shape[1]} kv heads")
    if prefix is not None and max_query != 1:
        raise ValueError("a shared prefix is for sequences of one row")
    if max_query < 1 <= q.shape[0]:
        raise ValueError("rows in a batch whose longest sequence has none")


def _attend(q, cache, contexts, shared, own, partial, peaks, causal, split, scale):
    keys, _, tables, _ = cache
    rows, heads, _ = q.shape
    sequences, width = tables.shape
    attend[(own.tiles * own.splits, keys.shape[1], sequences)](
        q,
        *cache,
        contexts,
        shared.members,
        shared.lengths,
        partial,
        peaks,
        rows,
        width,
        own.splits,
        own.tiles,
        shared.count,
        shared.per_group,
        scale,
        CAUSAL=causal,
        SPLIT=split,
        **shared.constants,
        **own.constants(heads, keys),
    )


def _attend_shared(q, cache, shared, common, partial, peaks, scale):
    keys, _, tables, _ = cache
    rows, heads, _ = q.shape
    attend_shared[(common.tiles * common.splits, keys.shape[1], shared.groups)](
        q,
        *cache,
        shared.members,
        shared.lengths,
        partial,
        peaks,
        rows,
        tables.shape[1],
        common.splits,
        shared.per_group,
        scale,
        **common.constants(heads, keys),
    )


def _merge(partial, peaks, query_starts, sequences, shared, own, out):
    parts, rows, heads, dim = partial.shape
    block_p = triton.next_power_of_2(parts)
    merge[(rows, heads)](
        partial,
        peaks,
        query_starts,
        shared.members,
        shared.lengths,
        out,
        rows,
        sequences,
        own,
        parts,
        shared.count,
        shared.per_group,
        HEADS=heads,
        DIM=dim,
        BLOCK_P=block_p,
        BLOCK_D=_padded(dim),
        BLOCK_S=triton.next_power_of_2(sequences) if shared.count else 1,
        **shared.constants,
        num_warps=4 if block_p <= 32 else 8,
    )

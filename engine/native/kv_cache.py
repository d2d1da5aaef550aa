"""The KV cache of many calls: one pool of blocks, and a log for each sequence in it.

A log is append-only but for `Log.truncate`, and `Log.fork` shares what two logs have in common
(paging after Kwon et al. 2023, "Efficient Memory Management for LLM Serving with PagedAttention",
section 4). A block that several logs share is never written: whoever appends to it first gets a
copy of its own.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import EngineError


class CacheFull(EngineError):
    """The pool has no free block left."""


class BlockPool:
    """Memory for keys and values, cut into blocks of ``block_tokens`` positions.

    ``keys[layer]`` and ``values[layer]`` are ``[blocks, kv_heads, block_tokens, head_dim]``: a
    head's part of a block is one contiguous tile.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        *,
        blocks: int,
        block_tokens: int = 16,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (layers, blocks, kv_heads, block_tokens, head_dim)
        # One allocation each. Zeros, not garbage: masked positions are multiplied by 0, and 0
        # times a stray NaN is NaN.
        self._keys = torch.zeros(shape, device=device, dtype=dtype)
        self._values = torch.zeros(shape, device=device, dtype=dtype)
        self.keys: list[Tensor] = list(self._keys.unbind())
        self.values: list[Tensor] = list(self._values.unbind())
        self.device = self._keys.device
        self.block_tokens = block_tokens
        self.blocks = blocks
        self._references = [0] * blocks
        self._free = list(range(blocks - 1, -1, -1))

    @property
    def free_blocks(self) -> int:
        """The number of blocks that no log holds."""
        return len(self._free)

    def open(self) -> "Log":
        """An empty log."""
        return Log(self)

    def take(self, count: int) -> list[int]:
        """Hand out ``count`` blocks, or none.

        Raises:
            CacheFull: there are not so many.
        """
        if count > len(self._free):
            raise CacheFull(
                f"the cache is full: {count} blocks wanted, {len(self._free)} of {self.blocks} free"
            )
        taken = [self._free.pop() for _ in range(count)]
        for block in taken:
            self._references[block] = 1
        return taken

    def share(self, blocks: Iterable[int]) -> None:
        """Count one more log that holds ``blocks``."""
        for block in blocks:
            self._references[block] += 1

    def give_back(self, blocks: Iterable[int]) -> None:
        """Count one log fewer that holds ``blocks``."""
        for block in blocks:
            self._references[block] -= 1
            assert self._references[block] >= 0, "a block was given back twice"
            if not self._references[block]:
                self._free.append(block)

    def is_shared(self, block: int) -> bool:
        """Whether more than one log holds ``block``."""
        return self._references[block] > 1

    def copy(self, source: int, target: int) -> None:
        """Copy all layers' keys and values of one block."""
        self._keys[:, target] = self._keys[:, source]
        self._values[:, target] = self._values[:, source]


class Log:
    """One sequence: its ids, and the blocks of its keys and values.

    ``entries`` are token ids, or other ids of the caller's choosing (negative ones stand for
    audio latents); the log only keeps them, so that it can be compared with a prompt.
    """

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self.entries: list[int] = []
        self.blocks: list[int] = []
        self._table = np.zeros(16, np.int32)  # the same blocks, ready to be copied to a device
        self._closed = False

    @property
    def length(self) -> int:
        """Positions held; also the mark to truncate to later."""
        return len(self.entries)

    @property
    def table(self) -> NDArray[np.int32]:
        """`blocks` as an array; a view that the next `extend` makes stale."""
        return self._table[: len(self.blocks)]

    def extend(self, entries: Sequence[int]) -> list[int]:
        """Make room for ``entries`` at the end; returns the slot of each (block * block_tokens +
        offset), where the caller writes its keys and values.

        Raises:
            CacheFull: nothing has changed.
        """
        assert not self._closed, "a closed log was written to"
        size = self.pool.block_tokens
        start, end = self.length, self.length + len(entries)
        taken = self.pool.take(self.blocks_for(len(entries)))
        if entries and self._writes_shared:
            own = taken.pop()
            self.pool.copy(self.blocks[-1], own)
            self.pool.give_back([self.blocks[-1]])
            self.blocks[-1] = own
            self._table[len(self.blocks) - 1] = own
        self._append_blocks(taken)
        self.entries += entries
        return [self.blocks[at // size] * size + at % size for at in range(start, end)]

    def blocks_for(self, count: int) -> int:
        """How many free blocks the next ``count`` entries take."""
        size = self.pool.block_tokens
        fresh = -(-(self.length + count) // size) - -(-self.length // size)
        return fresh + bool(count and self._writes_shared)

    @property
    def _writes_shared(self) -> bool:
        """Whether the next entry goes into a block that another log holds too."""
        return bool(self.length % self.pool.block_tokens) and self.pool.is_shared(self.blocks[-1])

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` positions.

        Raises:
            ValueError: ``length`` is negative or more than is held.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot cut a log of {self.length} to {length}")
        kept = -(-length // self.pool.block_tokens)
        self.pool.give_back(self.blocks[kept:])
        del self.blocks[kept:]
        del self.entries[length:]

    def fork(self, length: int | None = None) -> "Log":
        """A log that starts as the first ``length`` positions (all if None) of this one.

        Raises:
            ValueError: ``length`` is negative or more than is held.
        """
        length = self.length if length is None else length
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot fork a log of {self.length} at {length}")
        other = Log(self.pool)
        other.entries = self.entries[:length]
        other._append_blocks(self.blocks[: -(-length // self.pool.block_tokens)])
        self.pool.share(other.blocks)
        return other

    def close(self) -> None:
        """Give all blocks back. The log cannot be used afterwards."""
        self.truncate(0)
        self._closed = True

    def _append_blocks(self, blocks: Sequence[int]) -> None:
        end = len(self.blocks) + len(blocks)
        if end > len(self._table):
            grown = np.zeros(max(end, 2 * len(self._table)), np.int32)
            grown[: len(self.blocks)] = self.table
            self._table = grown
        self._table[len(self.blocks) : end] = blocks
        self.blocks += blocks

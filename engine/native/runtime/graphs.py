"""Decode steps as CUDA graphs: one launch for the hundreds of kernels of a step of one token."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.native.kv_cache import BlockPool
from engine.native.model.decoder import Batch, Decoder, Rows
from engine.native.runtime.capture import Memory, captured
from engine.native.runtime.runner import StepInput

SIZES = (1, 2, 4, 8, 16, 32)  # rows of the graphs; a step takes the next larger one


class DecodeGraphs:
    """Graphs over fixed memory, which every step fills; on the device's thread only.

    A step's scores are waited for before the next is filled in, so one set of buffers is enough.
    """

    def __init__(
        self,
        decoder: Decoder,
        pool: BlockPool,
        *,
        context_tokens: int,
        sizes: Sequence[int] = SIZES,
    ) -> None:
        """``context_tokens``: the longest sequence. Without CUDA nothing is captured and the same
        step runs kernel by kernel."""
        self._decoder = decoder
        self._pool = pool
        self._width = -(-context_tokens // pool.block_tokens)
        self._context_tokens = context_tokens
        memory: Memory | None = None
        self._steps: dict[int, _Step] = {}
        for size in sorted(sizes, reverse=True):  # the largest first: the others reuse its memory
            step = _Step(decoder, pool, size, self._width)
            if decoder.device.type == "cuda":
                memory = step.capture(memory)
            self._steps[size] = step
        self._sizes = sorted(sizes)

    def fits(self, feeds: Sequence[StepInput]) -> bool:
        """Whether the step is one token of few enough sequences."""
        return len(feeds) <= self._sizes[-1] and all(
            len(feed.entries) == 1
            and feed.entries[0] >= 0
            and feed.wants_scores
            and feed.log.length <= self._context_tokens  # counted already
            for feed in feeds
        )

    def scores(self, ids: Sequence[int], rows: Sequence[Rows]) -> Tensor:
        """Scores [R, V] of the tokens after ``ids``; they hold until the next step."""
        size = next(size for size in self._sizes if size >= len(ids))
        return self._steps[size].run(ids, rows)[: len(ids)]


class _Step:
    """A decode step of ``size`` rows. Rows without a sequence write nowhere and see nothing."""

    def __init__(self, decoder: Decoder, pool: BlockPool, size: int, width: int) -> None:
        device = decoder.device
        pinned = device.type == "cuda"
        self._decoder = decoder
        self._pool = pool
        # One row each: ids, positions, slots.
        self._host_rows = torch.zeros(3, size, dtype=torch.int64, pin_memory=pinned)
        self._host_contexts = torch.zeros(size, dtype=torch.int32, pin_memory=pinned)
        self._host_tables = torch.zeros(size, width, dtype=torch.int32, pin_memory=pinned)
        self._rows = self._host_rows.to(device)
        self._contexts = self._host_contexts.to(device)
        self._tables = self._host_tables.to(device)
        self._rows[2] = -1
        self._batch = Batch(
            positions=self._rows[1],
            slots=self._rows[2],
            tables=self._tables,
            query_starts=torch.arange(size + 1, dtype=torch.int32, device=device),
            contexts=self._contexts,
            max_query=1,
        )
        self._replay: Callable[[], Tensor] = self._forward

    def capture(self, memory: Memory | None) -> Memory:
        """Record the step; returns the memory that other graphs may share."""
        self._replay, memory = captured(self._forward, memory)
        return memory

    def run(self, ids: Sequence[int], rows: Sequence[Rows]) -> Tensor:
        """Scores [size, V]; those of rows without a sequence mean nothing."""
        count = len(ids)
        values, contexts = self._host_rows.numpy(), self._host_contexts.numpy()
        values[:, count:] = np.array([[0], [0], [-1]])
        values[0, :count] = ids
        values[1, :count] = [row.log.length - 1 for row in rows]
        values[2, :count] = [row.slots[0] for row in rows]
        contexts[:count] = [row.log.length for row in rows]
        contexts[count:] = 0
        tables = self._host_tables.numpy()
        for table, row in zip(tables, rows, strict=False):
            table[: len(row.log.blocks)] = row.log.table
        self._rows.copy_(self._host_rows, non_blocking=True)
        self._contexts.copy_(self._host_contexts, non_blocking=True)
        self._tables.copy_(self._host_tables, non_blocking=True)
        return self._replay()

    def _forward(self) -> Tensor:
        x = self._decoder.embed(self._rows[0])
        return self._decoder.logits(self._decoder.forward(x, self._batch, self._pool))

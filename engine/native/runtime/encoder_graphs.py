"""Steps of the audio encoder as CUDA graphs: one launch for the hundreds of kernels of a chunk.

All windows that a turn is heard in, but for passes over a whole block, have no more than one size:
a chunk with its look-ahead, or what a turn's end leaves of it. So one size serves all of them, each
padded to it. Rows that stand for nothing write nowhere and are seen by none, and at the edges of a
clip zeros stand where its convolutions would have them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.native.kv_cache import BlockPool
from engine.native.model.adaptor import Adaptor
from engine.native.model.decoder import Batch
from engine.native.model.encoder import POOL_FRAMES, Encoder, EncoderInput
from engine.native.runtime.capture import Memory, captured

SIZES = (1, 2, 4, 8)  # windows of the graphs; a step takes the next larger one
_MARGIN = 2  # mel columns before a window that starts with its clip
_REACH = 3  # mel columns that a window has more than twice its frames


@dataclass(frozen=True, slots=True)
class Piece:
    """A window and the pooled frame [1, state] before it; None at the start of its clip."""

    window: EncoderInput
    before: Tensor | None


@dataclass(frozen=True, slots=True)
class Heard:
    """Pooled frames [W, state] of a window, and all latents [n, output] that begin in it."""

    pooled: Tensor
    latents: Tensor


class EncoderGraphs:
    """Graphs over fixed memory, which every step fills; on the device's thread only."""

    def __init__(
        self,
        encoder: Encoder,
        adaptor: Adaptor,
        pool: BlockPool,
        *,
        frames: int,
        sizes: Sequence[int] = SIZES,
    ) -> None:
        """``frames``: the longest window, a multiple of the frames of a latent. Without CUDA
        nothing is captured and the same step runs kernel by kernel."""
        self._frames = frames
        self._sizes = sorted(sizes)
        self._steps: dict[int, _Step] = {}
        memory: Memory | None = None
        for size in reversed(self._sizes):  # the largest first: the others reuse its memory
            step = _Step(encoder, adaptor, pool, size, frames)
            if encoder.device.type == "cuda":
                with torch.cuda.device(encoder.device):
                    memory = step.capture(memory)
            self._steps[size] = step

    def fits(self, window: EncoderInput) -> bool:
        """Whether the window is short enough."""
        return len(window.rows.slots) <= self._frames

    @torch.inference_mode()
    def run(self, pieces: Sequence[Piece]) -> list[Heard]:
        """Encode windows that fit, as many at a time as the largest graph holds."""
        heard: list[Heard] = []
        for start in range(0, len(pieces), self._sizes[-1]):
            part = pieces[start : start + self._sizes[-1]]
            size = next(size for size in self._sizes if size >= len(part))
            heard += self._steps[size].run(part)
        return heard


class _Step:
    """A step of ``size`` windows of ``frames`` rows each."""

    def __init__(
        self, encoder: Encoder, adaptor: Adaptor, pool: BlockPool, size: int, frames: int
    ) -> None:
        device, pinned = encoder.device, encoder.device.type == "cuda"
        self._encoder, self._adaptor, self._pool = encoder, adaptor, pool
        self._size, self._frames = size, frames
        width = -(-encoder.shape.context // pool.block_tokens)

        def host(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, pin_memory=pinned)

        columns = 2 * frames + _REACH
        self._host_mel = host(size, encoder.shape.mels, columns, dtype=encoder.dtype)
        self._host_rows = host(2, size, frames, dtype=torch.int64)  # positions, slots
        # For each window: keys seen, first and last column of its clip, pooled frames.
        self._host_sizes = host(4, size)
        self._host_tables = host(size, width)
        self._hosts = (self._host_mel, self._host_rows, self._host_sizes, self._host_tables)
        self._mel, self._rows, self._sizes, self._tables = (
            memory.to(device, copy=True) for memory in self._hosts
        )
        self._before = torch.zeros(size, 1, encoder.shape.state, device=device, dtype=encoder.dtype)
        self._columns = torch.arange(columns - 2, device=device)
        self._places = torch.arange(frames // POOL_FRAMES, device=device)
        self._rows[1] = -1
        self._batch = Batch(
            positions=self._rows[0].flatten(),
            slots=self._rows[1].flatten(),
            tables=self._tables,
            query_starts=torch.arange(0, size * frames + 1, frames, dtype=torch.int32).to(device),
            contexts=self._sizes[0],
            max_query=frames,
        )
        self._replay: Callable[[], tuple[Tensor, Tensor]] = self._forward
        self._copied: torch.cuda.Event | None = None  # what the hosts hold is on the device

    def capture(self, memory: Memory | None) -> Memory:
        """Record the step; returns the memory that other graphs may share."""
        self._replay, memory = captured(self._forward, memory)
        return memory

    def run(self, pieces: Sequence[Piece]) -> list[Heard]:
        if self._copied is not None:
            self._copied.synchronize()
        for memory in self._hosts:
            memory.zero_()
        self._host_rows[1] = -1
        for number, piece in enumerate(pieces):
            self._fill(number, piece)
        for memory, host in zip(self._memories, self._hosts, strict=True):
            memory.copy_(host, non_blocking=True)
        if self._host_mel.is_pinned():
            self._copied = torch.cuda.Event()
            self._copied.record()
        nothing = torch.zeros_like(self._before[0])
        before = [nothing if piece.before is None else piece.before for piece in pieces]
        self._before[: len(pieces)] = torch.stack(before)
        # The next step writes over the results.
        pooled, latents = (result[: len(pieces)].clone() for result in self._replay())
        return [
            Heard(frames[: len(piece.window.rows.slots) // POOL_FRAMES], made)
            for piece, frames, made in zip(pieces, pooled, latents, strict=True)
        ]

    @property
    def _memories(self) -> tuple[Tensor, ...]:
        return self._mel, self._rows, self._sizes, self._tables

    def _fill(self, number: int, piece: Piece) -> None:
        window = piece.window
        log, count = window.rows.log, len(window.rows.slots)
        begin = _MARGIN if window.left_edge else 0
        end = begin + window.mel.shape[1]
        self._host_mel[number, :, begin:end] = window.mel
        self._host_rows[0, number, :count] = torch.arange(log.length - count, log.length)
        self._host_rows[1, number, :count] = torch.tensor(window.rows.slots)
        # A result of the first convolution lies where the middle of its three columns does.
        clip = (int(window.left_edge), end - 2)
        self._host_sizes[:, number] = torch.tensor(
            [log.length - window.hidden, *clip, count // POOL_FRAMES]
        )
        self._host_tables[number, : len(log.blocks)] = torch.from_numpy(log.table)

    def _forward(self) -> tuple[Tensor, Tensor]:
        """Pooled frames [size, frames / 2, state], and latents [size, n, output]."""
        _, first, last, pooled_frames = self._sizes[:, :, None]
        inside = (self._columns >= first) & (self._columns <= last)
        x = self._encoder.masked_stem(self._mel, inside).flatten(0, 1)
        x = self._encoder.through_layers(x, self._batch, self._pool)
        pooled = self._encoder.pooled(x).unflatten(0, (self._size, -1))
        beyond = self._places >= pooled_frames
        pooled = pooled.masked_fill(beyond[:, :, None], 0)
        seen = pooled if self._adaptor.stride == 1 else torch.cat([self._before, pooled], dim=1)
        return pooled, self._adaptor.forward(seen, left_edge=False, right_edge=False)

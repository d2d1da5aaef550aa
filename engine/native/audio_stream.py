"""One call's open turn on its way to the encoder: log-mel, blocks, chunks, and what to encode next.

A turn is cut in blocks, as the published code does. Each block has its own log-mel, its own
positions in the encoder and its own placeholder in the prompt. Within a block the encoder advances
by chunks: a chunk sees everything before it and a look-ahead behind it. The frames of the
look-ahead are provisional and are encoded again with the next chunk. A chunk's latents are stable:
later audio does not change them.

The stream belongs to the caller's thread. It makes an `EncodeRequest` for each piece, which
`engine.native.audio_tower` encodes on the thread that owns the device. Requests of one stream are
encoded in the order in which they were made.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.features import (
    HALF_WINDOW_SAMPLES,
    HOP_SAMPLES,
    LOG_FLOOR,
    STEP_AUDIO_RIGHT_ZEROS,
    Float32,
    LogMel,
    normalize,
)
from engine.native.kv_cache import BlockPool, Log
from engine.native.model.adaptor import latent_count
from engine.native.model.encoder import POOL_FRAMES, frames_of

CONV_STRIDE = 2  # of the encoder's stem, in mel frames

Hearing = Literal["incremental", "exact_end", "exact"]


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """How a turn is cut. Latents are 80 ms each (with an adaptor of stride 2).

    The sizes of chunk and look-ahead are a decision: docs/decisions/0022-native-chunk-lookahead.md.
    ``hearing``: "incremental" keeps the chunks' latents. "exact_end" uses them until a block or
    the turn ends, and then encodes the block anew in one pass, as the published code does. "exact"
    encodes nothing before that.
    """

    chunk: int = 5  # latents that become stable at a time
    lookahead: int = 6  # provisional latents behind the chunk, which the chunk sees
    block_samples: int = 400_000  # 25 s
    hearing: Hearing = "incremental"
    fork_count: bool = False  # count latents, and hide no frame, as StepFun's vLLM fork does


@dataclass(frozen=True, slots=True)
class AudioLayout:
    """Sizes of one encoder with its adaptor, and how turns are cut for them."""

    config: AudioConfig
    mels: int
    stride: int  # of the adaptor, in pooled frames

    @property
    def latent_frames(self) -> int:
        """Encoder frames of one latent, before pooling."""
        return POOL_FRAMES * self.stride

    @property
    def latent_columns(self) -> int:
        """Mel frames of one latent."""
        return CONV_STRIDE * self.latent_frames


class BlockMemory:
    """The encoder's cache of one block. Only the thread that owns the device touches it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.last: Tensor | None = None  # [1, state], the pooled frame before the next latent's
        self.closed = False
        self.forgotten = False  # for want of room; then the block is encoded whole when it ends

    def forget(self) -> None:
        """Give the blocks of the cache back before the block of audio has ended."""
        self.log.truncate(0)
        self.last = None
        self.forgotten = True

    def close(self) -> None:
        """Give the blocks of the cache back; may be repeated."""
        if not self.closed:
            self.log.close()
            self.closed = True


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """One piece of a turn, ready to be encoded. It holds everything that the encoder needs."""

    memory: BlockMemory
    mel: Tensor  # [mels, W], normalised, on the host
    source: "_Block"
    block: int
    start: int
    stable: int  # latents that no later request asks for again
    latents: int  # the stable and the provisional ones
    right_edge: bool = False
    whole: bool = False  # the exact pass: from the block's start, remembering nothing
    complete: bool = False

    @property
    def rows(self) -> int:
        """Encoder frames, the rows that the request adds to a step."""
        columns = self.mel.shape[1]
        return frames_of(columns, left_edge=self.start == 0, right_edge=self.right_edge)

    @property
    def closed(self) -> bool:
        """Whether the stream was closed after the request was made: its result has no reader."""
        return self.memory.closed


class AudioStream:
    """One turn of one call, from its first sample on."""

    def __init__(self, layout: AudioLayout, pool: BlockPool) -> None:
        self._layout = layout
        self._pool = pool
        self._blocks: deque[_Block] = deque()  # all but the last are full
        self._memories: list[BlockMemory] = []

    def feed(self, pcm: Float32) -> None:
        """Add 16 kHz mono audio in [-1, 1]."""
        size = self._layout.config.block_samples
        while len(pcm):
            if not self._blocks or self._blocks[-1].samples == size:
                self._memories.append(BlockMemory(self._pool.open()))
                index = len(self._memories) - 1
                self._blocks.append(_Block(index, self._memories[-1], self._layout))
            block = self._blocks[-1]
            room = size - block.samples
            block.feed(pcm[:room])
            pcm = pcm[room:]

    def due(self) -> bool:
        """Whether there is a chunk with its look-ahead, or the end of a full block, to encode."""
        return bool(self._blocks) and (self._chunk_known() or self._blocks[0].full)

    def step(self) -> EncodeRequest:
        """The next chunk, or the rest of a full block.

        Raises:
            ValueError: none is due.
        """
        if not self.due():
            raise ValueError("no chunk is due")
        if self._chunk_known():
            return self._blocks[0].chunk()
        block = self._blocks.popleft()
        return block.ending(
            block.taken if self._keeps(block) else 0, whole=not self._keeps(block), complete=True
        )

    def take_back(self, request: EncodeRequest) -> None:
        """Make ``request`` due again. Call this if the last request of `step` was not encoded."""
        if request.complete:
            self._blocks.appendleft(request.source)
        else:
            request.source.taken = request.start

    def finish(self) -> EncodeRequest | None:
        """The rest of the last block, as if the turn ended here; None if nothing was fed.

        The turn may go on: the result is provisional and does not change the next chunk. The work
        does not grow with the turn if chunks are taken when they are due, and are kept.

        Raises:
            ValueError: an earlier block is not encoded yet.
        """
        return self._ending(whole=not (self._blocks and self._keeps(self._blocks[0])))

    def exact(self) -> EncodeRequest | None:
        """As `finish`, but the whole last block in one pass, as the published code encodes it."""
        return self._ending(whole=True)

    def close(self) -> None:
        """Give all memory back. Call it on the thread that owns the device; it may be repeated."""
        for memory in self._memories:
            memory.close()

    def _keeps(self, block: "_Block") -> bool:
        """Whether the block's chunks are kept when it ends."""
        return self._layout.config.hearing == "incremental" and not block.memory.forgotten

    def _chunk_known(self) -> bool:
        block = self._blocks[0]
        hears = self._layout.config.hearing != "exact" and not block.memory.forgotten
        return hears and block.chunk_known()

    def _ending(self, *, whole: bool) -> EncodeRequest | None:
        if len(self._blocks) > 1:
            raise ValueError("an earlier block of the turn is due")
        if not self._blocks:
            return None
        block = self._blocks[0]
        return block.ending(0 if whole else block.taken, whole=whole)


class _Block:
    """The log-mel of one block, and how much of it was requested."""

    def __init__(self, index: int, memory: BlockMemory, layout: AudioLayout) -> None:
        self.samples = 0
        self.taken = 0  # stable latents that were requested
        self.memory = memory
        self._index = index
        self._config = layout.config
        self._columns = layout.latent_columns
        self._stride = layout.stride
        self._mel = LogMel(layout.mels, right_zeros=STEP_AUDIO_RIGHT_ZEROS)
        self._state = self._mel.open()
        self._frames = np.empty(
            (self._mel.bins, layout.config.block_samples // HOP_SAMPLES + 1), np.float32
        )
        self._known = 0
        self._rest = np.empty(0, np.float32)  # samples that are not in the log-mel yet
        self._seen = 0  # frames of the chunks so far, which `_maximum` covers
        self._maximum = float(np.log10(LOG_FLOOR))

    @property
    def full(self) -> bool:
        return self.samples == self._config.block_samples

    def feed(self, pcm: Float32) -> None:
        """Add samples.

        They go into the log-mel in pieces that always start at the same places, so the frames are
        the same to the last bit however the audio is cut. A piece ends where the frames of one
        more latent are complete, so no latent is late.
        """
        self.samples += len(pcm)
        self._rest = np.concatenate([self._rest, pcm.astype(np.float32, copy=False)])
        begin = 0
        while len(self._rest) - begin >= (piece := self._piece()):
            end = begin + piece
            frames, self._state = self._mel.feed(self._rest[begin:end], self._state)
            self._frames[:, self._known : self._known + frames.shape[1]] = frames
            self._known += frames.shape[1]
            begin = end
        self._rest = self._rest[begin:]

    def chunk_known(self) -> bool:
        """Whether the frames of the next chunk and its look-ahead are there."""
        return self._known >= self._chunk_end()

    def chunk(self) -> EncodeRequest:
        """The next chunk with its look-ahead, normalised by the maximum up to its end."""
        end = self._chunk_end()
        fresh = self._frames[:, self._seen : end]  # none, if the chunk was taken back
        self._maximum = float(fresh.max(initial=self._maximum))
        self._seen = end
        frames = normalize(self._frames[:, self._left(self.taken) : end], self._maximum)
        start, stable = self.taken, self._config.chunk
        self.taken += stable
        latents = stable + self._config.lookahead
        mel = torch.from_numpy(frames)
        return EncodeRequest(self.memory, mel, self, self._index, start, stable, latents)

    def ending(self, start: int, *, whole: bool = False, complete: bool = False) -> EncodeRequest:
        """Everything from latent ``start`` on, the block ending here."""
        left = self._left(start)
        known, state = self._mel.feed(self._rest, self._state)
        parts = [self._frames[:, left : self._known], known, self._mel.finish(state)]
        frames = np.concatenate(parts, axis=1)
        maximum = max(self._maximum, float(frames.max()))
        total = latent_count(
            left + frames.shape[1], stride=self._stride, fork_count=self._config.fork_count
        )
        return EncodeRequest(
            self.memory,
            torch.from_numpy(normalize(frames, maximum)),
            self,
            self._index,
            start,
            stable=total - start if complete else 0,
            latents=total - start,
            right_edge=True,
            whole=whole,
            complete=complete,
        )

    def _piece(self) -> int:
        whole = self._columns * HOP_SAMPLES
        return whole if self._known else whole + HALF_WINDOW_SAMPLES

    def _chunk_end(self) -> int:
        # The last frame's convolutions reach one mel frame past its own two.
        return self._columns * (self.taken + self._config.chunk + self._config.lookahead) + 1

    def _left(self, latent: int) -> int:
        """The first mel frame that latent's encoder frames need."""
        return max(0, self._columns * latent - CONV_STRIDE)

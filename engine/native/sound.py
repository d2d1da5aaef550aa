"""What the model hears of a call: audio in, latents out, while the caller speaks and exactly.

A turn is cut in blocks, as the published code does; each has its own log-mel, its own positions in
the encoder and its own placeholder in the prompt. Within a block the encoder advances by chunks: a
chunk sees everything before it and a look-ahead behind it, whose frames are provisional and are
encoded again with the next chunk. A chunk's latents are stable: later audio does not change them.

Two threads may share the work. The caller's keeps the log-mel (`SoundStream.feed`, ``due`` and the
methods that make a `SoundRequest`); the one that owns the device encodes the requests of many
calls in one step (`AudioTower.encode`) and closes streams. A stream's requests are encoded in the
order in which they were made.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineError
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
from engine.native.model.adaptor import Adaptor, latent_count
from engine.native.model.encoder import POOL_FRAMES, Encoder, EncoderInput, alike, frames_of

CONV_STRIDE = 2  # of the encoder's stem, in mel frames


@dataclass(frozen=True, slots=True)
class SoundConfig:
    """How a turn is cut. Latents are 80 ms each (with an adaptor of stride 2)."""

    chunk: int = 5  # latents that become stable at a time
    lookahead: int = 6  # latents behind them that they hear, provisional
    block_samples: int = 400_000  # 25 s
    fork_count: bool = False  # count latents, and hide no frame, as StepFun's vLLM fork does


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was heard: from its latent ``start`` on, block ``block`` of the turn is ``stable``
    [n, output] and then ``provisional`` [m, output]. Whatever was known from ``start`` on before
    is replaced. A ``complete`` block will not change any more, and another may follow it."""

    block: int
    start: int
    stable: Tensor
    provisional: Tensor
    complete: bool


class _Memory:
    """A block's past in the encoder; belongs to the thread that owns the device."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.last: Tensor | None = None  # [1, state], the pooled frame before the next latent's
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.log.close()
            self.closed = True


@dataclass(frozen=True, slots=True)
class SoundRequest:
    """One piece of a turn, ready to be encoded; it holds all it needs."""

    memory: _Memory
    mel: Tensor  # [mels, W], normalised, on the host
    source: "_Block"
    block: int
    start: int
    stable: int  # latents that will not be asked for again
    latents: int  # these and the provisional ones
    right_edge: bool = False
    whole: bool = False  # the exact pass: from the block's start, remembering nothing
    complete: bool = False

    @property
    def rows(self) -> int:
        """Encoder frames, the rows it adds to a step."""
        columns = self.mel.shape[1]
        return frames_of(columns, left_edge=self.start == 0, right_edge=self.right_edge)

    @property
    def closed(self) -> bool:
        """Whether the stream was closed in the meantime, so that nobody wants this any more."""
        return self.memory.closed


class AudioTower:
    """Encoder and adaptor with the memory of all calls."""

    def __init__(
        self, encoder: Encoder, adaptor: Adaptor, pool: BlockPool, config: SoundConfig | None = None
    ) -> None:
        """Put the parts together.

        Raises:
            ValueError: the configuration cannot work, or its blocks are longer than the encoder's
                context.
        """
        self.encoder, self.adaptor, self.pool = encoder, adaptor, pool
        self.config = config or SoundConfig()
        self.latent_frames = POOL_FRAMES * adaptor.stride
        self.latent_columns = CONV_STRIDE * self.latent_frames
        chunk, lookahead = self.config.chunk, self.config.lookahead
        if chunk < 1 or lookahead < 0 or self.config.block_samples < 1:
            raise ValueError(f"a chunk of {chunk}, a look-ahead of {lookahead} latents")
        columns = (self.config.block_samples + STEP_AUDIO_RIGHT_ZEROS) // HOP_SAMPLES
        if -(-columns // CONV_STRIDE) > encoder.shape.context:
            raise ValueError(
                f"blocks of {self.config.block_samples} samples: the encoder has only "
                f"{encoder.shape.context} positions"
            )

    def open(self) -> "SoundStream":
        """The stream of a turn in which nothing was heard yet."""
        return SoundStream(self)

    @torch.inference_mode()
    def encode(self, requests: Sequence[SoundRequest]) -> list[Hearing | EngineError]:
        """Encode pieces of different streams in one step.

        A request that finds no room in the cache, is not its stream's next or whose stream was
        closed has an error as its result. If the step itself fails, nothing was heard. Either
        way the stream takes the request back (`SoundStream.take_back`) and may go on.

        Raises:
            Exception: what the device raised.
        """
        results: dict[int, Hearing | EngineError] = {}
        windows: dict[int, EncoderInput] = {}
        kept = {}  # frames that stay in each log
        try:
            for index, request in enumerate(requests):
                if refusal := self._refusal(request):
                    results[index] = refusal
                    continue
                log = self.pool.open() if request.whole else request.memory.log
                try:
                    windows[index] = self._window(request, log)
                except EngineError as error:
                    results[index] = error
                else:
                    kept[index] = request.start * self.latent_frames
            if windows:
                pooled = self._pooled(list(windows.values()))
                fed = [requests[index] for index in windows]
                for index, hearing in zip(windows, self._hear(fed, pooled), strict=True):
                    results[index] = hearing
                    kept[index] = self._kept(requests[index])
        finally:
            for index, window in windows.items():
                window.rows.log.truncate(kept[index])
        for index in windows:
            if requests[index].complete:
                requests[index].memory.close()
        return [results[index] for index in range(len(requests))]

    def _refusal(self, request: SoundRequest) -> EngineError | None:
        if request.closed:
            return EngineError("the turn was closed")
        heard = request.memory.log.length
        if not request.whole and heard != request.start * self.latent_frames:
            return EngineError(f"sound from latent {request.start} on, after {heard} frames")
        return None

    def _kept(self, request: SoundRequest) -> int:
        """Frames to remember after it."""
        if request.whole or request.complete:
            return 0
        return (request.start + request.stable) * self.latent_frames

    def _window(self, request: SoundRequest, log: Log) -> EncoderInput:
        # The published code's mask hides exactly the last frame of a clip from all others, but
        # computes it and pools it with the rest.
        hidden = int(request.right_edge and not self.config.fork_count)
        return self.encoder.window(request.mel, log, right_edge=request.right_edge, hidden=hidden)

    def _pooled(self, windows: Sequence[EncoderInput]) -> list[Tensor]:
        """[W, state] for each window."""
        frames = self.encoder.forward(windows, self.pool)
        even = [part[: len(part) // POOL_FRAMES * POOL_FRAMES] for part in frames]
        pooled = self.encoder.pooled(torch.cat(even))
        return list(pooled.split([len(part) // POOL_FRAMES for part in even]))

    def _hear(self, requests: Sequence[SoundRequest], pooled: Sequence[Tensor]) -> list[Hearing]:
        """Latents of the pooled frames of each request; the last stable frame is kept."""
        stride = self.adaptor.stride
        inputs = []
        for request, frames in zip(requests, pooled, strict=True):
            before = None if request.whole else request.memory.last
            inputs.append(frames if before is None else torch.cat([before, frames]))
        latents = self._adapt(requests, inputs)
        hearings = []
        for request, frames, heard in zip(requests, pooled, latents, strict=True):
            if request.stable and not request.complete and stride > 1:
                at = stride * request.stable
                request.memory.last = frames[at - 1 : at].clone()
            hearings.append(
                Hearing(
                    request.block,
                    request.start,
                    heard[: request.stable],
                    heard[request.stable : request.latents],
                    request.complete,
                )
            )
        return hearings

    def _adapt(self, requests: Sequence[SoundRequest], inputs: Sequence[Tensor]) -> list[Tensor]:
        latents: list[Tensor] = [torch.empty(0)] * len(inputs)
        kinds = [
            (len(frames), request.start == 0, request.right_edge)
            for request, frames in zip(requests, inputs, strict=True)
        ]
        for (_, left, right), places in alike(kinds):
            frames = torch.stack([inputs[i] for i in places])
            out = self.adaptor.forward(frames, left_edge=left, right_edge=right)
            for place, part in zip(places, out, strict=True):
                latents[place] = part
        return latents


class SoundStream:
    """One turn of one call, from its first sample on."""

    def __init__(self, tower: AudioTower) -> None:
        self._tower = tower
        self._blocks: deque[_Block] = deque()  # all but the last are full
        self._memories: list[_Memory] = []

    def feed(self, pcm: Float32) -> None:
        """Hear 16 kHz mono in [-1, 1]."""
        size = self._tower.config.block_samples
        while len(pcm):
            if not self._blocks or self._blocks[-1].samples == size:
                self._memories.append(_Memory(self._tower.pool.open()))
                index = len(self._memories) - 1
                self._blocks.append(_Block(index, self._memories[-1], self._tower))
            block = self._blocks[-1]
            room = size - block.samples
            block.feed(pcm[:room])
            pcm = pcm[room:]

    def due(self) -> bool:
        """Whether there is a chunk with its look-ahead, or the end of a full block, to encode."""
        return bool(self._blocks) and (self._blocks[0].chunk_known() or self._blocks[0].full)

    def step(self) -> SoundRequest:
        """The next chunk, or the rest of a full block.

        Raises:
            ValueError: none is due.
        """
        if not self.due():
            raise ValueError("no chunk is due")
        block = self._blocks[0]
        if block.chunk_known():
            return block.chunk()
        return self._blocks.popleft().ending(block.taken, complete=True)

    def take_back(self, request: SoundRequest) -> None:
        """``request``, the last that was made by `step`, was not encoded: it is due again."""
        if request.complete:
            self._blocks.appendleft(request.source)
        else:
            request.source.taken = request.start

    def finish(self) -> SoundRequest | None:
        """What is left of the last block, as if the turn ended here; None if that is nothing.

        It may go on: what comes of it is provisional, and the next chunk is what it would be
        without. The work does not grow with the turn if chunks are taken when they are due.

        Raises:
            ValueError: an earlier block is not encoded yet.
        """
        return self._ending(whole=False)

    def exact(self) -> SoundRequest | None:
        """As `finish`, but the whole last block in one pass, as the published code hears it."""
        return self._ending(whole=True)

    def close(self) -> None:
        """Give all memory back. On the thread that owns the device; may be repeated."""
        for memory in self._memories:
            memory.close()

    def _ending(self, *, whole: bool) -> SoundRequest | None:
        if len(self._blocks) > 1:
            raise ValueError("an earlier block of the turn is due")
        if not self._blocks:
            return None
        block = self._blocks[0]
        return block.ending(0 if whole else block.taken, whole=whole)


class _Block:
    """The log-mel of one block, and how far it was asked for."""

    def __init__(self, index: int, memory: _Memory, tower: AudioTower) -> None:
        self.samples = 0
        self.taken = 0  # stable latents that were asked for
        self._index = index
        self._memory = memory
        self._config = tower.config
        self._columns = tower.latent_columns
        self._stride = tower.adaptor.stride
        self._mel = LogMel(tower.encoder.shape.mels, right_zeros=STEP_AUDIO_RIGHT_ZEROS)
        self._state = self._mel.open()
        self._frames = np.empty(
            (self._mel.bins, tower.config.block_samples // HOP_SAMPLES + 1), np.float32
        )
        self._known = 0
        self._rest = np.empty(0, np.float32)  # samples that are not in the log-mel yet
        self._seen = 0  # frames that `_maximum` is of: those of the chunks so far
        self._maximum = float(np.log10(LOG_FLOOR))

    @property
    def full(self) -> bool:
        return self.samples == self._config.block_samples

    def feed(self, pcm: Float32) -> None:
        """Samples go into the log-mel in pieces that always start at the same places, so that the
        frames are the same to the last bit however the audio comes in; a piece ends where the
        frames of one more latent are complete, so none is late."""
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

    def chunk(self) -> SoundRequest:
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
        return SoundRequest(self._memory, mel, self, self._index, start, stable, latents)

    def ending(self, start: int, *, whole: bool = False, complete: bool = False) -> SoundRequest:
        """Everything from latent ``start`` on, the block ending here."""
        left = self._left(start)
        known, state = self._mel.feed(self._rest, self._state)
        parts = [self._frames[:, left : self._known], known, self._mel.finish(state)]
        frames = np.concatenate(parts, axis=1)
        maximum = max(self._maximum, float(frames.max()))
        total = latent_count(
            left + frames.shape[1], stride=self._stride, fork_count=self._config.fork_count
        )
        return SoundRequest(
            self._memory,
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

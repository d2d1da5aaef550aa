"""Audio in, latents out: the encoder and the adaptor of all calls.

`AudioTower.encode` runs on the thread that owns the device and encodes requests of many calls in
one step. `engine.native.audio_stream` makes the requests.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.features import HOP_SAMPLES, STEP_AUDIO_RIGHT_ZEROS
from engine.native.audio_stream import (
    CONV_STRIDE,
    AudioConfig,
    AudioLayout,
    AudioStream,
    BlockMemory,
    EncodeRequest,
)
from engine.native.kv_cache import BlockPool
from engine.native.model.adaptor import Adaptor
from engine.native.model.encoder import POOL_FRAMES, Encoder, EncoderInput, alike
from engine.native.runtime.encoder_graphs import SIZES, EncoderGraphs, Heard, Piece

logger = logging.getLogger(__name__)


class Forgotten(EngineError):
    """The cache of the request's block was given to others. Take the request back: the stream then
    asks for the whole block when that ends."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """The result of one request: ``stable`` [n, output] and then ``provisional`` [m, output].

    They start at latent ``start`` of block ``block`` of the turn and replace what was known from
    there on. A ``complete`` block does not change any more, and another may follow it.
    """

    block: int
    start: int
    stable: Tensor
    provisional: Tensor
    complete: bool


class AudioTower:
    """Encoder and adaptor, with the cache of all calls."""

    def __init__(
        self, encoder: Encoder, adaptor: Adaptor, pool: BlockPool, config: AudioConfig | None = None
    ) -> None:
        """Put the parts together.

        Raises:
            ValueError: the configuration cannot work, or its blocks are longer than the encoder's
                context.
        """
        self.encoder, self.adaptor, self.pool = encoder, adaptor, pool
        self.graphs: EncoderGraphs | None = None  # after `use_graphs`
        self.forgotten = 0  # blocks of audio, for want of room
        self._resting: dict[BlockMemory, None] = {}  # with frames; what rested longest first
        self.config = config or AudioConfig()
        self._layout = AudioLayout(self.config, encoder.shape.mels, adaptor.stride)
        chunk, lookahead = self.config.chunk, self.config.lookahead
        if chunk < 1 or lookahead < 0 or self.config.block_samples < 1:
            raise ValueError(f"a chunk of {chunk}, a look-ahead of {lookahead} latents")
        columns = (self.config.block_samples + STEP_AUDIO_RIGHT_ZEROS) // HOP_SAMPLES
        if -(-columns // CONV_STRIDE) > encoder.shape.context:
            raise ValueError(
                f"blocks of {self.config.block_samples} samples: the encoder has only "
                f"{encoder.shape.context} positions"
            )

    def use_graphs(self, sizes: Sequence[int] = SIZES) -> None:
        """Run windows of up to a chunk with its look-ahead as CUDA graphs from now on.

        Raises:
            RuntimeError: the device could not record them.
        """
        latents = self.config.chunk + self.config.lookahead + 1  # the end of a turn has one more
        frames = latents * self._layout.latent_frames
        self.graphs = EncoderGraphs(
            self.encoder, self.adaptor, self.pool, frames=frames, sizes=sizes
        )

    def open(self) -> AudioStream:
        """An empty stream for a new turn."""
        return AudioStream(self._layout, self.pool)

    @torch.inference_mode()
    def encode(self, requests: Sequence[EncodeRequest]) -> list[EncodedAudio | EngineError]:
        """Encode pieces of different streams, in one step if there is room.

        If the cache is full, the block of audio that was heard longest ago is forgotten. A request
        that finds no room even so, is not its stream's next or whose stream was closed has an
        error as its result. If a step itself fails, its streams have not advanced. In both cases
        pass the request to `AudioStream.take_back`; the stream may then go on.

        Raises:
            Exception: what the device raised.
        """
        results: dict[int, EncodedAudio | EngineError] = {}
        waiting = dict(enumerate(requests))
        while waiting:
            try:
                results |= self._encode_fitting(waiting)
            except Exception as error:
                if not results:
                    raise
                logger.exception("%d requests failed together", len(waiting))
                failure = EngineError("the engine's model failed")
                failure.__cause__ = error
                results |= dict.fromkeys(waiting, failure)  # those before have advanced
            waiting = {index: waiting[index] for index in waiting if index not in results}
        return [results[index] for index in range(len(requests))]

    def _encode_fitting(
        self, requests: Mapping[int, EncodeRequest]
    ) -> dict[int, EncodedAudio | EngineError]:
        """One step of as many of the requests as there is room for, at least one."""
        results: dict[int, EncodedAudio | EngineError] = {}
        windows: dict[int, EncoderInput] = {}
        kept = {}  # frames that stay in each log
        try:
            for index, request in requests.items():
                try:
                    window = self._window(request, {requests[i].memory for i in windows})
                except EngineError as error:
                    results[index] = error
                    continue
                if window is not None:
                    windows[index] = window
                    kept[index] = request.start * self._layout.latent_frames
            if windows:
                fed = [requests[index] for index in windows]
                heard = self._hear(fed, list(windows.values()))
                for index, request, found in zip(windows, fed, heard, strict=True):
                    results[index] = self._encoded(request, found)
                    kept[index] = self._kept(request)
        finally:
            for index, window in windows.items():
                window.rows.log.truncate(kept[index])
        for index in windows:
            self._rest(requests[index])
        return results

    def _window(self, request: EncodeRequest, step: set[BlockMemory]) -> EncoderInput | None:
        """The request's window; None if it has to wait for those in the ``step``.

        Raises:
            EngineError: it is refused, or there is no room for it even alone.
        """
        if refusal := self._refusal(request):
            raise refusal
        log = self.pool.open() if request.whole else request.memory.log
        if not self._make_room(log.blocks_for(request.rows), request, step) and step:
            return None
        # The published code's mask hides exactly the last frame of a clip from all others, but
        # computes it and pools it with the rest.
        hidden = int(request.right_edge and not self.config.fork_count)
        return self.encoder.window(request.mel, log, right_edge=request.right_edge, hidden=hidden)

    def _rest(self, request: EncodeRequest) -> None:
        """The step is over: what its block holds was heard last of all."""
        memory = request.memory
        if request.complete:
            memory.close()
        self._resting.pop(memory, None)
        if memory.log.length:
            self._resting[memory] = None

    def _make_room(self, blocks: int, request: EncodeRequest, step: set[BlockMemory]) -> bool:
        """Forget what was heard longest ago until so many blocks are free, and whether they are.
        What is in the step stays. A pass over a whole block waits for the step instead."""
        self._resting = {memory: None for memory in self._resting if memory.log.length}
        if blocks <= self.pool.free_blocks:
            return True
        may_go = [m for m in self._resting if m is not request.memory and m not in step]
        there = sum(len(memory.log.blocks) for memory in may_go)
        if self.pool.free_blocks + there < blocks or (request.whole and step):
            return False
        for memory in may_go:
            if self.pool.free_blocks >= blocks:
                break
            logger.info("the ear's cache is full: %d frames of a turn go", memory.log.length)
            memory.forget()
            self.forgotten += 1
        return True

    def _refusal(self, request: EncodeRequest) -> EngineError | None:
        if request.closed:
            return EngineError("the turn was closed")
        if request.memory.forgotten and not request.whole:
            return Forgotten("the ear's cache was given to other calls")
        encoded = request.memory.log.length
        if not request.whole and encoded != request.start * self._layout.latent_frames:
            return EngineError(f"audio from latent {request.start} on, after {encoded} frames")
        return None

    def _kept(self, request: EncodeRequest) -> int:
        """Frames of the block that stay in its log after the step."""
        if request.whole or request.complete:
            return 0
        return (request.start + request.stable) * self._layout.latent_frames

    def _hear(
        self, requests: Sequence[EncodeRequest], windows: Sequence[EncoderInput]
    ) -> list[Heard]:
        """Run the windows, those that fit as graphs."""
        pieces = [
            Piece(window, None if request.whole else request.memory.last)
            for request, window in zip(requests, windows, strict=True)
        ]
        heard: dict[int, Heard] = {}
        graphs = self.graphs
        for is_graph in (True, False):
            places = [
                place
                for place, window in enumerate(windows)
                if is_graph == (graphs is not None and graphs.fits(window))
            ]
            if places:
                run = graphs.run if is_graph and graphs is not None else self._run_eager
                heard |= zip(places, run([pieces[place] for place in places]), strict=True)
        return [heard[place] for place in range(len(windows))]

    def _run_eager(self, pieces: Sequence[Piece]) -> list[Heard]:
        frames = self.encoder.forward([piece.window for piece in pieces], self.pool)
        even = [part[: len(part) // POOL_FRAMES * POOL_FRAMES] for part in frames]
        joined = self.encoder.pooled(torch.cat(even))
        pooled = joined.split([len(part) // POOL_FRAMES for part in even])
        return list(map(Heard, pooled, self._adapt(pieces, pooled)))

    def _encoded(self, request: EncodeRequest, heard: Heard) -> EncodedAudio:
        """The result of a request. Keeps the last stable frame of its block."""
        stride = self.adaptor.stride
        if request.stable and not request.complete and stride > 1:
            at = stride * request.stable
            request.memory.last = heard.pooled[at - 1 : at].clone()
        return EncodedAudio(
            request.block,
            request.start,
            heard.latents[: request.stable],
            heard.latents[request.stable : request.latents],
            request.complete,
        )

    def _adapt(self, pieces: Sequence[Piece], pooled: Sequence[Tensor]) -> list[Tensor]:
        inputs = [
            frames if piece.before is None else torch.cat([piece.before, frames])
            for piece, frames in zip(pieces, pooled, strict=True)
        ]
        latents: list[Tensor] = [torch.empty(0)] * len(inputs)
        kinds = [
            (len(frames), piece.window.left_edge, piece.window.right_edge)
            for piece, frames in zip(pieces, inputs, strict=True)
        ]
        for (_, left, right), places in alike(kinds):
            frames = torch.stack([inputs[i] for i in places])
            out = self.adaptor.forward(frames, left_edge=left, right_edge=right)
            for place, part in zip(places, out, strict=True):
                latents[place] = part
        return latents

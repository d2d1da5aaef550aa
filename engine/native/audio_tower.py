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
from engine.native.kv_cache import BlockPool, Log
from engine.native.model.adaptor import Adaptor
from engine.native.model.encoder import POOL_FRAMES, Encoder, EncoderInput, alike

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
                if refusal := self._refusal(request):
                    results[index] = refusal
                    continue
                log = self.pool.open() if request.whole else request.memory.log
                step = {requests[other].memory for other in windows}
                if not self._make_room(log.blocks_for(request.rows), request, step) and step:
                    continue  # in the next step there is
                try:
                    windows[index] = self._window(request, log)
                except EngineError as error:
                    results[index] = error
                else:
                    kept[index] = request.start * self._layout.latent_frames
            if windows:
                pooled = self._pooled(list(windows.values()))
                fed = [requests[index] for index in windows]
                for index, encoded in zip(windows, self._latents(fed, pooled), strict=True):
                    results[index] = encoded
                    kept[index] = self._kept(requests[index])
        finally:
            for index, window in windows.items():
                window.rows.log.truncate(kept[index])
        for index in windows:
            memory = requests[index].memory
            if requests[index].complete:
                memory.close()
            self._resting.pop(memory, None)
            if memory.log.length:
                self._resting[memory] = None
        return results

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

    def _window(self, request: EncodeRequest, log: Log) -> EncoderInput:
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

    def _latents(
        self, requests: Sequence[EncodeRequest], pooled: Sequence[Tensor]
    ) -> list[EncodedAudio]:
        """Latents of the pooled frames of each request. Keeps the last stable frame of each."""
        stride = self.adaptor.stride
        inputs = []
        for request, frames in zip(requests, pooled, strict=True):
            before = None if request.whole else request.memory.last
            inputs.append(frames if before is None else torch.cat([before, frames]))
        latents = self._adapt(requests, inputs)
        encoded = []
        for request, frames, made in zip(requests, pooled, latents, strict=True):
            if request.stable and not request.complete and stride > 1:
                at = stride * request.stable
                request.memory.last = frames[at - 1 : at].clone()
            encoded.append(
                EncodedAudio(
                    request.block,
                    request.start,
                    made[: request.stable],
                    made[request.stable : request.latents],
                    request.complete,
                )
            )
        return encoded

    def _adapt(self, requests: Sequence[EncodeRequest], inputs: Sequence[Tensor]) -> list[Tensor]:
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

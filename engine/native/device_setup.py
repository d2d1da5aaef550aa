"""Setting a device up for a model: caches, graphs, compiled kernels, and the thread."""

import logging
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from engine.features import SAMPLE_RATE_HZ
from engine.native.audio_stream import AudioConfig, AudioStream
from engine.native.audio_tower import AudioTower
from engine.native.fit import BLOCK_TOKENS, LEFT_FREE, ear_blocks, voice_bytes
from engine.native.minds import Pace
from engine.native.model.adaptor import Adaptor
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from engine.native.runtime.graphs import SIZES, DecodeGraphs
from engine.native.runtime.planning import Limits
from engine.native.runtime.runner import Runner, StepInput
from engine.native.runtime.scheduler import Scheduler
from engine.ops.dispatch import MATVEC_ROWS

logger = logging.getLogger(__name__)

_TOKENS_ON_CPU = 16_384
# Calls that end their turns together, and the turns' seconds: by both, kernels choose their tiles.
_WARM_TURNS = (
    (1, 0.3),
    (1, 0.9),
    (1, 1.7),
    (1, 3.0),
    (1, 12.0),
    (1, 24.0),
    (4, 0.9),
    (4, 3.0),
    (8, 3.0),
)


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """Options of a model on its device. ``cache_tokens`` 0 takes as many as fit."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    weight_bits: Literal[4, 8, 16] = 16
    context_tokens: int = 8192
    cache_tokens: int = 0
    calls: int = 4  # at most; the ear's cache and the voice's room are sized by them
    limits: Limits = field(default_factory=Limits)
    audio: AudioConfig = field(default_factory=AudioConfig)
    pace: Pace = field(default_factory=Pace)
    encoder_graphs: bool = False  # chunks of sound as CUDA graphs
    speaks: bool = False  # the model's own speech (ta4), not text for a voice


def open_tower(encoder: Encoder, adaptor: Adaptor, options: NativeOptions) -> AudioTower:
    """The audio tower, with a cache for the open blocks of those who speak."""
    blocks = ear_blocks(encoder.shape, options.calls)
    pool = encoder.pool(blocks=blocks, block_tokens=BLOCK_TOKENS)
    tower = AudioTower(encoder, adaptor, pool, options.audio)
    if options.encoder_graphs:
        try:
            tower.use_graphs()
        except RuntimeError:  # the encoder works without, more slowly
            logger.warning("the encoder runs without graphs: they were not recorded", exc_info=True)
    return tower


def open_scheduler(
    decoder: Decoder, tower: AudioTower | None, options: NativeOptions, context_tokens: int
) -> Scheduler:
    """Allocate the cache, compile graphs and kernels on CUDA, and start the thread.

    Raises:
        ValueError: the cache is smaller than the context.
    """
    tokens = options.cache_tokens or _tokens_that_fit(decoder, options)
    if tokens < context_tokens:
        raise ValueError(f"a cache of {tokens} tokens cannot hold a context of {context_tokens}")
    logger.info(
        "the cache holds %d tokens: %.1f full contexts for at most %d calls",
        tokens,
        tokens / context_tokens,
        options.calls,
    )
    pool = decoder.open_pool(-(-tokens // BLOCK_TOKENS), BLOCK_TOKENS)
    graphs = None
    if decoder.device.type == "cuda":
        torch.cuda.set_device(decoder.device)
        # With more rows quantised weights are unpacked, which needs memory that graphs would keep.
        sizes = SIZES if options.weight_bits == 16 else [n for n in SIZES if n <= MATVEC_ROWS]
        graphs = DecodeGraphs(decoder, pool, context_tokens=context_tokens, sizes=sizes)
    runner = Runner(decoder, pool, graphs)
    if decoder.device.type == "cuda":
        warm(runner, tower, options.limits)
    limits = options.limits
    if options.weight_bits != 16:
        # More rows would unpack the weights in every step; so they take turns.
        limits = replace(limits, rows=min(limits.rows, MATVEC_ROWS))
    return Scheduler(runner, limits=limits)


@torch.inference_mode()
def warm(runner: Runner, tower: AudioTower | None, limits: Limits) -> None:
    """Run every kind of step once, so that no call waits for the compilation of a kernel."""
    pool = runner.pool
    log = pool.open()
    room = min(pool.blocks * pool.block_tokens, runner.decoder.shape.max_positions)
    steps = (1, 2, 3, 5, 12, 24, 48, 96, limits.prefill_beside_decode, limits.prefill_alone)
    for context in (0, 256, 2048, room // 2):  # by which kernels choose how to split the keys
        for count in steps:
            if context + count <= room:
                log.extend([0] * context)  # what was never written is zeros, which is good enough
                runner.step([StepInput(log, [0] * count, wants_scores=True)])
                log.truncate(0)
    log.close()
    if tower is not None:
        warm_ear(tower)
    if runner.decoder.device.type == "cuda":
        torch.cuda.synchronize()


def warm_ear(tower: AudioTower) -> None:
    """Hear turns of every kind once."""
    for calls, seconds in _WARM_TURNS:
        encode_silence(tower, calls, seconds)


def encode_silence(tower: AudioTower, calls: int, seconds: float) -> None:
    """Turns of silence that end together, heard in chunks and once more in the exact pass."""
    streams = [tower.open() for _ in range(calls)]
    for stream in streams:
        stream.feed(np.zeros(round(seconds * SAMPLE_RATE_HZ), np.float32))
    while all(stream.due() for stream in streams):
        tower.encode([stream.step() for stream in streams])
    for ending in (AudioStream.finish, AudioStream.exact):
        rests = [rest for stream in streams if (rest := ending(stream)) is not None]
        if rests:
            tower.encode(rests)
    for stream in streams:
        stream.close()


def _tokens_that_fit(decoder: Decoder, options: NativeOptions) -> int:
    if decoder.device.type != "cuda":
        return max(_TOKENS_ON_CPU, options.context_tokens)
    torch.cuda.empty_cache()  # what quantising left
    free, _ = torch.cuda.mem_get_info(decoder.device)
    left = LEFT_FREE + (voice_bytes(options.calls) if options.speaks else 0)
    return (free - left) // decoder.shape.kv_bytes_per_token(decoder.dtype.itemsize)

"""Setting a device up for a model: caches, graphs, compiled kernels, and the thread."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from engine.features import SAMPLE_RATE_HZ
from engine.native.audio_stream import AudioConfig
from engine.native.audio_tower import AudioTower
from engine.native.minds import Pace
from engine.native.model.adaptor import Adaptor
from engine.native.model.decoder import Decoder
from engine.native.model.encoder import Encoder
from engine.native.runtime.graphs import SIZES, DecodeGraphs
from engine.native.runtime.planning import Limits
from engine.native.runtime.runner import Runner, StepInput
from engine.native.runtime.scheduler import Scheduler
from engine.ops.dispatch import MATVEC_ROWS

_GIB = 1024**3
_LEFT_FREE = 3 * _GIB  # for activations, graphs, and the latents of long calls
_LEFT_FOR_VOICE = 2 * _GIB  # token2wav, which is loaded afterwards, and its utterances
_TOKENS_ON_CPU = 16_384
_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """Options of a model on its device. ``cache_tokens`` 0 takes as many as fit."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    weight_bits: Literal[4, 8, 16] = 16
    context_tokens: int = 8192
    cache_tokens: int = 0
    calls: int = 4  # with an open turn, for which the encoder's cache has room
    limits: Limits = field(default_factory=Limits)
    audio: AudioConfig = field(default_factory=AudioConfig)
    pace: Pace = field(default_factory=Pace)
    speaks: bool = False  # the model's own speech (ta4), not text for a voice


def open_tower(encoder: Encoder, adaptor: Adaptor, options: NativeOptions) -> AudioTower:
    """The audio tower, with a cache for one open block of every call and one more that closes."""
    blocks = (options.calls + 1) * -(-encoder.shape.context // _BLOCK_TOKENS)
    pool = encoder.pool(blocks=blocks, block_tokens=_BLOCK_TOKENS)
    return AudioTower(encoder, adaptor, pool, options.audio)


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
    pool = decoder.open_pool(-(-tokens // _BLOCK_TOKENS), _BLOCK_TOKENS)
    graphs = None
    if decoder.device.type == "cuda":
        torch.cuda.set_device(decoder.device)
        # With more rows quantised weights are unpacked, which needs memory that graphs would keep.
        sizes = SIZES if options.weight_bits == 16 else [n for n in SIZES if n <= MATVEC_ROWS]
        graphs = DecodeGraphs(decoder, pool, context_tokens=context_tokens, sizes=sizes)
    runner = Runner(decoder, pool, graphs)
    if decoder.device.type == "cuda":
        warm(runner, tower, options.limits)
    return Scheduler(runner, limits=options.limits)


@torch.inference_mode()
def warm(runner: Runner, tower: AudioTower | None, limits: Limits) -> None:
    """Run every kind of step once, so that no call waits for the compilation of a kernel."""
    pool = runner.pool
    log = pool.open()
    room = min(pool.blocks * pool.block_tokens, runner.decoder.shape.max_positions)
    for context in (0, 256, 2048, room // 2):  # by which kernels choose how to split the keys
        for count in (1, 2, 5, 12, 24, 48, 96, limits.prefill_beside_decode, limits.prefill_alone):
            if context + count <= room:
                log.extend([0] * context)  # what was never written is zeros, which is good enough
                runner.step([StepInput(log, [0] * count, wants_scores=True)])
                log.truncate(0)
    log.close()
    if tower is not None:
        stream = tower.open()
        stream.feed(np.zeros(3 * SAMPLE_RATE_HZ, np.float32))
        while stream.due():
            tower.encode([stream.step()])
        if (rest := stream.finish()) is not None:
            tower.encode([rest])
        stream.close()
    if runner.decoder.device.type == "cuda":
        torch.cuda.synchronize()


def _tokens_that_fit(decoder: Decoder, options: NativeOptions) -> int:
    if decoder.device.type != "cuda":
        return max(_TOKENS_ON_CPU, options.context_tokens)
    torch.cuda.empty_cache()  # what quantising left
    free, _ = torch.cuda.mem_get_info(decoder.device)
    left = _LEFT_FREE + (_LEFT_FOR_VOICE if options.speaks else 0)
    return (free - left) // decoder.shape.kv_bytes_per_token(decoder.dtype.itemsize)

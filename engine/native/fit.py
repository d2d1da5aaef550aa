"""What fits on a GPU: weights, memory of the ear and cache of the conversations, by arithmetic.

It needs the shapes of a checkpoint only, and no torch, so that it can be asked before 67 GB are
downloaded.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.native.model.config import (
    MINI_7B,
    R1_32B,
    EncoderShape,
    StepAudioConfig,
    read_config,
)
from engine.ops.quant import GROUP

GIB = 1024**3
_BYTES, _SCALE_BYTES = 2, 4  # of bfloat16, and of the fp32 scale of a quantised group
LEFT_FREE = 3 * GIB  # for activations, graphs, and what is heard in open turns
_VOICE_WEIGHTS = GIB  # of token2wav, which is loaded afterwards, with its activations
# What the flow keeps of one utterance, in bfloat16: keys and values of 16 blocks at 10 steps, of
# two rows of 350 frames of 512, with a voice prompt of 5 s.
UTTERANCE_BYTES = 2 * (10 * 16) * 2 * 350 * 512 * _BYTES
_UTTERANCES_A_STEP = 8  # which have the state before the step and the one after it
BLOCK_TOKENS = 16
PUBLISHED = {
    "step-audio-r1": R1_32B,
    "step-audio-r1.1": R1_32B,
    "step-audio-2-mini": MINI_7B,
    "step-audio-2-mini-think": MINI_7B,
}
_CALLS = (1, 4, 8, 16, 32)  # of the table
_ALL_AT_ONCE = 4  # so few calls may all speak at the same time
_CUDA_CONTEXT = 6 * GIB // 10  # which a process has before it has anything else


@dataclass(frozen=True, slots=True)
class Fit:
    """How a GPU's memory is shared out. ``cache_tokens`` below zero: the weights do not fit."""

    weights_bytes: int
    ear_bytes: int
    left_bytes: int
    cache_tokens: int
    contexts: float  # full contexts that the cache holds
    tokens_a_call: int


def fit(
    config: StepAudioConfig,
    gpu_bytes: int,
    *,
    calls: int = 4,
    bits: Literal[4, 8, 16] = 16,
    context_tokens: int = 8192,
    speaks: bool = False,
) -> Fit:
    """Share ``gpu_bytes`` out as a server with so many calls does, in bfloat16."""
    weights = weight_bytes(config, bits)
    ear = ear_blocks(config.encoder, calls) * ear_block_bytes(config.encoder)
    left = _CUDA_CONTEXT + LEFT_FREE + (voice_bytes(calls) if speaks else 0)
    tokens = (gpu_bytes - weights - ear - left) // config.decoder.kv_bytes_per_token()
    context = min(context_tokens, config.decoder.max_positions)
    return Fit(weights, ear, left, tokens, tokens / context, tokens // calls)


def weight_bytes(config: StepAudioConfig, bits: Literal[4, 8, 16]) -> int:
    """Bytes of all weights, with the matrices of the decoder's layers in ``bits``."""
    total = 0
    for key, shape in config.tensors().items():
        count = math.prod(shape)
        if bits != 16 and key.startswith("model.layers.") and len(shape) == 2:
            total += count * bits // 8 + count // GROUP * _SCALE_BYTES
        else:
            total += count * _BYTES
    return total


def ear_blocks(encoder: EncoderShape | None, calls: int) -> int:
    """Blocks of frames that the encoder remembers: a whole block of sound for every call up to
    four, then for every second one, and one that closes.

    Callers speak for half of the time at most, and seldom as long as a block. When there are too
    many at once, the one heard longest ago is heard in one pass when the turn ends.
    """
    if encoder is None:
        return 0
    return (at_once(calls) + 1) * -(-encoder.context // BLOCK_TOKENS)


def voice_bytes(calls: int) -> int:
    """Bytes for the model's own voice: its weights, the state that every utterance begins with,
    those that are spoken at the same time, and the new ones of a step."""
    speaking = at_once(calls)
    states = 1 + speaking + min(speaking, _UTTERANCES_A_STEP)
    return _VOICE_WEIGHTS + states * UTTERANCE_BYTES


def at_once(calls: int) -> int:
    """How many of so many callers are taken to speak, or to be spoken to, at the same time."""
    return min(calls, max(_ALL_AT_ONCE, -(-calls // 2)))


def ear_block_bytes(encoder: EncoderShape | None) -> int:
    """Bytes of keys and values in one of them."""
    return 0 if encoder is None else 2 * encoder.layers * encoder.state * BLOCK_TOKENS * _BYTES


def shapes_of(checkpoint: str) -> StepAudioConfig:
    """The shapes of a published checkpoint by its name, or of a directory with a config.json.

    Raises:
        ValueError: it is neither, or the file cannot be used.
    """
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        return read_config(path)
    if path.name == "config.json" and path.is_file():
        return read_config(path.parent)
    name = checkpoint.removeprefix("hub:").partition("@")[0].rpartition("/")[2].lower()
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise ValueError(
            f"{checkpoint!r} is no directory with a config.json, and the only checkpoints known by "
            f"name are {known}. Download the config.json alone and give its directory."
        )
    return PUBLISHED[name]


def table(config: StepAudioConfig, gpu_gib: float, *, context_tokens: int = 8192) -> list[str]:
    """Lines that say what fits, by bits of the weights and number of calls."""
    head = f"{'bits':>4} {'calls':>5} {'weights':>9} {'ear':>9} {'cache tokens':>13}"
    lines = [f"{head} {'full contexts':>14} {'tokens a call':>14}"]
    sizes: tuple[Literal[4, 8, 16], ...] = (16, 8, 4)
    for bits in sizes:
        for calls in _CALLS:
            found = fit(
                config, round(gpu_gib * GIB), calls=calls, bits=bits, context_tokens=context_tokens
            )
            begin = f"{bits:>4} {calls:>5} {found.weights_bytes / GIB:>5.1f} GiB"
            if found.contexts < 1:
                lines.append(f"{begin}   does not fit: no room for one context")
                continue
            lines.append(
                f"{begin} {found.ear_bytes / GIB:>5.2f} GiB {found.cache_tokens:>13,} "
                f"{found.contexts:>14.1f} {found.tokens_a_call:>14,}"
            )
    voices = ", ".join(f"{voice_bytes(calls) / GIB:.1f} GiB for {calls}" for calls in _CALLS)
    return [*lines, f"The model's own voice (native.speaks) takes of the cache {voices} calls."]

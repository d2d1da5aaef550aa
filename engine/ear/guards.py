"""What keeps a speech recogniser from inventing text: pure decisions on a decoded segment."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# openai/whisper, transcribe.py: compression_ratio_threshold. Ordinary speech lies near 1-1.5.
MAX_COMPRESSION_RATIO = 2.4
_MIN_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded segment.

    ``tokens`` are text tokens only. ``mean_log_probability`` is per token, the end token
    included. ``no_speech_probability`` is the model's, before the first token. ``ended`` is
    False when decoding was stopped by its length limit.
    """

    tokens: tuple[int, ...]
    text: str
    mean_log_probability: float
    no_speech_probability: float
    ended: bool


def max_tokens(seconds: float) -> int:
    """A bound on text tokens for ``seconds`` of speech.

    Fast speech has about 6 tokens a second; a loop that reaches this bound wastes at most as
    much again. 224 is half of Whisper's text context, its own limit (decoding.py: sample_len).
    """
    return min(224, 16 + int(10 * seconds))


def is_loop(decoded: Decoded) -> bool:
    """Whether the decoder ran away instead of ending, or ended only after many repeats."""
    data = decoded.text.encode()
    ratio = len(data) / len(zlib.compress(data)) if data else 0.0
    return not decoded.ended or ratio > MAX_COMPRESSION_RATIO


def collapse_repeats(tokens: Sequence[int]) -> tuple[int, ...]:
    """``tokens`` with a repeated tail cut to its first copy, an incomplete last one included.

    Only a unit that comes three times or more counts; without one the tokens are returned whole.
    """
    size = len(tokens)
    for period in range(1, size // _MIN_REPEATS + 1):
        start = size - period
        while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
            start -= 1
        if size - start >= _MIN_REPEATS * period:
            return tuple(tokens[: start + period])
    return tuple(tokens)


def split_points(pcm: NDArray[np.float32], rate: int, longest: int, target: int) -> list[int]:
    """Where to cut ``pcm`` so that no piece is longer than ``longest`` samples.

    Each cut is the middle of the quietest 100 ms that lies within 5 s of ``target`` samples
    after the last cut. Pieces joined are the audio; nothing is lost.

    Raises:
        ValueError: ``target`` +- 5 s does not lie within ``longest``.
    """
    reach, block = 5 * rate, rate // 100
    if not reach < target <= longest - reach:
        raise ValueError(f"target {target} +- {reach} samples must lie within 0..{longest}")
    cuts: list[int] = []
    start = 0
    while len(pcm) - start > longest:
        first = start + target - reach
        window = pcm[first : start + target + reach].astype(np.float64)
        blocks = window[: len(window) // block * block].reshape(-1, block)
        energy = np.convolve((blocks**2).sum(axis=1), np.ones(10), mode="valid")
        start = first + int(energy.argmin() + 5) * block
        cuts.append(start)
    return cuts

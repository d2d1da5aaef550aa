"""Guards against invented text of a speech recogniser: pure decisions on a decoded segment."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.ear.evidence import FRAME_MS, SPOKEN_MS

# openai/whisper, transcribe.py: compression_ratio_threshold. Ordinary speech lies near 1-1.5.
MAX_COMPRESSION_RATIO = 2.4
_MIN_REPEATS = 3
# Of a text that needs no other proof: sentences of clear speech are above, inventions below.
CLEAR_MEAN_LOG_PROBABILITY = -0.6
# Between what tiny.en and base give for noise and for speech
# (docs/decisions/0020-guards-of-the-ear.md).
SURE_MEAN_LOG_PROBABILITY = -0.85
SILENT_PROBABILITY = 0.75
SUSPECT_PROBABILITY = 0.5
HOPELESS_MEAN_LOG_PROBABILITY = -2.0
_INVENTED = frozenset({"you"})
# A detector of speech knows a short word better than the decoder does, whose probabilities are low
# for all of them (docs/decisions/0074-short-words-pass.md).
SHORT_S = 3.0
NO_VOICE_MS = 2 * FRAME_MS


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded segment.

    ``tokens`` are text tokens only. ``mean_log_probability`` is per token, the end token
    included. ``no_speech_probability`` is the model's, before the first token. ``ended`` is
    False when decoding was stopped by its length limit. ``language`` is that of the decoding.
    """

    tokens: tuple[int, ...]
    text: str
    mean_log_probability: float
    no_speech_probability: float
    ended: bool
    language: str = "en"


def max_tokens(seconds: float) -> int:
    """A bound on text tokens for ``seconds`` of speech.

    The bound is above the rate of fast speech, so it only stops loops. 224 is half of Whisper's
    text context, its own limit (decoding.py: sample_len).
    """
    return min(224, 16 + int(10 * seconds))


def is_beyond_doubt(decoded: Decoded) -> bool:
    """Whether the text was heard, whatever else is known."""
    is_clear = decoded.mean_log_probability >= CLEAR_MEAN_LOG_PROBABILITY
    return (
        is_clear
        and _has_words(decoded)
        and not _starts_doubtfully(decoded)
        and not is_loop(decoded)
    )


def is_speech(decoded: Decoded, seconds: float, voiced_ms: int | None = None) -> bool:
    """Whether the text of a clip of ``seconds`` was heard rather than invented. ``voiced_ms`` is
    the longest speech in one piece that a detector finds in it; None: nobody has looked.

    A voice in a short clip proves its words, however unsure the decoder is. Without any voice
    nothing short of `is_beyond_doubt` does. Else the decoder's own rule decides.
    """
    if not _has_words(decoded) or (is_loop(decoded) and _starts_doubtfully(decoded)):
        return False
    if voiced_ms is None:
        return is_believed(decoded)
    if is_beyond_doubt(decoded):
        return True
    is_silent = decoded.no_speech_probability > SILENT_PROBABILITY
    if voiced_ms < NO_VOICE_MS or (is_silent and _is_invention(decoded)):
        return False
    return (voiced_ms >= SPOKEN_MS and seconds <= SHORT_S) or is_believed(decoded)


def _has_words(decoded: Decoded) -> bool:
    return re.search(r"\w", decoded.text) is not None


def _starts_doubtfully(decoded: Decoded) -> bool:
    return decoded.no_speech_probability > SUSPECT_PROBABILITY


def _is_invention(decoded: Decoded) -> bool:
    """Whether the text is what the models write for noise."""
    return re.sub(r"\W", "", decoded.text.lower()) in _INVENTED


def is_believed(decoded: Decoded) -> bool:
    """As in openai/whisper (transcribe.py: no_speech_threshold, logprob_threshold), a doubtful
    start and doubtful words must come together; how doubtful depends on each other."""
    sure = decoded.mean_log_probability >= SURE_MEAN_LOG_PROBABILITY
    if sure or not _starts_doubtfully(decoded):
        return True
    return not (
        decoded.no_speech_probability > SILENT_PROBABILITY
        or decoded.mean_log_probability < HOPELESS_MEAN_LOG_PROBABILITY
        or _is_invention(decoded)
    )


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


def quietest_point(pcm: NDArray[np.float32], rate: int, first: int, last: int) -> int:
    """The middle of the quietest 100 ms of ``pcm[first:last]``, the earliest if several are.

    Raises:
        ValueError: the range is shorter than 100 ms or not inside ``pcm``.
    """
    block = rate // 100
    if first < 0 or last > len(pcm) or last - first < 10 * block:
        raise ValueError(f"no 100 ms in samples {first}..{last} of {len(pcm)}")
    blocks = pcm[first : first + (last - first) // block * block].reshape(-1, block)
    energy = np.convolve((blocks.astype(np.float64) ** 2).sum(axis=1), np.ones(10), mode="valid")
    return first + (int(energy.argmin()) + 5) * block


def split_points(pcm: NDArray[np.float32], rate: int, longest: int, earliest: int) -> list[int]:
    """Where to cut ``pcm`` so that no piece is longer than ``longest`` samples.

    Each cut is the quietest point ``earliest`` to ``longest`` samples after the one before.
    Pieces joined are the audio; nothing is lost.
    """
    cuts: list[int] = []
    start = 0
    while start + longest < len(pcm):
        start = quietest_point(pcm, rate, start + earliest, start + longest)
        cuts.append(start)
    return cuts

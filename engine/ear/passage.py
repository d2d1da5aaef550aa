"""What an ear knows of a passage of a recording: its words, when each is said, and how sure it is.

The times are those of openai/whisper (timing.py: find_alignment): the decoder's attention to the
audio, warped in time to the tokens.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.ear.interface import MultilingualEar

POSITIONS_PER_S = 50  # of the encoder, in which alignments count
_BROKEN = "\N{REPLACEMENT CHARACTER}"  # of a character whose bytes are in several tokens
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # languages without spaces


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with the punctuation at it; seconds from the passage's beginning."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Passage:
    """The words of up to 30 s. ``words`` are empty unless they were asked for. The rest is of the
    decoder, where there is one: see `engine.ear.guards.Decoded`."""

    text: str
    language: str
    words: tuple[TimedWord, ...] = ()
    tokens: tuple[int, ...] = ()
    mean_log_probability: float = 0.0
    no_speech_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """How a passage is to be heard. ``language``: a code that the ear knows; None: as it is
    spoken, or ``otherwise`` where that is not clear. ``prompt``: text that may stand before it,
    with names as they are written. ``in_english``: whatever the language, the words are English;
    only for an ear that translates."""

    language: str | None = None
    otherwise: str = "en"
    prompt: str = ""
    with_words: bool = False
    in_english: bool = False


@runtime_checkable
class TimingEar(MultilingualEar, Protocol):
    """An ear that can say when each word is said."""

    def hear_passage(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        """As `Ear.transcribe`, for at most 30 s; runs on the ear's thread."""


@runtime_checkable
class TranslatingEar(TimingEar, Protocol):
    """An ear that may be able to write in English what is said in another language."""

    @property
    def translates(self) -> bool:
        """Whether it is: then a `Wish` may be ``in_english``."""


def words_of_tokens(
    tokens: Sequence[int], text_of: Callable[[Sequence[int]], str], language: str
) -> list[tuple[str, int]]:
    """The words of ``tokens``, each with how many of them it takes. Joined they are the text."""
    words: list[tuple[str, int]] = []
    start = 0
    for end in range(1, len(tokens) + 1):
        text = text_of(tokens[start:end])
        if _BROKEN in text and end < len(tokens):
            continue
        if words and not _begins_word(text, language):
            before, count = words[-1]
            words[-1] = (before + text, count + end - start)
        else:
            words.append((text, end - start))
        start = end
    return words


def timed(
    words: Sequence[tuple[str, int]], alignments: Sequence[tuple[int, int]], duration_s: float
) -> tuple[TimedWord, ...]:
    """The times of ``words``, from pairs of a token's index and a position of the encoder, in
    order; the last token is the end's."""
    first: dict[int, float] = {}
    for token, position in alignments:
        first.setdefault(token, min(position / POSITIONS_PER_S, duration_s))
    made: list[TimedWord] = []
    at, start_s = 0, first.get(0, 0.0)
    for text, count in words:
        at += count
        end_s = max(start_s, first.get(at, duration_s))
        if text.strip():
            made.append(TimedWord(text.strip(), round(start_s, 3), round(end_s, 3)))
        start_s = end_s
    return tuple(made)


def _begins_word(text: str, language: str) -> bool:
    if text.startswith(" "):
        return True
    return language in _UNSPACED and not unicodedata.category(text[:1] or " ").startswith("P")

"""The interface of a voice, and the audio that it makes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tts.text.unspoken import named_script, stand_in

MIN_SPEED, MAX_SPEED = 0.25, 4.0  # of a voice; 1 is its natural rate


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the answer and its last sample, counted in its segment or in the answer.

    ``text`` is a slice of the segment's original text, spaces and punctuation included, so the
    words of a segment joined give the segment back. ``is_estimated``: the end is a guess from the
    word's share of the text, of a voice that does not know better.
    """

    text: str
    end_sample: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive audio: float32 mono in [-1, 1] at the voice's rate.

    ``words`` are those whose last sample lies in this chunk. ``text`` of all words of all chunks
    of a segment is the segment's text.
    """

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]


def check_speed(speed: float) -> None:
    """Refuse a rate that no voice speaks at.

    Raises:
        ValueError: ``speed`` is outside 0.25 to 4.
    """
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise ValueError(f"speed must be {MIN_SPEED} to {MAX_SPEED}, not {speed}")


class Utterance(Protocol):
    """One answer being spoken; belongs to one call."""

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        """Speak the next segment, or render the next ``codes``, which say ``text``.

        Each step of the iterator is one short run of the model, so that closing the iterator
        takes effect within one chunk. Offsets of words count from the answer's first sample.
        """

    def finish(self) -> Iterator[AudioChunk]:
        """End the answer; returns the rest of the audio."""


class Voice(Protocol):
    """A loaded voice, shared by all calls. It holds weights and no state of a call.

    A voice that ``takes_codes`` renders the codes of the brain and ignores ``speed``. One may say
    in an attribute ``language`` the code of the language that it speaks, such as "de".
    """

    sample_rate: int
    takes_codes: bool

    def open(self, speed: float = 1.0) -> Utterance:
        """Begin an answer."""


class TextVoice(Protocol):
    """A voice that speaks text segment by segment."""

    sample_rate: int

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """Speak one segment; offsets count from its first sample. Steps as in `Utterance`."""


class TextUtterance:
    """An `Utterance` of a voice that speaks text segment by segment.

    An answer in which the voice finds nothing to say, of emoji or code alone, is not left silent:
    its end says what it consists of.
    """

    def __init__(self, voice: TextVoice, speed: float) -> None:
        self._voice = voice
        self._speed = speed
        self._spoken = 0  # samples in the segments before this one
        self._silent = ""  # text of an answer that has had no sound so far
        self._named = ""  # what was said for the last segment, if only its script was named

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        """See `Utterance`."""
        named = named_script(text)
        if named and named == self._named:  # once is enough
            yield AudioChunk(np.zeros(0, np.float32), (SpokenWord(text, self._spoken),))
            return
        if any(c.isalnum() for c in text):
            self._named = named
        if not self._spoken:
            self._silent += text
        start = self._spoken
        for chunk in self._voice.synthesize(text, self._speed):
            self._spoken += len(chunk.samples)
            words = (replace(word, end_sample=start + word.end_sample) for word in chunk.words)
            yield AudioChunk(chunk.samples, tuple(words))

    def finish(self) -> Iterator[AudioChunk]:
        """See `Utterance`."""
        if self._spoken or not (said := stand_in(self._silent)):
            return
        for chunk in self._voice.synthesize(said, self._speed):
            self._spoken += len(chunk.samples)
            yield AudioChunk(chunk.samples, ())  # the words were given with their segments

"""A segment's sound as a voice hands it out: without silence around it, with the pause that its
punctuation asks for, and with the sample at which each word is over."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tts.g2p.script import Run, Script
from tts.types import AudioChunk, SpokenWord, TextUtterance, check_speed

Array = NDArray[np.float32]

_SILENCE = 0.004  # of full scale; above the own silence of all voices
_MARGIN_MS, _FADE_MS = 10, 4


@dataclass(frozen=True, slots=True)
class Sound:
    """One run of a voice's network. ``pieces`` are its sound in order, each with whether it is
    the last; ``words`` are those that end in it, with their last sample counted from the first
    of the pieces; ``pause`` is in samples."""

    pieces: Iterator[tuple[Array, bool]]
    words: Sequence[SpokenWord]
    pause: int


class RunVoice(ABC):
    """A `tts.types.TextVoice` whose network makes a run of letters at once."""

    sample_rate: int
    most_letters: int  # in one run
    language = "en"
    takes_codes = False

    def open(self, speed: float = 1.0) -> TextUtterance:
        """Begin an answer."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`. The first chunk comes after one run of the network.

        Raises:
            ValueError: ``speed`` is outside 0.25 to 4.
        """
        check_speed(speed)
        return self._speak(text, speed)

    def _speak(self, text: str, speed: float) -> Iterator[AudioChunk]:
        script = self._read(text)
        if not script.letters:
            yield silent(script.words)
            return
        runs = script.runs(self.most_letters)
        yield from spoken((self._sound(run, speed) for run in runs), self.sample_rate)

    @abstractmethod
    def _read(self, text: str) -> Script: ...

    @abstractmethod
    def _sound(self, run: Run, speed: float) -> Sound: ...


def spoken(sounds: Iterator[Sound], rate: int) -> Iterator[AudioChunk]:
    """The chunks of a segment that is made in one run or more, at ``rate`` samples a second.

    Words end in order; the last of a run ends where its sound does, before the pause.
    """
    done = 0  # samples handed out
    for sound in sounds:
        base = done
        cut = 0  # silence that was cut off at the front
        words = list(sound.words)
        for piece, last in sound.pieces:
            audio = piece
            if done == base:
                audio, silence = _without_lead(audio, rate)
                cut += silence
            heard = done + len(audio)
            if last:
                audio, length = _with_tail(audio, sound.pause, rate)
                heard = done + length
            done += len(audio)
            ended = []
            while words and (
                last or (len(words) > 1 and words[0].end_sample - cut <= heard - base)
            ):
                word = words.pop(0)
                end = min(max(base + word.end_sample - cut, base), heard)
                ended.append(SpokenWord(word.text, end if words else heard))
            if len(audio) or ended:
                yield AudioChunk(audio, tuple(ended))


def silent(words: Sequence[str]) -> AudioChunk:
    """A segment in which there is nothing to say."""
    return AudioChunk(np.zeros(0, np.float32), tuple(SpokenWord(word, 0) for word in words))


def _without_lead(audio: Array, rate: int) -> tuple[Array, int]:
    """Cut the silence before the first sound and fade in; also how much was cut."""
    loud = np.flatnonzero(np.abs(audio) > _SILENCE)
    if not loud.size:
        return audio[:0], len(audio)
    cut = max(int(loud[0]) - _samples(_MARGIN_MS, rate), 0)
    fade = np.arange(len(audio) - cut, dtype=np.float32) / _samples(_FADE_MS, rate)
    return audio[cut:] * np.minimum(fade, 1), cut


def _with_tail(audio: Array, pause: int, rate: int) -> tuple[Array, int]:
    """Cut the silence after the last sound, fade out and pause; also the sound's length."""
    loud = np.flatnonzero(np.abs(audio) > _SILENCE)
    length = min(int(loud[-1]) + 1 + _samples(_MARGIN_MS, rate), len(audio)) if loud.size else 0
    fade = np.arange(length, 0, -1, dtype=np.float32) / _samples(_FADE_MS, rate)
    sound = audio[:length] * np.minimum(fade, 1)
    return np.concatenate([sound, np.zeros(pause, np.float32)]), length


def _samples(ms: int, rate: int) -> int:
    return rate * ms // 1000

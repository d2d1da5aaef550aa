"""A voice that an OpenAI-compatible speech endpoint makes, as it streams PCM.

How the endpoint is asked is given to it, so that it does no HTTP itself.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tts.errors import VoiceError
from tts.openai.pcm import SAMPLE_RATE_HZ, PcmReader
from tts.openai.word_times import Pace, WordTimes
from tts.text.unspoken import stand_in
from tts.types import MAX_SPEED, MIN_SPEED, AudioChunk, SpokenWord

Fetch = Callable[[dict[str, Any]], Iterator[bytes]]
"""Asks for speech: takes the request's fields and yields the bytes of the answer as they come, b""
now and then while none do. Closing it ends the request. It raises `VoiceError`."""

_STEP_SAMPLES = 480  # 20 ms: smaller pieces are joined
_SILENT = np.zeros(0, np.float32)
_MARKUP = re.compile(r"[*`]+|^\s*#+ ", re.MULTILINE)
# More sound than any text lasts: an endpoint that does not end.
_MOST_S, _MOST_S_PER_LETTER = 30.0, 1.0


class OpenAIVoice:
    """A voice of that ``name`` and ``model``. Word times are estimated (`SpokenWord`)."""

    sample_rate = SAMPLE_RATE_HZ
    takes_codes = False

    def __init__(self, fetch: Fetch, model: str, name: str, instructions: str = "") -> None:
        """``instructions``: how it is to speak, for models that obey some."""
        self._fetch = fetch
        self._fields: dict[str, Any] = {"model": model, "voice": name, "response_format": "pcm"}
        if instructions:
            self._fields["instructions"] = instructions

    def open(self, speed: float = 1.0) -> "OpenAIUtterance":
        """Begin an answer.

        Raises:
            ValueError: ``speed`` is outside 0.25 to 4.
        """
        if not MIN_SPEED <= speed <= MAX_SPEED:
            raise ValueError(f"speed must be {MIN_SPEED} to {MAX_SPEED}, not {speed}")
        fields = self._fields if speed == 1.0 else {**self._fields, "speed": speed}
        return OpenAIUtterance(self._fetch, fields, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`."""
        return self.open(speed).feed(text)


class OpenAIUtterance:
    """One answer; see `Utterance`. Its chunks without samples are pauses in which it waits."""

    def __init__(self, fetch: Fetch, fields: dict[str, Any], speed: float) -> None:
        self._fetch = fetch
        self._fields = fields
        self._pace = Pace(speed)
        self._spoken = 0  # samples in the segments before this one
        self._silent = ""  # text of an answer that has had no sound so far

    def feed(self, text: str, codes: Sequence[int] = ()) -> Iterator[AudioChunk]:
        """See `Utterance`.

        Raises:
            VoiceError: the endpoint cannot be reached, refuses, or sends no sound.
        """
        said = _MARKUP.sub("", text).strip()
        if not any(letter.isalnum() for letter in said):  # endpoints refuse it
            if not self._spoken:
                self._silent += text
            yield AudioChunk(_SILENT, (SpokenWord(text, self._spoken, is_estimated=True),))
            return
        times = WordTimes(text, self._pace)
        start = self._spoken
        for samples in self._samples(said):
            self._spoken += len(samples)
            yield AudioChunk(samples, _moved(times.feed(len(samples)), start))
        yield AudioChunk(_SILENT, _moved(times.finish(), start))

    def finish(self) -> Iterator[AudioChunk]:
        """See `Utterance`."""
        if self._spoken or not (said := stand_in(self._silent)):
            return
        for samples in self._samples(said):
            self._spoken += len(samples)
            yield AudioChunk(samples, ())  # the words were given with their segments

    def _samples(self, text: str) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
        """The sound of ``text``, in pieces of `_STEP_SAMPLES` or more but for the last."""
        reader, held, made = PcmReader(), _SILENT, 0
        most = (_MOST_S + _MOST_S_PER_LETTER * len(text)) * SAMPLE_RATE_HZ
        pieces = self._fetch({**self._fields, "input": text})
        try:
            for piece in pieces:
                if not piece:
                    yield _SILENT
                    continue
                held = np.concatenate([held, reader.feed(piece)])
                if len(held) >= _STEP_SAMPLES:
                    made += len(held)
                    yield held
                    held = _SILENT
                if made > most:
                    raise VoiceError("the voice's endpoint sends sound without an end")
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if not made and not len(held):
            raise VoiceError("the voice's endpoint sends no sound")
        yield held


def _moved(words: Sequence[SpokenWord], start: int) -> tuple[SpokenWord, ...]:
    return tuple(
        SpokenWord(word.text, start + word.end_sample, word.is_estimated) for word in words
    )

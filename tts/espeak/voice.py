"""espeak-ng as a voice: plain, and in a hundred languages. Opt-in, as `tts.g2p.espeak` is."""

import ctypes
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tts.clause import Sound, silent, spoken
from tts.g2p.espeak import language_of, library
from tts.text.normalize import normalize, prepare
from tts.text.pauses import pause_ms
from tts.types import AudioChunk, SpokenWord, TextUtterance, check_speed

_RATE, _WORDS_A_MINUTE = 1, 160  # the parameter, and its value at the natural rate
_SLOWEST, _FASTEST = 80, 450  # that it can do
_CHARACTERS, _UTF8, _END_PAUSE = 1, 1, 0x1000
_WORD_EVENT, _LIST_END = 1, 0
_CHUNK_S = 0.25


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class EspeakVoice:
    """A `tts.types.Voice`. ``name`` is a voice of espeak-ng, such as "de" or "fr+f2".

    Raises:
        ImportError: libespeak-ng is not on this system.
        ValueError: it has no such voice.
    """

    takes_codes = False

    def __init__(self, name: str) -> None:
        self._name = name
        self._library = library()
        self.sample_rate: int = self._library.sample_rate
        self.language = language_of(name)
        prepare(self.language)
        with self._library.speaking(name):
            pass  # it is there

    def open(self, speed: float = 1.0) -> TextUtterance:
        """Begin an answer."""
        return TextUtterance(self, speed)

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """See `tts.types.TextVoice`. A segment is made at once, which takes a hundredth of its
        length.

        Raises:
            ValueError: ``speed`` is outside 0.25 to 4.
        """
        check_speed(speed)
        return self._speak(text, speed)

    def _speak(self, text: str, speed: float) -> Iterator[AudioChunk]:
        tokens = normalize(text, language=self.language)
        said, starts = "", []  # where each token begins in what is said
        for token in tokens:
            starts.append(len(said))
            said += f"{token.spoken} " if token.spoken else ""
        if not any(c.isalnum() for c in said):
            yield silent([token.text for token in tokens])
            return
        audio, marks = self._synthesis(said, speed)
        ends = [_sample_at(marks, end, len(audio)) for end in (*starts[1:], len(said))]
        words = [SpokenWord(t.text, end) for t, end in zip(tokens, ends, strict=True)]
        pause = round(pause_ms(text) / speed) * self.sample_rate // 1000
        sound = Sound(self._pieces(audio), words, pause)
        yield from spoken(iter([sound]), self.sample_rate)

    def _synthesis(
        self, said: str, speed: float
    ) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
        """The sound, and where words begin in the text and in it."""
        pieces: list[NDArray[np.int16]] = []
        marks: list[tuple[int, int]] = []

        def came(wav: "ctypes._Pointer[ctypes.c_short]", count: int, events: object) -> int:
            if wav and count > 0:
                pieces.append(np.ctypeslib.as_array(wav, (count,)).copy())
            index = 0
            while (event := events[index]).type != _LIST_END:  # type: ignore[index]
                if event.type == _WORD_EVENT:
                    at = event.audio_position * self.sample_rate // 1000
                    marks.append((event.text_position - 1, at))
                index += 1
            return 0

        callback = _Callback(came)
        data = said.encode()
        rate = min(max(round(_WORDS_A_MINUTE * speed), _SLOWEST), _FASTEST)
        with self._library.speaking(self._name) as functions:
            functions.espeak_SetSynthCallback(callback)
            functions.espeak_SetParameter(_RATE, rate, 0)
            flags = _UTF8 | _END_PAUSE
            functions.espeak_Synth(data, len(data) + 1, 0, _CHARACTERS, 0, flags, None, None)
        whole = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        return whole.astype(np.float32) / np.float32(32768), marks

    def _pieces(self, audio: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], bool]]:
        size = round(_CHUNK_S * self.sample_rate)
        for start in range(0, max(len(audio), 1), size):
            yield audio[start : start + size], start + size >= len(audio)


def _sample_at(marks: list[tuple[int, int]], position: int, end: int) -> int:
    """Where in the sound the first word is that begins at a place of the text or behind it."""
    return next((sample for place, sample in marks if place >= position), end)

"""espeak-ng as the phonemizer. It is opt-in, because the library is GPL-3; it is not a dependency.

Piper voices were trained on its phonemes, so it is the reference to compare `tts.g2p.g2p` with,
and the only phonemizer for languages other than English.
"""

import ctypes
import ctypes.util
import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from tts.g2p.g2p import PUNCTUATION, WEAK_FORMS

_SYNCHRONOUS, _DONT_EXIT, _UTF8, _IPA = 2, 0x8000, 1, 0x02
_PIECES = re.compile(r"[^\s,.;:!?]+(?:\.[A-Z]'?s?)*|[,.;:!?]")
_CODES = {"cmn": "zh", "nb": "no"}  # as the ear calls these languages


def language_of(voice: str) -> str:
    """The code of the language that a voice of espeak-ng speaks: "fr-fr" and "fr+f2" -> "fr"."""
    code = re.split(r"[-+]", voice.lower(), maxsplit=1)[0]
    return _CODES.get(code, code)


class EspeakLibrary:
    """libespeak-ng. It has one global state, so its users take turns, each with its voice."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise ImportError("espeak-ng is not installed: its package is called libespeak-ng1")
        self._functions = ctypes.CDLL(path)
        self._functions.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lock = threading.Lock()
        self.sample_rate: int = self._functions.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT)
        if self.sample_rate < 0:
            raise ImportError("espeak-ng does not start: is its data (espeak-ng-data) installed?")

    @contextmanager
    def speaking(self, voice: str) -> Iterator[ctypes.CDLL]:
        """Its functions, while nobody else uses them.

        Raises:
            ValueError: it has no such voice.
        """
        with self._lock:
            if self._functions.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            yield self._functions


@lru_cache(1)
def library() -> EspeakLibrary:
    """The library of this system.

    Raises:
        ImportError: it is not there, or does not start.
    """
    return EspeakLibrary()


class Espeak:
    """A `tts.g2p.g2p.Phonemizer`.

    Raises:
        ImportError: libespeak-ng is not on this system.
        ValueError: it has no such voice.
    """

    def __init__(self, voice: str = "en-us") -> None:
        self._library = library()
        self._voice = voice
        self._weak = WEAK_FORMS if language_of(voice) == "en" else {}
        with self._library.speaking(voice):
            pass  # it is there

    def __call__(self, spoken: Sequence[str]) -> list[str]:
        """Speak word by word, so that each keeps its place: in clauses espeak joins words."""
        with self._library.speaking(self._voice) as functions:
            return [self._item(text, functions) for text in spoken]

    def _item(self, text: str, functions: ctypes.CDLL) -> str:
        sounds = ""
        for piece in _PIECES.findall(text):
            if piece in PUNCTUATION:
                sounds += piece
                continue
            word = self._weak.get(piece.lower()) or _word(piece.replace(".", " "), functions)
            if word:
                sounds += f" {word}" if sounds else word
        return sounds


def _word(word: str, functions: ctypes.CDLL) -> str:
    buffer = ctypes.create_string_buffer(word.encode())
    start = ctypes.c_void_p(ctypes.addressof(buffer))
    sounds = functions.espeak_TextToPhonemes(ctypes.byref(start), _UTF8, _IPA) or b""
    return unicodedata.normalize("NFD", sounds.decode().strip())

"""espeak-ng as the phonemizer. It is opt-in, because the library is GPL-3; it is not a dependency.

The voice was trained on its phonemes, so it is the reference to compare `tts.g2p.g2p` with.
"""

import ctypes
import ctypes.util
import re
import threading
import unicodedata
from collections.abc import Sequence

from tts.g2p.g2p import PUNCTUATION, WEAK_FORMS

_SYNCHRONOUS, _DONT_EXIT, _UTF8, _IPA = 2, 0x8000, 1, 0x02
_PIECES = re.compile(r"[^\s,.;:!?]+(?:\.[A-Z]'?s?)*|[,.;:!?]")


class Espeak:
    """A `tts.g2p.g2p.Phonemizer`. The library has one global state, so calls take turns.

    Raises:
        ImportError: libespeak-ng is not on this system.
        ValueError: it has no such voice.
    """

    def __init__(self, voice: str = "en-us") -> None:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise ImportError("espeak-ng is not installed: its package is called libespeak-ng1")
        self._library = ctypes.CDLL(path)
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lock = threading.Lock()
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT) < 0:
            raise ImportError("espeak-ng does not start: is its data (espeak-ng-data) installed?")
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")

    def __call__(self, spoken: Sequence[str]) -> list[str]:
        """Speak word by word, so that each keeps its place: in clauses espeak joins words."""
        with self._lock:
            return [self._item(text) for text in spoken]

    def _item(self, text: str) -> str:
        sounds = ""
        for piece in _PIECES.findall(text):
            if piece in PUNCTUATION:
                sounds += piece
            elif word := WEAK_FORMS.get(piece.lower()) or self._word(piece.replace(".", " ")):
                sounds += f" {word}" if sounds else word
        return sounds

    def _word(self, word: str) -> str:
        buffer = ctypes.create_string_buffer(word.encode())
        start = ctypes.c_void_p(ctypes.addressof(buffer))
        sounds = self._library.espeak_TextToPhonemes(ctypes.byref(start), _UTF8, _IPA) or b""
        return unicodedata.normalize("NFD", sounds.decode().strip())

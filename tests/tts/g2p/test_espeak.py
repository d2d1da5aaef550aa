import ctypes.util

import pytest

from tts.g2p import espeak
from tts.g2p.espeak import Espeak


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(espeak, "library", espeak.EspeakLibrary)
    with pytest.raises(ImportError, match="libespeak-ng1"):
        Espeak()


@pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is an opt-in, not installed"
)
def test_pronounces_word_by_word() -> None:
    espeak = Espeak()
    assert espeak(["Hello", "the world.", "", "cats, dogs"]) == [
        "həlˈoʊ",
        "ðə wˈɜːld.",
        "",
        "kˈæts, dˈɑːɡz",
    ]
    with pytest.raises(ValueError, match="no-such-voice"):
        Espeak("no-such-voice")

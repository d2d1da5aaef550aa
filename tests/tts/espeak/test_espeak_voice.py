"""The voice of espeak-ng, where it is installed."""

import ctypes.util

import numpy as np
import pytest

from tts.espeak.voice import EspeakVoice
from tts.g2p.espeak import Espeak, language_of

pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is an opt-in, not installed"
)
TEXT = "Um 14:30 sind es 21 Grad, sagt er. Gut!"


def test_words_end_in_order_where_their_sound_does() -> None:
    chunks = list(EspeakVoice("de").synthesize(TEXT))
    words = [word for chunk in chunks for word in chunk.words]
    assert "".join(word.text for word in words) == TEXT
    ends = [word.end_sample for word in words]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert ends == sorted(ends)
    assert 0 < ends[0] < ends[1] < ends[-1] <= len(samples)
    # "vierzehn Uhr dreißig" takes longer than a word.
    assert ends[1] - ends[0] > 4 * ends[0]
    assert len(chunks) > 2


def test_it_speaks_faster_if_asked() -> None:
    def seconds(speed: float) -> int:
        return sum(len(chunk.samples) for chunk in EspeakVoice("de").synthesize(TEXT, speed))

    assert seconds(1.0) / seconds(2.0) == pytest.approx(2.0, rel=0.2)


def test_users_of_the_library_take_turns_with_their_voices() -> None:
    german, english = EspeakVoice("de"), Espeak("en-us")
    before = english(["Hello"])
    first, *_ = german.synthesize("Haus")
    assert english(["Hello"]) == before
    again, *_ = german.synthesize("Haus")
    assert len(first.samples) == len(again.samples)  # its breath is drawn anew each time
    assert Espeak("de")(["der Chef"]) != english(["der Chef"])


def test_nothing_to_say_is_silent() -> None:
    (chunk,) = EspeakVoice("de").synthesize("... ")
    assert not len(chunk.samples)
    assert "".join(word.text for word in chunk.words) == "... "


def test_a_voice_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="no-such-voice"):
        EspeakVoice("no-such-voice")


def test_the_language_of_a_voice() -> None:
    assert [language_of(name) for name in ("de", "fr-fr", "en-us+f3", "cmn")] == [
        "de",
        "fr",
        "en",
        "zh",
    ]

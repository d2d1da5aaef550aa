"""The default voice, its real network included: words, times, silence, unusual texts."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from duplex.audio.resample import resample
from engine.ear.whisper import WhisperEar
from tts.g2p.g2p import G2P
from tts.hibari.vocoder import FRAME_SAMPLES
from tts.hibari.voice import FIRST_FRAMES, PIECE_FRAMES, HibariVoice
from tts.types import AudioChunk

TEXTS = (
    "Sure.", "Well,", "No!", "Why?", "I", "a", "7", "The capital of France", "is Paris.",
    "Hello there, how are you?", "It's 10:30 pm.", "Your code is 4 8 1 5 1 6.", "O.K.",
    "  leading space", "trailing space  ", "two\nlines here\n", '"Quoted," he said.',
    "(in brackets)", "a-b $3.50!", "The temperature is -5°C.", "Call 555-123-4567 now.",
    "e-mail help@example.com", "C# and .NET", "AT&T", "CO₂", "1/2 cup", "3:45", "2026-11-28",
    "Łódź and Ørsted", "naïve café", "𝒻𝒶𝓃𝒸𝓎", "well… maybe", "one — two", "semi; colon: done.",
    "😀 fun 😀", "**bold** text", "`code` here", "a, b, c, d", "the the the", "Zzzz", "hmm",
    "Supercalifragilisticexpialidocious", "qwrtp", "X", "12,345,678.90", "Dr. Smith vs. Mr. Jones",
    "World War II", "50% off!", "yes/no", "Go to https://example.com/a?b=c now.",
)  # fmt: skip


@pytest.fixture(scope="module")
def voice(models: Callable[[str], Path]) -> HibariVoice:
    return HibariVoice(models("hibari-heart") / "hibari.onnx", G2P(models("g2p-en")))


def joined(chunks: Sequence[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def ends(chunks: Sequence[AudioChunk]) -> list[int]:
    return [word.end_sample for chunk in chunks for word in chunk.words]


def test_words_of_any_text_are_timed_in_order_up_to_the_end_of_the_sound(
    voice: HibariVoice,
) -> None:
    assert len(TEXTS) == 50
    for text in TEXTS:
        chunks = list(voice.synthesize(text))
        assert "".join(word.text for chunk in chunks for word in chunk.words) == text
        times, audio = ends(chunks), joined(chunks)
        assert times == sorted(times), text
        loud = np.flatnonzero(np.abs(audio) > 0.004)
        assert loud[0] <= 0.015 * voice.sample_rate, text
        assert 0 <= times[-1] - int(loud[-1]) <= 0.015 * voice.sample_rate, text
        assert not audio[times[-1] :].any(), text
        assert np.abs(audio).max() <= 1
        made = 0
        for chunk in chunks:
            assert all(made <= word.end_sample for word in chunk.words[:1]), text
            made += len(chunk.samples)
            assert all(word.end_sample <= made for word in chunk.words), text


def test_the_first_piece_is_short_and_none_is_long(voice: HibariVoice) -> None:
    chunks = list(voice.synthesize("The quick brown fox jumps over the lazy dog, " * 3))
    sizes = [len(chunk.samples) // FRAME_SAMPLES for chunk in chunks]
    assert sizes[0] <= FIRST_FRAMES
    assert max(sizes[1:-1]) <= PIECE_FRAMES
    steps = [abs(float(b.samples[0] - a.samples[-1])) for a, b in pairwise(chunks)]
    assert max(steps) < 0.1


def test_pauses_as_the_punctuation_asks(voice: HibariVoice) -> None:
    def pause_ms(text: str, speed: float = 1.0) -> float:
        chunks = list(voice.synthesize(text, speed))
        return (len(joined(chunks)) - ends(chunks)[-1]) * 1000 / voice.sample_rate

    assert pause_ms("He came home.") == pytest.approx(280, abs=1)
    assert pause_ms("He came home,") == pytest.approx(120, abs=1)
    assert pause_ms("He came home") == pytest.approx(20, abs=1)
    assert pause_ms("He came home.", 2.0) == pytest.approx(140, abs=1)


def test_a_segment_begins_and_ends_without_a_click(voice: HibariVoice) -> None:
    for text in ("Take it.", "Apples", "seven"):
        chunks = list(voice.synthesize(text))
        audio = joined(chunks)
        sound = audio[: ends(chunks)[-1]]
        assert abs(sound[0]) < 0.004
        assert abs(sound[-1]) < 0.004


@pytest.mark.parametrize("text", ["", " ", "😀", "...", "```\ncode\n```", "\n\n"])
def test_what_cannot_be_said_is_accounted_for_without_audio(voice: HibariVoice, text: str) -> None:
    chunks = list(voice.synthesize(text))
    assert "".join(word.text for chunk in chunks for word in chunk.words) == text
    assert not joined(chunks).size


def test_speed_scales_length(voice: HibariVoice) -> None:
    text = "The highest mountain in the world is Mount Everest."
    speeds = (0.25, 0.5, 1.0, 1.5, 4.0)
    lengths = [len(joined(list(voice.synthesize(text, speed)))) for speed in speeds]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[1] == pytest.approx(2 * lengths[2], rel=0.15)
    assert lengths[3] == pytest.approx(lengths[2] / 1.5, rel=0.15)


def test_refuses_a_senseless_speed_at_once(voice: HibariVoice) -> None:
    with pytest.raises(ValueError, match="speed must be"):
        voice.synthesize("abc", 5.0)


def test_the_same_text_sounds_the_same(voice: HibariVoice) -> None:
    first, again = (joined(list(voice.synthesize("Same."))) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_text_longer_than_the_network_takes_is_said_in_runs(voice: HibariVoice) -> None:
    text = "0123456789" * 25 + " and " + "8 " * 60 + "end."
    chunks = list(voice.synthesize(text))
    assert "".join(word.text for chunk in chunks for word in chunk.words) == text
    times = ends(chunks)
    assert times == sorted(times)
    assert times[-1] > 60 * voice.sample_rate


def test_sounds_that_the_network_does_not_know_are_left_out(
    models: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    def phonemizer(spoken: Sequence[str]) -> list[str]:
        return ["ʘh\u0000ɛlǃoʊ" if text else "" for text in spoken]

    caplog.set_level("INFO")
    odd = HibariVoice(models("hibari-heart") / "hibari.onnx", phonemizer)
    assert joined(list(odd.synthesize("hello"))).size
    assert re.search("left out 3 letters", caplog.text)


@pytest.mark.slow
def test_words_end_where_they_are_heard_to_end(voice: HibariVoice, ear: WhisperEar) -> None:
    """Cut at the end of a word, the audio holds the words up to it and not the next."""
    chunks = list(voice.synthesize("Apples, bananas, oranges, cherries, potatoes and tomatoes."))
    for count in (2, 3, 4):
        heard = joined(chunks)[: ends(chunks)[count - 1]]
        heard = np.pad(heard, (0, voice.sample_rate // 2))  # else the ear repeats itself
        text = ear.transcribe(resample(heard, voice.sample_rate, 16_000)).lower()
        assert re.findall(r"[a-z]+", text) == ["apples", "bananas", "oranges", "cherries"][:count]

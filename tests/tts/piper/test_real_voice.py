"""The real voice: exactness of streaming, sanity of the signal, intelligibility."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from client.bench.word_errors import wer
from duplex.audio.resample import resample
from engine.ear.whisper import WhisperEar
from tts.g2p.g2p import G2P
from tts.piper import voice as piper
from tts.piper.split import split
from tts.piper.voice import PiperVoice
from tts.text.normalize import normalize
from tts.text.segment import Segmenter
from tts.types import AudioChunk

pytestmark = pytest.mark.slow

ANSWERS = (
    "Sure! The capital of France is Paris, which has about 2.1 million people.",
    "Water boils at 100°C, or 212°F, at sea level.",
    "The train leaves at 10:30 pm, and the trip takes about 6 hours.",
    "Your order comes to $23.50, including $1.99 for shipping.",
    "World War II ended on September 2, 1945, after six long years.",
    "To make pancakes, you need 2 cups of flour, 3 eggs, and 1 1/2 cups of milk.",
    "The Earth is roughly 150 million km from the Sun, so light takes 8 minutes to reach us.",
    "I'd recommend walking for 20–30 minutes a day; it's good for your heart.",
    "Well, that depends on what you like: beaches, mountains, or big cities.",
    "Call 555-123-4567 if you need help, or send an email to help@example.com.",
    "**Photosynthesis** is the process by which plants turn sunlight into sugar & oxygen.",
    "First, preheat the oven to 350°F. Then bake the cookies for 12 minutes.",
    "I'm sorry, I don't know the answer to that question, but I can help you find it.",
    "The heart pumps blood through your body, carrying oxygen and nutrients to every cell.",
    "Machine learning lets computers learn patterns from data without being programmed.",
    "She has lived there since the 1990s, and she records music at home.",
    "The FBI and the CIA are agencies of the U.S. government.",
)


@pytest.fixture(scope="module")
def voice(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> PiperVoice:
    target = tmp_path_factory.mktemp("joe") / "parts"
    (source,) = models("piper-joe").glob("*.onnx")
    split(source, target)
    return PiperVoice(target, G2P(models("g2p-en")))


def joined(chunks: Sequence[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def answer(voice: PiperVoice, text: str) -> list[AudioChunk]:
    segmenter = Segmenter()
    segments = segmenter.feed(text) + segmenter.finish()
    return [chunk for segment in segments for chunk in voice.synthesize(segment)]


def speech(text: str) -> str:
    """The words as they are said, initials apart, so that spelling does not count as an error."""
    said = " ".join(token.spoken for token in normalize(text)).lower()
    return re.sub(r"(?<=\b[a-z])\.(?=[a-z]\b)", " ", said)


def test_streamed_equals_whole_within_100_db(
    voice: PiperVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it does that again."
    streamed = list(voice.synthesize(text))
    monkeypatch.setattr(piper, "FIRST_FRAMES", 10_000)
    (whole,) = voice.synthesize(text)
    difference = joined(streamed) - whole.samples
    assert len(streamed) > 3
    assert np.abs(difference).max() < 1e-4
    assert np.mean(difference**2) <= 1e-10 * np.mean(whole.samples**2)


def test_speech_starts_at_once_and_the_signal_is_sane(voice: PiperVoice) -> None:
    for text in ANSWERS[:6]:
        audio = joined(list(voice.synthesize(text)))
        first_ms = 1000 * int(np.flatnonzero(np.abs(audio) > 0.01)[0]) / voice.sample_rate
        assert first_ms <= 30
        assert 0.2 < np.abs(audio).max() < 1
        assert abs(audio.mean()) < 1e-3
        assert np.abs(np.diff(audio)).max() < 0.5


def test_words_end_where_they_are_heard_to_end(
    voice: PiperVoice, models: Callable[[str], Path]
) -> None:
    """Cut at the end of a word, the audio holds the words up to it and not the next."""
    ear = WhisperEar(models("whisper-base"))
    chunks = list(voice.synthesize("Apples, bananas, oranges, cherries, potatoes and tomatoes."))
    words = [word for chunk in chunks for word in chunk.words]
    for count in (2, 3, 4):
        heard = joined(chunks)[: words[count - 1].end_sample]
        text = ear.transcribe(resample(heard, voice.sample_rate, 16_000)).lower()
        assert re.findall(r"[a-z]+", text) == ["apples", "bananas", "oranges", "cherries"][:count]


def test_answers_are_understood(voice: PiperVoice, models: Callable[[str], Path]) -> None:
    ear = WhisperEar(models("whisper-base"))
    pairs = []
    for text in ANSWERS:
        chunks = answer(voice, text)
        assert "".join(word.text for chunk in chunks for word in chunk.words) == text
        heard = ear.transcribe(resample(joined(chunks), voice.sample_rate, 16_000))
        pairs.append((speech(text), speech(re.sub(r"(\d)\.(\d\d ?[ap]m)", r"\1:\2", heard))))
    errors = wer(pairs)
    assert errors.words >= 200
    assert errors.rate <= 0.05, [pair for pair in pairs if wer([pair]).edits]

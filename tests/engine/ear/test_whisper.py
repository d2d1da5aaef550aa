"""The recogniser with its real weights, on speech made by the project's own voice."""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.bench.word_errors import normalize_words, wer
from engine.ear.whisper import CLIP_SAMPLES, WhisperEar
from engine.features import SAMPLE_RATE_HZ, Float32

DATA = Path(__file__).parents[1] / "data"
QUESTIONS = {
    "question_capital": "What is the capital of France?",
    "question_apples": "I have two apples and I buy three more. How many apples do I have now?",
    "question_ocean": "What is the largest ocean in the world?",
}


def recording(name: str) -> Float32:
    with wave.open(str(DATA / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return (pcm / 32768.0).astype(np.float32)


@pytest.fixture(scope="module", params=["whisper-tiny.en", "whisper-base"])
def ear(request: pytest.FixtureRequest, models: Callable[[str], Path]) -> WhisperEar:
    return WhisperEar(models(request.param))


def noises() -> dict[str, Float32]:
    rng = np.random.default_rng(7)
    samples = 3 * SAMPLE_RATE_HZ
    t = np.arange(samples) / SAMPLE_RATE_HZ
    spectrum = np.fft.rfft(rng.normal(size=samples))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1.0), samples)
    clicks = rng.normal(0, 5e-4, samples)
    for at in rng.integers(0, samples - 200, 7):
        clicks[at : at + 200] += 0.5 * np.exp(-np.arange(200) / 30) * rng.normal(size=200)
    cough = rng.normal(0, 1e-3, samples)
    cough[8_000:11_000] += 0.2 * np.hanning(3_000) * rng.normal(size=3_000)
    kinds = {
        "silence": np.zeros(samples),
        "faint white": rng.normal(0, 1e-3, samples),
        "loud white": rng.normal(0, 0.1, samples),
        "pink": 0.1 * pink / pink.std(),
        "mains hum": 0.1 * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in (1, 2, 3, 5)),
        "clicks": clicks,
        "cough": cough,
        "beep": 0.2 * np.sin(2 * np.pi * 1000 * t),
        "nothing": np.zeros(0),
        "10 ms": np.zeros(160),
    }
    return {name: pcm.astype(np.float32) for name, pcm in kinds.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_are_understood(ear: WhisperEar, name: str) -> None:
    text = ear.transcribe(recording(name))
    assert normalize_words(text) == normalize_words(QUESTIONS[name])


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.05, 1.0])
def test_faint_noise_and_level_do_not_matter(ear: WhisperEar, gain: float) -> None:
    rng = np.random.default_rng(3)
    pairs = []
    for name, reference in QUESTIONS.items():
        pcm = recording(name) * gain
        noisy = pcm + rng.normal(0, 1e-3 * gain, len(pcm))
        pairs.append((reference, ear.transcribe(noisy.astype(np.float32))))
    assert wer(pairs).rate <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", noises())
def test_noise_says_nothing(ear: WhisperEar, name: str) -> None:
    assert ear.transcribe(noises()[name]) == ""


@pytest.mark.slow
def test_long_audio_is_heard_to_its_end(ear: WhisperEar) -> None:
    """Three questions with pauses of 13 s: two windows."""
    pause = np.random.default_rng(5).normal(0, 3e-4, 13 * SAMPLE_RATE_HZ).astype(np.float32)
    parts: list[Float32] = []
    for name in QUESTIONS:
        parts += [recording(name), pause]
    pcm = np.concatenate(parts)
    assert len(pcm) > CLIP_SAMPLES
    assert wer([(" ".join(QUESTIONS.values()), ear.transcribe(pcm))]).edits <= 2


@pytest.mark.slow
@pytest.mark.parametrize("samples", [CLIP_SAMPLES - 4_800, CLIP_SAMPLES])
def test_a_whole_window_fits(ear: WhisperEar, samples: int) -> None:
    speech = recording("question_ocean")
    pcm = np.concatenate([np.zeros(samples - len(speech), np.float32), speech])
    assert normalize_words(ear.transcribe(pcm)) == normalize_words(QUESTIONS["question_ocean"])


@pytest.mark.slow
def test_same_audio_same_text_whatever_came_before(ear: WhisperEar) -> None:
    """The recogniser keeps nothing of a call."""
    first = ear.decode(recording("question_capital"))
    ear.decode(recording("question_apples"))
    assert ear.decode(recording("question_capital")) == first


@pytest.mark.slow
def test_english_model_refuses_other_languages(models: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="English only"):
        WhisperEar(models("whisper-tiny.en"), language="de")
    with pytest.raises(ValueError, match="no such language"):
        WhisperEar(models("whisper-base"), language="xx")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model\.bin"):
        WhisperEar(tmp_path)

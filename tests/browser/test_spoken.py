"""A conversation with real models in a real browser: it is asked aloud, and interrupted aloud."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from duplex.audio.resample import resample
from duplex.cli.recordings import speaker
from duplex.config import Config
from engine.ear.whisper import WhisperEar
from tests._support.browser import CHROMIUM, DRIVER, Page, browser, write_wav
from tests._support.served import real_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
    pytest.mark.timeout(900),
]
AUDIBLE = 0.003


@pytest.fixture(scope="module")
def speak() -> Callable[[str], NDArray[np.float32]]:
    return speaker(Config())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server process with the default models."""
    with real_server() as found:
        yield found


def wav(path: Path, *parts: NDArray[np.float32] | float) -> Path:
    """What is said, and between it seconds of silence."""
    samples = [np.zeros(int(24_000 * p), np.float32) if isinstance(p, float) else p for p in parts]
    write_wav(path, np.concatenate(samples))
    return path


def quiet(page: Page) -> bool:
    return page.activity() == "listening"


def test_it_asks_aloud_and_hears_the_answer(
    address: str,
    speak: Callable[[str], NDArray[np.float32]],
    models: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    question = wav(tmp_path / "q.wav", 3.0, speak("What is the capital of France?"), 30.0)
    with browser(address, microphone=question) as page:
        page.open()
        page.click("#talk")
        page.until(lambda: "Paris" in "".join(page.texts(".answer .heard")), "the answer")
        page.until(lambda: quiet(page), "its end")
        assert "capital of France" in page.texts(".caller .said")[0]
        assert "Buffer and speaker" in page.texts(".timing[open] svg text")
        rate_hz, played = page.recording("out")
        assert page.js("return duplexTest.problems") == []
    ear = WhisperEar(models("whisper-tiny.en"), threads=2)
    heard = ear.transcribe(resample(played, rate_hz, 16_000))
    # The small ear takes "Paris" for "purse" at times, and a busy machine stutters.
    assert "capital" in heard or "France" in heard, heard


def test_an_interruption_silences_it(
    address: str, speak: Callable[[str], NDArray[np.float32]]
) -> None:
    story = speak("Tell me a long story about a fox who wants to see the ocean.")
    stop = speak("Wait, stop. What is the capital of France?")
    with browser(address, mouth=True) as page:
        page.open()
        page.click("#talk")
        page.until(lambda: quiet(page), "the call")
        page.say(story)
        # Sooner, it would be the same turn that goes on.
        page.until(lambda: len("".join(page.texts(".answer .heard")).split()) > 6, "the story")
        page.say(stop)
        page.until(lambda: page.events("local.cut"), "the interruption")
        page.until(lambda: "Paris" in page.texts(".answer .heard")[-1], "the other answer")
        page.until(lambda: quiet(page), "its end")
        rate_hz, played = page.recording("out")
        notices = page.js("return duplexTest.playout")
        told = [text.endswith("interrupted") for text in page.texts(".answer .said")]
        # How many answers there are depends on how soon "Wait, stop." is understood.
        assert any(told), told
        assert not told[-1], told
    cut_s = next(n["time"] for n in notices if n["kind"] == "flushed" and n["cut"])
    heard_s = [n["time"] for n in notices if n["kind"] == "audible"]
    before, after = (played[: round(cut_s * rate_hz)], played[round((cut_s + 0.02) * rate_hz) :])
    assert np.abs(before).max() > 0.05
    next_s = min(at for at in heard_s if at > cut_s)
    silence = after[: round((next_s - cut_s - 0.02) * rate_hz) - 1]
    assert np.abs(silence).max() < AUDIBLE, "nothing of the old answer is heard after the cut"

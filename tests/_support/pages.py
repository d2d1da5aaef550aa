"""What the tests of the page share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys as Key

from duplex.config import Config, ServerConfig
from duplex.testing.engine import Script
from engine.types import Speech
from tests._support.browser import CHROMIUM, DRIVER, Page, write_wav

IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
]
KEY = "a-key-of-some-length"
ANSWER = (Speech("It is ten. "), Speech("Time for tea."))
STORY = tuple(Speech(f"This is sentence {n} of it. ") for n in range(40))
SCRIPT = Script(says=(ANSWER,), ear_s=0.01, piece_s=0.01)
Opened = Callable[..., Page]


def config(**options: Any) -> Config:
    return Config(server=ServerConfig(port=0, **options))


def call(page: Page) -> None:
    page.click("#talk")
    page.until(lambda: page.activity() == "listening", "the call")


def write(page: Page, text: str) -> None:
    page.find("#text").send_keys(text, Key.ENTER)


def ask_for_a_story(page: Page) -> None:
    """Returns when its beginning was heard."""
    call(page)
    page.say(noise(1.5))
    page.until(lambda: "sentence 0" in "".join(heard(page)), "the answer")


def heard(page: Page) -> list[str]:
    return page.texts(".answer .heard")


def problem(page: Page) -> str:
    page.until(lambda: page.texts("#problem"), "a problem")
    return " ".join(page.texts("#problem > div"))


def spoken(path: Path, *pieces: tuple[float, float]) -> Path:
    """A wav of (silence, sound) in seconds."""
    parts = [(np.zeros(int(24_000 * silence_s)), noise(sound_s)) for silence_s, sound_s in pieces]
    write_wav(path, np.concatenate([one for pair in parts for one in pair]))
    return path


def noise(seconds: float) -> NDArray[np.float64]:
    """Noise in syllables: a steady one would be taken out by the browser's noise suppression."""
    count = int(24_000 * seconds)
    syllables = 0.3 + 0.7 * np.sin(2 * np.pi * 4 * np.arange(count) / 24_000) ** 2
    return 0.6 * syllables * np.random.default_rng(0).uniform(-1, 1, count)

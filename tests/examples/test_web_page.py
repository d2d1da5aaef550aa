"""The talk button in a page of another site, in a real browser, over WebRTC."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duplex.config import AccessConfig, Config, ServerConfig
from duplex.server.keys import load_keys
from duplex.testing.engine import Script
from tests._support.browser import CHROMIUM, DRIVER, browser, write_wav
from tests._support.served import Served, served

FOLDER = Path(__file__).parents[2] / "examples" / "web_page"
KEY = "a-key-of-enough-characters"
CONFIG = Config(server=ServerConfig(port=0))
SCRIPT = Script(ear_s=0.01, piece_s=0.01)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
]


@contextlib.contextmanager
def site(server: Served, key: str = KEY) -> Iterator[str]:
    """The example's site as a process of its own; gives its address."""
    with subprocess.Popen(
        [sys.executable, str(FOLDER / "site.py"), "0"],
        env={**os.environ, "DUPLEX_SERVER": server.address, "DUPLEX_API_KEY": key},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextlib.contextmanager
def serving() -> Iterator[Served]:
    with served(CONFIG, SCRIPT, load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY})) as server:
        yield server


def test_a_visitor_talks_from_a_page_elsewhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    syllables = 0.3 + 0.7 * np.sin(2 * np.pi * 4 * np.arange(36_000) / 24_000) ** 2
    sound = 0.6 * syllables * rng.uniform(-1, 1, 36_000)
    question = tmp_path / "question.wav"
    write_wav(question, np.concatenate([np.zeros(144_000), sound, np.zeros(360_000)]))
    with (
        serving() as server,
        site(server) as address,
        browser(address, microphone=question) as page,
    ):
        page.driver.get(address)
        page.click("#talk")
        page.until(lambda: len(page.texts("#said li")) >= 3, "an answer")
        page.until(lambda: page.texts("#said li")[2] == "We: It is ten. Time for tea.", "all of it")
        greeting, asked, _ = page.texts("#said li")
        assert greeting == "We: Doctor Ng's practice. What can I do for you?"
        assert asked == "You: What time is it?"
        page.until(
            lambda: page.js("return document.getElementById('sound').currentTime > 1"), "sound"
        )
        page.click("#talk")
        page.until(lambda: page.texts("#talk") == ["Talk to us"], "the end")
        page.until(lambda: not server.running.server.calls, "the server's end of the call")


@pytest.mark.parametrize(
    ("key", "allowed", "reason"),
    [(KEY, False, "denied"), ("another-key-than-the-server's", True, "unauthorized")],
)
def test_a_visitor_reads_why_it_failed(key: str, allowed: bool, reason: str) -> None:
    with (
        serving() as server,
        site(server, key) as address,
        browser(address, allowed=allowed) as page,
    ):
        page.driver.get(address)
        page.click("#talk")
        page.until(lambda: page.texts("#state") != [""], "the reason")
        assert reason in page.texts("#state")[0].lower()
        assert page.texts("#talk") == ["Talk to us"]


def test_the_page_stays_short() -> None:
    assert len((FOLDER / "index.html").read_text().splitlines()) <= 60

"""The call button in a page of another site, in a real browser."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from duplex.config import Config, ServerConfig
from duplex.testing.engine import Script
from tests._support.browser import CHROMIUM, DRIVER, browser, write_wav
from tests._support.served import served

WRITTEN = "http://127.0.0.1:8765"
PAGE = Path(__file__).parents[2] / "examples" / "web_page"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its driver"),
]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Tests need no log of requests."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A copy of the example's folder, served from a port of its own."""
    copy = shutil.copytree(PAGE, tmp_path / "web_page")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(copy))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def point(folder: Path, address: str) -> None:
    """Write the server's address into the copied page, as its owner would."""
    page = folder / "web_page" / "index.html"
    text = page.read_text()
    assert text.count(f'const SERVER = "{WRITTEN}"') == 1
    page.write_text(text.replace(WRITTEN, address))


def test_a_visitor_talks_from_a_page_elsewhere(site: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    syllables = 0.3 + 0.7 * np.sin(2 * np.pi * 4 * np.arange(36_000) / 24_000) ** 2
    sound = 0.6 * syllables * rng.uniform(-1, 1, 36_000)
    question = tmp_path / "question.wav"
    write_wav(question, np.concatenate([np.zeros(72_000), sound, np.zeros(360_000)]))
    script = Script(ear_s=0.01, piece_s=0.01)
    with (
        served(Config(server=ServerConfig(port=0)), script) as server,
        browser(site, microphone=question) as page,
    ):
        point(tmp_path, server.address)
        page.driver.get(site)
        page.until(lambda: page.js("return document.body.dataset.ready"), "the page")
        page.click("#talk")
        page.until(lambda: len(page.texts("#said li")) >= 2, "an answer")
        said = sorted(page.texts("#said li"))
        assert said[-1] == "You: What time is it?"
        assert said[0].startswith("We: It is ten.")
        page.click("#talk")
        page.until(lambda: page.texts("#talk") == ["Talk to us"], "the end")


def test_the_address_names_no_server(site: str, tmp_path: Path) -> None:
    evil = tmp_path / "web_page" / "evil" / "app"
    evil.mkdir(parents=True)
    (evil / "realtime.js").write_text(
        "document.body.dataset.owned = 'yes'; export let RealtimeCall;"
    )
    with served(Config(server=ServerConfig(port=0))) as server, browser(site) as page:
        point(tmp_path, server.address)
        page.driver.get(f"{site}/?server={quote(f'{site}/evil', safe='')}")
        page.until(lambda: page.js("return document.body.dataset.ready"), "the page")
        assert page.js("return document.body.dataset.owned ?? null") is None


def test_a_visitor_reads_why_it_failed(site: str, tmp_path: Path) -> None:
    with (
        served(Config(server=ServerConfig(port=0))) as server,
        browser(site, allowed=False) as page,
    ):
        point(tmp_path, server.address)
        page.driver.get(site)
        page.until(lambda: page.js("return document.body.dataset.ready"), "the page")
        page.click("#talk")
        page.until(lambda: page.texts("#state") == ["We are listening."], "the call")
        page.until(lambda: "microphone is not allowed" in page.texts("#problem")[0], "the reason")
        server.stop()
        page.until(lambda: page.texts("#talk") == ["Talk to us"], "the end")
        assert "The server is stopping" in page.texts("#problem")[0]

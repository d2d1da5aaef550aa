"""The page of calls in a real browser, over recordings that a real server made."""

import hashlib
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys as Key

from duplex.config import Config, RecordingConfig, ServerConfig
from duplex.server.keys import Keys, Principal
from duplex.server.quota import Allowance
from tests._support.browser import Page
from tests._support.pages import ANSWER, IN_A_BROWSER, SCRIPT, Opened, call, heard, noise
from tests._support.served import served

pytestmark = IN_A_BROWSER

ADMIN = "a key of whoever runs the server"
ADMINS = Keys({}, Principal("", Allowance()), hashlib.sha256(ADMIN.encode()).digest())
WORDS = "".join(piece.text for piece in ANSWER)


def hold_a_call(page: Page) -> None:
    call(page)
    page.say(noise(1.5))
    page.until(lambda: heard(page) == [WORDS], "the answer")
    page.until(lambda: page.activity() == "listening", "the end of the answer")


def log_in(page: Page) -> None:
    page.until(lambda: page.js("return document.querySelector('#key-dialog')?.open"), "the dialog")
    page.find("#key").send_keys("another key that is wrong", Key.ENTER)
    page.until(lambda: "does not know" in page.find("#key-why").text, "the refusal")
    page.find("#key").send_keys(ADMIN, Key.ENTER)
    page.until(lambda: page.js("return document.body.dataset.view") == "list", "the list")


@pytest.mark.parametrize("root", ["", "/voice"])
def test_calls_are_listed_heard_and_deleted(opened: Opened, tmp_path: Path, root: str) -> None:
    config = Config(
        server=ServerConfig(port=0, root_path=root),
        recording=RecordingConfig(dir=str(tmp_path / "calls")),
    )
    with served(config, SCRIPT, ADMINS) as server:
        page = opened(server, mouth=True)
        page.address = server.address + root
        page.open()
        hold_a_call(page)
        (talking,) = page.driver.window_handles
        page.driver.switch_to.new_window("tab")
        page.driver.get(f"{server.address}{root}/calls")
        log_in(page)
        page.until(lambda: page.texts("#running .card"), "the call that runs")
        assert "anybody · WebSocket" in page.texts("#running .rest")[0]
        assert page.texts("#running .turns") == ["1 turn"]
        assert page.texts("#no-recorded") == ["No call has been recorded yet."]
        looking = page.driver.current_window_handle
        page.driver.switch_to.window(talking)
        page.click("#talk")
        page.driver.switch_to.window(looking)
        page.until(lambda: page.texts("#recorded .card"), "the recording")
        assert page.texts("#running .card") == []
        page.click("#recorded .card")
        page.until(lambda: page.texts("#transcript .said"), "the transcript")
        assert page.texts("#transcript .who") == ["Caller", "Answer"]
        assert page.texts("#transcript .said") == ["What time is it?", WORDS]
        page.click(".timing summary")
        assert {"Understanding", "Voice"} <= set(page.texts(".timing svg .stage"))
        seek(page)
        page.until(lambda: page.texts("#transcript .turn.now"), "the line that sounds")
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        page.resize(390, 844)
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        page.driver.save_screenshot(str(tmp_path / "phone.png"))
        page.resize(None)
        page.click("#delete")
        page.click("#delete-dialog .alarm")
        page.until(lambda: page.js("return document.body.dataset.view") == "list", "the list")
        page.until(lambda: page.texts("#no-recorded"), "the empty list")
        assert list((tmp_path / "calls").iterdir()) == []
        problems = [entry["message"] for entry in page.driver.get_log("browser")]
        assert [p for p in problems if "401" not in p] == []  # the wrong key


def seek(page: Page) -> None:
    """Play from the answer on; the browser asks for parts of the file."""
    page.until(lambda: page.js("return document.querySelector('#sound').duration > 2"), "the sound")
    page.js("document.querySelectorAll('.at')[1].click()")
    started = page.js("return document.querySelector('#sound').currentTime")
    assert started > 1.0
    end = time.monotonic() + 20
    while page.js("return document.querySelector('#sound').currentTime") <= started:
        assert time.monotonic() < end, "nothing is played"
        time.sleep(0.02)

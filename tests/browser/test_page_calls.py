"""The page over WebRTC, and what it does around calls and settings."""

import time
from functools import partial

import pytest
from selenium.webdriver.common.action_chains import ActionChains

from duplex.testing.engine import Script
from engine.types import CallArguments, CallEnded, CallStarted
from tests._support.browser import Page
from tests._support.pages import (
    ANSWER,
    IN_A_BROWSER,
    SCRIPT,
    STORY,
    Opened,
    call,
    config,
    heard,
    noise,
    write,
)
from tests._support.served import Served, served

pytestmark = IN_A_BROWSER


def test_a_call_over_webrtc(opened: Opened) -> None:
    with served(config(max_calls=1), SCRIPT) as server:
        page = opened(server, mouth=True)
        page.open("?probe&transport=webrtc")
        call(page)
        page.say(noise(1.5))
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.texts(".caller .said") == ["What time is it?"]
        page.until(lambda: page.activity() == "listening", "the end of the answer")
        assert page.events("output_audio_buffer.stopped")
        assert not page.events("response.output_audio.delta")
        assert page.js("return duplexTest.problems") == []
        page.open("?probe&transport=webrtc")  # left without a word: the place is free at once
        call(page)


def test_over_webrtc_talking_over_the_answer_stops_it(opened: Opened) -> None:
    with served(config(), Script(says=(STORY, ANSWER), ear_s=0.01, piece_s=0.01)) as server:
        page = opened(server, mouth=True)
        page.open("?probe&transport=webrtc")
        call(page)
        page.say(noise(1.0))
        page.until(lambda: page.activity() == "speaking", "the story")
        time.sleep(2)  # of it are heard
        page.say(noise(1.5))
        page.until(lambda: len(heard(page)) == 2 and "tea" in heard(page)[1], "the other answer")
        assert page.texts(".answer .said")[0].endswith("interrupted")
        assert "sentence 0" in heard(page)[0]


def test_push_to_talk_over_webrtc(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server, mouth=True)
        page.open("?probe&transport=webrtc")
        page.js("localStorage.setItem('duplex.settings', JSON.stringify({mode: 'hold'}))")
        page.open("?probe&transport=webrtc")
        page.click("#talk")
        page.until(lambda: page.activity() == "hold", "the call")
        press = ActionChains(page.driver).click_and_hold(page.find("#hold"))
        press.perform()
        page.say(noise(0.8))
        time.sleep(1.2)
        ActionChains(page.driver).release().perform()
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.js("return duplexTest.problems") == []


def test_a_page_that_is_left_frees_its_place_at_once(opened: Opened) -> None:
    with served(config(max_calls=1), SCRIPT) as server:
        page = opened(server)
        for _ in range(3):
            call(page)
            page.open()
        call(page)
        assert page.js("return duplexTest.problems") == []
        page.driver.get("about:blank")
        page.until(lambda: not len(server.running.server.calls), "the end of the call")


def has_timings(page: Page, count: int) -> bool:
    return len(heard(page)) == len(page.texts(".timing summary")) == count


def test_a_long_conversation_scrolls_in_its_own_box(page: Page) -> None:
    page.resize(390, 700)
    try:
        for count in range(1, 6):
            write(page, "Hello.")
            page.until(partial(has_timings, page, count), "the answer and its timing")
        measured = "const e = document.scrollingElement; return e.scrollHeight - e.clientHeight"
        assert page.js(measured) == 0, "there is no second scrollbar"
        page.until(lambda: page.activity() in ("listening", "writing"), "the end of the last")
        page.js("document.querySelector('#stage').scrollTop = 0")
        page.until(lambda: page.find("#newest").is_displayed(), "the way to the newest")
        page.click("#newest")
        page.until(lambda: not page.find("#newest").is_displayed(), "the newest")
    finally:
        page.resize(None)


def test_on_a_phone_the_timing_is_folded(opened: Opened, steady: Served) -> None:
    page = opened(steady)
    page.resize(390, 700)
    try:
        page.js("localStorage.clear()")
        page.open()
        write(page, "Hello.")
        page.until(lambda: page.texts(".timing summary"), "the timing")
        assert page.all(".timing[open]") == []
    finally:
        page.resize(None)


def test_on_a_phone_the_buttons_do_not_cover_one_another(page: Page) -> None:
    page.js("localStorage.setItem('duplex.settings', JSON.stringify({mode: 'hold'}))")
    for size in ((360, 640), (390, 844), (844, 390)):
        page.resize(*size)
        try:
            page.open()
            page.click("#talk")
            page.until(lambda: page.activity() == "hold", "the call")
            for name in ("hold", "talk", "send", "stop", "text"):
                covering = page.js(
                    "const e = document.getElementById(arguments[0]);"
                    "const b = e.getBoundingClientRect();"
                    "const there = [[.5, .5], [.1, .5], [.9, .5]].map(([x, y]) =>"
                    "  document.elementFromPoint(b.left + x * b.width, b.top + y * b.height));"
                    "return there.filter((t) => !e.contains(t)).map((t) => t?.outerHTML ?? 'none')",
                    name,
                )
                assert covering == [], (size, name)
            page.click("#talk")
        finally:
            page.resize(None)
    page.js("localStorage.clear()")


def test_another_call_keeps_what_was_said(page: Page) -> None:
    write(page, "Hello.")
    page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
    page.click("#talk")
    page.until(lambda: page.activity() == "idle", "the end of the call")
    write(page, "Hello again.")
    page.until(lambda: len(heard(page)) == 2, "the other answer")
    assert page.texts(".caller .said") == ["Hello.", "Hello again."]
    assert len(page.texts(".break")) == 1
    page.click("#open-settings")
    kept = "URL.createObjectURL = (blob) => (blob.text().then((t) => (globalThis.kept = t)), '#')"
    page.js(kept)
    page.click("#save")
    text = str(page.until(lambda: page.js("return globalThis.kept"), "the file"))
    assert text.startswith("You: Hello.\n\nDuplex: It is ten. Time for tea.\n\n--- Another call")
    page.click("#clear")
    page.click("#settings-done")
    assert page.texts(".turn") == []


def test_who_it_is_and_what_it_says_first(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server)
        page.js("localStorage.clear()")
        page.open()
        page.click("#open-settings")
        page.find("#instructions").send_keys("You are a pirate.")
        page.find("#greeting").send_keys("Ahoy.")
        page.click("#settings-done")
        page.click("#talk")
        page.until(lambda: heard(page) == ["Ahoy."], "the greeting")
        updated = page.events("session.updated")[0]
        assert updated["session"]["instructions"] == "You are a pirate."
        page.js("localStorage.clear()")


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
@pytest.mark.parametrize(("mode", "allowed"), [("hold", True), ("open", False)])
def test_the_greeting_waits_for_no_microphone(
    opened: Opened, transport: str, mode: str, allowed: bool
) -> None:
    """Neither for a key to be held, nor for a permission that is refused."""
    with served(config(), SCRIPT) as server:
        page = opened(server, allowed=allowed)
        page.open(f"?probe&transport={transport}")
        settings = f'{{"greeting": "Ahoy.", "mode": "{mode}"}}'
        page.js("localStorage.setItem('duplex.settings', arguments[0])", settings)
        page.open(f"?probe&transport={transport}")
        page.click("#talk")
        page.until(lambda: heard(page) == ["Ahoy."], "the greeting")
        if mode == "hold":
            updated = page.events("session.updated")[-1]
            assert updated["session"]["audio"]["input"]["turn_detection"] is None
        assert not page.events("error")
        page.js("localStorage.clear()")


def test_the_address_for_a_phone(page: Page) -> None:
    page.click("#open-settings")
    page.click("#open-share")
    page.until(lambda: page.texts("#share-address"), "the address")
    assert page.texts("#share-address") == [f"{page.address}/"]
    assert "--host 0.0.0.0" in page.texts("#share-note")[0]
    assert not page.find("#share-code").is_displayed()
    page.click("#share-done")


def test_a_phone_reads_the_address(opened: Opened) -> None:
    """Of a server that other machines reach; the picture is drawn under the page's own policy."""
    with served(config(host="0.0.0.0", insecure=True), SCRIPT) as server:
        page = opened(server)
        page.click("#open-settings")
        page.click("#open-share")
        page.until(lambda: page.find("#share-code").is_displayed(), "the code")
        page.until(lambda: page.js("return document.querySelector('#share-code').complete"), "it")
        assert page.js("return document.querySelector('#share-code').naturalWidth") > 100
        (address,) = page.texts("#share-address")
        assert "127.0.0.1" not in address
        assert "no microphone" in page.texts("#share-note")[0]


def test_a_turned_phone_still_shows_the_newest(page: Page) -> None:
    write(page, "Hello.")
    page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
    script = """const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#stage");
        return scrollHeight - scrollTop - clientHeight"""
    for size in ((844, 390), (390, 500), (844, 390)):
        page.resize(*size)
        page.until(lambda: page.js(script) < 2, "the end of the conversation")
    page.resize(None)


def test_the_log_shows_what_passes(page: Page) -> None:
    write(page, "Hello.")
    page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
    page.click("#open-settings")
    page.click("#open-log")
    page.find("#log-kinds").send_keys("response.done")
    page.until(lambda: len(page.texts("#log-events summary")) == 1, "the event")
    page.click("#log-events summary")
    assert '"status": "completed"' in page.texts("#log-events pre")[0]
    page.click("#log-done")


def test_where_nothing_hovers_there_are_no_hints_of_keys(page: Page) -> None:
    hovers = page.js("return matchMedia('(hover: hover)').matches")
    assert bool(page.texts("#hero .keys")) == hovers
    page.resize(1000, 700)  # as a tablet's, which is touched
    try:
        assert page.js("return matchMedia('(hover: none)').matches")
        assert page.texts("#hero .keys") == []
    finally:
        page.resize(None)


def test_a_tool_is_called_and_answered_by_hand(opened: Opened) -> None:
    call_it = (CallStarted("get_weather"), CallArguments('{"city": "Paris"}'), CallEnded())
    with served(config(), Script(says=(call_it, ANSWER), ear_s=0.01, piece_s=0.01)) as server:
        page = opened(server)
        page.js("localStorage.clear()")
        page.open()
        page.click("#open-settings")
        page.click("#more summary")
        page.find("#tools").send_keys("[{")
        page.find("#greeting").click()
        assert page.js("return document.querySelector('#tools').validationMessage")
        page.find("#tools").clear()
        tools = '[{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]'
        page.find("#tools").send_keys(tools)
        page.click("#settings-done")
        write(page, "How is the weather?")
        page.until(lambda: page.texts(".tool .said"), "the call")
        assert page.texts(".tool .said") == ['get_weather {"city": "Paris"}']
        page.find(".tool input").send_keys("sunny")
        page.click(".tool button")
        page.until(lambda: heard(page)[-1:] == ["It is ten. Time for tea."], "the answer")
        assert page.texts(".tool .result") == ["sunny"]
        assert page.js("return duplexTest.problems") == []
        page.js("localStorage.clear()")

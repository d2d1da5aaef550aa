"""The page in a real browser, against a server with scripted models."""

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys as Key
from selenium.webdriver.support.select import Select

from duplex.config import AccessConfig
from duplex.server.keys import load_keys
from duplex.testing.engine import Script
from engine.types import Thought
from tests._support.browser import Page, browser
from tests._support.pages import (
    ANSWER,
    IN_A_BROWSER,
    KEY,
    SCRIPT,
    STORY,
    Opened,
    ask_for_a_story,
    call,
    config,
    heard,
    noise,
    problem,
    spoken,
    write,
)
from tests._support.served import Served, served

pytestmark = IN_A_BROWSER


def test_a_spoken_turn_is_answered_aloud(tmp_path: Path, opened: Opened) -> None:
    question = spoken(tmp_path / "question.wav", (3.0, 1.5), (15.0, 0.0))
    with served(config(), SCRIPT) as server:
        page = opened(server, microphone=question)
        page.click("#talk")
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.texts(".caller .said") == ["What time is it?"]
        assert page.texts(".answer .rest") == [""]
        page.until(lambda: page.activity() == "listening", "the end of the answer")
        rate_hz, played = page.recording("out")
        loud_s = np.count_nonzero(np.abs(played) > 0.02) / rate_hz
        assert 1.2 < loud_s < 1.6, "1.4 s of the scripted voice's tone"
        assert page.texts(".timing[open] summary b")
        assert len(page.all(".timing[open] svg rect")) >= 6
        rows = page.texts(".timing table td")
        assert "Voice" in rows
        assert "Buffer and speaker" in rows
        page.click(".timing summary")
        assert page.texts(".timing svg") == []
        assert page.js("return duplexTest.problems") == []
        page.click("#talk")
        page.until(lambda: page.activity() == "idle", "the end of the call")
        assert page.texts(".caller .said") == ["What time is it?"], "it can still be read"


def test_talking_over_the_answer_stops_it(opened: Opened) -> None:
    with served(config(), Script(hears=("Tell me a story.",), says=(STORY,))) as server:
        page = opened(server, mouth=True)
        ask_for_a_story(page)
        page.say(noise(2.0))
        page.until(lambda: page.texts(".answer .note") == ["interrupted"], "the cut")
        page.until(lambda: page.events("conversation.item.truncated"), "the truncation")
        cut = page.events("local.cut")[0]
        assert 0 < cut["samples"] < 30 * 24_000
        page.until(lambda: len(heard(page)) == 2 and heard(page)[-1], "the next answer")
        cut_text = heard(page)[0]
        assert cut_text.startswith("This is sentence 0")
        assert "sentence 30" not in cut_text
        (session,) = server.running.engine.sessions
        (told,) = [m.text for m in session.histories[-1] if m.role == "assistant"]
        assert told
        assert "".join(piece.text for piece in STORY).startswith(told)


def test_a_false_interruption_lets_the_answer_go_on(opened: Opened) -> None:
    script = Script(hears=("Tell me a story.", "Mm-hm."), says=(STORY,))
    with served(config(), script) as server:
        page = opened(server, mouth=True)
        ask_for_a_story(page)
        page.say(noise(0.6))
        page.until(lambda: page.events("local.cut"), "the interruption")
        page.until(lambda: len(heard(page)) == 2 and len(heard(page)[1]) > 40, "the rest")
        assert page.texts(".answer .cut") == ["…", "…"]
        assert page.texts(".answer .note") == []
        first, rest = heard(page)
        story = "".join(piece.text for piece in STORY)
        assert story.startswith(first)
        assert rest.strip() in story
        assert story.index(rest.strip()) - len(first) < 20, "it goes on about where it was cut"


def test_a_written_turn_begins_a_call_and_thoughts_fold_out(opened: Opened) -> None:
    script = Script(says=((Thought("They greet me. "), Thought("So do I."), *ANSWER),))
    with served(config(), script) as server:
        page = opened(server)
        write(page, "Hello there.")
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.texts(".caller .said") == ["Hello there."]
        assert page.texts(".thoughts summary") == ["Thoughts"]
        assert page.texts(".thoughts p") == [], "they are folded in"
        page.find(".thoughts summary").send_keys(Key.ENTER)
        assert page.texts(".thoughts p") == ["They greet me. So do I."]
        assert page.js("return document.querySelector('#announce').textContent") == (
            "Answer: It is ten. Time for tea."
        )


def test_stopping_an_answer_and_what_the_server_is_told(opened: Opened) -> None:
    with served(config(), Script(says=(STORY, ANSWER))) as server:
        page = opened(server)
        write(page, "A story, please.")
        page.until(lambda: heard(page) and "sentence 0" in heard(page)[0], "the answer")
        page.find("body").send_keys(Key.ESCAPE)
        page.until(lambda: page.events("conversation.item.truncated"), "the cut")
        page.until(lambda: page.activity() == "listening", "silence")
        (cut,) = page.events("local.cut")
        truncated = page.events("conversation.item.truncated")[-1]
        assert abs(truncated["audio_end_ms"] - cut["samples"] / 24) <= 1
        (done,) = page.events("response.done")
        assert done["response"]["status"] == "cancelled"
        assert page.texts(".answer .note") == ["interrupted"]
        assert not page.find("#stop").is_enabled()
        write(page, "Thank you.")
        page.until(lambda: heard(page)[-1] == "It is ten. Time for tea.", "the next answer")
        (session,) = server.running.engine.sessions
        (told,) = [m.text for m in session.histories[-1] if m.role == "assistant"]
        assert "".join(piece.text for piece in STORY).startswith(told)
        assert len(told) < len(heard(page)[0]) + 10


def test_what_is_written_at_once_after_another_is_answered_alone(opened: Opened) -> None:
    with served(config(), Script(says=(STORY, ANSWER), piece_s=0.01)) as server:
        page = opened(server)
        call(page)
        page.js("duplexTest.call.say('A story.'); duplexTest.call.say('No: the time.')")
        page.until(lambda: heard(page)[-1:] == ["It is ten. Time for tea."], "the answer")
        done = [event["response"]["status"] for event in page.events("response.done")]
        assert done == ["cancelled", "completed"]
        assert len("".join(heard(page)[:-1])) < len(STORY[0].text), "nearly nothing of the first"
        assert page.js("return duplexTest.problems") == []
        page.click("#talk")


def test_a_muted_microphone_sends_silence(tmp_path: Path, opened: Opened) -> None:
    question = spoken(tmp_path / "question.wav", (1.0, 20.0))
    with served(config(), SCRIPT) as server:
        page = opened(server, microphone=question)
        page.click("#talk")
        page.until(lambda: page.find("#mute").is_enabled(), "the call")
        page.find("body").send_keys("m")
        assert page.find("#mute").get_attribute("aria-pressed") == "true"
        sent = "return duplexTest.call.sentSamples"
        before = page.js(sent)
        page.until(lambda: page.js(sent) > before + 24_000, "a second of it")
        assert page.js("return document.querySelector('#level-in').dataset.level") == "0.00"
        page.click("#mute")
        level = "return Number(document.querySelector('#level-in').dataset.level)"
        page.until(lambda: page.js(level) > 0.1, "a level")
        page.until(lambda: page.events("input_audio_buffer.speech_started"), "to be heard")


def test_a_remembered_microphone_that_is_gone(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server)
        page.js("""localStorage.setItem("duplex.settings", '{"microphone": "gone"}')""")
        page.open()
        page.click("#talk")
        assert "system's default is used" in problem(page)
        page.until(lambda: page.activity() == "listening", "the call")
        page.js("localStorage.clear()")


def test_push_to_talk(tmp_path: Path, opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server, microphone=spoken(tmp_path / "question.wav", (0.2, 60.0)))
        page.js("""localStorage.setItem("duplex.settings", '{"mode": "hold"}')""")
        page.open()
        page.click("#talk")
        page.until(lambda: page.activity() == "hold", "the call")
        held = ActionChains(page.driver).key_down(Key.SPACE)
        held.perform()
        page.until(lambda: page.activity() == "hearing", "to be heard")
        page.until(lambda: page.js("return duplexTest.call.sentSamples") > 12_000, "half a second")
        ActionChains(page.driver).key_up(Key.SPACE).perform()
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.texts(".caller .said") == ["What time is it?"]
        assert page.events("input_audio_buffer.speech_started") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allowed": False}, "The microphone is not allowed"),
        ({"has_microphone": False}, "No microphone was found"),
    ],
)
def test_without_a_microphone_one_can_write(
    options: dict[str, bool], words: str, opened: Opened
) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server, **options)
        page.click("#talk")
        assert words in problem(page)
        page.until(lambda: page.activity() == "writing", "the call")
        write(page, "Hello.")
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")


def test_a_full_server_says_so_and_can_be_called_again(opened: Opened) -> None:
    with served(config(max_calls=1), SCRIPT) as server:
        first, second = opened(server), opened(server, size=(500, 800))
        call(first)
        second.click("#talk")
        assert "All lines are busy" in problem(second)
        assert second.activity() == "idle"
        first.click("#talk")
        first.until(lambda: first.activity() == "idle", "the end of the call")
        first.until(lambda: not len(server.running.server.calls), "the place to be free")
        second.click("#problem-retry")
        second.until(lambda: second.activity() == "listening", "the call")
        assert second.texts("#problem") == []


def test_a_lost_connection_is_taken_up_again(opened: Opened) -> None:
    with served(config(), Script(says=(STORY,))) as server:
        page = opened(server)
        write(page, "A story, please.")
        page.until(lambda: heard(page) and "sentence 0" in heard(page)[0], "the answer")
        server.cut_line()
        page.until(lambda: "waiting" in page.js("return duplexTest.phases"), "the loss")
        page.until(lambda: "sentence 3" in heard(page)[0], "the rest")
        assert page.js("return duplexTest.phases").count("open") == 2
        ids = page.js("return duplexTest.events.map((e) => e.event_id).filter(Boolean)")
        assert len(set(ids)) == len(ids)
        text = "".join(piece.text for piece in STORY)
        assert text.startswith(heard(page)[0])
        assert len(server.running.engine.sessions) == 1
        page.find("body").send_keys(Key.ESCAPE)
        page.until(lambda: page.events("conversation.item.truncated"), "the cut")
        assert page.js("return duplexTest.problems") == []


def test_a_connection_that_stays_lost(opened: Opened) -> None:
    with served(config(resume_s=4.0), SCRIPT) as server:
        page = opened(server)
        call(page)
        server.cut_line(for_good=True)
        page.until(lambda: page.activity() == "waiting", "the loss")
        assert page.texts("#phase") == ["Connection lost, trying again"]
        assert page.texts("#news") == ["Connection lost, trying again"]
        assert "could not be taken up again" in problem(page)
        assert page.activity() == "idle"
        page.click("#problem-retry")
        page.until(lambda: "does not answer" in problem(page), "the other problem")


def test_a_server_that_stops_says_so(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server)
        call(page)
        server.stop()
        assert "The server is stopping" in problem(page)


def test_a_key_is_asked_for(opened: Opened) -> None:
    keys = load_keys(AccessConfig(), {"DUPLEX_API_KEY": KEY})
    with served(config(), SCRIPT, keys) as server:
        page = opened(server)
        page.click("#talk")
        page.until(lambda: page.texts("#key-dialog[open] h2"), "the dialog")
        page.find("#key").send_keys("a-wrong-key-of-length", Key.ENTER)
        page.until(lambda: "does not know this key" in "".join(page.texts("#key-why")), "the other")
        page.find("#key").send_keys(KEY, Key.ENTER)
        page.until(lambda: page.activity() == "listening", "the call")
        kept = "return localStorage.getItem('duplex.settings')"
        assert KEY not in page.js(kept)
        page.click("#talk")
        page.open()
        page.click("#talk")
        page.until(lambda: page.texts("#key-dialog[open] h2"), "the dialog")
        page.click("#key-keep")
        page.find("#key").send_keys(KEY, Key.ENTER)
        page.until(lambda: page.activity() == "listening", "the call")
        assert KEY in page.js(kept)


def test_a_page_that_may_not_call_is_told(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        port = server.address.rpartition(":")[2]
        with browser(
            f"http://elsewhere.localhost.test:{port}",
            arguments=(
                "--host-resolver-rules=MAP elsewhere.localhost.test 127.0.0.1",
                "--unsafely-treat-insecure-origin-as-secure=http://elsewhere.localhost.test:"
                + port,
            ),
        ) as page:
            page.open()
            page.click("#talk")
            assert "access.origins" in problem(page)


def test_a_page_in_clear_from_elsewhere_is_not_secure(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        port = server.address.rpartition(":")[2]
        with browser(
            f"http://elsewhere.localhost.test:{port}",
            arguments=("--host-resolver-rules=MAP elsewhere.localhost.test 127.0.0.1",),
        ) as page:
            page.open()
            page.click("#talk")
            assert "not secure" in problem(page)


def test_settings_hold(page: Page) -> None:
    page.click("#open-settings")
    page.until(lambda: page.texts("#settings[open] h2"), "the settings")
    page.click("#more summary")
    page.click("#show-timing")
    page.find("#mode").send_keys("Push")
    page.click("#settings-done")
    page.until(lambda: not page.texts("#settings[open] h2"), "them to be gone")
    page.open()
    assert page.js("return document.querySelector('#show-timing').checked") is False
    assert page.js("return document.querySelector('#mode').value") == "hold"
    assert page.texts("#hold")


def test_a_page_without_storage_works(steady: Served) -> None:
    forbidden = """Object.defineProperty(window, "localStorage",
        { get() { throw new DOMException("no", "SecurityError"); } })"""
    with browser(steady.address) as page:
        script = {"source": forbidden}
        page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
        page.open()
        page.click("#theme")
        assert page.js("return document.documentElement.dataset.theme") == "light"
        call(page)
        page.click("#talk")


def test_letters_can_be_kept_from_being_shortcuts(page: Page) -> None:
    call(page)
    body = page.find("body")
    muted = page.find("#mute")
    body.send_keys("m")
    assert muted.get_attribute("aria-pressed") == "true"
    assert page.texts("#news") == ["Muted"]
    page.click("#open-settings")
    page.until(lambda: page.texts("#settings[open] h2"), "the settings")
    page.click("#more summary")
    page.click("#use-keys")
    page.click("#settings-done")
    page.until(lambda: not page.texts("#settings[open] h2"), "them to be gone")
    body.send_keys("m")
    assert muted.get_attribute("aria-pressed") == "true"
    page.click("#mute")
    assert page.texts("#news") == [""], "listening is not told"
    page.click("#talk")
    page.until(lambda: page.texts("#news") == ["The call is over"], "the end")


def test_a_voice_holds_at_once_and_a_model_needs_a_new_call(page: Page) -> None:
    call(page)
    page.click("#open-settings")
    page.until(lambda: len(page.all("#voice option")) > 1, "the voices")
    before = len(page.events("session.updated"))
    Select(page.find("#voice")).select_by_value("default")
    page.until(lambda: len(page.events("session.updated")) > before, "the voice")
    session = page.events("session.updated")[-1]["session"]
    assert session["audio"]["output"]["voice"] == "default"
    before = len(page.events("session.updated"))
    page.click("#show-thoughts")
    page.until(lambda: len(page.events("session.updated")) > before, "the wish")
    session = page.events("session.updated")[-1]["session"]
    assert session["duplex"] == {"metrics": True, "thoughts": False, "resume": True}
    assert page.js("return duplexTest.phases").count("connecting") == 1
    Select(page.find("#model")).select_by_value("default")
    page.until(lambda: page.js("return duplexTest.phases").count("connecting") == 2, "a call")
    page.click("#settings-done")
    page.until(lambda: page.activity() == "listening", "the call")
    assert page.js("return duplexTest.call.wire.url.searchParams.get('model')") == "default"


def test_a_sound_that_sleeps_is_woken(page: Page) -> None:
    call(page)
    context = "duplexTest.call.sound.context"
    page.js(f"""const context = {context};
        globalThis.states = [];
        context.addEventListener("statechange", () => states.push(context.state));
        context.suspend();""")
    states = "return states"
    page.until(lambda: page.js(states) == ["suspended", "running"], "it to wake")
    page.js(f"{context}.resume = () => Promise.reject(new DOMException('', 'NotAllowedError'))")
    page.js(f"{context}.suspend()")
    assert "Tap to go on" in problem(page)
    page.js(f"delete {context}.resume")
    page.find("#problem-title").click()
    page.until(lambda: page.js(f"return {context}.state") == "running", "it to wake")
    page.until(lambda: page.texts("#problem") == [], "the message to go")
    assert page.activity() == "listening"
    page.click("#talk")


def test_light_and_dark(page: Page) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    theme = page.find("#theme")
    seen = []
    for _ in range(3):
        theme.click()
        seen.append((page.js("return document.documentElement.dataset.theme"), page.js(colour)))
    assert [name for name, _ in seen] == ["light", "dark", None]
    assert seen[0][1] != seen[1][1]


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Page) -> None:
    call(page)
    write(page, "Hello.")
    page.until(lambda: page.texts(".timing summary"), "the answer")
    page.until(lambda: page.activity() == "listening", "its end")  # then no control changes
    controls = page.all("button, input, select, summary")
    names = {control.accessible_name for control in controls if control.is_displayed()}
    assert all(names)
    assert {"Hang up", "Mute the microphone", "Write instead of talking", "Settings"} <= names
    reached = set()
    page.js("document.activeElement.blur()")
    for _ in range(20):
        ActionChains(page.driver).send_keys(Key.TAB).perform()
        reached.add(page.driver.switch_to.active_element.accessible_name)
    wanted = {c.accessible_name for c in controls if c.is_displayed() and c.is_enabled()}
    assert wanted <= reached
    roles = {e.get_attribute("role") for e in page.all("[role]")}
    assert {"alert", "status", "log"} <= roles
    assert page.find("#announce").get_attribute("aria-live") == "polite"
    assert [e.text for e in page.driver.find_elements(By.CSS_SELECTOR, "img:not([alt])")] == []


def test_no_word_of_the_browser_about_errors_or_policy(page: Page) -> None:
    page.driver.get_log("browser")  # of other tests
    page.open()
    call(page)
    write(page, "Hello.")
    page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
    told = [entry for entry in page.driver.get_log("browser") if entry["level"] != "INFO"]
    assert told == []


def test_the_page_fits_a_phone(opened: Opened) -> None:
    with served(config(), SCRIPT) as server:
        page = opened(server)
        page.resize(360, 640)
        write(page, "Hello.")
        page.until(lambda: heard(page) == ["It is ten. Time for tea."], "the answer")
        assert page.js("return document.documentElement.scrollWidth") == 360
        for control in page.all(".dock button, .dock input"):
            if control.is_displayed():
                box = control.rect
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= 360
                assert box["y"] + box["height"] <= 640
        page.resize(None)

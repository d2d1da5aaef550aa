"""Whole calls in virtual time, recorded: what the files hold."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duplex.call_records.recording import recover
from duplex.config import Config, DialogueConfig, PhoneConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from tests._support.phones import GREETING, bakery, calling
from tests._support.recordings import RATE, Recorded, cues_of

ID = "20261129T020559Z-call-1-abcdef"
NOTICE = "This call is recorded."


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / ID)


def call(
    recorded: Recorded,
    script: Script,
    story: Callable[[Caller], Any],
    config: Config | None = None,
) -> Caller:
    async def whole() -> Caller:
        async with Caller(script, config, observe=[recorded.observe]) as caller:
            await story(caller)
        return caller

    return virtual(whole())


def test_a_turn_and_its_answer_are_where_they_were(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.pause(1.0)
        await caller.speak(1.0)
        await caller.pause(5.0)

    caller = call(recorded, Script(hears=("What <time> & day?",), says=("It is ten.",)), story)
    left, right = recorded.sound.T
    assert len(left) / RATE == pytest.approx(7.0, abs=0.02)
    assert recorded.ends_of(left) == pytest.approx((1.0, 2.0), abs=0.02)
    first = caller.time_of("response.output_audio.delta") - caller.times_s[0]
    begin, end = recorded.ends_of(right)
    assert begin == pytest.approx(first, abs=0.03)
    assert end - begin == pytest.approx(len("It is ten.") * 0.06, abs=0.02)
    turn, answer = recorded.lines
    assert (turn["role"], turn["text"], turn["cut"]) == ("user", "What <time> & day?", False)
    assert turn["end"] == pytest.approx(2.0, abs=0.05)
    assert 0.6 < turn["start"] <= 1.0  # with what is kept from before the onset
    assert (answer["role"], answer["text"], answer["cut"]) == ("assistant", "It is ten.", False)
    assert (answer["start"], answer["end"]) == pytest.approx((begin, end), abs=0.02)
    assert answer["item_id"] == caller.one("response.output_item.done")["item"]["id"]
    told = recorded.call
    assert told["seconds"] == pytest.approx(7.0, abs=0.02)
    assert (told["key"], told["client"], told["turns"], told["ended"]) == (
        "anna",
        "websocket",
        1,
        "hung_up",
    )
    (stages,) = told["answers"]
    assert stages["speech_end_s"] == pytest.approx(2.0, abs=0.05)
    assert {"ear", "first_token", "first_audio", "endpoint", "released"} <= set(stages["marks_ms"])
    released_s = stages["speech_end_s"] + stages["marks_ms"]["released"] / 1000
    assert released_s == pytest.approx(begin, abs=0.03)
    cues = cues_of((recorded.folder / "transcript.vtt").read_text())
    assert [cue[2:] for cue in cues] == [
        ("Caller", "What &lt;time&gt; &amp; day?"),
        ("Assistant", "It is ten."),
    ]
    assert not (recorded.folder / "journal.jsonl").exists()


def test_an_interrupted_answer_ends_where_it_was_cut(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(1.0)
        await caller.pause(2.0)
        await caller.speak(1.0)
        await caller.pause(6.0)

    words = "This is a long story about a ship that sailed across the sea for many years. " * 3
    script = Script(hears=("Tell me a story.", "Stop it, what time is it?"), says=(words, "Ten."))
    caller = call(recorded, script, story)
    left, right = recorded.sound.T
    truncated = caller.one("conversation.item.truncated")
    _, answer, second, last = recorded.lines
    assert answer["cut"]
    assert words.startswith(answer["text"])
    assert 3 < len(answer["text"]) < 60
    heard_s = truncated["audio_end_ms"] / 1000
    assert answer["end"] - answer["start"] == pytest.approx(heard_s, abs=0.02)
    until = round((answer["end"] + 0.01) * RATE)
    between = right[until : round(last["start"] * RATE) - 100]
    assert not between.any(), "what was sent ahead was not played"
    assert np.abs(right[until - 1200 : until - 600]).max() > 0.1
    assert second["text"] == "Stop it, what time is it?"
    assert last["text"] == "Ten."
    assert not last["cut"]
    assert recorded.ends_of(left)[1] == pytest.approx(4.0, abs=0.02)


@pytest.mark.parametrize("heard_s", [None, 0.3])
def test_a_turn_that_goes_on_is_one(recorded: Recorded, heard_s: float | None) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(1.0)
        kind = "response.output_audio.delta" if heard_s else "input_audio_buffer.committed"
        while not caller.all(kind):
            await caller.pause(0.02)
        await caller.pause(heard_s or 0.0)
        await caller.speak(1.0)
        await caller.pause(4.0)

    first, whole = "I want to buy a present for you.", "I want to buy a present for my brother."
    caller = call(
        recorded,
        Script(hears=(first, whole), says=("So you want something nice. " * 4, "Buy a book.")),
        story,
    )
    assert caller.all("conversation.item.deleted"), "the turn was not reopened"
    assert [line["text"] for line in recorded.lines] == [whole, "Buy a book."]
    assert recorded.call["turns"] == 1
    assert recorded.lines[0]["end"] - recorded.lines[0]["start"] > 2.0


def test_hanging_up_cuts_an_answer(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(1.0)
        await caller.pause(1.5)

    call(recorded, Script(says=("One two three four five six seven eight nine ten.",)), story)
    answer = recorded.lines[-1]
    assert answer["cut"]
    assert "One two three four five six seven eight nine ten.".startswith(answer["text"])
    assert 3 < len(answer["text"]) < 40
    assert answer["end"] == pytest.approx(2.5, abs=0.03)
    assert len(recorded.sound) / RATE == pytest.approx(2.5, abs=0.03)


def test_silence_of_the_client_is_in_both_channels_and_in_the_times(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(0.5)
        await caller.pause(3.0)
        await asyncio.sleep(20.0)  # sends nothing
        await caller.pause(1.0)
        await caller.speak(1.0)
        await caller.pause(4.0)

    call(recorded, Script(says=("One.", "Two.")), story)
    left, _ = recorded.sound.T
    assert recorded.ends_of(left)[1] == pytest.approx(25.5, abs=0.05)
    turns = [line for line in recorded.lines if line["role"] == "user"]
    assert turns[1]["end"] == pytest.approx(25.5, abs=0.1)
    last = recorded.lines[-1]
    assert last["text"] == "Two."
    assert 25.5 < last["start"] < 26.5


def test_what_is_written_stands_in_the_transcript(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        content = [{"type": "input_text", "text": "Line one\n\nand --> two"}]
        item = {"type": "message", "role": "user", "content": content}
        caller.send("conversation.item.create", item=item)
        caller.send("response.create", response={"output_modalities": ["text"]})
        await caller.pause(2.0)

    call(recorded, Script(says=("As you say.",)), story)
    assert [(line["role"], line["text"]) for line in recorded.lines] == [
        ("user", "Line one\n\nand --> two"),
        ("assistant", "As you say."),
    ]
    assert len(cues_of((recorded.folder / "transcript.vtt").read_text())) == 2


def test_what_the_client_does_not_want_is_not_kept(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(1.0)
        caller.send("session.update", session={"type": "realtime", "duplex": {"record": False}})
        await caller.pause(2.0)
        caller.send("session.update", session={"type": "realtime", "duplex": {"record": True}})
        await caller.speak(1.0)

    call(recorded, Script(), story)
    assert list(recorded.folder.parent.iterdir()) == []


def test_a_recording_whose_process_died_is_readable_and_is_picked_up(
    recorded: Recorded, tmp_path: Path
) -> None:
    dead = tmp_path / "elsewhere" / (recorded.folder.name + ".part")

    async def story(caller: Caller) -> None:
        await caller.speak(1.0)
        await caller.pause(9.0)
        shutil.copytree(recorded.folder.with_name(dead.name), dead)

    call(recorded, Script(hears=("Hello.",), says=("Good day.",)), story)
    with (dead / "journal.jsonl").open("ab") as file:
        file.write(b'{"type":"words","item_')  # torn
    assert recover(dead)
    kept = Recorded(dead.with_suffix(""))
    assert [line["text"] for line in kept.lines] == ["Hello.", "Good day."]
    assert kept.call["ended"] == "lost"
    seconds = len(kept.sound) / RATE
    assert 2.5 < seconds < 4.5  # all but what could still have been cut
    assert kept.call["seconds"] == pytest.approx(seconds, abs=0.001)
    whole = recorded.sound[: len(kept.sound)]
    assert np.array_equal(kept.sound, whole)


def test_a_recording_of_a_living_process_is_left_alone(recorded: Recorded) -> None:
    async def story(caller: Caller) -> None:
        await caller.speak(0.5)
        part = recorded.folder.with_name(recorded.folder.name + ".part")
        assert not recover(part)
        assert part.exists()

    call(recorded, Script(), story)
    assert recorded.folder.exists()


@pytest.mark.parametrize("greeting", ["", "Good day."])
def test_a_notice_is_said_first(tmp_path: Path, greeting: str) -> None:
    recorded = Recorded(tmp_path / ID, NOTICE)

    async def story(caller: Caller) -> None:
        await caller.pause(5.0)
        await caller.speak(1.0)
        await caller.pause(2.0)

    call(recorded, Script(), story, Config(dialogue=DialogueConfig(greeting=greeting)))
    first = recorded.lines[0]
    assert first["text"] == f"{NOTICE} {greeting}".strip()
    assert first["start"] < 0.3


def test_a_notice_is_said_behind_a_reply_that_was_asked_for(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / ID, NOTICE)

    async def story(caller: Caller) -> None:
        caller.send("response.create")
        await asyncio.sleep(0.2)
        await caller.pause(8.0)

    call(recorded, Script(says=("Welcome.",)), story)
    assert [line["text"] for line in recorded.lines] == ["Welcome.", NOTICE]


def test_a_notice_that_is_talked_over_is_said_again(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / ID, NOTICE)

    async def story(caller: Caller) -> None:
        await caller.pause(0.6)
        await caller.speak(1.0)
        await caller.pause(4.0)
        await caller.speak(1.0)
        await caller.pause(4.0)

    call(recorded, Script(says=("It is ten.",)), story)
    texts = [line["text"] for line in recorded.lines if line["role"] == "assistant"]
    assert texts[0] == "This call is"
    assert texts[1:3] == ["It is ten.", NOTICE]
    assert len([text for text in texts if text.startswith("This")]) == 2


def test_a_phone_call_is_recorded_with_its_greeting(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / ID, NOTICE, 8_000)

    async def scenario() -> None:
        script = Script(hears=("A loaf of bread.",), says=("With pleasure.",))
        async with calling(script, bakery(), observe=[recorded.observe]) as phone:
            await phone.hear_out()
            await phone.speak(1.0)
            await phone.hear_out()

    virtual(scenario())
    greeting, turn, answer = recorded.lines
    assert (greeting["role"], greeting["text"]) == ("assistant", f"{NOTICE} {GREETING}")
    assert (turn["role"], turn["text"]) == ("user", "A loaf of bread.")
    assert (answer["role"], answer["text"]) == ("assistant", "With pleasure.")
    left, right = recorded.sound.T
    assert recorded.ends_of(left)[1] == pytest.approx(turn["end"], abs=0.06)
    said = np.flatnonzero(np.abs(right) > 0.02) / 8000
    assert said[0] == pytest.approx(greeting["start"], abs=0.05)
    assert said[said < turn["start"]][-1] == pytest.approx(greeting["end"], abs=0.05)
    assert said[said > turn["end"]][0] == pytest.approx(answer["start"], abs=0.05)
    assert recorded.call["client"] == "websocket"  # as `AtOnce` says


def test_a_greeting_that_is_talked_over_is_cut(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / ID, "", 8_000)
    greeting = "Welcome to the bakery, where bread is baked at all hours of the day. " * 2

    async def scenario() -> None:
        config = bakery(greeting, PhoneConfig(assistant="bakery"))
        script = Script(hears=("A loaf of bread.",), says=("With pleasure.",))
        async with calling(script, config, observe=[recorded.observe]) as phone:
            await phone.wait(1.5)
            await phone.speak(1.0)
            await phone.hear_out()

    virtual(scenario())
    first, *others = recorded.lines
    assert greeting.startswith(first["text"])
    assert 10 < len(first["text"]) < 60
    assert first["cut"]
    assert [line["text"] for line in others] == ["A loaf of bread.", "With pleasure."]
    between = recorded.sound[
        round((first["end"] + 0.1) * 8000) : round(others[1]["start"] * 8000), 1
    ]
    assert not between[:-400].any()

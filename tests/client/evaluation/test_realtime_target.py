"""A Realtime server is asked over real sockets."""

import numpy as np
import pytest

from client.evaluation.items import Item, Sound
from client.evaluation.sets import clips
from client.evaluation.targets import realtime
from client.evaluation.targets.realtime import RealtimeOptions, RealtimeTarget
from client.realtime import Refused, Unreachable
from duplex.testing.engine import Script
from engine.types import Speech, Thought
from tests._support.answering import AnsweringServer
from tests._support.servers import scripted_server

TONE = clips.tone(300, 0.5)


def question(*parts: str | Sound) -> Item:
    return Item("q-1", "sound", "q", parts, "number", {"answer": 3}, "Be brief.")


SOUND = question(Sound(lambda: TONE), "How many?")
HEARD = {0: TONE}


async def test_sound_and_text_are_sent_in_order_and_the_answer_is_collected() -> None:
    async with AnsweringServer(lambda parts: "<think>a b</think> There are three.").running() as s:
        answer = await RealtimeTarget(s.url, RealtimeOptions(duplex=False)).ask(SOUND, HEARD)
    assert s.asked == [[len(TONE) + realtime.TAIL_SAMPLES, "How many?"]]
    assert np.abs(s.sounds[0][: len(TONE)] - TONE).max() < 1e-3
    (session,) = s.sessions
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["instructions"] == "Be brief."
    assert session["output_modalities"] == ["text"]
    assert "duplex" not in session
    assert (answer.text, answer.thought) == ("There are three.", "a b")
    assert answer.heard == "so it was heard"
    assert answer.tokens == {"input_tokens": 5, "output_tokens": 3}
    assert answer.error is None
    assert answer.done_ms is not None
    assert answer.first_text_ms is not None
    assert answer.first_text_ms <= answer.done_ms


async def test_a_spoken_answer_comes_with_its_sound() -> None:
    async with AnsweringServer(lambda parts: "three").running() as s:
        target = RealtimeTarget(s.url, RealtimeOptions(output="audio"))
        answer = await target.ask(SOUND, HEARD)
    assert s.sessions[0]["output_modalities"] == ["audio"]
    assert answer.text == "three"
    assert answer.samples is not None
    assert len(answer.samples) == 2400
    assert answer.first_audio_ms is not None


async def test_a_server_of_this_project_gives_thoughts_and_answers() -> None:
    script = Script(hears=("How many?",), says=((Thought("Two. No. "), Speech("Three.")),))
    async with scripted_server(script) as (url, engine):
        answer = await RealtimeTarget(url, RealtimeOptions()).ask(SOUND, HEARD)
    assert (answer.text, answer.thought, answer.heard) == ("Three.", "Two. No.", "How many?")
    (session,) = engine.sessions
    (history,) = session.histories
    assert [message.text for message in history][1:] == ["How many?", "How many?"]


async def test_a_full_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "BUSY_WAITS_S", (0.001, 0.001))
    async with AnsweringServer(lambda parts: "three", busy=2).running() as s:
        assert (await RealtimeTarget(s.url, RealtimeOptions()).ask(SOUND, HEARD)).text == "three"
    async with AnsweringServer(lambda parts: "three", busy=3).running() as s:
        with pytest.raises(Refused, match="all lines are busy"):
            await RealtimeTarget(s.url, RealtimeOptions()).ask(SOUND, HEARD)


async def test_what_goes_wrong_with_one_question_is_in_its_answer() -> None:
    async with AnsweringServer(lambda parts: "three", drops=frozenset({0})).running() as s:
        answer = await RealtimeTarget(s.url, RealtimeOptions()).ask(SOUND, HEARD)
        assert answer.error is not None
        assert "the machine is on fire" in answer.error
        s.status = "failed"
        answer = await RealtimeTarget(s.url, RealtimeOptions()).ask(SOUND, HEARD)
        assert answer.error == "the response is failed"
        s.status = "incomplete"
        answer = await RealtimeTarget(s.url, RealtimeOptions()).ask(SOUND, HEARD)
        assert (answer.error, answer.is_cut) == (None, True)


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    script = Script(says=((Speech("One "), Speech("two")),), piece_s=5.0)
    async with scripted_server(script) as (url, _):
        options = RealtimeOptions(timeout_s=0.5)
        answer = await RealtimeTarget(url, options).ask(SOUND, HEARD)
    assert answer.error == "no whole answer within 0.5 s"


async def test_no_server_is_an_error_of_the_run() -> None:
    with pytest.raises(Unreachable):
        await RealtimeTarget("ws://127.0.0.1:9", RealtimeOptions()).ask(SOUND, HEARD)

"""A caller who says nothing after an answer is prompted: when, how often, and when not."""

from typing import Any

import pytest

from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from duplex.turns.idle import MAX_PROMPTS, IdleTimeout
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE
from engine.errors import EngineError
from engine.types import CallArguments, CallEnded, CallRule, CallStarted, Speech

TRIGGERED = "input_audio_buffer.timeout_triggered"
LIMIT_S = 5.0
ANSWER = "It is ten. Time for tea."
ASKS = Script(says=((Speech(ANSWER),), (Speech("Are you there?"),)))
LONG = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 6))
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}
CALL = (CallStarted("clock"), CallArguments("{}"), CallEnded())


async def wait_at_most(caller: Caller, limit_ms: int = 5000, **fields: Any) -> None:
    """Ask to be prompted after ``limit_ms``."""
    detection = {"type": "server_vad", "idle_timeout_ms": limit_ms, **fields.pop("vad", {})}
    heard = {"turn_detection": detection, **fields.pop("heard", {})}
    caller.send("session.update", session={"type": "realtime", "audio": {"input": heard}, **fields})
    await caller.pause(0.1)


async def ask(caller: Caller) -> None:
    """Take a turn, and hear the answer to its end."""
    played = len(caller.all("response.done"))
    await caller.speak(1.0)
    while len(caller.all("response.done")) == played:
        await caller.pause(0.1)
    await caller.pause(2.0)  # made at most 1.5 s ahead of its playing


def test_a_silent_caller_is_prompted_once_after_the_answer_was_played() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller, heard={"transcription": {"model": "m"}})
            await caller.speak(1.0)
            await caller.pause(1.0)
            begun = caller.time_of("response.output_audio.delta")
            await caller.pause(9.0)
            event = caller.one(TRIGGERED)
            spoken_s = len(ANSWER) * 0.06
            fired = caller.time_of(TRIGGERED)
            assert begun + spoken_s + LIMIT_S <= fired < begun + spoken_s + LIMIT_S + 0.1
            waited_ms = event["audio_end_ms"] - event["audio_start_ms"]
            assert LIMIT_S * 1000 <= waited_ms <= LIMIT_S * 1000 + 32  # whole frames
            assert event["audio_end_ms"] == pytest.approx(fired * 1000, abs=60)
            after = caller.kinds()[caller.kinds().index(TRIGGERED) :]
            assert after[:6] == [
                TRIGGERED,
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "conversation.item.input_audio_transcription.completed",
                "response.created",
            ]
            assert caller.all("input_audio_buffer.committed")[1]["item_id"] == event["item_id"]
            caller.send("conversation.item.retrieve", item_id=event["item_id"])
            await caller.pause(0.1)
            item = caller.one("conversation.item.retrieved")["item"]
            assert (item["role"], item["content"][0]["transcript"]) == ("user", "")
            done = caller.all("response.done")[1]["response"]
            assert done["output"][0]["content"][0]["transcript"] == "Are you there?"
            assert not caller.all("error")
        *before, note = caller.heard_by_brain[1]
        assert before[-1] == ("assistant", ANSWER)
        assert note[0] == "system"
        assert note[1].startswith("The caller has been silent for a while")

    virtual(call())


def test_the_next_turn_shows_no_trace_of_the_silence_but_the_prompt() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            await caller.pause(8.0)
            await caller.speak(1.0)
            await caller.pause(2.0)
            assert len(caller.all(TRIGGERED)) == 1
        assert [role for role, _ in caller.heard_by_brain[-1]] == [
            *("system", "user", "assistant", "assistant", "user")
        ]

    virtual(call())


def test_a_caller_who_stays_silent_is_prompted_a_few_times_in_a_row() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            await caller.pause(40.0)
            assert len(caller.all(TRIGGERED)) == MAX_PROMPTS
            assert len(caller.all("response.done")) == 1 + MAX_PROMPTS
            await ask(caller)
            await caller.pause(6.0)
            assert len(caller.all(TRIGGERED)) == MAX_PROMPTS + 1

    virtual(call())


def test_without_create_response_the_silence_is_told_once_and_not_answered() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller, vad={"create_response": False})
            await caller.speak(1.0)
            await caller.pause(1.0)
            caller.send("response.create")
            await caller.pause(20.0)
            assert caller.all(TRIGGERED)
            assert len(caller.all(TRIGGERED)) == len(caller.all("response.created")) == 1

    virtual(call())


def test_speech_in_the_meantime_cancels_it() -> None:
    async def call() -> None:
        async with Caller(Script(hears=("What time is it?", ""))) as caller:
            await wait_at_most(caller)
            await ask(caller)
            await caller.pause(2.5)
            await caller.speak(0.5)  # a cough: there is no answer to it
            await caller.pause(10.0)
            assert len(caller.all("response.done")) == 1
            assert not caller.all(TRIGGERED)

    virtual(call())


def test_nobody_is_prompted_before_the_first_answer_or_while_one_is_made() -> None:
    async def call() -> None:
        script = Script(says=((Speech("Now."),),), piece_s=8.0)
        async with Caller(script) as caller:
            await wait_at_most(caller)
            await caller.pause(8.0)
            await caller.speak(1.0)
            await caller.pause(8.0)
            assert not caller.all("response.done")
            await caller.pause(2.0)
            assert caller.all("response.done")
            assert not caller.all(TRIGGERED)

    virtual(call())


def test_an_answer_that_is_asked_for_in_the_meantime_is_waited_for() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            await caller.pause(2.0)
            caller.send("response.create")
            await caller.pause(4.5)
            assert len(caller.all("response.done")) == 2
            assert not caller.all(TRIGGERED)
            await caller.pause(3.0)
            assert caller.all(TRIGGERED)

    virtual(call())


def test_a_turn_whose_words_are_not_known_yet_is_waited_for() -> None:
    async def call() -> None:
        script = Script(says=((Speech(ANSWER),),), ear_s=8.0)
        async with Caller(script) as caller:
            await wait_at_most(caller, vad={"interrupt_response": False})
            await caller.speak(1.0)
            while not caller.all("response.created"):
                await caller.pause(0.1)
            await caller.speak(0.5)  # into the answer, which is played to its end
            while len(caller.all("response.created")) < 2:
                await caller.pause(0.1)
            assert caller.times_s[-1] - caller.time_of("response.done") > 6.0
            assert not caller.all(TRIGGERED)

    virtual(call())


def test_an_answer_out_of_band_does_not_end_the_wait() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            await caller.pause(1.0)
            beside = {"conversation": "none", "output_modalities": ["text"]}
            caller.send("response.create", response=beside)
            await caller.pause(5.0)
            assert caller.all(TRIGGERED)

    virtual(call())


@pytest.mark.parametrize("detection", [None, {"type": "semantic_vad"}, {"idle_timeout_ms": None}])
def test_only_where_it_is_wanted(detection: dict[str, Any] | None) -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
            caller.send("session.update", session=session)
            await caller.pause(10.0)
            assert not caller.all(TRIGGERED)

    virtual(call())


def test_no_audio_no_time() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller)
            await ask(caller)
            for _ in range(100):
                caller.send("conversation.item.retrieve", item_id="nobody")
                await caller.pause(0.02)
                caller.send("input_audio_buffer.clear")  # what came is forgotten
            await caller.pause(4.8)
            assert not caller.all(TRIGGERED)
            await caller.pause(0.4)
            assert caller.all(TRIGGERED)

    virtual(call())


def test_who_stopped_the_answer_or_has_to_call_a_function_is_not_prompted() -> None:
    async def call(script: Script, cancels: bool) -> None:
        async with Caller(script) as caller:
            await wait_at_most(caller, tools=[CLOCK])
            await caller.speak(1.0)
            await caller.pause(1.0)
            if cancels:
                caller.send("response.cancel")
            await caller.pause(10.0)
            assert caller.one("response.done")
            assert not caller.all(TRIGGERED)

    virtual(call(Script(says=(LONG,)), True))
    virtual(call(Script(says=((Speech("Let me check. "), *CALL),)), False))


def test_a_failed_answer_is_not_followed_by_a_prompt() -> None:
    async def call() -> None:
        async with Caller() as caller:

            def fail(*_: object) -> object:
                raise EngineError("the model server does not answer")

            caller.engine.sessions[0].respond = fail  # type: ignore[assignment,method-assign]
            await wait_at_most(caller)
            await caller.speak(1.0)
            await caller.pause(10.0)
            assert caller.one("response.done")["response"]["status"] == "failed"
            assert not caller.all(TRIGGERED)

    virtual(call())


def test_a_prompt_may_be_spoken_where_every_answer_has_to_be_a_call() -> None:
    async def call() -> None:
        async with Caller(ASKS) as caller:
            await wait_at_most(caller, tools=[CLOCK], tool_choice="required")
            await ask(caller)
            await caller.pause(6.0)
            assert caller.all(TRIGGERED)
            rules = [options.calls for options in caller.engine.sessions[0].options]
            assert rules == [CallRule(must=True, chained=False), CallRule(chained=False)]

    virtual(call())


def test_a_prompt_can_be_interrupted() -> None:
    async def call() -> None:
        script = Script(says=((Speech("Ten."),), LONG, (Speech("Good."),)))
        async with Caller(script) as caller:
            await wait_at_most(caller)
            await ask(caller)
            while len(caller.all("response.created")) < 2:
                await caller.pause(0.1)
            await caller.pause(1.0)
            await caller.speak(1.0)
            done = caller.all("response.done")[1]["response"]
            assert done["status_details"]["reason"] == "turn_detected"
            await caller.pause(2.0)
            assert len(caller.all("response.done")) == 3

    virtual(call())


def frames(idle: IdleTimeout, start: int, stop: int, heard_id: str | None = "r") -> list[int]:
    """Hear silence; return where the waits began that ran out."""
    heard = (idle.hear(at, 5000, heard_id) for at in range(start, stop, FRAME_SAMPLES))
    return [began for began in heard if began is not None]


def test_a_wait_that_is_broken_off_does_not_run_out() -> None:
    idle = IdleTimeout()
    assert frames(idle, 0, 4 * SAMPLE_RATE) == []
    idle.caller_spoke()
    assert frames(idle, 4 * SAMPLE_RATE, 20 * SAMPLE_RATE) == []
    assert frames(idle, 20 * SAMPLE_RATE, 24 * SAMPLE_RATE, None) == []
    assert frames(idle, 24 * SAMPLE_RATE, 32 * SAMPLE_RATE, "s") == [24 * SAMPLE_RATE]


def test_each_answer_has_one_wait_and_speech_makes_room_for_more() -> None:
    idle = IdleTimeout()
    for number in range(MAX_PROMPTS + 2):
        start = 10 * number * SAMPLE_RATE
        told = frames(idle, start, start + 10 * SAMPLE_RATE, f"r{number}")
        assert told == ([start] if number < MAX_PROMPTS else [])
    idle.caller_spoke()
    start = 1000 * SAMPLE_RATE
    assert frames(idle, start, start + 10 * SAMPLE_RATE, "last") == [start]

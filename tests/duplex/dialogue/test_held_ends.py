"""A turn stays open until its reply has a sound: a caller who goes on before was never answered."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.errors import EngineError
from engine.types import CallArguments, CallEnded, CallStarted, Piece, Speech, Thought

FIRST, WHOLE = "I want to buy a present for you.", "I want to buy a present for my brother."
SAYS: tuple[Piece, ...] = (Speech("Buy a book. "), Speech("He will like it. "))
WAIT_S, BOUND_S = 0.3, 1.0
COMMITTED, DELTA = "input_audio_buffer.committed", "response.output_audio.delta"
TOOL = {"type": "function", "name": "buy", "parameters": {}}


async def said(script: Script, session: dict[str, Any] | None = None) -> tuple[Caller, float]:
    """A call in which one turn was said; and when its speech ended."""
    caller = Caller(script)
    async with caller:
        if session is not None:
            caller.send("session.update", session={"type": "realtime", **session})
        await caller.speak(1.0)
        silent_s = caller.now_s
        await caller.pause(4.0)
    assert not caller.all("error")
    return caller, silent_s


def committed_s(script: Script, session: dict[str, Any] | None = None) -> float:
    """How long after the caller's speech the turn is committed."""

    async def call() -> float:
        caller, silent_s = await said(script, session)
        return caller.time_of(COMMITTED) - silent_s

    return virtual(call())


def test_a_caller_who_goes_on_before_the_first_sound_was_never_answered() -> None:
    async def call() -> None:
        script = Script((FIRST, WHOLE), ((Speech("Wrong."),), SAYS), piece_s=0.7)
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(0.6)  # longer than a turn's end takes
            await caller.speak(1.0)
            await caller.pause(4.0)
        kinds = caller.kinds()
        assert kinds.count("input_audio_buffer.speech_started") == 1
        assert kinds.count("input_audio_buffer.speech_stopped") == 1
        assert kinds.count(COMMITTED) == kinds.count("response.created") == 1
        assert "conversation.item.deleted" not in kinds
        assert caller.heard_by_brain[-1][-1] == ("user", WHOLE)
        assert "duplex_reopened_turns_total 1" not in caller.metrics.render({})

    virtual(call())


@pytest.mark.parametrize("ready_s", [0.05, 0.4, 0.7, 1.5])
def test_a_turn_is_committed_with_the_first_sound_and_not_later_than_surely_over(
    ready_s: float,
) -> None:
    async def call() -> None:
        caller, silent_s = await said(Script((FIRST,), (SAYS,), piece_s=ready_s))
        first_s = caller.time_of(DELTA) - silent_s
        committed_s = caller.time_of(COMMITTED) - silent_s
        wanted_s = min(max(WAIT_S, first_s), BOUND_S)
        assert committed_s == pytest.approx(wanted_s, abs=0.05)
        assert first_s == pytest.approx(max(WAIT_S, ready_s + 0.1), abs=0.15)

    virtual(call())


@pytest.mark.parametrize(
    "session",
    [
        {"output_modalities": ["text"]},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}},
    ],
)
def test_a_turn_whose_reply_makes_no_sound_is_not_held(session: dict[str, Any]) -> None:
    script = Script((FIRST,), (SAYS,), piece_s=0.7)
    assert committed_s(script, session) == pytest.approx(WAIT_S, abs=0.05)


def test_a_turn_is_not_held_for_a_reply_that_calls_a_function() -> None:
    called = (CallStarted("buy"), CallArguments("{}"), CallEnded())
    script = Script((FIRST,), (called, SAYS))
    assert committed_s(script, {"tools": [TOOL]}) == pytest.approx(WAIT_S, abs=0.05)


def test_thoughts_are_no_sound() -> None:
    thinks = (Thought("Hm."), Thought("A book."), *SAYS)
    script = Script((FIRST,), (thinks,), piece_s=0.2)
    assert committed_s(script) == pytest.approx(0.75, abs=0.1)


def test_a_turn_is_not_held_for_noise_that_has_no_words() -> None:
    assert committed_s(Script(("",), (SAYS,), piece_s=0.7)) == pytest.approx(WAIT_S, abs=0.05)


def test_the_mark_of_the_end_says_when_it_was_found_and_not_when_it_was_used() -> None:
    async def call() -> None:
        session = {"duplex": {"metrics": True}}
        caller, _ = await said(Script((FIRST,), (SAYS,), piece_s=0.7), session)
        marks = caller.one("duplex.turn_metrics")["marks_ms"]
        assert marks["endpoint"] == pytest.approx(WAIT_S * 1000, abs=50)
        assert marks["released"] > 700

    virtual(call())


async def _fail_late(*_: object) -> AsyncGenerator[Piece, None]:
    await asyncio.sleep(0.5)
    raise EngineError("the model server does not answer")
    yield Speech("")


def test_a_reply_that_fails_late_ends_the_turn_of_a_client_that_sends_no_more() -> None:
    async def call() -> None:
        async with Caller(Script((FIRST,))) as caller:
            caller.engine.sessions[0].respond = _fail_late  # type: ignore[assignment,method-assign]
            await caller.speak(1.0)
            await caller.pause(0.4)
            assert not caller.all(COMMITTED)
            await asyncio.sleep(1.0)
            assert caller.one("response.done")["response"]["status"] == "failed"

    virtual(call())


def test_a_turn_of_a_client_that_sends_no_more_is_held_no_longer() -> None:
    async def call() -> None:
        async with Caller(Script((FIRST,), (SAYS,), piece_s=3.0)) as caller:
            await caller.speak(1.0)
            silent_s = caller.now_s
            await caller.pause(0.4)
            await asyncio.sleep(2.0)
            assert caller.time_of(COMMITTED) - silent_s == pytest.approx(BOUND_S, abs=0.05)

    virtual(call())

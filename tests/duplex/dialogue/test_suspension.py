"""An answer that was cut by mistake, in virtual time: where it goes on, and when it does not."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from duplex.config import Config, ServerConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from duplex.testing.voice import ScriptedVoice
from engine.errors import EngineError
from engine.types import Finished, Piece, Speech
from tests._support.interrupting import (
    ANSWER,
    LAST_S,
    QUESTION,
    WHOLE,
    ask,
    audio_of,
    created,
    falsely,
    interrupt,
    last,
    responses,
    retrieve,
    words_of,
)


@cache
def whole_audio() -> bytes:
    """The answer that nobody interrupted."""

    async def call() -> bytes:
        async with Caller(Script(says=(ANSWER,))) as caller:
            await ask(caller, LAST_S)
            return audio_of(caller, responses(caller)[0])

    return virtual(call())


def test_an_answer_goes_on_where_a_false_interruption_cut_it() -> None:
    async def call() -> None:
        async with Caller(falsely(QUESTION)) as caller:
            await ask(caller, 2.0)
            await caller.speak(0.3)
            await caller.pause(0.7)
            cut, *_ = responses(caller)
            assert cut["status_details"]["reason"] == "turn_detected"
            begun = caller.all("response.created")[1]["response"]
            assert begun["metadata"] == {"duplex_resumes": cut["id"]}
            stopped = caller.times_s[last(caller, "input_audio_buffer.speech_stopped")]
            first = caller.times_s[caller.kinds().index("response.created", 30)]
            assert first - stopped < 0.01
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert resumed["status"] == "completed"
            heard = await retrieve(caller, cut["output"][0]["id"])
            assert heard + words_of(resumed) == WHOLE
            assert 0 < len(heard) < len(WHOLE)
            assert len(caller.engine.sessions[0].histories) == 1  # the same answer
            await caller.speak(1.0)
            await caller.pause(2.0)
        assert caller.heard_by_brain[-1][1:] == [
            ("user", QUESTION),
            ("assistant", heard),
            ("user", "Mm-hm."),
            ("assistant", words_of(resumed)),
            ("user", QUESTION),
        ]

    virtual(call())


@pytest.mark.parametrize("lead_s", [0.3, 2.0, 1000.0])
@pytest.mark.parametrize("heard_s", [(0.0,), (1.1, 0.7), (2.5, 0.1, 0.9)])
def test_nothing_is_lost_or_said_twice_wherever_it_is_cut(
    heard_s: tuple[float, ...], lead_s: float
) -> None:
    async def call() -> tuple[list[bytes], list[int], str]:
        config = Config(server=ServerConfig(playout_lead_s=lead_s))
        # Right at the beginning of an answer, the ear hears the turn before again.
        words = "Mm-hm." if heard_s[0] else f"{QUESTION} Mm-hm."
        async with Caller(Script((QUESTION, words), (ANSWER,)), config) as caller:
            await ask(caller, 0.0)
            for seconds in heard_s:
                await caller.pause(seconds)
                await caller.speak(0.3)
                await caller.pause(0.6)
            await caller.pause(LAST_S)
            done = responses(caller)
            cuts = [event["audio_end_ms"] for event in caller.all("conversation.item.truncated")]
            items = [response["output"][0]["id"] for response in done]
            words = "".join([await retrieve(caller, item_id) for item_id in items])
            return [audio_of(caller, response) for response in done], cuts, words

    parts, cuts, words = virtual(call())
    assert words == WHOLE
    assert len(parts) == len(cuts) + 1 == len(heard_s) + 1
    rest = whole_audio()
    for part, following, cut_ms in zip(parts, parts[1:], cuts, strict=False):
        assert rest.startswith(part)  # sent; not all of it was heard
        ends = range(cut_ms * 24, cut_ms * 24 + 24)  # told in whole ms
        end = next(n for n in ends if rest[n * 2 :].startswith(following[:4800]))
        rest = rest[end * 2 :]
    assert parts[-1] == rest


def test_a_false_interruption_at_the_last_word_leaves_nothing_to_say() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=1000.0))
        async with Caller(falsely(), config) as caller:
            detection = {"type": "server_vad", "idle_timeout_ms": 5000}
            sound = {"input": {"turn_detection": detection}}
            caller.send("session.update", session={"type": "realtime", "audio": sound})
            await ask(caller, LAST_S - 0.2)
            await caller.speak(0.3)
            await caller.pause(1.0)
            assert len(created(caller)) == 1
            item_id = responses(caller)[0]["output"][0]["id"]
            assert await retrieve(caller, item_id) == WHOLE
            assert not caller.all("input_audio_buffer.timeout_triggered")
            await caller.pause(5.0)  # the answer counts as heard: now it is for the caller to speak
            assert caller.all("input_audio_buffer.timeout_triggered")

    virtual(call())


def test_the_clients_truncate_decides_where_the_answer_goes_on() -> None:
    whole = whole_audio()  # on a loop of its own

    async def call() -> None:
        async with Caller(falsely()) as caller:
            cut = await interrupt(caller)
            reckoned = caller.one("conversation.item.truncated")["audio_end_ms"]
            item_id = cut["output"][0]["id"]
            end_ms = reckoned - 800  # its buffers are long
            caller.send(
                "conversation.item.truncate",
                item_id=item_id,
                content_index=0,
                audio_end_ms=end_ms,
            )
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert audio_of(caller, resumed) == whole[end_ms * 48 :]
            assert await retrieve(caller, item_id) + words_of(resumed) == WHOLE

    virtual(call())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.cancel", {}),
        ("input_audio_buffer.clear", {}),
        ("input_audio_buffer.commit", {}),
        ("conversation.item.delete", {"item_id": "cut"}),
    ],
)
def test_what_the_client_takes_in_hand_is_not_resumed(kind: str, fields: dict[str, str]) -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),)))) as caller:
            cut = await interrupt(caller)
            known = {"cut": cut["output"][0]["id"]}
            caller.send(kind, **{key: known[value] for key, value in fields.items()})
            await caller.pause(2.0)
            assert not caller.all("error")
            assert caller.engine.sessions[0].cancelled == 1
            assert all(response.get("metadata") is None for response in created(caller))
            await caller.speak(1.0)
            await caller.pause(2.0)
            assert responses(caller)[-1]["status"] == "completed"

    virtual(call())


def test_a_response_that_the_client_asks_for_takes_the_place_of_the_suspended_one() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),)))) as caller:
            await interrupt(caller)
            caller.send("response.create")
            await caller.pause(2.0)
            assert not caller.all("error")
            assert words_of(responses(caller)[1]) == "Yes?"
            assert all(response.get("metadata") is None for response in created(caller))

    virtual(call())


def test_an_engine_that_fails_while_the_answer_is_suspended_is_told_when_it_goes_on() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            session = caller.engine.sessions[0]
            respond, fails = session.respond, asyncio.Event()

            async def fail(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    if isinstance(piece, Finished):
                        break
                    yield piece
                await fails.wait()
                raise EngineError("the model server is gone")

            session.respond = fail  # type: ignore[method-assign, assignment]
            cut = await interrupt(caller)
            fails.set()
            session.respond = respond  # type: ignore[method-assign, assignment]
            await caller.pause(0.1)
            assert not caller.all("error")
            await caller.pause(LAST_S)
            resumed = responses(caller)[1]
            assert resumed["status"] == "failed"
            assert "is gone" in caller.one("error")["error"]["message"]
            heard = await retrieve(caller, cut["output"][0]["id"])
            assert WHOLE.startswith(heard + words_of(resumed))  # what was made is still said
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert len(created(caller)) == 3

    virtual(call())


def test_a_caller_who_hangs_up_while_the_answer_is_suspended_leaves_nothing_behind() -> None:
    async def call() -> None:
        async with Caller(falsely(says=(ANSWER * 4,))) as caller:
            await interrupt(caller)
        assert caller.engine.sessions[0].closed
        assert caller.engine.sessions[0].cancelled == 1
        (task,) = asyncio.all_tasks()
        assert task is asyncio.current_task()

    virtual(call())


def test_metadata_of_the_client_stays_with_what_is_resumed() -> None:
    async def call() -> None:
        async with Caller(Script(("Mm-hm.",), (ANSWER,))) as caller:
            content = [{"type": "input_text", "text": QUESTION}]
            item = {"type": "message", "role": "user", "content": content}
            caller.send("conversation.item.create", item=item)
            full = {f"key{n}": "value" for n in range(15)}
            caller.send("response.create", response={"metadata": full})
            await caller.pause(2.0)
            await caller.speak(0.3)
            await caller.pause(1.0)
            first, second = created(caller)[-2:]
            assert second["metadata"] == {**full, "duplex_resumes": first["id"]}

    virtual(call())


def test_an_answer_that_has_no_words_yet_is_told_whole_after_a_false_interruption() -> None:
    whole = whole_audio()  # on a loop of its own

    async def call() -> None:
        script = Script((QUESTION, f"{QUESTION} Mm-hm."), (ANSWER,), piece_s=2.0)
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(1.2)
            assert len(created(caller)) == 1
            await caller.speak(0.3)
            await caller.pause(0.1)
            cut = responses(caller)[0]
            assert (cut["status"], cut["output"]) == ("cancelled", [])
            await caller.pause(LAST_S * 2)
            assert audio_of(caller, responses(caller)[1]) == whole
            assert words_of(responses(caller)[1]) == WHOLE

    virtual(call())


def test_what_it_cost_is_told_once() -> None:
    async def call() -> None:
        async with Caller(falsely()) as caller:
            cut = await interrupt(caller)
            await caller.pause(LAST_S)
            told = [response["usage"]["output_tokens"] for response in responses(caller)]
            assert cut["status"] == "cancelled"
            assert sorted(told) == [0, len(ANSWER)]

    virtual(call())


def test_written_answers_are_cut_for_good() -> None:
    async def call() -> None:
        script = Script((QUESTION, "Mm-hm."), (ANSWER,), piece_s=0.5)
        async with Caller(script) as caller:
            session = {"type": "realtime", "output_modalities": ["text"]}
            caller.send("session.update", session=session)
            await caller.speak(1.0)
            await caller.pause(1.0)
            onset_s = caller.now_s
            await caller.speak(0.3)
            started = caller.times_s[last(caller, "input_audio_buffer.speech_started")]
            assert started - onset_s < 0.1
            assert caller.engine.sessions[0].cancelled == 1

    virtual(call())


def test_an_answer_that_was_cut_after_its_last_word_counts_as_heard() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=0.05))
        async with Caller(falsely(says=(ANSWER[:1],)), config) as caller:
            session = caller.engine.sessions[0]
            respond = session.respond

            async def slow(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    if isinstance(piece, Finished):
                        await asyncio.sleep(3.0)
                    yield piece

            session.respond = slow  # type: ignore[method-assign, assignment]
            detection = {"type": "server_vad", "idle_timeout_ms": 5000}
            sound = {"input": {"turn_detection": detection}}
            caller.send("session.update", session={"type": "realtime", "audio": sound})
            await ask(caller, len(ANSWER[0].text) * 0.06 + 0.3)
            await caller.speak(0.3)
            await caller.pause(4.0)
            assert words_of(responses(caller)[1]) == ""
            await caller.pause(5.0)
            assert caller.all("input_audio_buffer.timeout_triggered")

    virtual(call())


def test_what_is_resumed_is_released_with_its_first_audio_and_measures_no_stage() -> None:
    async def call() -> None:
        script = Script((QUESTION, f"{QUESTION} Mm-hm."), (ANSWER[:1],))
        async with Caller(script) as caller:
            session = caller.engine.sessions[0]
            respond, goes_on = session.respond, asyncio.Event()

            async def wait(*args: Any) -> AsyncGenerator[Piece, None]:
                async for piece in respond(*args):
                    await goes_on.wait()
                    yield piece

            session.respond = wait  # type: ignore[method-assign, assignment]
            metrics = {"type": "realtime", "duplex": {"metrics": True}}
            caller.send("session.update", session=metrics)
            await caller.speak(1.0)
            await caller.pause(1.2)
            await caller.speak(0.3)
            stopped_s = caller.now_s
            await caller.pause(2.0)
            assert len(created(caller)) == 2
            goes_on.set()
            await caller.pause(4.0)
            first_s = caller.time_of("response.output_audio.delta")
            marks = caller.all("duplex.turn_metrics")[1]["marks_ms"]
            assert marks["released"] / 1000 == pytest.approx(first_s - stopped_s, abs=0.05)
            assert 'duplex_stage_seconds_count{stage="released"}' not in caller.metrics.render({})

    virtual(call())


@pytest.mark.parametrize(
    "session",
    [
        {"output_modalities": ["text"]},
        {"audio": {"output": {"voice": "high"}}},
        {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    ],
)
def test_what_is_suspended_is_not_resumed_in_a_form_that_the_client_no_longer_wants(
    session: dict[str, Any],
) -> None:
    async def call() -> None:
        caller = Caller(falsely(says=(ANSWER * 4, (Speech("Yes?"),))))
        caller.parts = replace(caller.parts, voices={"high": ScriptedVoice()})
        async with caller:
            await interrupt(caller)
            caller.send("session.update", session={"type": "realtime", **session})
            await caller.pause(2.0)
            assert not caller.all("error")
            assert created(caller)[1].get("metadata") is None
            assert caller.heard_by_brain[-1][-1] == ("user", "Mm-hm.")

    virtual(call())

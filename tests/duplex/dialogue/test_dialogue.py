"""Whole turns through a session with scripted models, in virtual time: order, speculation,
interruption, and what history keeps."""

from typing import Any

import pytest

from duplex.config import Config, ServerConfig, TurnConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script
from duplex.testing.virtual_time import virtual
from engine.errors import EngineError
from engine.types import Speech, Thought

LONG_ANSWER = tuple(Speech(f"This is sentence number {n}. ") for n in range(1, 21))
# Not part of any order: they depend on what the client asked for.
ASIDE = ("session.created", "session.updated")


async def manual(caller: Caller) -> None:
    """Let the client end its turns itself."""
    session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    caller.send("session.update", session=session)
    await caller.pause(0.0)


def test_a_spoken_turn_is_answered_in_the_order_of_the_protocol() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await caller.pause(0.2)
            await caller.speak(1.0)
            await caller.pause(4.0)
            kinds = caller.kinds(*ASIDE)
            deltas = ("response.output_audio_transcript.delta", "response.output_audio.delta")
            once = [kind for kind in kinds if kind not in deltas]
            assert once == [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
                "response.output_item.added",
                "conversation.item.added",
                "response.content_part.added",
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "conversation.item.done",
                "response.output_item.done",
                "response.done",
            ]
            opened, closed = (
                kinds.index("response.content_part.added"),
                kinds.index("response.output_audio.done"),
            )
            assert set(kinds[opened + 1 : closed]) == set(deltas)
            done = caller.one("response.done")["response"]
            assert done["status"] == "completed"
            assert done["output"][0]["content"][0]["transcript"] == "It is ten. Time for tea."
            turn = caller.one("input_audio_buffer.speech_started")["item_id"]
            assert caller.one("input_audio_buffer.committed")["item_id"] == turn
        assert caller.heard_by_brain == [[("system", "Be brief."), ("user", "What time is it?")]]

    virtual(call())


def test_the_answer_is_ready_when_the_endpoint_is_confirmed() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await caller.speak(1.0)
            await caller.pause(3.0)
            stopped = caller.time_of("input_audio_buffer.speech_stopped")
            first = caller.time_of("response.output_audio.delta")
            assert 1.3 <= stopped <= 1.4  # 300 ms of silence, to the next frame
            assert first - stopped < 0.001  # it was made ahead and held back

    virtual(call())


def test_a_caller_who_goes_on_is_answered_once_and_to_all_of_it() -> None:
    async def call() -> None:
        hears = ("I would like", "I would like some tea.")
        script = Script(hears, says=(LONG_ANSWER, (Speech("Here you are."),)))
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(0.5)  # the words say that more is to come
            await caller.speak(1.0)
            await caller.pause(4.0)
            assert len(caller.all("response.created")) == 1
            assert len(caller.all("input_audio_buffer.committed")) == 1
        assert caller.heard_by_brain[-1][-1] == ("user", "I would like some tea.")
        assert caller.engine.sessions[0].cancelled == 1  # the speculated answer
        assert all(history[-1][0] == "user" for history in caller.heard_by_brain)

    virtual(call())


def test_barge_in_cuts_the_answer_and_history_keeps_what_was_heard() -> None:
    async def call() -> None:
        script = Script(says=(LONG_ANSWER, (Speech("Yes, of course."),)))
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(3.0)
            await caller.speak(1.0)
            cut = caller.one("response.done")["response"]
            assert (cut["status"], cut["status_details"]["reason"]) == (
                "cancelled",
                "turn_detected",
            )
            sent = cut["output"][0]["content"][0]["transcript"]
            started = caller.kinds().index("input_audio_buffer.speech_started", 5)
            assert "response.output_audio.delta" not in caller.kinds()[started:]
            await caller.pause(4.0)
            heard = caller.heard_by_brain[-1][2]
            assert heard[0] == "assistant"
            assert sent.startswith(heard[1])
            assert 0 < len(heard[1]) < len(sent)  # it was sent ahead of its playing
        assert len(caller.all("response.done")) == 2

    virtual(call())


def test_barge_in_after_the_response_is_done_still_cuts_history() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(playout_lead_s=1000.0))
        async with Caller(Script(says=(LONG_ANSWER,)), config) as caller:
            await caller.speak(1.0)
            await caller.pause(4.0)
            done = caller.one("response.done")["response"]
            assert done["status"] == "completed"
            await caller.speak(1.0)
            truncated = caller.one("conversation.item.truncated")
            assert truncated["item_id"] == done["output"][0]["id"]
            await caller.pause(0.2)
        heard = caller.heard_by_brain[-1][2][1]
        assert done["output"][0]["content"][0]["transcript"].startswith(heard)
        assert heard.count(".") < 20

    virtual(call())


def test_what_a_cut_answer_cost_is_told_if_its_words_were_all_made() -> None:
    async def call(words: tuple[Speech, ...], seconds: float) -> dict[str, Any] | None:
        async with Caller(Script(says=(words,))) as caller:
            await caller.speak(1.0)
            await caller.pause(seconds)
            caller.send("response.cancel")
            await caller.pause(0.1)
            done = caller.one("response.done")["response"]
            assert done["status"] == "cancelled"
            usage: dict[str, Any] | None = done["usage"]
            return usage

    made = virtual(
        call((Speech("One. "), Speech("And this one takes longer to say than one.")), 1.0)
    )
    assert made is not None
    assert (made["input_tokens"], made["output_tokens"]) == (10, 2)
    assert virtual(call(LONG_ANSWER, 1.0)) is None


def test_the_clients_truncate_decides_what_was_heard() -> None:
    async def call() -> None:
        async with Caller(Script(says=(LONG_ANSWER,))) as caller:
            await caller.speak(1.0)
            await caller.pause(3.0)
            caller.send("response.cancel")
            await caller.pause(0.1)
            item = caller.one("response.done")["response"]["output"][0]["id"]
            caller.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
            caller.send("conversation.item.retrieve", item_id=item)
            await caller.pause(0.1)
            retrieved = caller.one("conversation.item.retrieved")["item"]
            assert retrieved["content"][0]["transcript"] == ""

    virtual(call())


def test_manual_turns_are_committed_and_answered_when_asked() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await manual(caller)
            await caller.speak(0.5)
            await caller.pause(1.0)
            assert caller.kinds("session.created", "session.updated") == []
            caller.send("input_audio_buffer.commit")
            await caller.pause(0.5)
            assert caller.kinds(*ASIDE) == [
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
            ]
            caller.send("response.create")
            await caller.pause(3.0)
            assert caller.one("response.done")["response"]["status"] == "completed"
        assert caller.heard_by_brain == [[("system", "Be brief."), ("user", "What time is it?")]]

    virtual(call())


def test_commit_and_create_in_one_breath_wait_for_the_words() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await manual(caller)
            caller.append(1.0)
            caller.send("input_audio_buffer.commit")
            caller.send("response.create")
            await caller.pause(3.0)
            assert caller.one("response.done")["response"]["status"] == "completed"
        assert caller.heard_by_brain[0][-1] == ("user", "What time is it?")

    virtual(call())


def test_a_text_response_has_no_audio() -> None:
    async def call() -> None:
        async with Caller() as caller:
            item = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello?"}],
            }
            caller.send("conversation.item.create", item=item)
            caller.send("response.create", response={"output_modalities": ["text"]})
            await caller.pause(1.0)
            text = "".join(event["delta"] for event in caller.all("response.output_text.delta"))
            assert text == "It is ten. Time for tea."
            assert not caller.all("response.output_audio.delta")
            usage = caller.one("response.done")["response"]["usage"]
            assert (usage["input_tokens"], usage["output_tokens"]) == (10, 2)

    virtual(call())


def test_cancel_without_a_response_is_an_error_and_the_call_goes_on() -> None:
    async def call() -> None:
        async with Caller() as caller:
            caller.send("response.cancel", event_id="mine")
            await caller.speak(1.0)
            await caller.pause(3.0)
            error = caller.one("error")["error"]
            assert error["code"] == "response_cancel_not_active"
            assert error["event_id"] == "mine"
            assert caller.one("response.done")["response"]["status"] == "completed"

    virtual(call())


def test_cancel_stops_the_answer_and_its_work() -> None:
    async def call() -> None:
        async with Caller(Script(says=(LONG_ANSWER,))) as caller:
            await caller.speak(1.0)
            await caller.pause(1.0)
            caller.send("response.cancel")
            await caller.pause(0.1)
            done = caller.one("response.done")["response"]
            assert done["status_details"]["reason"] == "client_cancelled"
            assert caller.engine.sessions[0].cancelled == 1
            sent = len(caller.events)
            await caller.pause(2.0)
            assert len(caller.events) == sent

    virtual(call())


@pytest.mark.parametrize(
    "message",
    ["{", "null", '{"type": "no.such.event"}', b"\xff\xfe", '{"type": "session.update"}'],
)
def test_bad_messages_are_errors_and_the_call_goes_on(message: str | bytes) -> None:
    async def call() -> None:
        async with Caller() as caller:
            caller.send_raw(message)
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert caller.one("error")["error"]["type"] == "invalid_request_error"
            assert caller.one("response.done")["response"]["status"] == "completed"

    virtual(call())


def test_odd_length_audio_is_an_error_and_nothing_is_heard_of_it() -> None:
    async def call() -> None:
        async with Caller() as caller:
            caller.send("input_audio_buffer.append", audio="AAAA", event_id="odd")
            await caller.pause(0.1)
            error = caller.one("error")["error"]
            assert (error["param"], error["event_id"]) == ("audio", "odd")

    virtual(call())


def test_thoughts_go_only_to_those_who_ask() -> None:
    says = ((Thought("Let me see. "), Speech("It is ten.")),)

    async def call(wants: bool) -> Caller:
        async with Caller(Script(says=says)) as caller:
            if wants:
                caller.send(
                    "session.update",
                    session={"type": "realtime", "duplex": {"thoughts": True, "metrics": True}},
                )
            await caller.speak(1.0)
            await caller.pause(3.0)
        return caller

    caller = virtual(call(True))
    assert caller.one("duplex.thought.delta")["delta"] == "Let me see. "
    assert caller.one("response.output_audio_transcript.done")["transcript"] == "It is ten."
    marks = caller.one("duplex.turn_metrics")["marks_ms"]
    assert marks["pause"] < marks["ear"] < marks["first_token"] <= marks["first_clause"]
    assert marks["first_audio"] < marks["endpoint"] <= marks["released"]
    caller = virtual(call(False))
    assert not [kind for kind in caller.kinds() if kind.startswith("duplex.")]
    assert "Let me see" not in str(caller.events)


def test_transcripts_come_while_the_caller_speaks_for_those_who_ask() -> None:
    async def call() -> None:
        async with Caller() as caller:
            transcription = {"input": {"transcription": {"model": "whisper-1"}}}
            caller.send("session.update", session={"type": "realtime", "audio": transcription})
            await caller.speak(1.0)
            kind = "conversation.item.input_audio_transcription"
            assert caller.one(f"{kind}.delta")["delta"] == "What"
            await caller.pause(1.0)
            completed = caller.one(f"{kind}.completed")
            assert completed["transcript"] == "What time is it?"
            assert completed["usage"]["seconds"] > 1.0
            deltas = "".join(delta["delta"] for delta in caller.all(f"{kind}.delta"))
            assert deltas == completed["transcript"]
            assert 'duplex_transcripts_total{deltas="agree"} 1' in caller.metrics.render({})

    virtual(call())


def test_sound_without_words_is_committed_and_not_answered() -> None:
    async def call() -> None:
        async with Caller(Script(hears=("",))) as caller:
            await caller.speak(0.5)
            await caller.pause(3.0)
            assert caller.all("input_audio_buffer.committed")
            assert not caller.all("response.created")

    virtual(call())


def test_a_failing_engine_fails_the_response_and_not_the_call() -> None:
    async def call() -> None:
        async with Caller() as caller:
            session = caller.engine.sessions[0]
            respond = session.respond

            def fail(*_: object) -> object:
                raise EngineError("the model server does not answer")

            session.respond = fail  # type: ignore[assignment,method-assign]
            await caller.speak(1.0)
            await caller.pause(2.0)
            done = caller.one("response.done")["response"]
            assert done["status"] == "failed"
            assert "does not answer" in caller.one("error")["error"]["message"]
            session.respond = respond  # type: ignore[method-assign]
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert caller.all("response.done")[1]["response"]["status"] == "completed"

    virtual(call())


def test_a_client_that_vanishes_in_mid_answer_frees_its_engine() -> None:
    async def call() -> None:
        async with Caller(Script(says=(LONG_ANSWER,))) as caller:
            await caller.speak(1.0)
            await caller.pause(1.0)
        assert caller.engine.sessions[0].closed
        assert caller.engine.sessions[0].cancelled == 1

    virtual(call())


def test_a_client_that_does_not_read_ends_its_call_and_says_why() -> None:
    async def call() -> None:
        config = Config(server=ServerConfig(max_outbox_bytes=2000))
        caller = Caller(Script(says=(LONG_ANSWER,)), config)
        with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="reads too slowly")):
            async with caller:
                caller.stop_reading()
                for _ in range(40):
                    caller.send("response.cancel")
                await caller.pause(0.1)

    virtual(call())


def test_speech_started_comes_before_the_interrupted_response_is_closed() -> None:
    async def call() -> None:
        async with Caller(Script(says=(LONG_ANSWER,))) as caller:
            await caller.speak(1.0)
            await caller.pause(2.0)
            before = len(caller.events)
            await caller.speak(0.5)
            kinds = caller.kinds()[before:]
            assert [kind for kind in kinds if "delta" not in kind][:2] == [
                "input_audio_buffer.speech_started",
                "response.output_audio.done",
            ]
            assert kinds.count("input_audio_buffer.speech_started") == 1

    virtual(call())


def test_an_answer_deleted_while_it_plays_can_be_interrupted() -> None:
    async def call() -> None:
        async with Caller(Script(says=(LONG_ANSWER[:3],))) as caller:
            await caller.speak(1.0)
            while not caller.all("response.done"):
                await caller.pause(0.1)
            item = caller.one("response.done")["response"]["output"][0]["id"]
            caller.send("conversation.item.delete", item_id=item)
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert len(caller.all("response.created")) == 2
        assert [role for role, _ in caller.heard_by_brain[-1]] == ["system", "user", "user"]

    virtual(call())


def test_a_second_response_is_refused_while_one_waits_for_the_words() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await manual(caller)
            caller.append(1.0)
            caller.send("input_audio_buffer.commit")
            caller.send("response.create")
            caller.send("response.create", event_id="second")
            await caller.pause(3.0)
            error = caller.one("error")["error"]
            assert error["code"] == "conversation_already_has_active_response"
            assert error["event_id"] == "second"
            assert len(caller.all("response.done")) == 1

    virtual(call())


def test_a_response_that_waits_for_the_words_can_be_cancelled() -> None:
    async def call() -> None:
        async with Caller() as caller:
            await manual(caller)
            caller.append(1.0)
            caller.send("input_audio_buffer.commit")
            caller.send("response.create")
            caller.send("response.cancel")
            await caller.pause(3.0)
            assert not caller.all("error")
            assert not caller.all("response.created")
            caller.send("response.create")
            await caller.pause(3.0)
            assert caller.one("response.done")["response"]["status"] == "completed"

    virtual(call())


def test_create_in_vad_mode_before_the_words_are_known_answers_once() -> None:
    async def call() -> None:
        async with Caller(Script(ear_s=1.5)) as caller:  # an ear slower than the long wait
            await caller.speak(1.0)
            await caller.pause(1.1)
            assert caller.all("input_audio_buffer.committed")
            caller.send("response.create")
            await caller.pause(4.0)
            assert len(caller.all("response.created")) == 1

    virtual(call())


def test_a_caller_who_speaks_again_before_the_answer_is_answered_to_both() -> None:
    async def call() -> None:
        script = Script(hears=("One? Two?",), ear_s=1.5)
        async with Caller(script) as caller:
            await caller.speak(1.0)
            await caller.pause(1.2)  # the turn is over, its words are not known
            await caller.speak(1.0)
            await caller.pause(6.0)
            assert len(caller.all("input_audio_buffer.committed")) == 2
            assert len(caller.all("response.created")) == 1
        assert [text for _, text in caller.heard_by_brain[-1][1:]] == ["One? Two?"]

    virtual(call())


def test_a_manual_turn_is_bounded_and_told_so() -> None:
    async def call() -> None:
        config = Config(turn=TurnConfig(max_turn_s=2.0))
        async with Caller(config=config) as caller:
            await manual(caller)
            caller.append(5.0)
            await caller.pause(0.1)
            assert caller.all("error")[0]["error"]["code"] == "input_audio_buffer_full"
            caller.send("input_audio_buffer.commit")
            caller.send("response.create")
            await caller.pause(3.0)
            assert caller.one("response.done")["response"]["status"] == "completed"

    virtual(call())


@pytest.mark.parametrize("threshold", [0.0, 0.1, 1.0])
def test_any_threshold_a_client_may_ask_for_works(threshold: float) -> None:
    async def call() -> None:
        async with Caller() as caller:
            detection = {"type": "server_vad", "threshold": threshold, "silence_duration_ms": 0}
            caller.send(
                "session.update",
                session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}},
            )
            await caller.pause(0.5)
            assert caller.one("session.updated")
            assert not caller.all("error")

    virtual(call())


def test_a_history_too_long_for_the_brain_fails_the_response_and_not_the_call() -> None:
    async def call() -> None:
        async with Caller() as caller:
            session = caller.engine.sessions[0]

            async def fail(*_: object) -> None:
                raise EngineError("the instructions are too long")

            session.prefill = fail  # type: ignore[method-assign,assignment]
            caller.send("session.update", session={"type": "realtime", "instructions": "x" * 9999})
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert caller.one("response.done")["response"]["status"] == "completed"

    virtual(call())


def test_a_failing_ear_is_told_and_the_next_turn_is_heard() -> None:
    async def call() -> None:
        async with Caller() as caller:
            session = caller.engine.sessions[0]
            end_turn = session.end_turn

            async def fail() -> None:
                raise EngineError("the ear failed")

            session.end_turn = fail  # type: ignore[method-assign,assignment]
            await caller.speak(1.0)
            await caller.pause(4.0)
            failed = caller.one("conversation.item.input_audio_transcription.failed")
            assert failed["error"]["message"] == "the ear failed"
            session.end_turn = end_turn  # type: ignore[method-assign]
            await caller.speak(1.0)
            await caller.pause(3.0)
            assert caller.heard == ["Sorry, I did not catch that.", "It is ten. Time for tea."]

    virtual(call())

"""Recorded sound in items, in virtual time: it is heard, keeps its place, and is waited for."""

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from duplex.config import Config, TurnConfig
from duplex.testing.caller import Caller
from duplex.testing.engine import Script, ScriptedEngine, ScriptedSession
from duplex.testing.virtual_time import virtual
from engine.errors import EngineError
from engine.types import Transcript

TRANSCRIBED = {"type": "realtime", "audio": {"input": {"transcription": {"model": "any"}}}}
COMPLETED = "conversation.item.input_audio_transcription.completed"
SLOW = Script(hears=("What time is it?",), ear_s=2.0)


def sound(seconds: float) -> str:
    return base64.b64encode(np.full(round(seconds * 24_000), 5000, "<i2").tobytes()).decode()


def recorded(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    content = parts or ({"type": "input_audio", "audio": sound(1.0)},)
    return {"type": "message", "role": "user", "content": list(content), **fields}


def create(caller: Caller, item: dict[str, Any], **fields: Any) -> None:
    caller.send("conversation.item.create", item=item, **fields)


def shown(caller: Caller) -> list[tuple[str, str]]:
    """The last history that the call's brains were given, without the instructions."""
    histories = [history for session in caller.engine.sessions for history in session.histories]
    return [(message.role, message.text) for message in histories[-1][1:]]


def test_a_recording_is_heard_and_a_response_waits_for_its_words() -> None:
    async def call() -> None:
        async with Caller(SLOW) as caller:
            caller.send("session.update", session=TRANSCRIBED)
            create(caller, recorded(id="said"), event_id="first")
            create(caller, recorded({"type": "input_text", "text": "Hi."}, id="hi"))
            caller.send("response.create")
            await caller.pause(8)
            assert (
                caller.kinds()[2:6]
                == [
                    "conversation.item.added",
                    "conversation.item.done",
                ]
                * 2
            )
            completed = caller.one(COMPLETED)
            assert (completed["item_id"], completed["content_index"]) == ("said", 0)
            assert completed["usage"] == {"type": "duration", "seconds": 1.0}
            assert caller.time_of("response.created") >= caller.time_of(COMPLETED) >= 2.0
            assert shown(caller) == [("user", "What time is it?"), ("user", "Hi.")]
            caller.send("conversation.item.retrieve", item_id="said")
            caller.send(
                "conversation.item.truncate", item_id="said", content_index=0, audio_end_ms=0
            )
            await caller.pause(0.1)
            (part,) = caller.one("conversation.item.retrieved")["item"]["content"]
            assert part == {"type": "input_audio", "transcript": "What time is it?"}
            assert caller.one("error")["error"]["code"] == "unsupported_content_type"
        assert all(session.closed for session in caller.engine.sessions)

    virtual(call())


def test_words_and_recordings_in_one_message_stay_in_order() -> None:
    script = Script(hears=("Paris?",))  # each session of the engine begins with the first

    async def call() -> None:
        async with Caller(script) as caller:
            audio = {"type": "input_audio", "audio": sound(0.5)}
            known = {"type": "input_audio", "audio": sound(0.5), "transcript": "In June."}
            text = {"type": "input_text", "text": "How is"}
            create(caller, recorded(text, audio, known))
            caller.send("response.create")
            await caller.pause(5)
            assert shown(caller) == [("user", "How is Paris? In June.")]
            assert caller.all(COMPLETED) == []  # nobody asked for it
            assert len(caller.engine.sessions) == 2  # what has a transcript is not heard

    virtual(call())


def test_a_caller_may_speak_while_a_recording_is_heard() -> None:
    async def call() -> None:
        async with Caller(SLOW) as caller:
            create(caller, recorded(id="first"))
            await caller.speak(0.5)
            await caller.pause(8)
            assert caller.heard == ["It is ten. Time for tea."]
            assert shown(caller)[0] == ("user", "What time is it?")

    virtual(call())


@pytest.mark.parametrize(
    ("audio", "code", "words"),
    [
        ("", "invalid_value", "empty"),
        ("AAAA", "invalid_value", "3 bytes"),
        ("&&&&", "invalid_value", "base64"),
        (sound(2.1), "item_too_large", "may hold 2 s"),
        (None, "unsupported_content_type", "needs its audio"),
    ],
)
@pytest.mark.parametrize("kind", ["conversation.item.create", "response.create"])
def test_audio_that_cannot_be_heard_is_refused_and_nothing_is_kept(
    kind: str, audio: str | None, code: str, words: str
) -> None:
    part = {"type": "input_audio"} if audio is None else {"type": "input_audio", "audio": audio}
    item = recorded(part)
    fields = {"item": item} if "item" in kind else {"response": {"input": [item]}}

    async def call() -> None:
        async with Caller(config=Config(turn=TurnConfig(max_turn_s=2.0))) as caller:
            caller.send(kind, event_id="mine", **fields)
            await caller.pause(1)
            error = caller.one("error")["error"]
            assert (error["code"], error["event_id"]) == (code, "mine")
            assert words in error["message"]
            assert ".content[0]" in error["param"]
            assert caller.kinds() == ["session.created", "error"]

    virtual(call())


@pytest.mark.parametrize("conversation", ["none", "auto"])
def test_a_response_may_bring_a_recording_of_its_own(conversation: str) -> None:
    async def call() -> None:
        async with Caller(SLOW) as caller:
            create(caller, recorded(id="there"))
            given = [recorded(), {"type": "item_reference", "id": "there"}]
            response = {"conversation": conversation, "input": given}
            caller.send("response.create", response=response)
            await caller.pause(9)
            assert caller.last_response.status == "completed"
            assert shown(caller) == [("user", "What time is it?")] * 2
            added = [event["item"]["role"] for event in caller.all("conversation.item.added")]
            assert added == (["user"] if conversation == "none" else ["user", "assistant"])

    virtual(call())


def test_a_recording_that_was_deleted_is_not_waited_for() -> None:
    async def call() -> None:
        async with Caller(replace(SLOW, ear_s=60.0)) as caller:
            caller.send("session.update", session=TRANSCRIBED)
            create(caller, recorded(id="gone"))
            caller.send("conversation.item.delete", item_id="gone")
            caller.send("response.create")
            await caller.pause(5)
            assert caller.last_response.status == "completed"
            assert shown(caller) == []
            assert caller.all(COMPLETED) == []

    virtual(call())


class _DeafSession(ScriptedSession):
    async def end_turn(self) -> Transcript:
        raise EngineError("the ear failed")


class _DeafEngine(ScriptedEngine):
    def open(self) -> ScriptedSession:
        self.sessions.append(_DeafSession(self.script))
        return self.sessions[-1]


def test_an_ear_that_fails_is_told_and_the_call_goes_on() -> None:
    async def call() -> None:
        engine = _DeafEngine()
        async with Caller(engine=engine) as caller:
            create(caller, recorded(id="lost"))
            caller.send("response.create")
            await caller.pause(5)
            failed = caller.one("conversation.item.input_audio_transcription.failed")
            assert (failed["item_id"], failed["error"]["message"]) == ("lost", "the ear failed")
            assert caller.last_response.status == "completed"
            own = [{"input": [recorded()], "conversation": where} for where in ("none", "auto")]
            for response in own:
                caller.send("response.create", response=response)
            await caller.pause(5)
            assert [response.status for response in caller.responses[1:]] == ["completed"] * 2
            assert [error["error"]["type"] for error in caller.all("error")] == ["server_error"] * 2

    virtual(call())


def test_long_recordings_are_heard_in_pieces() -> None:
    async def call() -> None:
        async with Caller(Script(hears=("One.", "Two.", "Three."))) as caller:
            create(caller, recorded({"type": "input_audio", "audio": sound(60)}))
            caller.send("response.create")
            await caller.pause(8)
            assert shown(caller) == [("user", "One. Two. Three.")]
            (piece,) = caller.engine.sessions[1].audio
            assert len(piece) <= 28 * 16_000

    virtual(call())

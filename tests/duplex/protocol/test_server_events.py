"""Every server event is one that the openai types accept, and can be read back."""

import json
from typing import Any, get_args

import pytest
from msgspec import UNSET
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from duplex.errors import ProtocolError
from duplex.protocol import server_events as wire
from duplex.protocol.ids import counting_ids, random_id
from duplex.protocol.items import (
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputText,
    Message,
    OutputAudio,
    OutputText,
)
from duplex.protocol.response_types import (
    AudioPart,
    Response,
    ResponseAudio,
    ResponseAudioOutput,
    ResponseError,
    StatusDetails,
    TextPart,
    Usage,
)
from duplex.protocol.session_config import Pcm, SessionConfig

ORACLE = TypeAdapter(RealtimeServerEvent)
ASKED = Message(id="item_1", role="user", content=(InputAudio(), InputText("b")))
ANSWER = Message(
    id="item_2", role="assistant", content=(OutputAudio(transcript="Yes."), OutputText("b"))
)
RIOC: Any = {"response_id": "resp_1", "item_id": "item_2"}
DONE = Response(
    id="resp_1",
    status="cancelled",
    status_details=StatusDetails("cancelled", reason="turn_detected"),
    output=(ANSWER,),
    conversation_id="conv_1",
    output_modalities=("audio",),
    max_output_tokens="inf",
    audio=ResponseAudio(ResponseAudioOutput(Pcm(), "joe")),
    metadata={"client_event_id": "x"},
    usage=Usage.of_text(input_tokens=20, cached_tokens=15, output_tokens=7),
)
STARTED = Response(
    id="resp_1",
    status="in_progress",
    conversation_id="conv_1",
    output_modalities=("text",),
    max_output_tokens=4096,
)
FAILED = Response(
    id="resp_1",
    status="failed",
    status_details=StatusDetails("failed", error=ResponseError("server_error", "c", "m")),
    conversation_id="conv_1",
    output_modalities=("text",),
    max_output_tokens=4096,
)
CALL = FunctionCall(id="item_3", name="f", call_id="call_1", arguments="{}")
CALLED: dict[str, Any] = {
    "response_id": "resp_1",
    "item_id": "item_3",
    "call_id": "call_1",
    "output_index": 1,
}
OPENAI_EVENTS: list[wire.ServerEvent] = [
    wire.session_created("sess_1", SessionConfig()),
    wire.session_updated("sess_1", SessionConfig().merge({"tracing": "auto"})),
    *wire.item_created(ASKED, None),
    *wire.item_created(ANSWER, "item_1"),
    wire.ItemRetrieved(item=ANSWER),
    wire.ItemDeleted(item_id="item_1"),
    wire.ItemTruncated(item_id="item_2", content_index=0, audio_end_ms=5),
    wire.AudioCommitted(item_id="item_1", previous_item_id=None),
    wire.AudioCleared(),
    wire.SpeechStarted(item_id="item_1", audio_start_ms=20),
    wire.SpeechStopped(item_id="item_1", audio_end_ms=900),
    wire.TimeoutTriggered(item_id="item_1", audio_start_ms=900, audio_end_ms=5900),
    wire.TranscriptionDelta(item_id="item_1", delta="He"),
    wire.TranscriptionCompleted(
        item_id="item_1", transcript="Hello", usage=wire.DurationUsage(seconds=0.5)
    ),
    wire.TranscriptionFailed(
        item_id="item_1", error=wire.ErrorBody(type="server_error", code="c", message="m")
    ),
    wire.client_error(ProtocolError("m", code="c", param="p", event_id="theirs")),
    wire.server_error("m"),
    wire.ResponseCreated(response=STARTED),
    wire.ResponseDone(response=DONE),
    wire.ResponseDone(response=FAILED),
    wire.OutputItemAdded(response_id="resp_1", item=ANSWER),
    wire.OutputItemDone(response_id="resp_1", item=ANSWER),
    wire.ContentPartAdded(part=AudioPart(""), **RIOC),
    wire.ContentPartAdded(part=TextPart(""), **RIOC),
    wire.ContentPartDone(part=AudioPart("Yes."), **RIOC),
    wire.ContentPartDone(part=TextPart("Yes."), **RIOC),
    wire.OutputAudioDelta(delta=bytes(480), **RIOC),
    wire.OutputAudioDone(**RIOC),
    wire.OutputTranscriptDelta(delta="Yes", **RIOC),
    wire.OutputTranscriptDone(transcript="Yes.", **RIOC),
    wire.OutputTextDelta(delta="Yes", **RIOC),
    wire.OutputTextDone(text="Yes.", **RIOC),
    wire.ItemAdded(item=CALL, previous_item_id="item_2"),
    wire.OutputItemDone(response_id="resp_1", item=CALL, output_index=1),
    *wire.item_created(FunctionCallOutput(id="i", call_id="call_1", output="{}"), "item_3"),
    wire.FunctionArgumentsDelta(delta="{", **CALLED),
    wire.FunctionArgumentsDone(name="f", arguments="{}", **CALLED),
]
OWN_EVENTS: list[wire.ServerEvent] = [
    wire.ThoughtDelta(response_id="resp_1", delta="hm"),
    wire.ThoughtDone(response_id="resp_1", thought="hm"),
    wire.TurnMetrics(response_id="resp_1", item_id="item_1", marks_ms={"first_audio": 412.5}),
    wire.TurnMetrics(response_id="resp_1", item_id=None, marks_ms={}),
    wire.ResumeOffered(token="t", resume_s=30.0),
]


def name(event: wire.ServerEvent) -> str:
    return type(event).__name__


def test_the_tables_hold_every_event() -> None:
    assert {type(event) for event in OPENAI_EVENTS + OWN_EVENTS} == set(get_args(wire.ServerEvent))


def extras(model: object, where: str = "") -> list[str]:
    """Fields that the openai types do not know (they let them pass)."""
    if isinstance(model, BaseModel):
        found = [f"{where}.{key}" for key in model.model_extra or {}]
        return found + [
            extra
            for key in type(model).model_fields
            for extra in extras(getattr(model, key), f"{where}.{key}")
        ]
    if isinstance(model, list):
        return [extra for value in model for extra in extras(value, where)]
    return []


@pytest.mark.parametrize("event", OPENAI_EVENTS, ids=name)
def test_the_openai_types_accept_it(event: wire.ServerEvent) -> None:
    model = ORACLE.validate_json(wire.encode(event, counting_ids()))
    assert model.event_id == "event_1"
    # Two fields that the API documents for the session and this type of the SDK lacks.
    assert set(extras(model)) <= {".session.id", ".session.object"}


@pytest.mark.parametrize("event", OPENAI_EVENTS + OWN_EVENTS, ids=name)
def test_it_survives_encoding(event: wire.ServerEvent) -> None:
    sent = wire.encode(event, counting_ids())
    read = wire.decode(sent)
    assert read.event_id == "event_1"
    assert event.event_id is UNSET
    assert json.loads(wire.encode(read, counting_ids())) == json.loads(sent)
    if not isinstance(event, wire.SessionCreated | wire.SessionUpdated):  # tuples become lists
        assert type(event)(**{f: getattr(read, f) for f in fields(event)}) == event


def fields(event: wire.ServerEvent) -> list[str]:
    return [field for field in event.__struct_fields__ if field != "event_id"]


ALLOWED_NULLS = {
    "previous_item_id",
    "conversation_id",
    "status_details",
    "usage",
    "transcript",
    "turn_detection",
}


def nulls(value: object, key: str = "") -> set[str]:
    if isinstance(value, dict):
        return {found for k, v in value.items() for found in nulls(v, k)}
    if isinstance(value, list):
        return {found for v in value for found in nulls(v, key)}
    return {key} if value is None else set()


@pytest.mark.parametrize("event", OPENAI_EVENTS, ids=name)
def test_it_holds_no_null_that_a_client_refuses(event: wire.ServerEvent) -> None:
    sent = json.loads(wire.encode(event, counting_ids()))
    assert nulls(sent) <= ALLOWED_NULLS
    assert nulls(sent.get("part", {})) == set()


def test_nulls_that_mean_something_are_sent() -> None:
    sent = [json.loads(wire.encode(e, counting_ids())) for e in wire.item_created(ASKED, None)]
    assert [event["previous_item_id"] for event in sent] == [None, None]
    assert sent[0]["item"]["content"][0] == {"type": "input_audio", "transcript": None}
    created = json.loads(wire.encode(wire.ResponseCreated(response=STARTED), counting_ids()))
    assert created["response"]["usage"] is None
    assert created["response"]["status_details"] is None


@pytest.mark.parametrize(
    ("error", "event_id", "expected"),
    [
        (ProtocolError("m", code="c"), None, {"code": "c"}),
        (ProtocolError("m", code="c"), "obeyed", {"code": "c", "event_id": "obeyed"}),
        (
            ProtocolError("m", code="c", param="p", event_id="own"),
            "obeyed",
            {"code": "c", "param": "p", "event_id": "own"},
        ),
        (ProtocolError("m"), None, {"code": "invalid_value"}),
    ],
)
def test_errors(error: ProtocolError, event_id: str | None, expected: dict[str, str]) -> None:
    sent = json.loads(wire.encode(wire.client_error(error, event_id), counting_ids()))
    assert sent == {
        "type": "error",
        "event_id": "event_1",
        "error": {"type": "invalid_request_error", "message": "m", **expected},
    }


@pytest.mark.parametrize("message", ["", "{}", '{"type": "rate_limits.updated"}', b"\xff"])
def test_a_client_is_told_of_what_is_not_ours(message: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(message)


def test_random_ids() -> None:
    made = {random_id("item") for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(item_id) <= 32 and item_id.startswith("item_") for item_id in made)

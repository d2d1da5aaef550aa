"""The beta's shape: its types, as a package still ships them, accept all that is sent, and what
its clients say means what the GA event says."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from openai.types.beta.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel

from duplex.errors import ProtocolError
from duplex.protocol import client_events
from duplex.protocol import server_events as wire
from duplex.protocol.beta import BetaShape, to_beta, to_ga, wants_beta
from duplex.protocol.beta_fields import session_to_beta
from duplex.protocol.conversation import Conversation
from duplex.protocol.ids import counting_ids
from duplex.protocol.items import InputText, Message
from duplex.protocol.response_plan import plan_response
from duplex.protocol.response_stream import CLIENT_CANCELLED, COMPLETED, ResponseStream
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import GaShape
from duplex.protocol.tools import FunctionTool
from tests._support.struct_strategies import struct

BETA_TYPES: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(RealtimeServerEvent)[0])
}
# Known to the API's documentation and to its clients, not to these types.
EXTRA = (
    ".session.object",
    ".session.duplex",
    ".session.turn_detection.idle_timeout_ms",
    ".response.usage.input_token_details.cached_tokens_details",
    ".name",  # of function_call_arguments.done
    ".error.event_id",
)
TOOL = {"type": "function", "name": "clock", "description": "d", "parameters": {"type": "object"}}
FREE_FORM: dict[str, st.SearchStrategy[Any]] = {
    "tools": st.sampled_from([(), (msgspec.convert(TOOL, FunctionTool),)]),
    "tool_choice": st.sampled_from(["auto", "none", "required"]),
    "tracing": st.sampled_from([None, "auto", {"workflow_name": "w"}]),
    "truncation": st.just("auto"),
    "prompt": st.none(),
    "reasoning": st.none(),
    "include": st.none(),
}
# Those of transcription are told in events of their own.
SESSIONS = struct(SessionConfig, FREE_FORM).map(lambda c: structs.replace(c, type="realtime"))
SERVER_EVENTS = st.one_of(
    *(
        struct(kind, FREE_FORM | {"session": SESSIONS.map(lambda config: config.to_dict())})
        for kind in get_args(wire.ServerEvent)
    )
)
FORMATS = st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"])
FLAT = st.fixed_dictionaries(
    {},
    optional={
        "modalities": st.sampled_from([["text"], ["audio", "text"]]),
        "instructions": st.text("ab", max_size=5),
        "voice": st.sampled_from(["alloy", "joe"]),
        "speed": st.floats(0.25, 1.5),
        "input_audio_format": FORMATS,
        "output_audio_format": FORMATS,
        "input_audio_transcription": st.sampled_from([{"model": "whisper-1"}, {"language": "en"}]),
        "input_audio_noise_reduction": st.just({"type": "near_field"}),
        "turn_detection": st.none() | st.builds(dict, type=st.just("semantic_vad")),
        "tools": st.just([TOOL]),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "temperature": st.floats(0, 2),
        "max_response_output_tokens": st.just("inf") | st.integers(1, 4096),
        "tracing": st.sampled_from(["auto", None]),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def extras(model: object, where: str = "") -> list[str]:
    """Fields that the beta's types do not know."""
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


@given(SERVER_EVENTS)
def test_the_betas_types_accept_all_that_is_told(event: wire.ServerEvent) -> None:
    for message in BetaShape("conv_1").write(event, counting_ids()):
        told = json.loads(message)
        if told["type"].startswith("duplex."):
            assert told["type"] == type(event).__struct_config__.tag
            continue
        told.get("session", {}).pop("model", None)  # the types know the names of one company
        model = BETA_TYPES[told["type"]].model_validate(told)
        assert [where for where in extras(model) if not where.startswith(EXTRA)] == []


def test_a_transcription_session_has_events_of_its_own() -> None:
    shape = BetaShape("conv_1")
    update = shape.read(
        """{"type": "transcription_session.update", "session": {
        "input_audio_format": "g711_ulaw", "input_audio_transcription": {"language": "en"},
        "include": ["item.input_audio_transcription.logprobs"]}}"""
    )
    assert isinstance(update, client_events.SessionUpdate)
    config = SessionConfig().merge(update.session)
    assert config.only_transcribes
    told: list[wire.ServerEvent] = [
        wire.session_created("sess_1", config),
        wire.session_updated("sess_1", config),
    ]
    messages = [json.loads(text) for event in told for text in shape.write(event, counting_ids())]
    kinds = [message["type"] for message in messages]
    assert kinds == ["transcription_session.created", "transcription_session.updated"]
    session = messages[1]["session"]
    assert session["input_audio_format"] == "g711_ulaw"
    assert session["input_audio_transcription"] == {"language": "en"}
    assert "voice" not in session


@given(SERVER_EVENTS)
def test_only_two_events_have_no_counterpart(event: wire.ServerEvent) -> None:
    told = [json.loads(each)["type"] for each in BetaShape("c").write(event, counting_ids())]
    kind = str(type(event).__struct_config__.tag)
    if kind in ("conversation.item.done", "input_audio_buffer.timeout_triggered"):
        assert told == []
    elif kind == "session.created":
        assert told == [kind, "conversation.created"]
    else:
        renamed = kind.replace("response.output_text", "response.text")
        renamed = renamed.replace("response.output_audio", "response.audio")
        assert told == [renamed.replace("conversation.item.added", "conversation.item.created")]


@given(FLAT)
def test_a_session_is_told_as_it_was_set(flat: dict[str, Any]) -> None:
    session = SessionConfig().merge(to_ga({"type": "session.update", "session": flat})["session"])
    (message, *_) = BetaShape("c").write(wire.session_updated("s", session), counting_ids())
    told = json.loads(message)["session"]
    for name, value in flat.items():
        if name == "turn_detection" and value is not None:
            assert told[name]["type"] == value["type"]
        else:
            assert told.get(name) == value, name


@given(SESSIONS)
def test_a_session_that_was_told_can_be_set_again(session: SessionConfig) -> None:
    flat = session_to_beta(session.to_dict())
    update = to_ga({"type": "session.update", "session": flat})["session"]
    again = SessionConfig().merge(update)
    kept = {name: getattr(again, name) for name in ("type", "truncation", "parallel_tool_calls")}
    assert again == msgspec.structs.replace(session, **kept)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("turn_detection", ("audio", "input", "turn_detection")),
        ("input_audio_transcription", ("audio", "input", "transcription")),
        ("voice", ("audio", "output", "voice")),
        ("modalities", ("output_modalities",)),
        ("input_audio_format", ("audio", "input", "format")),
    ],
)
def test_null_stays_null_and_absent_absent(name: str, path: tuple[str, ...]) -> None:
    assert to_ga({"type": "session.update", "session": {}})["session"] == {}
    found = to_ga({"type": "session.update", "session": {name: None}})["session"]
    for key in path:
        assert list(found) == [key]
        found = found[key]
    assert found is None


def test_a_response_with_its_own_parameters() -> None:
    message = {
        "type": "response.create",
        "event_id": "mine",
        "response": {
            "modalities": ["text", "audio"],
            "voice": "alloy",
            "output_audio_format": "g711_ulaw",
            "max_response_output_tokens": 7,
            "instructions": "Be kind.",
            "metadata": {"a": "b"},
            "input": [
                {"type": "item_reference", "id": "item_1"},
                {"type": "message", "role": "user", "content": [{"type": "text", "text": "x"}]},
            ],
        },
    }
    assert to_ga(message) == {
        "type": "response.create",
        "event_id": "mine",
        "response": {
            "output_modalities": ["audio"],
            "max_output_tokens": 7,
            "instructions": "Be kind.",
            "metadata": {"a": "b"},
            "audio": {"output": {"voice": "alloy", "format": {"type": "audio/pcmu"}}},
            "input": [
                {"type": "item_reference", "id": "item_1"},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "x"}],
                },
            ],
        },
    }


@pytest.mark.parametrize(
    ("role", "beta", "ga"),
    [
        ("user", "input_text", "input_text"),
        ("user", "text", "input_text"),
        ("system", "input_text", "input_text"),
        ("assistant", "text", "output_text"),
    ],
)
def test_items_of_a_client(role: str, beta: str, ga: str) -> None:
    item = {"type": "message", "role": role, "content": [{"type": beta, "text": "Hello"}]}
    message = BetaShape("c").rewrite(json.dumps({"type": "conversation.item.create", "item": item}))
    event = client_events.decode(message)
    assert isinstance(event, client_events.ItemCreate)
    assert event.item.content[0].__struct_config__.tag == ga  # type: ignore[union-attr]


def test_an_items_place_in_the_order() -> None:
    conversation, new_id = Conversation(), counting_ids()
    stream = ResponseStream(plan_response(SessionConfig(), None), conversation, "conv_1", new_id)
    asked = Message(id="item_0", role="user", content=(InputText("b"),))
    events = [
        *wire.item_created(asked, None),
        *stream.start(),
        *stream.audio(bytes(2), "Hello."),
        *stream.finish(COMPLETED),
    ]
    told = [each for event in events for each in to_beta(msgspec.to_builtins(event), "conv_1")]
    assert [each["type"] for each in told] == [
        "conversation.item.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    done = told[-1]["response"]
    assert (done["modalities"], done["voice"]) == (["audio", "text"], "default")
    assert (done["output_audio_format"], done["max_output_tokens"]) == ("pcm16", "inf")
    assert done["output"][0]["content"] == [{"type": "audio", "transcript": "Hello."}]


def test_a_cancelled_response_has_counts_too() -> None:
    stream = ResponseStream(
        plan_response(SessionConfig(), None), Conversation(), "conv_1", counting_ids()
    )
    (created,) = to_beta(msgspec.to_builtins(stream.start()[0]), "conv_1")
    assert created["response"]["usage"] is None
    (done,) = to_beta(msgspec.to_builtins(stream.finish(CLIENT_CANCELLED)[0]), "conv_1")
    assert done["response"]["usage"]["input_tokens"] == 0


def test_a_format_that_does_not_exist_is_refused_by_its_own_name() -> None:
    message = '{"type":"session.update","event_id":"e1","session":{"input_audio_format":"mp3"}}'
    with pytest.raises(ProtocolError) as refused:
        BetaShape("c").rewrite(message)
    assert refused.value.param == "session.input_audio_format"
    assert refused.value.event_id == "e1"


def test_errors_name_the_field_that_the_client_wrote() -> None:
    update = to_ga({"type": "session.update", "session": {"turn_detection": {"threshold": 7}}})
    with pytest.raises(ProtocolError) as refused:
        SessionConfig().merge(update["session"])
    event = msgspec.to_builtins(wire.client_error(refused.value))
    assert event["error"]["param"] == "session.audio.input.turn_detection.threshold"
    (told,) = to_beta(event, "c")
    assert told["error"]["param"] == "session.turn_detection.threshold"
    assert "'session.turn_detection.threshold'" in told["error"]["message"]


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_no_message_raises_anything_but_a_protocol_error(message: str | bytes) -> None:
    attempt(message)


@given(
    st.sampled_from(["session.update", "response.create", "conversation.item.create"]),
    st.sampled_from(["session", "response", "item"]),
    JSON
    | st.dictionaries(st.sampled_from(["modalities", "voice", "content", "audio", "input"]), JSON),
)
def test_nor_does_an_event_with_wrong_insides(kind: str, field: str, inside: object) -> None:
    attempt(json.dumps({"type": kind, field: inside}))


@pytest.mark.parametrize("kind", ["session.update", "response.create", "x", "\\ud800"])
def test_nor_does_one_that_is_nested_too_deeply(kind: str) -> None:
    attempt('{"type":"' + kind + '","session":' + '{"a":' * 5000 + "1" + "}" * 5001)
    attempt('{"type":"' + kind + '","session":' + '{"a":' * 900 + "1" + "}" * 901)


def attempt(message: str | bytes) -> None:
    """Read a message as a session does."""
    try:
        event = BetaShape("c").read(message)
        if isinstance(event, client_events.SessionUpdate):
            SessionConfig().merge(event.session)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "event", ["input_audio_buffer.commit", "response.cancel", "conversation.item.delete"]
)
def test_what_is_the_same_in_both_is_not_touched(event: str) -> None:
    message = json.dumps({"type": event, "item_id": "item_1"})
    assert BetaShape("c").rewrite(message) is message
    assert GaShape().read(message) == client_events.decode(message)


def test_who_gets_the_beta() -> None:
    assert wants_beta(["realtime=v1"], [])
    assert wants_beta(["assistants=v2, realtime=v1"], [])
    assert wants_beta([], ["realtime", "openai-beta.realtime-v1"])
    assert not wants_beta(["assistants=v2"], ["realtime", "openai-insecure-api-key.x"])
    assert not wants_beta([], [])

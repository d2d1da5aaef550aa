"""Reading what clients send: nothing but `ProtocolError`, and an error a client can use."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from duplex.errors import ProtocolError
from duplex.protocol import client_events as ce
from duplex.protocol.items import (
    FunctionCallOutputParam,
    FunctionCallParam,
    InputAudio,
    InputText,
    MessageParam,
    OutputAudio,
    OutputText,
)
from duplex.protocol.response_input import ItemReference
from duplex.protocol.tools import FunctionTool, NamedFunction

ORACLE = TypeAdapter(RealtimeClientEvent)
PCM = base64.b64encode(bytes(4)).decode()

VALID = [
    {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}},
    {"type": "input_audio_buffer.append", "audio": PCM},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear", "event_id": "e"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "type": "message",
            "id": "mine",
            "object": "realtime.item",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hi"}],
        },
    },
    {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello."}],
        },
    },
    {"type": "conversation.item.delete", "item_id": "a"},
    {"type": "conversation.item.retrieve", "item_id": "a"},
    {
        "type": "conversation.item.truncate",
        "item_id": "a",
        "content_index": 0,
        "audio_end_ms": 1500,
    },
    {"type": "response.create"},
    {
        "type": "response.create",
        "response": {
            "output_modalities": ["text"],
            "metadata": {"client_event_id": "x"},
            "max_output_tokens": "inf",
            "audio": {"output": {"voice": {"id": "joe"}}},
        },
    },
    {"type": "response.cancel", "response_id": "r"},
]


@pytest.mark.parametrize("event", VALID, ids=lambda event: event["type"])
def test_what_the_openai_types_accept_is_read_and_written_again(event: dict) -> None:
    ORACLE.validate_python(event)  # the table itself is right
    read = ce.decode(json.dumps(event))
    assert read == ce.decode(json.dumps(event).encode())
    assert ce.decode(ce.encode(read)) == read
    ORACLE.validate_json(ce.encode(read))


def test_audio_is_decoded() -> None:
    event = ce.decode(json.dumps({"type": "input_audio_buffer.append", "audio": PCM}))
    assert event == ce.AudioAppend(audio=bytes(4))


def test_nulls_are_the_same_as_absent_fields() -> None:
    event = {"type": "response.create", "event_id": None, "response": {"metadata": None}}
    assert ce.decode(json.dumps(event)) == ce.ResponseCreate(response=ce.ResponseParams())


def test_unknown_fields_are_ignored() -> None:
    event = {"type": "response.cancel", "later": {"than": ["us"]}}
    assert ce.decode(json.dumps(event)) == ce.ResponseCancel()


MESSAGE = {"type": "message", "role": "user", "content": []}


def create(**item: object) -> dict:
    return {"type": "conversation.item.create", "item": {**MESSAGE, **item}}


def call(**fields: object) -> dict:
    item = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", **fields}
    return {"type": "conversation.item.create", "item": item}


def respond(**params: object) -> dict:
    return {"type": "response.create", "response": params}


TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ([], "invalid_value", None),
        (3, "invalid_value", None),
        ({}, "missing_field", "type"),
        ({"type": 5}, "invalid_value", "type"),
        ({"type": "response.creat"}, "unknown_event", "type"),
        ({"type": "session.created"}, "unknown_event", "type"),
        ({"type": "session.update"}, "missing_field", "session"),
        ({"type": "session.update", "session": []}, "invalid_value", "session"),
        ({"type": "input_audio_buffer.append"}, "missing_field", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "A!=="}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAA"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": None}, "invalid_value", "audio"),
        ({"type": "conversation.item.delete"}, "missing_field", "item_id"),
        ({"type": "conversation.item.delete", "item_id": 1}, "invalid_value", "item_id"),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "a",
                "content_index": 0,
                "audio_end_ms": -1,
            },
            "invalid_value",
            "audio_end_ms",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "a",
                "content_index": 0,
                "audio_end_ms": 10**30,
            },
            "invalid_value",
            "audio_end_ms",
        ),
        (create(type="function_call"), "missing_field", "item.name"),
        (create(type="function_call_output"), "missing_field", "item.call_id"),
        (call(name="a b"), "invalid_value", "item.name"),
        (call(call_id="c" * 33), "invalid_value", "item.call_id"),
        (call(arguments={}), "invalid_value", "item.arguments"),
        (create(type="mcp_call"), "unsupported_item_type", "item.type"),
        (create(role="developer"), "invalid_value", "item.role"),
        (create(id=""), "invalid_value", "item.id"),
        (create(content=[{"type": "input_text"}]), "missing_field", "item.content[0].text"),
        (
            create(content=[{"type": "input_text", "text": "a"}, {"type": "input_image"}]),
            "unsupported_content_type",
            "item.content[1].type",
        ),
        (
            create(content=[{"type": "output_text", "text": "a"}]),
            "unsupported_content_type",
            "item.content[0].type",
        ),
        (respond(conversation="other"), "invalid_value", "response.conversation"),
        (respond(input=[{"type": "mcp_call"}]), "unsupported_item_type", "response.input[0].type"),
        (respond(input=[{"type": "item_reference"}]), "missing_field", "response.input[0].id"),
        (
            respond(input=[{**MESSAGE, "content": [{"type": "output_text", "text": "a"}]}]),
            "unsupported_content_type",
            "response.input[0].content[0].type",
        ),
        (respond(tools=[{"type": "function"}]), "missing_field", "response.tools[0].name"),
        (respond(tools=[TOOL, TOOL]), "invalid_value", "response.tools[1].name"),
        (respond(tools=[{**TOOL, "name": "a b"}]), "invalid_value", "response.tools[0].name"),
        (
            respond(tools=[{**TOOL, "parameters": []}]),
            "invalid_value",
            "response.tools[0].parameters",
        ),
        (
            respond(tools=[{**TOOL, "parameters": {"type": "array"}}]),
            "invalid_function_parameters",
            "response.tools[0].parameters",
        ),
        (
            respond(tools=[TOOL, {"type": "mcp", "server_label": "x"}]),
            "unsupported_tool_type",
            "response.tools[1].type",
        ),
        (
            respond(tool_choice={"type": "mcp", "server_label": "x"}),
            "unsupported_tool_type",
            "response.tool_choice.type",
        ),
        (respond(tool_choice="sometimes"), "invalid_value", "response.tool_choice"),
        (respond(output_modalities=["text", "audio"]), "invalid_value", None),
        (respond(output_modalities=[]), "invalid_value", "response.output_modalities"),
        (respond(max_output_tokens=0), "invalid_value", "response.max_output_tokens"),
        (respond(metadata={"a": 1}), "invalid_value", None),
    ],
)
def test_errors_say_what_and_where(event: object, code: str, param: str | None) -> None:
    if isinstance(event, dict):
        event = {**event, "event_id": "mine"}
    with pytest.raises(ProtocolError) as caught:
        ce.decode(json.dumps(event))
    assert caught.value.code == code
    if param is not None:
        assert caught.value.param == param
    assert caught.value.event_id == ("mine" if isinstance(event, dict) else None)


DEEP = 100_000


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"nonsense",
        b'{"type": "response.cancel"} x',
        b'{"type": "response.cancel", "x": NaN}',
        b'\xef\xbb\xbf{"type": "response.cancel"}',
        b'{"type": "session.update", "session": {"a": "\\ud800"}}',
        '{"type": "session.update", "session": {"a": "\ud800"}}',
        b'{"type": "session.update", "session": {"a": "\xff"}}',
        b'{"type": "session.update", "session": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'{"type": "response.cancel", "x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    ],
    ids=lambda message: repr(message[:40]),
)
def test_what_is_not_json(message: str | bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        ce.decode(message)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize(
    "rest",
    [
        b'"type": "response.cancel"',  # cut off
        b'"type": "session.update", "session": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
        b'"type": "response.cancel", "x": "\xff}',
        b"}}}",
    ],
    ids=lambda rest: repr(rest[:40]),
)
def test_the_event_id_is_found_in_broken_json(rest: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        ce.decode(b'{"event_id": "mine", ' + rest)
    assert caught.value.event_id == "mine"


def test_errors_do_not_echo_megabytes() -> None:
    with pytest.raises(ProtocolError) as caught:
        ce.decode(json.dumps({"type": "x" * 1_000_000, "event_id": "y" * 1_000_000}))
    assert len(str(caught.value)) < 1000
    assert caught.value.event_id is None


# Strategies: any JSON, and valid events with one thing changed.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["realtime", "message", "user", "input_text", "inf", PCM, "root"])
)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def paths(value: object, here: tuple = ()) -> list[tuple]:
    inner: Iterable[tuple] = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [here, *(path for key, child in inner for path in paths(child, (*here, key)))]


def changed(value: Any, path: tuple, new: object) -> object:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@st.composite
def mutants(draw: st.DrawFn) -> str:
    event = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        event = changed(event, draw(st.sampled_from(paths(event))), draw(ANY_JSON))
    return json.dumps(event)


def read(message: str | bytes) -> ce.ClientEvent | ProtocolError:
    try:
        return ce.decode(message)
    except ProtocolError as error:
        return error


def survives(message: str | bytes) -> None:
    event = read(message)
    if isinstance(event, ProtocolError):
        assert event.code is not None
    else:
        assert read(ce.encode(event)) == event


@given(st.binary())
def test_bytes_never_raise_anything_else(message: bytes) -> None:
    survives(message)


@given(st.text(st.characters()))  # surrogates included
def test_text_never_raises_anything_else(message: str) -> None:
    survives(message)


@given(ANY_JSON.map(json.dumps))
def test_json_never_raises_anything_else(message: str) -> None:
    survives(message)


@given(mutants())
def test_mutated_events_never_raise_anything_else(message: str) -> None:
    survives(message)


@given(mutants(), st.data())
def test_mutated_bytes_never_raise_anything_else(message: str, data: st.DataObject) -> None:
    raw = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(raw))


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONTENT = {
    "system": TEXT.map(InputText),
    "user": TEXT.map(InputText)
    | st.builds(InputAudio, audio=st.binary(max_size=8), transcript=st.none() | TEXT),
    "assistant": TEXT.map(OutputText) | st.builds(OutputAudio, transcript=st.none() | TEXT),
}
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
MESSAGES = st.sampled_from(sorted(CONTENT)).flatmap(
    lambda role: st.builds(
        MessageParam,
        role=st.just(role),
        content=st.lists(CONTENT[role], max_size=3).map(tuple),
        id=st.none() | IDS,
    )
)
CALL_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)
ITEMS = (
    MESSAGES
    | st.builds(FunctionCallParam, name=NAMES, call_id=CALL_IDS, arguments=TEXT, id=st.none() | IDS)
    | st.builds(FunctionCallOutputParam, call_id=CALL_IDS, output=TEXT, id=st.none() | IDS)
)
INPUTS = st.lists(ITEMS, max_size=3).map(tuple)
TOOLS = st.lists(
    st.builds(
        FunctionTool,
        name=NAMES,
        description=st.none() | TEXT,
        parameters=st.none() | st.just({"type": "object", "properties": {}}),
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)
EVENTS = st.one_of(
    st.builds(ce.AudioAppend, audio=st.binary(max_size=40), event_id=st.none() | IDS),
    st.builds(ce.AudioCommit),
    st.builds(ce.AudioClear),
    st.builds(ce.ItemCreate, item=ITEMS, previous_item_id=st.none() | IDS),
    st.builds(ce.ItemDelete, item_id=IDS),
    st.builds(ce.ItemRetrieve, item_id=IDS),
    st.builds(
        ce.ItemTruncate,
        item_id=IDS,
        content_index=st.integers(0, 5),
        audio_end_ms=st.integers(0, 2**31 - 1),
    ),
    st.builds(
        ce.ResponseCreate,
        response=st.none()
        | st.builds(
            ce.ResponseParams,
            instructions=st.none() | TEXT,
            output_modalities=st.sampled_from([None, ("audio",), ("text",)]),
            max_output_tokens=st.none() | st.just("inf") | st.integers(1, 4096),
            metadata=st.none() | st.dictionaries(IDS, TEXT, max_size=3),
            conversation=st.sampled_from([None, "auto", "none"]),
            tools=st.none() | TOOLS,
            tool_choice=st.sampled_from([None, "auto", "none", "required"])
            | st.builds(NamedFunction, name=NAMES),
            parallel_tool_calls=st.none() | st.booleans(),
            input=st.none() | INPUTS,
        ),
    ),
    st.builds(ce.ResponseCancel, response_id=st.none() | IDS),
)


@given(EVENTS)
def test_events_survive_encoding_and_are_what_the_openai_types_mean(event: ce.ClientEvent) -> None:
    message = ce.encode(event)
    assert ce.decode(message) == event
    ORACLE.validate_json(message)


def test_item_references_survive_too() -> None:  # the generated types do not know them
    event = ce.ResponseCreate(response=ce.ResponseParams(input=(ItemReference("item_1"),)))
    assert ce.decode(ce.encode(event)) == event

"""Events that pass without JSON: what is checked, and what they weigh."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from duplex.errors import ProtocolError
from duplex.protocol import client_events, server_events
from duplex.protocol.client_events import AudioAppend, ItemCreate, ResponseCreate, ResponseParams
from duplex.protocol.codes import Code
from duplex.protocol.ids import counting_ids
from duplex.protocol.items import MAX_TEXT_CHARS, InputText, MessageParam, OutputText
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.shapes import GaShape, TypedShape, bytes_of, shape_of
from tests._support.struct_strategies import struct

SESSION = SessionConfig().to_dict()
SERVER_EVENTS = st.one_of(
    *(
        struct(kind, {"session": st.just(SESSION), "tools": st.just(()), "tool_choice": st.none()})
        for kind in get_args(server_events.ServerEvent)
    )
)


def test_audio_is_passed_on_and_not_copied() -> None:
    event = AudioAppend(audio=b"x" * 320)
    assert TypedShape().read(event) is event


def test_an_event_means_what_it_means_over_a_socket() -> None:
    for event in (
        ItemCreate(item=MessageParam(role="user", content=(InputText(text="Hello"),))),
        ResponseCreate(response=ResponseParams(instructions="Be brief.", tool_choice="none")),
        client_events.ResponseCancel(response_id="resp_1"),
        client_events.ItemTruncate(item_id="item_1", content_index=0, audio_end_ms=7),
    ):
        assert TypedShape().read(event) == GaShape().read(client_events.encode(event)) == event


@pytest.mark.parametrize(
    "event",
    [
        ItemCreate(
            item=MessageParam(role="user", content=(InputText(text="x" * (MAX_TEXT_CHARS + 1)),))
        ),
        ItemCreate(item=MessageParam(role="user", content=(OutputText(text="Hello"),))),
        client_events.ItemTruncate(item_id="item_1", content_index=0, audio_end_ms=-1),
    ],
    ids=["too long", "not the user's", "a negative time"],
)
def test_what_a_socket_could_not_send_is_refused_likewise(event: client_events.ClientEvent) -> None:
    with pytest.raises(ProtocolError) as by_type:
        TypedShape().read(event)
    with pytest.raises(ProtocolError) as by_text:
        GaShape().read(client_events.encode(event))
    assert (by_type.value.code, by_type.value.param) == (by_text.value.code, by_text.value.param)
    assert by_type.value.code in (Code.INVALID_VALUE, Code.UNSUPPORTED_CONTENT_TYPE)


@given(SERVER_EVENTS)
def test_an_event_goes_out_as_it_is_with_an_id(event: server_events.ServerEvent) -> None:
    (sent,) = TypedShape().write(event, counting_ids())
    assert sent == replace(event, event_id="event_1")


@given(SERVER_EVENTS)
def test_an_event_weighs_about_what_it_weighs_in_json(event: server_events.ServerEvent) -> None:
    (text,) = GaShape().write(event, counting_ids())
    (sent,) = TypedShape().write(event, counting_ids())
    assert bytes_of(sent) > bytes_of(text) / 4


def test_audio_weighs_its_bytes() -> None:
    def delta(audio: bytes) -> server_events.OutputAudioDelta:
        return server_events.OutputAudioDelta(response_id="r", item_id="i", delta=audio)

    assert bytes_of(delta(bytes(5000))) - bytes_of(delta(b"")) == 5000


def test_shapes_by_name() -> None:
    commit = '{"type":"input_audio_buffer.commit"}'
    assert shape_of("ga", "c").read(commit) == client_events.AudioCommit()
    assert shape_of("beta", "c").read(commit) == client_events.AudioCommit()
    assert shape_of("typed", "c").read(client_events.AudioCommit()) == client_events.AudioCommit()

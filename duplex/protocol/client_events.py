"""The events that clients send: those of the GA Realtime API, read strictly where we use them and
tolerantly where we do not."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from duplex.errors import ProtocolError
from duplex.protocol.decoding import MAX_EVENT_ID_CHARS, find_event_id, protocol_errors
from duplex.protocol.items import Audio, ItemParam, Text, check_content
from duplex.protocol.response_input import InputItems, check_input
from duplex.protocol.session_config import AudioFormat, MaxTokens, Modalities, Name
from duplex.protocol.tools import ToolChoice, Tools, check_tools

GivenId = Annotated[str, Meta(max_length=MAX_EVENT_ID_CHARS)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]


class _Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    event_id: GivenId | None = None


class SessionUpdate(_Event, frozen=True, tag="session.update"):
    """``session`` goes to `SessionConfig.merge` as it is: there absent and null differ."""

    session: dict[str, Any]


class AudioAppend(_Event, frozen=True, tag="input_audio_buffer.append"):
    """``audio`` is in the session's input format."""

    audio: Audio


class AudioCommit(_Event, frozen=True, tag="input_audio_buffer.commit"):
    """The caller's turn is over (manual mode)."""


class AudioClear(_Event, frozen=True, tag="input_audio_buffer.clear"):
    """Forget the audio that is not committed."""


class ItemCreate(_Event, frozen=True, tag="conversation.item.create"):
    """``previous_item_id``: null for the end, ``root`` for the beginning, else after that item."""

    item: ItemParam
    previous_item_id: GivenId | None = None


class ItemDelete(_Event, frozen=True, tag="conversation.item.delete"):
    """Remove an item."""

    item_id: GivenId


class ItemRetrieve(_Event, frozen=True, tag="conversation.item.retrieve"):
    """Ask for an item as the server has it."""

    item_id: GivenId


class ItemTruncate(_Event, frozen=True, tag="conversation.item.truncate"):
    """The caller heard only the first ``audio_end_ms`` of a response's item."""

    item_id: GivenId
    content_index: Annotated[int, Meta(ge=0)]
    audio_end_ms: Milliseconds


class VoiceId(Struct, frozen=True):
    """A voice by id; the same as its name alone."""

    id: Name


class ResponseAudioOutput(Struct, frozen=True, omit_defaults=True):
    """Null keeps the session's."""

    format: AudioFormat | None = None
    voice: Name | VoiceId | None = None


class ResponseAudio(Struct, frozen=True, omit_defaults=True):
    """Null keeps the session's."""

    output: ResponseAudioOutput | None = None


class ResponseParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The settings of one response; null keeps the session's."""

    instructions: Text | None = None
    output_modalities: Modalities | None = None
    max_output_tokens: MaxTokens | None = None
    audio: ResponseAudio | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto", "none"] | None = None
    input: InputItems | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None


class ResponseCreate(_Event, frozen=True, tag="response.create"):
    """Begin a response now."""

    response: ResponseParams | None = None


class ResponseCancel(_Event, frozen=True, tag="response.cancel"):
    """Stop a response; null means the active one."""

    response_id: GivenId | None = None


ClientEvent = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | ItemCreate
    | ItemDelete
    | ItemRetrieve
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)

_DECODER: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)
_ENCODER = msgspec.json.Encoder()


def decode(message: str | bytes) -> ClientEvent:
    """Read one message. Bytes are read as UTF-8, so binary frames work as text frames do.

    Raises:
        ProtocolError: for everything else, with the event's ``event_id`` wherever it is legible.
    """
    try:
        with protocol_errors():
            event = _DECODER.decode(message)
        _check(event)
    except ProtocolError as error:
        error.event_id = find_event_id(message)
        raise
    return event


def checked(event: ClientEvent) -> ClientEvent:
    """Check an event of a client in the same process as `decode` checks those of sockets.

    Raises:
        ProtocolError: a socket's client could not have sent it.
    """
    with protocol_errors():
        known: ClientEvent = msgspec.convert(msgspec.to_builtins(event), ClientEvent)
    _check(known)
    return known


def encode(event: ClientEvent) -> str:
    """Write one message, for clients."""
    return _ENCODER.encode(event).decode()


def _check(event: ClientEvent) -> None:
    """Refuse what has the right shape and still cannot be obeyed."""
    match event:
        case ItemCreate(item=item):
            check_content(item)
        case ResponseCreate(response=ResponseParams() as params):
            check_input(params.input or ())
            check_tools(params.tools or (), "response")

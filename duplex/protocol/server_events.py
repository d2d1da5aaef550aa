"""The events that the server sends: the one place where they have their shape.

Nulls are left out except where clients need to see them: a field that may be absent defaults to
UNSET, one that is sent as null to None. An event gets its ``event_id`` when it is encoded.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.decoding import protocol_errors
from duplex.protocol.ids import NewId
from duplex.protocol.items import Item
from duplex.protocol.response_types import AudioPart, Response, TextPart
from duplex.protocol.session_config import SessionConfig


class _Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: str | UnsetType = UNSET


class SessionCreated(_Event, frozen=True, tag="session.created"):
    """First event of a call: the full configuration in effect."""

    session: dict[str, Any]


class SessionUpdated(_Event, frozen=True, tag="session.updated"):
    """The full configuration in effect after a session.update."""

    session: dict[str, Any]


class ItemAdded(_Event, frozen=True, tag="conversation.item.added"):
    """An item is in the conversation; a response's is still empty."""

    item: Item
    previous_item_id: str | None


class ItemDone(_Event, frozen=True, tag="conversation.item.done"):
    """The item is final, but for a transcript that is still to come."""

    item: Item
    previous_item_id: str | None


class ItemRetrieved(_Event, frozen=True, tag="conversation.item.retrieved"):
    """The reply to conversation.item.retrieve, without audio: see `duplex.protocol.items`."""

    item: Item


class ItemDeleted(_Event, frozen=True, tag="conversation.item.deleted"):
    """The item is gone."""

    item_id: str


class ItemTruncated(_Event, frozen=True, tag="conversation.item.truncated"):
    """The item now ends at ``audio_end_ms``."""

    item_id: str
    content_index: int
    audio_end_ms: int


class AudioCommitted(_Event, frozen=True, tag="input_audio_buffer.committed"):
    """The buffered audio has become the user item ``item_id``."""

    item_id: str
    previous_item_id: str | None


class AudioCleared(_Event, frozen=True, tag="input_audio_buffer.cleared"):
    """The buffered audio is forgotten."""


class SpeechStarted(_Event, frozen=True, tag="input_audio_buffer.speech_started"):
    """Milliseconds count from the first sample of the call."""

    item_id: str
    audio_start_ms: int


class SpeechStopped(_Event, frozen=True, tag="input_audio_buffer.speech_stopped"):
    """Milliseconds count from the first sample of the call."""

    item_id: str
    audio_end_ms: int


class TimeoutTriggered(_Event, frozen=True, tag="input_audio_buffer.timeout_triggered"):
    """The caller has said nothing for as long as ``idle_timeout_ms`` since a response was played.
    That silence is committed as the item. Milliseconds count from the first sample of the call."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


class DurationUsage(Struct, frozen=True, tag_field="type", tag="duration"):
    """Transcription is accounted by the length of the audio."""

    seconds: float


class TranscriptionDelta(
    _Event, frozen=True, tag="conversation.item.input_audio_transcription.delta"
):
    """Further words of the caller."""

    item_id: str
    delta: str
    content_index: int = 0


class TranscriptionCompleted(
    _Event, frozen=True, tag="conversation.item.input_audio_transcription.completed"
):
    """All words of the caller's turn."""

    item_id: str
    transcript: str
    usage: DurationUsage
    content_index: int = 0


class ErrorBody(Struct, frozen=True, kw_only=True):
    """``event_id`` is that of the client's event which caused it."""

    type: Literal["invalid_request_error", "server_error"]
    code: str | UnsetType = UNSET
    message: str
    param: str | UnsetType = UNSET
    event_id: str | UnsetType = UNSET


class TranscriptionFailed(
    _Event, frozen=True, tag="conversation.item.input_audio_transcription.failed"
):
    """The ear could not do it."""

    item_id: str
    error: ErrorBody
    content_index: int = 0


class Error(_Event, frozen=True, tag="error"):
    """Something could not be done; the call goes on."""

    error: ErrorBody


class ResponseCreated(_Event, frozen=True, tag="response.created"):
    """A response has begun."""

    response: Response


class ResponseDone(_Event, frozen=True, tag="response.done"):
    """A response has ended, one way or another."""

    response: Response


class OutputItemAdded(_Event, frozen=True, tag="response.output_item.added"):
    """The response's item has been opened."""

    response_id: str
    item: Item
    output_index: int = 0


class OutputItemDone(_Event, frozen=True, tag="response.output_item.done"):
    """The response's item is final."""

    response_id: str
    item: Item
    output_index: int = 0


class _PartEvent(_Event, frozen=True, kw_only=True):
    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


class ContentPartAdded(_PartEvent, frozen=True, tag="response.content_part.added"):
    """The part has been opened, still empty."""

    part: AudioPart | TextPart


class ContentPartDone(_PartEvent, frozen=True, tag="response.content_part.done"):
    """The part is final."""

    part: AudioPart | TextPart


class OutputAudioDelta(_PartEvent, frozen=True, tag="response.output_audio.delta"):
    """Audio in the response's output format."""

    delta: bytes


class OutputAudioDone(_PartEvent, frozen=True, tag="response.output_audio.done"):
    """No more audio."""


class OutputTranscriptDelta(_PartEvent, frozen=True, tag="response.output_audio_transcript.delta"):
    """The words that the next audio voices."""

    delta: str


class OutputTranscriptDone(_PartEvent, frozen=True, tag="response.output_audio_transcript.done"):
    """All words whose audio was sent."""

    transcript: str


class OutputTextDelta(_PartEvent, frozen=True, tag="response.output_text.delta"):
    """Further written words."""

    delta: str


class OutputTextDone(_PartEvent, frozen=True, tag="response.output_text.done"):
    """All written words."""

    text: str


class _CallEvent(_Event, frozen=True, kw_only=True):
    response_id: str
    item_id: str
    call_id: str
    output_index: int = 0


class FunctionArgumentsDelta(_CallEvent, frozen=True, tag="response.function_call_arguments.delta"):
    """More of the text of a call's arguments."""

    delta: str


class FunctionArgumentsDone(_CallEvent, frozen=True, tag="response.function_call_arguments.done"):
    """All of the text; of a call that was cut off, as far as it came."""

    name: str
    arguments: str


class ThoughtDelta(_Event, frozen=True, tag="duplex.thought.delta"):
    """Reasoning, for those who asked for it: ``session.duplex.thoughts``."""

    response_id: str
    delta: str


class ThoughtDone(_Event, frozen=True, tag="duplex.thought.done"):
    """All reasoning of the response."""

    response_id: str
    thought: str


class TurnMetrics(_Event, frozen=True, tag="duplex.turn_metrics"):
    """Where the time of one turn went, for those who asked: ``session.duplex.metrics``.

    ``marks_ms`` are milliseconds after the caller's last speech sample, by the server's clock.
    """

    response_id: str
    item_id: str | None
    marks_ms: dict[str, float]


class ResumeOffered(_Event, frozen=True, tag="duplex.resume"):
    """How this call is taken up again when its socket drops, for those who asked:
    ``session.duplex.resume``. Connect with ``?resume=TOKEN&after=EVENT_ID``, the last event
    received, within ``resume_s`` seconds."""

    token: str
    resume_s: float


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | AudioCommitted
    | AudioCleared
    | SpeechStarted
    | SpeechStopped
    | TimeoutTriggered
    | TranscriptionDelta
    | TranscriptionCompleted
    | TranscriptionFailed
    | Error
    | ResponseCreated
    | ResponseDone
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputAudioDelta
    | OutputAudioDone
    | OutputTranscriptDelta
    | OutputTranscriptDone
    | OutputTextDelta
    | OutputTextDone
    | FunctionArgumentsDelta
    | FunctionArgumentsDone
    | ThoughtDelta
    | ThoughtDone
    | TurnMetrics
    | ResumeOffered
)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[ServerEvent] = msgspec.json.Decoder(ServerEvent)


def encode(event: ServerEvent, new_id: NewId) -> str:
    """Write one message, with an ``event_id`` of its own."""
    return _ENCODER.encode(replace(event, event_id=new_id("event"))).decode()


def decode(message: str | bytes) -> ServerEvent:
    """Read one message, for clients.

    Raises:
        ProtocolError: the message is not one of ours.
    """
    with protocol_errors():
        return _DECODER.decode(message)


def session_created(session_id: str, config: SessionConfig) -> SessionCreated:
    """Return the greeting."""
    return SessionCreated(session=_session(session_id, config))


def session_updated(session_id: str, config: SessionConfig) -> SessionUpdated:
    """Return the event that confirms a session.update."""
    return SessionUpdated(session=_session(session_id, config))


def item_created(item: Item, previous_item_id: str | None) -> list[ServerEvent]:
    """Return what announces an item that is complete from the start."""
    return [
        ItemAdded(item=item, previous_item_id=previous_item_id),
        ItemDone(item=item, previous_item_id=previous_item_id),
    ]


def client_error(error: ProtocolError, event_id: str | None = None) -> Error:
    """Return the `error` event for a mistake of the client's; ``event_id`` is the event's that
    was being obeyed, for errors which do not know it themselves."""
    return Error(
        error=ErrorBody(
            type="invalid_request_error",
            code=error.code or Code.INVALID_VALUE,
            message=str(error),
            param=error.param or UNSET,
            event_id=error.event_id or event_id or UNSET,
        )
    )


def server_error(message: str, code: str = Code.SERVER_ERROR, event_id: str | None = None) -> Error:
    """Return the `error` event for a fault of ours."""
    return Error(
        error=ErrorBody(type="server_error", code=code, message=message, event_id=event_id or UNSET)
    )


def _session(session_id: str, config: SessionConfig) -> dict[str, Any]:
    return {"id": session_id, **config.to_dict()}

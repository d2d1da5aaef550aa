"""The shape that the API had in its beta, for clients that were written for it.

Inside the server there is only the GA shape: what a beta client sends is rewritten before it is
decoded, what it gets after it was built. See `duplex.protocol.shapes`.
"""

from collections.abc import Callable, Iterable

import msgspec

from duplex.errors import ProtocolError
from duplex.protocol.beta_fields import (
    Json,
    fields_to_ga,
    item_to_beta,
    item_to_ga,
    param_to_beta,
    response_to_beta,
    session_to_beta,
)
from duplex.protocol.client_events import ClientEvent, decode
from duplex.protocol.decoding import find_event_id
from duplex.protocol.ids import NewId
from duplex.protocol.server_events import ServerEvent

BETA_HEADER = "realtime=v1"  # of OpenAI-Beta
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"


class BetaShape:
    """A `duplex.protocol.shapes.Shape`: JSON in the beta's spelling. ``conversation_id`` is
    reported right after the session, as the beta did."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation_id = conversation_id

    def read(self, message: str | bytes | ClientEvent) -> ClientEvent:
        """See `Shape`."""
        assert isinstance(message, str | bytes), "a socket carries text"
        return decode(self.rewrite(message))

    def rewrite(self, message: str | bytes) -> str | bytes:
        """Return ``message`` in the GA's spelling; four events differ.

        Raises:
            ProtocolError: that is not possible.
        """
        try:
            if msgspec.json.decode(message, type=_Typed).type not in _TO_GA:
                return message
            event = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return message  # the decoder says what is wrong with it
        try:
            return msgspec.json.encode(to_ga(event))
        except ProtocolError as error:
            error.event_id = find_event_id(message)
            raise
        except RecursionError:
            return message

    def write(self, event: ServerEvent, new_id: NewId) -> list[str]:
        """See `Shape`; events that the beta did not have are left out."""
        rewritten = to_beta(msgspec.to_builtins(event), self._conversation_id)
        return [
            msgspec.json.encode(each | {"event_id": new_id("event")}).decode() for each in rewritten
        ]


class _Typed(msgspec.Struct):
    type: str = ""


def wants_beta(headers: Iterable[str], subprotocols: Iterable[str]) -> bool:
    """Whether a caller asked for the beta: by its ``OpenAI-Beta`` headers or, from a browser,
    by the sub-protocols it offers."""
    asked = {value.strip() for header in headers for value in header.split(",")}
    return BETA_HEADER in asked or BETA_SUBPROTOCOL in subprotocols


def to_ga(event: Json) -> Json:
    """Return a client event in the GA shape.

    Raises:
        ProtocolError: an audio format that does not exist.
    """
    rewrite = _TO_GA.get(event["type"])
    return event if rewrite is None else rewrite(event)


def to_beta(event: Json, conversation_id: str) -> list[Json]:
    """Return the beta events that report what the GA ``event`` reports, in order."""
    kind = event["type"]
    if kind.startswith("duplex."):  # our own namespace, the same in both
        return [event]
    name = _RENAMED.get(kind, kind)
    if name not in _BETA_EVENTS:
        return []
    if name in _OF_SESSIONS and event["session"]["type"] == "transcription":
        name = f"transcription_{name}"  # there was no conversation in it either
    beta = event | {"type": name}
    for field, rewrite in _REWRITTEN.items():
        if field in beta:
            beta[field] = rewrite(beta[field])
    if name == "session.created":
        conversation = {"id": conversation_id, "object": "realtime.conversation"}
        return [beta, {"type": "conversation.created", "conversation": conversation}]
    return [beta]


def _session_update(event: Json) -> Json:
    return _with(event, "session", lambda session: fields_to_ga(session, "session"))


def _transcription_session_update(event: Json) -> Json:
    def rewrite(session: Json) -> Json:
        return fields_to_ga(session, "session") | {"type": "transcription"}

    return _with(event, "session", rewrite) | {"type": "session.update"}


def _response_create(event: Json) -> Json:
    def rewrite(response: Json) -> Json:
        params = fields_to_ga(response, "response")
        if isinstance(params.get("input"), list):
            params["input"] = [item_to_ga(item) for item in params["input"]]
        return params

    return _with(event, "response", rewrite)


def _item_create(event: Json) -> Json:
    return _with(event, "item", item_to_ga)


def _with(event: Json, field: str, rewrite: Callable[[Json], object]) -> Json:
    value = event.get(field)
    return event | {field: rewrite(value)} if isinstance(value, dict) else event


def _error_to_beta(error: Json) -> Json:
    """The error with the field's name as the client wrote it."""
    if "param" not in error:
        return error
    param = param_to_beta(error["param"])
    return error | {"param": param, "message": error["message"].replace(error["param"], param)}


_TO_GA: dict[str, Callable[[Json], Json]] = {
    "session.update": _session_update,
    "transcription_session.update": _transcription_session_update,
    "response.create": _response_create,
    "conversation.item.create": _item_create,
}
_REWRITTEN: dict[str, Callable[[Json], Json]] = {
    "session": session_to_beta,
    "response": response_to_beta,
    "item": item_to_beta,
    "error": _error_to_beta,
}
# item.added comes where item.created came: when the item joins the conversation. item.done and
# timeout_triggered have no counterpart.
_RENAMED = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
_OF_SESSIONS = ("session.created", "session.updated")
_BETA_EVENTS = frozenset(
    {
        *_RENAMED.values(),
        "error",
        "session.created",
        "session.updated",
        "conversation.item.retrieved",
        "conversation.item.deleted",
        "conversation.item.truncated",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "response.created",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "rate_limits.updated",
    }
)

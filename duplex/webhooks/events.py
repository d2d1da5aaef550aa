"""What events say, in JSON. The envelope has the fields of Standard Webhooks (``type``,
``timestamp``, ``data``) and those of OpenAI's (``id``, ``object``, ``created_at``)."""

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from duplex.config import EventName
from duplex.dialogue.observers import Answer, CallInfo
from duplex.logs import iso
from duplex.protocol.response_types import Usage


class Line(Struct, frozen=True, kw_only=True):
    """What a call comes over. Numbers are there if a phone provider tells them."""

    kind: Literal["websocket", "webrtc", "phone"]
    provider: str | UnsetType = UNSET  # of a phone call: "twilio", "sip", ...
    caller: str | UnsetType = UNSET
    called: str | UnsetType = UNSET


class Counts(Struct, frozen=True):
    """Tokens of the brain."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def plus(self, usage: Usage) -> "Counts":
        """Return the sum."""
        return Counts(
            self.input_tokens + usage.input_tokens,
            self.cached_tokens + usage.input_token_details.cached_tokens,
            self.output_tokens + usage.output_tokens,
        )


class Call(Struct, frozen=True, kw_only=True):
    """Which call it is. ``id`` is never given again; ``log_id`` is what the log of its server calls
    it, which counts from 1 when it starts."""

    id: str
    log_id: str
    key: str  # the name of the caller's; "" without one
    line: Line
    started_at: str


class CallData(Struct, frozen=True):
    """What every event says."""

    call: Call


class Ended(CallData, frozen=True, kw_only=True):
    """``reason`` as ``duplex_calls_ended_total`` counts it."""

    ended_at: str
    duration_s: float
    reason: str
    turns: int
    responses: int
    usage: Counts


class CalledFunction(Struct, frozen=True):
    """``arguments`` is JSON text, as the model wrote it."""

    name: str
    arguments: str
    call_id: str


class FunctionCalled(CallData, frozen=True, kw_only=True):
    """The model wants a function called, whoever does it."""

    function: CalledFunction


class Recording(Struct, frozen=True):
    """One that is whole. ``id`` is its name where recordings are kept."""

    id: str
    duration_s: float


class Recorded(CallData, frozen=True, kw_only=True):
    """The call was recorded."""

    recording: Recording


class TurnAnswer(Struct, frozen=True, kw_only=True):
    """The response to a turn. Its words are those that were sent; the caller may have interrupted
    them. ``marks_ms``: when its stages were reached, after the caller's last speech."""

    response_id: str
    words: str
    status: str
    marks_ms: dict[str, float]


class TurnEnded(CallData, frozen=True, kw_only=True):
    """What the caller said, and the answer to it."""

    item_id: str | None
    words: str | None  # None: not known
    answer: TurnAnswer


class Envelope(Struct, frozen=True, kw_only=True):
    """An event."""

    id: str
    object: Literal["event"] = "event"
    type: EventName
    created_at: int
    timestamp: str
    data: CallData


def call_of(info: CallInfo, call_id: str) -> Call:
    """Describe a call that begins."""
    return Call(
        id=call_id,
        log_id=info.call_id,
        key=info.key,
        line=_line(info),
        started_at=iso(info.began_s),
    )


def _line(info: CallInfo) -> Line:
    if info.client == "websocket":
        return Line(kind="websocket")
    if info.client == "webrtc":
        return Line(kind="webrtc")
    return Line(
        kind="phone",
        provider=info.client,
        caller=info.caller or UNSET,
        called=info.called or UNSET,
    )


def answer_of(answer: Answer) -> TurnAnswer:
    """A response that has ended."""
    return TurnAnswer(
        response_id=answer.response_id,
        words=answer.words,
        status=answer.ending.type,
        marks_ms=answer.marks_ms,
    )


def body_of(event_id: str, kind: EventName, at_s: float, data: CallData) -> bytes:
    """The body of the request that tells of what happened at ``at_s`` (Unix seconds)."""
    envelope = Envelope(
        id=event_id, type=kind, created_at=int(at_s), timestamp=iso(at_s), data=data
    )
    return msgspec.json.encode(envelope)

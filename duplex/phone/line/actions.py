"""What a `duplex.phone.line.line.PhoneLine` wants done."""

import json
from dataclasses import dataclass
from typing import Any

from duplex.phone.line.playout import Frame, Mark
from duplex.protocol.client_events import ClientEvent, ItemCreate, ResponseParams
from duplex.protocol.items import FunctionCallOutputParam, InputText, MessageParam


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send the session an event."""

    event: ClientEvent


@dataclass(frozen=True, slots=True)
class Clear:
    """Have the provider forget the audio that it has; overtakes all other actions."""


@dataclass(frozen=True, slots=True)
class Say:
    """Synthesise these words, and give the audio to `PhoneLine.announce`."""

    text: str


@dataclass(frozen=True, slots=True)
class Announced:
    """More of an announcement is to be played, behind what waits; for those who observe."""

    item_id: str
    audio: bytes  # in the line's encoding


@dataclass(frozen=True, slots=True)
class AnnouncementCut:
    """Of an announcement only so much was heard, and these words; likewise."""

    item_id: str
    heard_samples: int
    words: str


@dataclass(frozen=True, slots=True)
class CallFunction:
    """Call a function of the assistant's, and give its result to `PhoneLine.function_returned`."""

    name: str
    arguments: str
    call_id: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, from our side."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Connect the caller with ``number``; if that fails, call `PhoneLine.transfer_failed`."""

    number: str


Action = (
    SendEvent
    | Frame
    | Mark
    | Clear
    | Say
    | Announced
    | AnnouncementCut
    | CallFunction
    | HangUp
    | Transfer
)


def line_note(text: str) -> SendEvent:
    """Return the event that lets the model know what happens on the line."""
    content = (InputText(text=f"[{text}]"),)
    return SendEvent(ItemCreate(item=MessageParam(role="user", content=content)))


def function_output(call_id: str, result: str) -> SendEvent:
    """Return the event with the result, as JSON, of a function that the model has called."""
    return SendEvent(ItemCreate(item=FunctionCallOutputParam(call_id=call_id, output=result)))


def function_failed(call_id: str, reason: str) -> SendEvent:
    """Return the event for a function that could not be done."""
    return function_output(call_id, json.dumps({"status": "failed", "reason": reason}))


def only_to_say(result: str) -> ResponseParams | None:
    """Return how a model is asked that has called the same function twice: to say the result,
    without functions. None if ``result`` is empty: then it is asked as always."""
    if not result:
        return None
    text = f"Tell the caller this, in one short spoken sentence: {result}"
    asked = MessageParam(role="user", content=(InputText(text=text),))
    return ResponseParams(tool_choice="none", input=(asked,))


def text_argument(arguments: str, name: str) -> str:
    """Return the argument ``name`` of a function call if it is a text, else an empty one."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        return ""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) else ""

"""What a `duplex.phone.line.line.Line` wants done."""

import json
from dataclasses import dataclass
from typing import Any

from duplex.phone.line.playout import Frame, Mark
from duplex.protocol.client_events import ClientEvent, ItemCreate, ResponseParams
from duplex.protocol.items import FunctionCallOutputParam, InputText, MessageParam


@dataclass(frozen=True, slots=True)
class Tell:
    """An event for the session."""

    event: ClientEvent


@dataclass(frozen=True, slots=True)
class Clear:
    """The line is to forget the audio it has; overtakes all other."""


@dataclass(frozen=True, slots=True)
class Say:
    """These words are to be synthesised and given to `Line.announce`."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the assistant's own is to be called; its result goes to `Line.called`."""

    name: str
    arguments: str
    call_id: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """The call is over, from our side."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """The line is to be connected with ``number``; if it cannot be, `Line.not_transferred`."""

    number: str


@dataclass(slots=True)
class Ending:
    """What happens to the call when the last words are played."""

    action: HangUp | Transfer
    by_s: float  # at the latest
    function_call: str = ""  # the model's, for a transfer that fails
    says_goodbye: bool = False  # set when the model has no words of its own
    may_play: bool = False  # set when no more words will come


Action = Tell | Frame | Mark | Clear | Say | Call | HangUp | Transfer


def note(text: str) -> Tell:
    """What the model is to know of the line."""
    content = (InputText(text=f"[{text}]"),)
    return Tell(ItemCreate(item=MessageParam(role="user", content=content)))


def output(call_id: str, result: str) -> Tell:
    """What a function that the model has called has given, as JSON."""
    return Tell(ItemCreate(item=FunctionCallOutputParam(call_id=call_id, output=result)))


def told_again(result: str) -> ResponseParams | None:
    """How the model is asked when it has called the same function twice: only to say the result,
    without functions. None if there is none: it is asked as always."""
    if not result:
        return None
    text = f"Tell the caller this, in one short spoken sentence: {result}"
    asked = MessageParam(role="user", content=(InputText(text=text),))
    return ResponseParams(tool_choice="none", input=(asked,))


def argument(arguments: str, name: str) -> str:
    """An argument of a call that is a text; empty if there is none."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        return ""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) else ""

"""What can be read of the chunks of an OpenAI-compatible endpoint. No IO.

A field that is null, missing or unknown says nothing. A field of another type than the protocol's
is read if it has one meaning: text in parts, a call's arguments as an object, a ``message`` in the
place of a ``delta``. What has none fails the answer, because words of it may be lost.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.brain.interface import BrainError
from engine.remote.bodies import error_in, one_line

DONE = "[DONE]"
_NOTHING = re.compile(
    r"[\s:\"'.-]*(?:\[?(?:ping|pong|heart-?beat|keep-?alive)\]?)?[\s\"'.-]*", re.I
)
_LONGEST_SIGN = 64  # characters
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # servers use any of them
_DEEPEST = 8  # of parts within parts


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call: which call, its function's name if it begins here, more arguments."""

    index: int | None
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class ChoiceDelta:
    """A piece of the answer; any of its parts may be empty. ``index``: of several answers."""

    thought: str = ""
    text: str = ""
    calls: tuple[CallDelta, ...] = ()
    finish_reason: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the endpoint counted them."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of the stream."""

    choices: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None


def read_data(data: str, thoughts: Sequence[str] = ()) -> list[Chunk]:
    """Read the data of one event: a chunk, several, or a sign of life, which says nothing.
    ``thoughts`` are names of fields for reasoning besides the usual.

    Raises:
        BrainError: it reports an error, or cannot be read.
    """
    data = data.strip()
    while data.startswith("data:"):  # some gateways write it twice
        data = data.removeprefix("data:").lstrip()
    if len(data) <= _LONGEST_SIGN and _NOTHING.fullmatch(data):
        return []
    names = (*thoughts, *_THOUGHTS)
    return [_chunk(value, names) for value in _values(data) if value is not None]


def _values(data: str) -> list[Any]:
    values: list[Any] = []
    at = 0
    while at < len(data) and not data.startswith(DONE, at):
        try:
            value, at = _DECODER.raw_decode(data, at)
        except (ValueError, RecursionError):
            raise BrainError(f"the brain's endpoint sent what is no JSON: {_shown(data)}") from None
        at = _SPACE.match(data, at).end()  # type: ignore[union-attr]  # it matches anywhere
        values += value if isinstance(value, list) else [value]
    return values


def _chunk(value: Any, thoughts: Sequence[str]) -> Chunk:
    if not isinstance(value, dict):
        raise _unreadable("chunk", value)
    _raise_error(value)
    choices = value.get("choices") or []
    if isinstance(choices, dict):
        choices = [choices]
    if not isinstance(choices, list):
        raise _unreadable("choices", choices)
    read = tuple(_choice(choice, thoughts) for choice in choices if choice is not None)
    return Chunk(read, _usage(value.get("usage")))


def _raise_error(value: Any) -> None:
    if (error := error_in(value)) is not None:
        raise BrainError(f"the brain's endpoint reports an error: {error}")


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    read = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    return Usage(
        read,
        min(read, _count(cached or usage.get("prompt_cache_hit_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def _count(value: Any) -> int:
    """A number of tokens; 0 if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if math.isfinite(number) and 0 < number < 2**53 else 0


def _choice(choice: Any, thoughts: Sequence[str]) -> ChoiceDelta:
    if not isinstance(choice, dict):
        raise _unreadable("choice", choice)
    _raise_error(choice.get("error") and choice)
    delta = choice.get("delta") or choice.get("message") or {}
    if isinstance(delta, str):
        delta = {"content": delta}
    if not isinstance(delta, dict):
        raise _unreadable("delta", delta)
    said, thought = _parts(delta.get("content"), 0)
    refusal, _ = _parts(delta.get("refusal"), 0)
    if not delta and isinstance(choice.get("text"), str):
        said = choice["text"]
    reason = choice.get("finish_reason")
    return ChoiceDelta(
        thought=_thought(delta, thoughts) or thought,
        text=said + refusal,
        calls=(*_calls(delta.get("tool_calls")), *_legacy_call(delta.get("function_call"))),
        finish_reason=reason if isinstance(reason, str) and reason else None,
        index=_index(choice.get("index")) or 0,
    )


def _thought(delta: dict[str, Any], names: Sequence[str]) -> str:
    """Thoughts are not spoken, so that of one in an unknown form nothing is lost."""
    for name in names:
        if (thought := delta.get(name)) and isinstance(thought, str):
            return thought
    return ""


def _parts(content: Any, depth: int) -> tuple[str, str]:
    """What ``content`` says, and what it thinks."""
    match content:
        case None:
            return "", ""
        case str():
            return content, ""
        case bool():
            raise _unreadable("content", content)
        case int() | float():
            return str(content), ""
        case list() if depth < _DEEPEST:
            read = [_parts(part, depth + 1) for part in content]
            return "".join(said for said, _ in read), "".join(thought for _, thought in read)
        case dict() if depth < _DEEPEST:
            return _part(content, depth + 1)
        case _:
            raise _unreadable("content", content)


def _part(part: dict[str, Any], depth: int) -> tuple[str, str]:
    kind = part.get("type")
    if isinstance(kind, str) and ("think" in kind or "reason" in kind):
        inner = next((part[key] for key in ("text", "thinking", "content", *_THOUGHTS)
                      if part.get(key)), None)  # fmt: skip
        return "", "".join(_parts(inner, depth))
    for key in ("text", "refusal", "content", "value"):
        if part.get(key) is not None:
            return _parts(part[key], depth)
    return "", ""  # a picture, a citation: nothing to say


def _calls(calls: Any) -> tuple[CallDelta, ...]:
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        if calls:
            raise _unreadable("tool_calls", calls)
        return ()
    calls = [call for call in calls if call]
    places = [call.get("index") if isinstance(call, dict) else None for call in calls]
    # Without ids and with indices that tell nothing apart, calls keep their order in the list.
    is_ordered = len(calls) > 1 and len({str(place) for place in places}) < len(places)
    return tuple(_call(call, place if is_ordered else None) for place, call in enumerate(calls))


def _call(call: Any, place: int | None) -> CallDelta:
    if not isinstance(call, dict):
        raise _unreadable("call of a function", call)
    function = call.get("function", call if "name" in call else None)
    function = {} if function is None else function
    if not isinstance(function, dict):
        raise _unreadable("function", function)
    key = call.get("id")
    is_named = isinstance(key, str | int) and key not in ("", None)
    index = _index(call.get("index")) if is_named or place is None else place
    return CallDelta(
        index,
        str(key) if is_named else None,
        _name(function.get("name")),
        _arguments(function.get("arguments", function.get("parameters"))),
    )


def _legacy_call(call: Any) -> tuple[CallDelta, ...]:
    """The one ``function_call`` of the protocol before it had tools."""
    if not call:
        return ()
    if not isinstance(call, dict):
        raise _unreadable("function_call", call)
    return (CallDelta(0, None, _name(call.get("name")), _arguments(call.get("arguments"))),)


def _name(name: Any) -> str | None:
    if name is not None and not isinstance(name, str):
        raise _unreadable("name of a function", name)
    return name or None


def _arguments(arguments: Any) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _index(index: Any) -> int | None:
    if isinstance(index, bool):
        return None
    if isinstance(index, str) and index.strip().isdecimal():
        return int(index)
    return index if isinstance(index, int) else None


def _unreadable(what: str, value: Any) -> BrainError:
    return BrainError(f"the brain's endpoint sent a {what} that cannot be read: {_shown(value)}")


def _shown(value: Any) -> str:
    return one_line((value if isinstance(value, str) else repr(value))[:80])

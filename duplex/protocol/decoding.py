"""Reading JSON: every way in which it can fail becomes a `ProtocolError`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code

MAX_DEPTH = 64  # of free-form JSON (tools, ...), which is written again; far from any stack limit
MAX_EVENT_ID_CHARS = 512
MAX_MESSAGE_CHARS = 400  # of an error: it quotes the client, who may have sent megabytes

_WHERE = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>[^`]*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_TOOL_TYPE = re.compile(r"\.(tools\[\d+\]|tool_choice)\.type$")
_INPUT_TYPE = re.compile(r"^response\.input\[\d+\]\.type$")
_EVENT_ID = re.compile(rb'"event_id"\s*:\s*"([^"\\]{1,%d})"' % MAX_EVENT_ID_CHARS)


class _Envelope(msgspec.Struct):
    event_id: Any = None


@contextmanager
def protocol_errors(root: str = "") -> Iterator[None]:
    """Turn whatever msgspec raises into `ProtocolError`; ``root`` goes before each ``param``."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise _from_validation(str(error), root) from error
    except RecursionError as error:
        raise ProtocolError("The JSON is nested too deeply.", code=Code.INVALID_JSON) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        message = f"The message is not valid JSON: {error}"[:MAX_MESSAGE_CHARS]
        raise ProtocolError(message, code=Code.INVALID_JSON) from error


def find_event_id(message: str | bytes) -> str | None:
    """Return the client's name for an event that may be broken in any other way."""
    try:
        found = msgspec.json.decode(message, type=_Envelope).event_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raw = message.encode(errors="replace") if isinstance(message, str) else bytes(message)
        match = _EVENT_ID.search(raw)
        found = match[1].decode(errors="replace") if match else None
    if isinstance(found, str) and 0 < len(found) <= MAX_EVENT_ID_CHARS:
        return found
    return None


def check_depth(value: object, param: str) -> None:
    """Refuse free-form JSON that is nested deeper than `MAX_DEPTH`.

    Raises:
        ProtocolError: invalid_value.
    """
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ProtocolError(
        f"'{param}' is nested deeper than {MAX_DEPTH} levels.",
        code=Code.INVALID_VALUE,
        param=param,
    )


def _children(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def _from_validation(text: str, root: str) -> ProtocolError:
    where = _WHERE.fullmatch(text)
    what, path = (where["what"], where["path"]) if where else (text, "")
    if missing := _MISSING.fullmatch(what):
        param = _join(root, path, missing["field"])
        return ProtocolError(
            f"Missing required field: '{param}'.", code=Code.MISSING_FIELD, param=param
        )
    if unknown := _UNKNOWN.fullmatch(what):
        param = _join(root, path, unknown["field"][:MAX_MESSAGE_CHARS])
        return ProtocolError(f"Unknown field: '{param}'.", code=Code.UNKNOWN_FIELD, param=param)
    param = _join(root, path)
    message = f"{what[:MAX_MESSAGE_CHARS]} at '{param}'." if param else what[:MAX_MESSAGE_CHARS]
    return ProtocolError(message, code=_code_of(what, param), param=param or None)


def _code_of(what: str, param: str) -> Code:
    if what.startswith("Invalid value"):  # msgspec's words for the tag of a union
        if param == "type":
            return Code.UNKNOWN_EVENT
        if param == "item.type":
            return Code.UNSUPPORTED_ITEM_TYPE
        if _TOOL_TYPE.search(param):
            return Code.UNSUPPORTED_TOOL_TYPE
        if _INPUT_TYPE.search(param):
            return Code.UNSUPPORTED_ITEM_TYPE
        if param.startswith("item.content") and param.endswith(".type"):
            return Code.UNSUPPORTED_CONTENT_TYPE
    return Code.INVALID_VALUE


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)

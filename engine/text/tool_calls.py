"""Calls of functions as models write them between ``<tool_call>`` and ``</tool_call>``.

Two forms are read: JSON with a name and arguments (Hermes, Qwen), and ``function``, the name and
the arguments on lines of their own (Step-Audio).
"""

import json
import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from engine.types import CallArguments, CallEnded, CallPiece, CallStarted, Message, Tool

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
_HERMES = re.compile(
    r'\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)'
)
_STEP = re.compile(r"\s*function\n([^\n<]+)\n\s*(?=\{)")
_STEP_BARE = re.compile(r"\s*function\n([^\n<]+)\s*")  # without arguments
_CLOSE = re.compile(CALL_CLOSE, re.IGNORECASE | re.ASCII)
_LONGEST_HEAD = 16_384  # characters before the arguments begin; far beyond any name
_LONGEST_ARGUMENTS = 1_000_000


def begins_call(answer: str) -> bool:
    """Whether ``answer`` has come to a call, with tags or, as small models write it, without."""
    return CALL_OPEN in answer or answer.lstrip().startswith("{")


class _At(Enum):
    HEAD = auto()  # before the arguments, or in a call of unknown form
    ARGUMENTS = auto()
    TAIL = auto()  # the arguments are whole; the rest up to the closing tag means nothing


class CallReader:
    """Reads one call, from after its opening tag. Arguments come as they are written; the caller
    checks that they are JSON."""

    def __init__(self) -> None:
        self._at = _At.HEAD
        self._held = ""  # in HEAD and TAIL: text that is not understood yet
        self._value = _JsonValue()  # the arguments

    @property
    def head(self) -> str | None:
        """What was read, up to the arguments; None once they have begun."""
        return self._held if self._at is _At.HEAD else None

    def feed(self, text: str) -> tuple[list[CallPiece | None], str | None]:
        """Take the next text. Returns the pieces that are certain, and the text after the closing
        tag once that has come. A piece of None stands for a call that cannot be read."""
        pieces: list[CallPiece | None] = []
        if self._at is _At.HEAD:
            text = self._read_head(text, pieces)
        if self._at is _At.ARGUMENTS:
            text = self._read_arguments(text, pieces)
        if self._at is not _At.TAIL:
            return pieces, None
        self._held += text
        if tag := _CLOSE.search(self._held):
            return pieces, self._held[tag.end() :]
        self._held = self._held[-len(CALL_CLOSE) :]
        return pieces, None

    def finish(self, *, cut: bool) -> list[CallPiece | None]:
        """End the text, which may have been ``cut`` at its limit; returns the last pieces."""
        if self._at is _At.TAIL or cut:
            return []
        whole = _whole(self._held) if self._at is _At.HEAD else None
        return [None] if whole is None else [*whole]

    def _read_head(self, text: str, pieces: list[CallPiece | None]) -> str:
        """Returns the text after the head, or after a whole call of another form."""
        scanned = max(0, len(self._held) - len(CALL_CLOSE))
        self._held += text
        for form in (_HERMES, _STEP):
            if (head := form.match(self._held, 0, _LONGEST_HEAD)) is not None:
                name = _unescaped(head[1]) if form is _HERMES else head[1].strip()
                pieces.append(None if name is None else CallStarted(name))
                self._at = _At.ARGUMENTS
                rest, self._held = self._held[head.end() :], ""
                return rest
        for tag in _CLOSE.finditer(self._held, scanned):
            if (call := _whole(self._held[: tag.start()])) is not None:
                pieces += call
                self._at = _At.TAIL
                rest, self._held = self._held[tag.start() :], ""
                return rest
        if len(self._held) > _LONGEST_ARGUMENTS:
            pieces.append(None)
        return ""

    def _read_arguments(self, text: str, pieces: list[CallPiece | None]) -> str:
        """Returns the text after the arguments."""
        end = self._value.end(text)
        if end is not None:
            pieces += [CallArguments(text[:end]), CallEnded()]
            self._at = _At.TAIL
            return text[end:]
        if text:
            pieces.append(CallArguments(text))
        return ""


class _JsonValue:
    """Finds the end of one JSON object or array that comes in pieces, by its brackets alone."""

    def __init__(self) -> None:
        self._depth = 0  # open braces and brackets
        self._in_string = False
        self._escaped = False  # the letter after a backslash in a string

    def end(self, text: str) -> int | None:
        """Take the next text; returns the index after the value's last bracket, if that is in
        it."""
        for index, letter in enumerate(text):
            if self._in_string:
                self._take_in_string(letter)
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return index + 1
        return None

    def _take_in_string(self, letter: str) -> None:
        if self._escaped:
            self._escaped = False
        elif letter == "\\":
            self._escaped = True
        elif letter == '"':
            self._in_string = False


def hermes_system(text: str, tools: Sequence[Tool]) -> str:
    """The system message that offers ``tools`` (the chat template of Qwen2.5)."""
    listed = "".join(f"\n{json.dumps(tool.schema(), ensure_ascii=False)}" for tool in tools)
    offer = (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>{listed}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        f"{CALL_OPEN}{CALL_CLOSE} XML tags:\n{CALL_OPEN}\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n' + CALL_CLOSE
    )
    return f"{text}\n\n{offer}" if text else offer


class HermesTools:
    """The format of tools in Qwen2.5, Hermes and many other models; a `ToolFormat` of
    `engine.brain.chat_format`."""

    def blocks(self, message: Message) -> list[tuple[str, str]]:
        """See `ToolFormat`."""
        match message.role:
            case "system" if message.tools:
                return [("system", hermes_system(message.text, message.tools))]
            case "tool":
                results = (
                    f"<tool_response>\n{result.output}\n</tool_response>"
                    for result in message.results
                )
                return [("user", "\n".join(results))]
            case "assistant" if message.calls:
                calls = (
                    f'{CALL_OPEN}\n{{"name": {json.dumps(call.name)}, '
                    f'"arguments": {call.arguments}}}\n{CALL_CLOSE}'
                    for call in message.calls
                )
                return [("assistant", "\n".join([*filter(None, [message.text]), *calls]))]
            case role:
                return [(role, message.text)]

    between = f"\n{CALL_OPEN}"

    def opening(self, name: str | None) -> str:
        """See `ToolFormat`."""
        if name is None:
            return f'{CALL_OPEN}\n{{"name":'
        return f'{CALL_OPEN}\n{{"name": {json.dumps(name)}, "arguments":'

    def around(self, name: str) -> tuple[str, str]:
        """See `ToolFormat`."""
        return f'\n{{"name": {json.dumps(name)}, "arguments": ', "}\n"


def _unescaped(text: str) -> str | None:
    """The text of a JSON string without its quotes; None if it is not valid."""
    try:
        value: Any = json.loads(f'"{text}"')
    except ValueError:
        return None
    return str(value)


def _whole(text: str) -> list[CallPiece] | None:
    """A whole call in a form whose arguments are known only at its end; None if ``text`` is not
    one."""
    if bare := _STEP_BARE.fullmatch(text):
        return [CallStarted(bare[1].strip()), CallEnded()]
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return [CallStarted(call["name"]), CallArguments(written), CallEnded()]

"""TOML files that people write: read whatever an editor has put before them, wrong ones explained
in one line."""

import difflib
import re
import tomllib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from duplex.errors import ConfigError

T = TypeVar("T")

_PLACE = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<at>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<bound>[^,]*)(?:, got `(?P<got>.*)`)?")
_STEPS = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
_WORDS = {
    "int": "a whole number", "float": "a number", "str": "text in quotes", "bool": "true or false",
    "array": "a list in brackets", "object": "a table",
}  # fmt: skip
_BOUNDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_SHOWN_CHARS = 40
_UTF_8_BOM = b"\xef\xbb\xbf"
_OTHERS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_ENCODING = "TOML is UTF-8: save it so"


def read_toml(path: Path) -> dict[str, Any]:
    """Return what stands in ``path``; a byte order mark before it is passed over.

    Raises:
        ConfigError: it cannot be read, is not in UTF-8 or is no TOML; the message names the file,
            and the line where there is one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    other = _OTHERS.get(data[:2]) or ("UTF-16" if b"\0" in data[:4] else None)
    if other is not None:
        raise ConfigError(f"{path}: it is in {other}; {_ENCODING}")
    data = data.removeprefix(_UTF_8_BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: line {line} is not in UTF-8, perhaps in Latin-1; {_ENCODING}"
        ) from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error


def convert(table: dict[str, Any], kind: type[T]) -> T:
    """Return ``table`` as a ``kind``.

    Raises:
        ValueError: it is none; the message names the option, what it may be, and a name that is
            like one that is unknown.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), table, kind)) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put behind a message that ``name`` is unknown; empty if none is like it."""
    alike = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {alike[0]!r}?" if alike else ""


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``section.key=value``, the value as TOML writes it (a bare word is a string).

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, value = text.partition("=")
    if not equals or name.count(".") != 1:
        raise ConfigError(f"{text!r} is not of the form section.key=value")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def _in_words(message: str, table: Any, kind: Any) -> str:
    """What msgspec says of a table that is no ``kind``, in the words of a TOML file."""
    found = _PLACE.fullmatch(message)
    assert found is not None  # it matches everything
    name, value, kind = _follow(table, kind, found["at"] or "")
    inside = f"[{name}] " if name else ""
    if unknown := _UNKNOWN.fullmatch(found["what"]):
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        what = "has no option" if name else "there is no table"
        return f"{inside}{what} {unknown[1]!r}{did_you_mean(unknown[1], known)}"
    if missing := _MISSING.fullmatch(found["what"]):
        return f"{inside}needs the option {missing[1]!r}"
    choices = _choices(kind)
    if choices and found["what"].startswith("Invalid enum value"):
        may_be = ", ".join(map(repr, choices))
        return f"{name} is {_shown(value)} and may be {may_be}{did_you_mean(str(value), choices)}"
    if expected := _EXPECTED.fullmatch(found["what"]):
        may_be = _expected(expected["kinds"], expected["bound"].strip())
        return f"{name} is {_shown(value)} and must be {may_be}"
    return f"{name}: {found['what']}"


def _choices(kind: Any) -> list[str]:
    """The words that a value may be, also beside other kinds of values."""
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    return [word for one in typing.get_args(kind) for word in _choices(one)]


def _expected(kinds: str, bound: str) -> str:
    words = " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | "))
    sign, _, limit = bound.partition(" ")
    return f"{words}, {_BOUNDS.get(sign, sign)} {limit}" if bound else words


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    text = "true" if value is True else "false" if value is False else repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _follow(value: Any, kind: Any, at: str) -> tuple[str, Any, Any]:
    """The name of what is at the path ``at`` in a table, what it is, and what it should be."""
    names = []
    for step in _STEPS.findall(at):
        arguments = typing.get_args(kind)
        if step == "[...]":  # of a table by name; msgspec does not say which
            kind = arguments[1]
            name = next(name for name, inside in value.items() if not _is(inside, kind))
            names.append(name)
            value = value[name]
        elif step.startswith("["):
            value, kind = value[int(step[1:-1])], arguments[0] if arguments else Any
            names[-1] += step
        else:
            kind = typing.get_type_hints(kind, include_extras=True)[step]
            names.append(step)
            value = value[step]
        if typing.get_origin(kind) is typing.Annotated:
            kind = typing.get_args(kind)[0]
    return ".".join(names), value, kind


def _is(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True

"""TOML files that people write: read whatever an editor has put before them, wrong ones explained
in one line."""

import difflib
import re
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from duplex.errors import ConfigError

T = TypeVar("T")

_UNKNOWN = re.compile(
    r"Object contains unknown field `(?P<name>[^`]*)`(?: - at `\$\.?(?P<at>.*)`)?"
)
_STEPS = re.compile(r"[^.\[\]]+|\[\.\.\.\]")
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
        ValueError: it is none; a name that is unknown but like a known one is explained.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        found = _UNKNOWN.fullmatch(str(error))
        if found is None:
            raise
        known = _names(kind, found["at"] or "")
        alike = difflib.get_close_matches(found["name"], known, n=1)
        if not alike:
            raise
        raise ValueError(f"{error}: did you mean {alike[0]!r}?") from error


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


def _names(kind: Any, at: str) -> list[str]:
    """The names that a table at the path ``at`` inside a ``kind`` may have."""
    for step in _STEPS.findall(at):
        if step == "[...]":  # of a table by name
            kind = typing.get_args(kind)[1]
        else:
            kind = next(f.type for f in msgspec.structs.fields(kind) if f.encode_name == step)
    return [field.encode_name for field in msgspec.structs.fields(kind)]

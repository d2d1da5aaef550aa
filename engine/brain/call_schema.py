"""The JSON schema of a function's arguments, made ready to be compiled."""

import json
from collections.abc import Iterator
from typing import Any

from engine.types import Tool

# The spelling of JSON in which models were trained on calls, and the only one they may use: with
# free white space a small model writes blanks without end.
SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
ANY_OBJECT: dict[str, Any] = {"type": "object", "x-guidance": SPELLING}
LONGEST_SCHEMA = 128 * 1024  # characters; a longer one takes seconds to compile
_JOINING = ("allOf", "anyOf", "oneOf", "$ref", "if", "not", "dependentSchemas")
_NAMED = ("properties", "$defs", "definitions", "patternProperties")
_LISTED = ("anyOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "contains")


def variants(tool: Tool) -> Iterator[dict[str, Any]]:
    """The schema of the arguments of ``tool``, from the strictest reading to the loosest.

    The first takes ``properties`` as all there are; the next as it is written; then without the
    keywords that the library does not know. Last comes any object. A schema that is too long or
    that is no schema of an object has only the last.
    """
    schema = _read(tool.parameters)
    if schema is not None:
        strict = {"x-guidance": SPELLING}
        yield {**closed(schema), **strict}
        yield {**schema, **strict}
        yield {**schema, "x-guidance": {**SPELLING, "lenient": True}}
    yield ANY_OBJECT


def _read(text: str) -> dict[str, Any] | None:
    """The schema in ``text``, which says that it is one of an object."""
    if len(text) > LONGEST_SCHEMA:
        return None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(schema, dict):
        return None
    if schema.get("type") in (None, "object"):
        return {**schema, "type": "object"}
    kinds = schema["type"]
    return {**schema, "type": "object"} if isinstance(kinds, list) and "object" in kinds else None


def closed(schema: Any) -> Any:
    """``schema`` without properties that it does not name.

    JSON schemas allow them, and models invent them. Where parts are joined to one (``allOf``), each
    must allow what the others name, so these are left alone.
    """
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in _SINGLE:
        if isinstance(made.get(key), dict):
            made[key] = closed(made[key])
    for key in _NAMED:
        if isinstance(made.get(key), dict):
            made[key] = {name: closed(part) for name, part in made[key].items()}
    for key in _LISTED:
        if isinstance(made.get(key), list):
            made[key] = [closed(part) for part in made[key]]
    if "properties" in made and not any(key in made for key in _JOINING):
        made.setdefault("additionalProperties", False)
    return made

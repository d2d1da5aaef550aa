"""Functions whose arguments cannot be described by their schemas are refused."""

from typing import Any

import pytest

from duplex.errors import ProtocolError
from duplex.protocol.tools import FunctionTool, check_tools

CITY = {"city": {"type": "string"}}
IMPOSSIBLE = [
    ({"type": "array", "items": {"type": "string"}}, "got 'type: \"array\"'"),
    ({"type": "null"}, "got 'type: \"null\"'"),
    ({"type": ["string", "null"]}, 'got \'type: ["string", "null"]\''),
    ({"type": None}, "got 'type: null'"),
    ({"type": "object", "properties": ["city"]}, "'properties'"),
    ({"type": "object", "properties": {"city": "string"}}, "'properties'"),
    ({"type": "object", "properties": CITY, "required": "city"}, "'required'"),
    ({"type": "object", "properties": CITY, "required": [3]}, "'required'"),
    (
        {"properties": CITY, "required": ["town"], "additionalProperties": False},
        "'required' has 'town'",
    ),
]


@pytest.mark.parametrize(("schema", "said"), IMPOSSIBLE)
def test_it_is_said_which_function_and_why(schema: dict[str, Any], said: str) -> None:
    tools = [FunctionTool(name="clock"), FunctionTool(name="weather", parameters=schema)]
    with pytest.raises(ProtocolError) as caught:
        check_tools(tools, "session")
    error = caught.value
    assert error.code == "invalid_function_parameters"
    assert error.param == "session.tools[1].parameters"
    assert "Invalid schema for function 'weather'" in str(error)
    assert said in str(error)


POSSIBLE: list[dict[str, Any] | None] = [
    None,
    {},
    {"type": "object"},
    {"type": ["object", "null"], "properties": CITY, "required": ["city"]},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
    {"anyOf": [{"type": "object", "properties": CITY}]},
    {"type": "object", "properties": {"city": True}, "required": ["town"]},
    {"patternProperties": {"^t": {}}, "required": ["town"], "additionalProperties": False},
]


@pytest.mark.parametrize("schema", POSSIBLE)
def test_others_are_taken(schema: dict[str, Any] | None) -> None:
    check_tools([FunctionTool(name="weather", parameters=schema)], "session")

"""Functions that a client offers to the model, and what it says about their use."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.decoding import check_depth
from duplex.protocol.items import FunctionName

MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 32_768
_SHOWN_CHARS = 60  # of what is wrong, in an error


class FunctionTool(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="function"
):
    """A function of the client's. ``parameters`` is a JSON schema."""

    name: FunctionName
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_CHARS)] | None = None
    parameters: dict[str, Any] | None = None


class NamedFunction(Struct, frozen=True, tag_field="type", tag="function"):
    """This function has to be called."""

    name: FunctionName


Tools = Annotated[tuple[FunctionTool, ...], Meta(max_length=MAX_TOOLS)]
ToolChoice = Literal["auto", "none", "required"] | NamedFunction


def check_tools(tools: Sequence[FunctionTool], root: str) -> None:
    """Refuse what has the right shape and still cannot be obeyed; ``root`` goes before each
    ``param``.

    Raises:
        ProtocolError: two functions have one name, or a schema is nested too deeply or does not
            describe an object.
    """
    names = [tool.name for tool in tools]
    for index, tool in enumerate(tools):
        path = f"{root}.tools[{index}].parameters"
        check_depth(tool.parameters, path)
        if wrong := _wrong_with(tool.parameters or {}):
            raise ProtocolError(
                f"Invalid schema for function '{tool.name}': {wrong}.",
                code=Code.INVALID_FUNCTION_PARAMETERS,
                param=path,
            )
        if tool.name in names[:index]:
            raise ProtocolError(
                f"Two tools have the name '{tool.name}'.",
                code=Code.INVALID_VALUE,
                param=f"{root}.tools[{index}].name",
            )


def _wrong_with(schema: dict[str, Any]) -> str:
    """Why no object can follow ``schema``; empty if one can, as far as its root shows.

    The arguments of a function are always an object. A schema without a type is taken for one of
    an object, as clients leave it out for functions without arguments.
    """
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        return (
            "schema must be a JSON Schema of 'type: \"object\"', "
            f"got 'type: {json.dumps(kind)[:_SHOWN_CHARS]}'"
        )
    named, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(named, dict) or not all(
        isinstance(part, dict | bool) for part in named.values()
    ):
        return "'properties' must be an object of schemas"
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return "'required' must be an array of names"
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    if is_closed and (missing := {*required} - {*named}):
        return f"'required' has {min(missing)[:_SHOWN_CHARS]!r}, which is not among 'properties'"
    return ""


def check_choice(choice: ToolChoice | None, tools: Sequence[FunctionTool]) -> None:
    """Refuse a response that has to call a function which is not there.

    Raises:
        ProtocolError: invalid_value.
    """
    if isinstance(choice, NamedFunction) and choice.name not in {tool.name for tool in tools}:
        raise ProtocolError(
            f"The tool choice names the function '{choice.name}', which is not among the tools.",
            code=Code.INVALID_VALUE,
            param="response.tool_choice.name",
        )

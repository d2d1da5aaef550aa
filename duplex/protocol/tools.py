"""Functions that a client offers to the model, and what it says about their use."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.decoding import check_depth
from duplex.protocol.items import FunctionName

MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 32_768


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
        ProtocolError: two functions have one name, or a schema is nested too deeply.
    """
    names = [tool.name for tool in tools]
    for index, tool in enumerate(tools):
        check_depth(tool.parameters, f"{root}.tools[{index}].parameters")
        if tool.name in names[:index]:
            raise ProtocolError(
                f"Two tools have the name '{tool.name}'.",
                code=Code.INVALID_VALUE,
                param=f"{root}.tools[{index}].name",
            )


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

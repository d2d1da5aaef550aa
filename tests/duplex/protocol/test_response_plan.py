"""What one response is to be, from the session's configuration and its own."""

import pytest

from duplex.errors import ProtocolError
from duplex.protocol.client_events import ResponseParams
from duplex.protocol.conversation import Conversation
from duplex.protocol.items import InputText, Message, MessageParam
from duplex.protocol.response_input import ItemReference
from duplex.protocol.response_plan import ResponsePlan, plan_response
from duplex.protocol.session_config import SessionConfig
from duplex.protocol.tools import FunctionTool, NamedFunction, ToolChoice

F, G = FunctionTool(name="f"), FunctionTool(name="g")
SAID = Message(id="said", role="user", content=(InputText("Hi."),))


def use_of(plan: ResponsePlan) -> tuple[str, bool, str | None]:
    return "".join(tool.name for tool in plan.tools), plan.must_call, plan.call_name


@pytest.mark.parametrize(
    ("session", "own", "tools", "expected"),
    [
        ("auto", None, None, ("f", False, None)),
        ("none", None, None, ("", False, None)),
        ("required", None, None, ("f", True, None)),
        (NamedFunction("f"), None, None, ("f", True, "f")),
        (NamedFunction("h"), None, None, ("f", False, None)),  # not there (yet)
        (NamedFunction("f"), None, (G,), ("g", False, None)),  # not in this response
        ("required", None, (), ("", False, None)),
        ("required", "none", None, ("", False, None)),
        ("none", "auto", (F, G), ("fg", False, None)),
        ("auto", NamedFunction("g"), (F, G), ("fg", True, "g")),
    ],
)
def test_tools_and_their_choice(
    session: ToolChoice,
    own: ToolChoice | None,
    tools: tuple[FunctionTool, ...] | None,
    expected: tuple[str, bool, str | None],
) -> None:
    config = SessionConfig(tools=(F,), tool_choice=session)
    assert use_of(plan_response(config, ResponseParams(tools=tools, tool_choice=own))) == expected


@pytest.mark.parametrize(
    ("session", "own", "expected"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_parallel_calls(session: bool | None, own: bool | None, expected: bool) -> None:
    config = SessionConfig(parallel_tool_calls=session)
    assert plan_response(config, ResponseParams(parallel_tool_calls=own)).parallel_calls == expected


def test_input_is_what_its_items_are_now() -> None:
    conversation = Conversation()
    conversation.insert(SAID)
    own = MessageParam(role="user", content=(InputText("Well?"),), id="mine")
    params = ResponseParams(conversation="none", input=(own, ItemReference("said")))
    plan = plan_response(SessionConfig(), params, conversation)
    assert not plan.in_conversation
    conversation.delete("said")
    assert plan.input == (own.to_item("mine"), SAID)
    assert "mine" not in conversation
    with pytest.raises(ProtocolError, match="'said' does not exist"):
        plan_response(SessionConfig(), params, conversation)


def test_no_input_is_something_else_than_none() -> None:
    assert plan_response(SessionConfig(), ResponseParams(input=())).input == ()
    assert plan_response(SessionConfig(), ResponseParams()).input is None

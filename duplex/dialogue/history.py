"""From the items of a conversation to what the brain is shown of them."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from duplex.protocol.items import FunctionCall, FunctionCallOutput, Item
from duplex.protocol.items import Message as MessageItem
from duplex.protocol.response_plan import ResponsePlan
from duplex.protocol.tools import FunctionTool
from engine.types import CallRule, Message, Sound, Tool, ToolCall, ToolResult


def system_messages(plan: ResponsePlan) -> list[Message]:
    """How what the brain is shown begins: instructions, and the functions it may call."""
    if not plan.instructions and not plan.tools:
        return []
    return [Message("system", plan.instructions, tools=tuple(map(_tool, plan.tools)))]


def call_rule(plan: ResponsePlan) -> CallRule:
    """Whether it has to call one."""
    return CallRule(plan.must_call, plan.call_name, plan.parallel_calls)


def messages_of(items: Sequence[Item], sounds: Mapping[str, Sound]) -> list[Message]:
    """Return ``items`` as the brain is shown them; ``sounds`` are what it heard, by item id.

    Calls belong to the words before them, as the model said both in one answer; results that
    come together are shown together. A result without its call is left out.
    """
    names = _function_names(items)
    messages: list[Message] = []
    for item in items:
        last = messages[-1] if messages else None
        match item:
            case MessageItem():
                messages.append(Message(item.role, item.text, sounds.get(item.id)))
            case FunctionCall():
                call = ToolCall(item.name, item.arguments, item.call_id)
                if last is not None and last.role == "assistant":
                    messages[-1] = Message("assistant", last.text, calls=(*last.calls, call))
                else:
                    messages.append(Message("assistant", "", calls=(call,)))
            case FunctionCallOutput(call_id=call_id) if call_id in names:
                result = ToolResult(names[call_id], item.output, call_id)
                if last is not None and last.role == "tool":
                    messages[-1] = Message("tool", "", results=(*last.results, result))
                else:
                    messages.append(Message("tool", "", results=(result,)))
    return messages


def _function_names(items: Iterable[Item]) -> dict[str, str]:
    return {item.call_id: item.name for item in items if isinstance(item, FunctionCall)}


def _tool(tool: FunctionTool) -> Tool:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return Tool(tool.name, tool.description or "", msgspec.json.encode(parameters).decode())

"""Step-Audio's prompt beyond plain messages: tools and their results.

After the chat template in the README of Step-Audio-R1; the text of a tool's result is that of the
authors' vLLM branch, because the template drops it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.brain.chat_format import ChatFormat
from engine.native.model.tokens import SpecialTokens
from engine.types import Message

_CALL, _KIND, _CALL_END = "<tool_call>", "function\n", "</tool_call>"


@dataclass(frozen=True, slots=True)
class Block:
    """``<|BOT|>{role}\\n{text}<|EOT|>``; an open block has no ``<|EOT|>``."""

    role: str
    text: str
    closed: bool = True

    def __str__(self) -> str:
        return f"<|BOT|>{self.role}\n{self.text}{'<|EOT|>' if self.closed else ''}"

    def ids(self, special: SpecialTokens, encode: Callable[[str], list[int]]) -> list[int]:
        """Token ids. ``encode`` takes all text as plain text (`Renderer.plain`): what a tool
        returns cannot end its block."""
        end = [special.end_of_turn] if self.closed else []
        return [special.begin_of_turn, *encode(f"{self.role}\n{self.text}"), *end]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model wants called; ``arguments`` is the text of a JSON object."""

    name: str
    arguments: str

    def __str__(self) -> str:
        return f"{_CALL}{_KIND}{self.name}\n{self.arguments}{_CALL_END}"


def opening(system: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> list[Block]:
    """How a conversation starts: the system prompt, and the JSON schemas of the tools.

    Tools without a system prompt leave an open, empty system block before them. It looks like a
    slip of the published template, but the model has seen it so.
    """
    if not tools:
        return [] if system is None else [Block("system", system)]
    schemas = Block("tool_json_schemas", json.dumps(list(tools), ensure_ascii=False))
    return [Block("system", system or "", closed=system is not None), schemas]


def tool_result(name: str, content: str) -> Block:
    """What the tool ``name`` returned, for the model to read."""
    return Block("function_output", f"{name}\n{content}")


_BARE_SYSTEM = "bare_system"  # a system block that is never closed; see `opening`


class StepTools:
    """Tools as Step-Audio is shown them; an `engine.brain.chat_format.ToolFormat`."""

    def blocks(self, message: Message) -> list[tuple[str, str]]:
        """See `ToolFormat`."""
        match message.role:
            case "system" if message.tools:
                schemas = [tool.schema() for tool in message.tools]
                return [
                    (block.role if block.closed else _BARE_SYSTEM, block.text)
                    for block in opening(message.text or None, schemas)
                ]
            case "tool":
                shown = [tool_result(result.name, result.output) for result in message.results]
                return [(block.role, block.text) for block in shown]
            case "assistant":
                calls = [str(ToolCall(call.name, call.arguments)) for call in message.calls]
                return [("assistant", "".join([message.text, *calls]))]
            case role:
                return [(role, message.text)]

    between = _CALL

    def opening(self, name: str | None) -> str:
        """See `ToolFormat`."""
        return f"{_CALL}{_KIND}" if name is None else f"{_CALL}{_KIND}{name}\n"

    def around(self, name: str) -> tuple[str, str]:
        """See `ToolFormat`."""
        return f"{_KIND}{name}\n", ""


def with_tools(chat_format: ChatFormat) -> ChatFormat:
    """Step-Audio's ``chat_format``, with the blocks that tools need."""
    own = {
        _BARE_SYSTEM: ("<|BOT|>system\n", ""),
        "tool_json_schemas": ("<|BOT|>tool_json_schemas\n", "<|EOT|>"),
        "function_output": ("<|BOT|>function_output\n", "<|EOT|>"),
    }
    return replace(
        chat_format,
        opening={**chat_format.opening, **{role: text for role, (text, _) in own.items()}},
        closing={**chat_format.closing, **{role: text for role, (_, text) in own.items()}},
        tools=StepTools(),
    )

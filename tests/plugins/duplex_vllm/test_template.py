"""The plugin's chat template writes what engine.native writes."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from duplex_vllm import CHAT_TEMPLATE
from transformers.utils.chat_template_utils import render_jinja_template

from engine.native.model.template import with_tools
from engine.native.model.tokens import STEP_CHAT
from engine.types import Message, Tool, ToolCall, ToolResult

pytestmark = pytest.mark.torch

SOUND = "<audio_start><audio_patch><audio_end>"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "où"}}}
TOOL = Tool("weather", "Looks it up.", json.dumps(SCHEMA, ensure_ascii=False))


def rendered(messages: Sequence[dict[str, Any]], **settings: Any) -> str:
    made: Any = render_jinja_template(
        [list(messages)], chat_template=CHAT_TEMPLATE.read_text(), **settings
    )
    return str(made[0][0])


def of_engine(messages: Sequence[Message]) -> str:
    form = with_tools(STEP_CHAT)
    assert form.tools is not None
    blocks = [block for message in messages for block in form.tools.blocks(message)]
    return "".join(form.opening[role] + text + form.closing[role] for role, text in blocks)


def test_a_conversation() -> None:
    ours = [
        Message("system", "Be brief."),
        Message("user", "When do you close?"),
        Message("assistant", "At five."),
        Message("user", "Thanks."),
    ]
    theirs = [{"role": m.role, "content": m.text} for m in ours]
    assert rendered(theirs, add_generation_prompt=False) == of_engine(ours)
    begun = rendered(theirs, add_generation_prompt=True)
    assert begun == of_engine(ours) + "<|BOT|>assistant\n<think>\n"


@pytest.mark.parametrize("system", ["Be brief.", ""])
def test_functions(system: str) -> None:
    call = ToolCall("weather", json.dumps({"city": "Nîmes"}, ensure_ascii=False), "call_1")
    ours = [
        Message("system", system, tools=(TOOL,)),
        Message("user", "Weather?"),
        Message("assistant", "I look.", calls=(call,)),
        Message("tool", "", results=(ToolResult("weather", "Rain.", "call_1"),)),
    ]
    theirs: list[dict[str, Any]] = [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "Nîmes"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ]
    assert rendered(theirs, tools=[TOOL.schema()]) == of_engine(ours)


def test_sound_stands_where_it_was_said() -> None:
    sound = {"type": "input_audio"}
    content = [{"type": "text", "text": "Hear: "}, sound, {"type": "text", "text": "!"}, sound]
    text = rendered([{"role": "human", "content": content}])
    assert text == f"<|BOT|>human\nHear: {SOUND}!{SOUND}<|EOT|>"


def test_the_last_answer_is_left_open() -> None:
    messages = [{"role": "user", "content": "Yes?"}, {"role": "assistant", "content": "<think>\n"}]
    assert rendered(messages).endswith("<|EOT|><|BOT|>assistant\n<think>\n")


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({"enable_thinking": False}, "<think>\n\n</think>\n"),
        ({"think_block": False}, ""),
    ],
)
def test_beginnings_of_answers(settings: dict[str, Any], beginning: str) -> None:
    text = rendered([{"role": "user", "content": "Yes?"}], add_generation_prompt=True, **settings)
    assert text.endswith(f"<|BOT|>assistant\n{beginning}")


def test_a_picture_is_refused() -> None:
    with pytest.raises(Exception, match="takes text and audio, not image_url"):
        rendered([{"role": "user", "content": [{"type": "image_url"}]}])

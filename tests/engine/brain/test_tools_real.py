"""Calls of functions by a published model, with its real weights."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from duplex.app.build import load_brain
from duplex.config import BrainConfig, Config
from duplex.model_store import ModelStore, Progress
from engine.brain.chat_format import CHATML
from engine.brain.hf import tools_from_template
from engine.brain.interface import Brain
from engine.text.answer_filter import sorted_pieces
from engine.types import (
    CallArguments,
    CallRule,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Speech,
    Tool,
    ToolCall,
    ToolResult,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WEATHER = Tool(
    "get_weather",
    "The weather in a city now.",
    '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
)
CLOCK = Tool("get_time", "The time in a city now.", WEATHER.parameters)
# The default style of speaking keeps a model as small as this from calling anything.
SYSTEM = Message(
    "system",
    "You are a helpful voice assistant. Keep answers to one or two short sentences.",
    tools=(WEATHER,),
)
NAME = "qwen2.5-coder-1.5b"


@pytest.fixture(scope="module")
def gguf(models: Callable[[str], Path]) -> Path:
    [path] = models(NAME).glob("*.gguf")
    return path


@pytest.fixture(scope="module")
def brain(gguf: Path, store: ModelStore) -> Iterator[Brain]:
    config = Config(brain=BrainConfig(model=NAME))
    brain = load_brain(config, store, Progress(sys.stderr))
    yield brain
    brain.close()


async def answer(
    brain: Brain, messages: list[Message], rule: CallRule | None = None
) -> tuple[str, list[ToolCall], Finished]:
    """What is spoken, and what is called."""
    session = brain.open()
    options = GenerationOptions(max_tokens=60, calls=rule or CallRule())
    said, calls, end = "", [], Finished("length", 0, 0, 0)
    async with aclosing(
        sorted_pieces(session.generate(messages, options), messages, options)
    ) as pieces:
        async for piece in pieces:
            match piece:
                case Speech(text):
                    said += text
                case CallStarted(name):
                    calls.append(ToolCall(name, ""))
                case CallArguments(text):
                    calls[-1] = ToolCall(calls[-1].name, calls[-1].arguments + text)
                case Finished():
                    end = piece
    closing = session.close()
    if closing is not None:
        await closing
    return said, calls, end


async def test_a_question_becomes_a_call_and_its_output_an_answer(brain: Brain) -> None:
    talk = [SYSTEM, Message("user", "Tell me the weather in Paris, please.")]
    said, [call], end = await answer(brain, talk)
    assert said == ""
    assert call.name == "get_weather"
    assert json.loads(call.arguments) == {"city": "Paris"}
    assert end.reason == "stop"
    output = '{"temperature_celsius": 31, "sky": "sunny"}'
    talk += [
        Message("assistant", "", calls=(call,)),
        Message("tool", "", results=(ToolResult(call.name, output),)),
    ]
    said, calls, _ = await answer(brain, talk)
    assert calls == []
    assert "31" in said
    assert "{" not in said


async def test_other_questions_are_answered_without_a_call(brain: Brain) -> None:
    said, calls, _ = await answer(brain, [SYSTEM, Message("user", "Who wrote Hamlet?")])
    assert calls == []
    assert "Shakespeare" in said


@pytest.mark.parametrize("rule", [CallRule(must=True), CallRule(must=True, name="get_time")])
async def test_a_call_can_be_required(brain: Brain, rule: CallRule) -> None:
    system = Message("system", SYSTEM.text, tools=(WEATHER, CLOCK))
    said, calls, _ = await answer(brain, [system, Message("user", "I live in Madrid.")], rule)
    assert said == ""
    assert rule.name in (None, calls[0].name)
    assert isinstance(json.loads(calls[0].arguments), dict)


def test_the_models_own_template_is_known(gguf: Path) -> None:
    jinja2 = pytest.importorskip("jinja2")
    from gguf import GGUFReader

    source = GGUFReader(gguf).get_field("tokenizer.chat_template").contents()
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(source)
    assert tools_from_template(
        lambda messages, tools: template.render(messages=messages, tools=tools), CHATML
    )

"""Functions and calls in the native engine, on a tiny checkpoint."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.brain.interface import BrainError
from engine.native.brain import NativeBrain
from engine.types import CallRule, Message, Thought, Tool, ToolCall, ToolResult
from tests._support.native import GREEDY, answer, load_tiny
from tests._support.tiny_checkpoint import SPECIAL

pytestmark = pytest.mark.torch

CLOCK = Tool("clock", "The time.", '{"type": "object"}')
TALK = [Message("system", "Be kind.", tools=(CLOCK,)), Message("user", "Time?")]
BOT, EOT = 256 + SPECIAL.index("<|BOT|>"), 256 + SPECIAL.index("<|EOT|>")


@pytest.fixture
def brain(tmp_path: Path) -> Iterator[NativeBrain]:
    model = load_tiny(tmp_path)
    yield model.brain
    model.brain.close()


async def test_tools_calls_and_results_are_shown_in_blocks(brain: NativeBrain) -> None:
    talk = [
        *TALK,
        Message("assistant", "", calls=(ToolCall("clock", "{}"),)),
        Message("tool", "", results=(ToolResult("clock", "ten"),)),
    ]
    session = brain.open()
    await session.prefill(talk)
    held = session._log.entries
    starts = [i for i, entry in enumerate(held) if entry == BOT]
    roles = [bytes(held[i + 1 : held.index(10, i)]).decode() for i in starts]
    assert roles == ["system", "tool_json_schemas", "human", "assistant", "function_output"]
    assert held.count(EOT) == len(roles)
    await session.close()


@pytest.mark.parametrize("think_tokens", [0, 6])
async def test_an_answer_that_has_to_be_a_call_begins_as_one(
    brain: NativeBrain, think_tokens: int
) -> None:
    session = brain.open()
    options = replace(GREEDY, calls=CallRule(must=True), think_tokens=think_tokens)
    pieces = await answer(session, TALK, options)
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    assert text.startswith("<tool_call>function\nclock\n")
    assert any(isinstance(piece, Thought) for piece in pieces) == bool(think_tokens)
    await session.close()


async def test_a_model_that_speaks_itself_refuses_tools(tmp_path: Path) -> None:
    model = load_tiny(tmp_path, speaks=True)
    session = model.brain.open()
    with pytest.raises(BrainError, match="cannot call functions"):
        await answer(session, TALK)
    await session.close()
    model.brain.close()

"""Instructions and tools that leave a conversation no room are refused when they are set."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from duplex.testing.caller import Caller
from duplex.testing.virtual_time import virtual
from engine.brain.chat_format import CHATML, Renderer
from engine.brain.context_window import ContextUse
from engine.brain.prompt_writer import PromptWriter
from engine.embedded import EmbeddedEngine
from engine.types import Finished, GenerationOptions, Message
from tests._support.byte_tokens import byte_tokenizer

CONTEXT = 2048
LONG = "a" * 1800
TOOL = {"type": "function", "name": "look", "description": LONG, "parameters": {"type": "object"}}


class _Ear:
    def transcribe(self, pcm: object) -> str:
        return ""


class _Brain:
    """Says "Yes."; a byte is a token."""

    context_tokens = CONTEXT

    def __init__(self) -> None:
        self._writer = PromptWriter(Renderer(byte_tokenizer(), CHATML), CONTEXT)

    def open(self) -> "_Brain":
        return self

    def measure(self, beginning: Sequence[Message]) -> ContextUse:
        return self._writer.measure(beginning)

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        self._writer.write(messages, partial)

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[str | Finished, None]:
        self._writer.write(messages)
        yield "Yes."
        yield Finished("stop", 0, 0, 0)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("fields", "param", "what"),
    [
        ({"instructions": LONG}, "instructions", "The instructions have 18"),
        ({"tools": [TOOL]}, "tools", "The instructions and the tools have 2"),
    ],
)
def test_what_is_too_long_is_refused_with_its_tokens_and_changes_nothing(
    fields: dict[str, Any], param: str, what: str
) -> None:
    async def call() -> None:
        async with Caller(engine=EmbeddedEngine(_Ear(), _Brain())) as caller:
            caller.send("session.update", event_id="s", session={"type": "realtime", **fields})
            caller.send("response.create", event_id="r", response=fields)
            caller.send("response.create")
            await caller.pause(3)
            for place, error in zip("sr", caller.all("error"), strict=True):
                told = error["error"]
                root = {"s": "session", "r": "response"}[place]
                assert (told["code"], told["event_id"]) == ("context_length_exceeded", place)
                assert told["param"] == f"{root}.{param}"
                assert told["message"].startswith(what)
                assert "the context holds 2048, of which 320 are reserved" in told["message"]
            assert caller.heard == ["Yes."]
            caller.send("session.update", session={"type": "realtime", "instructions": "a" * 1600})
            await caller.pause(0.1)
            shown = caller.one("session.updated")["session"]
            assert (len(shown["instructions"]), shown["tools"]) == (1600, [])

    virtual(call())

"""A session's brain answers or prefills ahead, never both."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from engine.brain.interface import BrainError
from engine.brain.responder import Responder
from engine.types import Finished, GenerationOptions, Message, RawPiece, Speech

HELLO = [Message("user", "Hello")]
OPTIONS = GenerationOptions()


class Brain:
    """Says "Hi." and notes what it is asked to prefill."""

    def __init__(self, error: Exception | None = None) -> None:
        self.prefilled: list[str | None] = []
        self._error = error

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        self.prefilled.append(partial)

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        yield "Hi."
        if self._error is not None:
            raise self._error
        yield Finished("stop", 3, 0, 1)


async def test_nothing_is_prefilled_while_an_answer_is_made() -> None:
    brain = Brain()
    responder = Responder(brain)
    await responder.prefill(HELLO, "before")
    pieces = []
    async for piece in responder.respond(HELLO, OPTIONS):
        pieces.append(piece)
        await responder.prefill(HELLO, "meanwhile")
    assert pieces == [Speech("Hi."), Finished("stop", 3, 0, 1)]
    await responder.prefill(HELLO, "after")
    assert brain.prefilled == ["before", "after"]


async def test_prefill_goes_on_after_an_answer_that_was_cut() -> None:
    brain = Brain()
    responder = Responder(brain)
    async with aclosing(responder.respond(HELLO, OPTIONS)) as pieces:
        assert await anext(pieces) == Speech("Hi.")
    await responder.prefill(HELLO, "after")
    assert brain.prefilled == ["after"]


async def test_prefill_goes_on_after_an_answer_that_failed() -> None:
    brain = Brain(BrainError("it broke"))
    responder = Responder(brain)
    with pytest.raises(BrainError, match="it broke"):
        async for _ in responder.respond(HELLO, OPTIONS):
            pass
    await responder.prefill(HELLO, "after")
    assert brain.prefilled == ["after"]

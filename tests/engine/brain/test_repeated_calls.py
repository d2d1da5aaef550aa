"""A call whose result is the last thing in the conversation is not made again."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from engine.brain.repeated_calls import REPORT
from engine.brain.responder import Responder
from engine.types import (
    CallEnded,
    CallRule,
    CallStarted,
    Finished,
    GenerationOptions,
    Message,
    Piece,
    RawPiece,
    Speech,
    Tool,
    ToolCall,
    ToolResult,
)

SYSTEM = Message("system", "", tools=(Tool("a"), Tool("b")))
USER = Message("user", "How is it?")


def call(name: str, arguments: str = '{"x": 1, "y": 2}') -> list[Message]:
    return [
        Message("assistant", "", calls=(ToolCall(name, arguments, name),)),
        Message("tool", "", results=(ToolResult(name, "ten", name),)),
    ]


class Parrot:
    """A brain that calls the same function whenever it may, and speaks otherwise."""

    def __init__(self, *calls: tuple[str, str]) -> None:
        self._calls = calls
        self.asked: list[tuple[Sequence[Message], CallRule]] = []

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        raise AssertionError("not asked for")

    async def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        self.asked.append((messages, options.calls))
        if options.calls.may:
            for name, arguments in self._calls:
                yield f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
        else:
            yield "It is ten."
        yield Finished("stop", 1, 1, 1)


async def answer(
    brain: Parrot, messages: list[Message], rule: CallRule | None = None
) -> list[Piece]:
    options = GenerationOptions(calls=rule or CallRule())
    return [piece async for piece in Responder(brain).respond(messages, options)]


def names(pieces: list[Piece]) -> list[str]:
    return [piece.name for piece in pieces if isinstance(piece, CallStarted)]


def said(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Speech))


SPOKEN: tuple[list[str], str] = ([], "It is ten.")
# A, then B, then A again: for ever, if only the last call counted.
AGAIN = {
    "the same": call("a"),
    "spelt otherwise": call("a", '{"y":2,"x":1}'),
    "by turns": [*call("a"), *call("b")],
    "before a note": [*call("a"), Message("system", "Be brief.")],
}


@pytest.mark.parametrize("made", AGAIN.values(), ids=AGAIN)
async def test_the_result_is_spoken_instead(made: list[Message]) -> None:
    brain = Parrot(("a", '{"x": 1, "y": 2}'))
    talk = [SYSTEM, USER, *made]
    pieces = await answer(brain, talk)
    assert (names(pieces), said(pieces)) == SPOKEN
    assert [type(piece) for piece in pieces].count(Finished) == 1
    assert brain.asked[1] == ([*talk, REPORT], CallRule(may=False))


OTHERS = {
    "other arguments": ("a", '{"x": 1, "y": 3}', call("a")),
    "true is not one": ("a", '{"x": true, "y": 2}', call("a")),
    "another function": ("b", '{"x": 1, "y": 2}', call("a")),
    "asked again": ("a", '{"x": 1, "y": 2}', [*call("a"), Message("assistant", "Ten."), USER]),
    "not answered": ("a", '{"x": 1, "y": 2}', []),
}


@pytest.mark.parametrize(("name", "arguments", "made"), OTHERS.values(), ids=OTHERS)
async def test_other_calls_are_made(name: str, arguments: str, made: list[Message]) -> None:
    brain = Parrot((name, arguments))
    pieces = await answer(brain, [SYSTEM, USER, *made])
    assert names(pieces) == [name]
    assert CallEnded() in pieces
    assert len(brain.asked) == 1


async def test_a_client_that_requires_the_call_gets_it() -> None:
    brain = Parrot(("a", '{"x": 1, "y": 2}'))
    pieces = await answer(brain, [SYSTEM, USER, *call("a")], CallRule(must=True))
    assert names(pieces) == ["a"]


async def test_all_calls_of_an_answer_are_made_also_equal_ones() -> None:
    brain = Parrot(("a", "{}"), ("a", "{}"), ("b", "{}"))
    assert names(await answer(brain, [SYSTEM, USER])) == ["a", "a", "b"]
    # A new call beside the old one: that is a next step.
    brain = Parrot(("b", "{}"), ("a", '{"x": 1, "y": 2}'))
    assert names(await answer(brain, [SYSTEM, USER, *call("a")])) == ["b"]
    assert len(brain.asked) == 1


@pytest.mark.parametrize("made", AGAIN.values(), ids=AGAIN)
async def test_where_calls_are_not_chained_a_result_is_spoken_at_once(made: list[Message]) -> None:
    rule = CallRule(chained=False)
    brain = Parrot(("c", "{}"))
    talk = [SYSTEM, USER, *made]
    pieces = await answer(brain, talk, rule)
    assert (names(pieces), said(pieces)) == SPOKEN
    assert brain.asked == [([*talk, REPORT], CallRule(may=False, chained=False))]


async def test_where_calls_are_not_chained_the_caller_and_the_client_still_get_them() -> None:
    brain = Parrot(("a", "{}"), ("b", "{}"))
    rule = CallRule(chained=False)
    assert names(await answer(brain, [SYSTEM, USER], rule)) == ["a", "b"]
    again = [SYSTEM, USER, *call("a"), Message("assistant", "Ten."), USER]
    assert names(await answer(brain, again, rule)) == ["a", "b"]
    required = CallRule(must=True, chained=False)
    assert names(await answer(brain, [SYSTEM, USER, *call("a")], required)) == ["a", "b"]

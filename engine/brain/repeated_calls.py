"""Keeps a model from making calls without end in place of telling their results.

While the results of calls are the last thing in the conversation, a call that has its result there
already, since the caller last spoke, is not made a second time: the answer is made anew and has to
be spoken. The smallest models then call something else that is offered. Where calls are not
`chained <engine.types.CallRule>`, a result is spoken at once.

Two calls in one answer may be the same: with ids of their own they are both meant.
"""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from engine.types import (
    CallArguments,
    CallEnded,
    CallStarted,
    GenerationOptions,
    Message,
    Piece,
    ToolCall,
)

Answer = Callable[[Sequence[Message], GenerationOptions], AsyncGenerator[Piece, None]]

# Without it the smallest models tell of the JSON in place of what it means.
REPORT = Message(
    "system",
    "The function has returned. Tell the user its result in one short sentence, with its values.",
)


def answered_calls(messages: Sequence[Message]) -> set[tuple[str, str]]:
    """The calls since the user last spoke that have their results: each a function's name and its
    arguments in one spelling. Empty unless a result is the last thing; what the system says after
    it does not count."""
    shown = [message for message in messages if message.role != "system"]
    if not shown or shown[-1].role != "tool":
        return set()
    made: list[ToolCall] = []
    results: list[tuple[str, str]] = []
    for message in reversed(shown):
        if message.role == "user":
            break
        made += message.calls
        results += [(result.name, result.call_id) for result in message.results]
    return {_spelt(call) for call in made if (call.name, call.call_id) in results}


async def without_repeats(
    answer: Answer, messages: Sequence[Message], options: GenerationOptions
) -> AsyncGenerator[Piece, None]:
    """Yield the ``answer`` to ``messages``, made a second time if it repeats a call.

    A call of a function whose result is there is held back until its arguments are whole. Where
    calls are not chained, the answer to a result is made once, without calls. An answer that has
    to be a call is left as it is: the client asked for it.

    Raises:
        EngineError: as ``answer``.
    """
    rule = options.calls
    answered = set() if rule.must or not rule.may else answered_calls(messages)
    if rule.chained or not answered:
        calls = _Calls(answered)
        async with aclosing(answer(messages, options)) as pieces:
            async for piece in pieces:
                for passed in calls.take(piece):
                    yield passed
                if calls.has_repeated:
                    break
        if not calls.has_repeated:
            return
    spoken = replace(options, calls=replace(rule, may=False))
    async with aclosing(answer([*messages, REPORT], spoken)) as pieces:
        async for piece in pieces:
            yield piece


class _Calls:
    """The calls of one answer, and those that were answered before it."""

    def __init__(self, answered: set[tuple[str, str]]) -> None:
        self._answered = answered
        self._has_made = False  # another call, in this answer
        self._call = ToolCall("", "")  # the last one
        self._held: list[Piece] | None = None  # of it, while it may be a repetition
        self.has_repeated = False  # a call that was answered, before any other was made

    def take(self, piece: Piece) -> list[Piece]:
        """Take the next piece of the answer; return those to pass on."""
        match piece:
            case CallStarted(name):
                self._call = ToolCall(name, "")
                known = {name for name, _ in self._answered}
                self._held = [piece] if name in known else None
                return [] if self._held else [piece]
            case CallArguments(text):
                self._call = replace(self._call, arguments=self._call.arguments + text)
                return self._pass(piece)
            case CallEnded():
                return self._end(piece)
            case _:
                return [piece]

    def _pass(self, piece: Piece) -> list[Piece]:
        if self._held is None:
            return [piece]
        self._held.append(piece)
        return []

    def _end(self, piece: CallEnded) -> list[Piece]:
        passed = [*(self._held or ()), piece]
        self._held = None
        if _spelt(self._call) in self._answered:
            self.has_repeated = not self._has_made
            return []
        self._has_made = True
        return passed


def _spelt(call: ToolCall) -> tuple[str, str]:
    """The call with its arguments in one spelling, whatever their order."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return call.name, arguments

"""The stream of an OpenAI-compatible endpoint, in two steps.

`read_chunk` reads one chunk of the openai package into plain values; `StreamedAnswer` decides what
they mean for the answer.
"""

from dataclasses import dataclass
from typing import Any

from engine.brain.interface import BrainError
from engine.types import (
    CallArguments,
    CallEnded,
    CallPiece,
    CallStarted,
    Finished,
    FinishReason,
    RawPiece,
    Thought,
)


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call: which call, its function's name if it begins here, more arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class ChoiceDelta:
    """A piece of the answer; any of its parts may be empty."""

    thought: str = ""
    text: str = ""
    calls: tuple[CallDelta, ...] = ()
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the endpoint counted them."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of the stream."""

    choices: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None


def read_chunk(chunk: Any) -> Chunk:
    """Read a ``ChatCompletionChunk`` of the openai package."""
    return Chunk(tuple(map(_choice, chunk.choices)), _usage(chunk.usage))


def _usage(usage: Any) -> Usage | None:
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details is not None else 0
    return Usage(usage.prompt_tokens, cached, usage.completion_tokens)


def _choice(choice: Any) -> ChoiceDelta:
    delta = choice.delta
    extra = delta.model_extra or {}
    return ChoiceDelta(
        # Servers use either name for reasoning.
        thought=extra.get("reasoning_content") or extra.get("reasoning") or "",
        text=delta.content or "",
        calls=tuple(_call(call) for call in delta.tool_calls or () if call.function is not None),
        finish_reason=choice.finish_reason,
    )


def _call(call: Any) -> CallDelta:
    return CallDelta(call.index, call.id, call.function.name, call.function.arguments or "")


class StreamedAnswer:
    """The state of one answer while its chunks arrive."""

    def __init__(self) -> None:
        self._reason: FinishReason | None = None  # set by the choice that ends the answer
        self._usage = Usage()
        self._calls = _Calls()

    def feed(self, chunk: Chunk) -> list[RawPiece]:
        """Take the next chunk; return its pieces in order."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        pieces: list[RawPiece] = []
        for choice in chunk.choices:
            if choice.thought:
                pieces.append(Thought(choice.thought))  # tags in it are text
            if choice.text:
                pieces.append(choice.text)
            for delta in choice.calls:
                pieces += self._calls.take(delta)
            if choice.finish_reason is not None:
                self._reason = "length" if choice.finish_reason == "length" else "stop"
        return pieces

    def finish(self) -> list[RawPiece]:
        """The stream is over: return the last pieces.

        Raises:
            BrainError: the endpoint sent no end of the answer.
        """
        if self._reason is None:
            raise BrainError("the brain's endpoint broke off in the middle of the answer")
        usage = self._usage
        calls = self._calls.finish() if self._reason == "stop" else []
        return [
            *calls,
            Finished(self._reason, usage.input_tokens, usage.cached_tokens, usage.output_tokens),
        ]


class _Calls:
    """Joins the pieces of calls. An endpoint finishes a call before it begins another."""

    def __init__(self) -> None:
        self._index: int | None = None  # of the open call
        self._id: str | None = None  # of the open call, if the endpoint gave it one

    def take(self, delta: CallDelta) -> list[CallPiece]:
        """Take the next piece; return what it begins, continues or ends."""
        pieces: list[CallPiece] = []
        is_other = delta.index != self._index or (delta.id and delta.id != self._id)
        if is_other and delta.name:
            pieces += self.finish()
            self._index, self._id = delta.index, delta.id
            pieces.append(CallStarted(delta.name))
        if delta.arguments and self._index is not None:
            pieces.append(CallArguments(delta.arguments))
        return pieces

    def finish(self) -> list[CallPiece]:
        """End the open call, if there is one."""
        is_open, self._index = self._index is not None, None
        return [CallEnded()] if is_open else []

"""Types that the engine and its callers share."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "content_filter"]
Thinking = Literal["before", "think_first", "speak_first"]


def _nothing_ahead() -> float:
    return 0.0


@runtime_checkable
class Mortal(Protocol):
    """An engine or a brain that may be lost as a whole, as with its device. All others are alive
    for as long as their process is."""

    @property
    def is_alive(self) -> bool:
        """Whether it can still answer anything. Read from the event loop: returns at once."""


@runtime_checkable
class Elsewhere(Protocol):
    """An engine whose models are in other processes, which may be full, or away for a time. The
    server goes on without them, and takes no calls meanwhile."""

    def in_touch(self) -> AbstractAsyncContextManager[None]:
        """Know how they are, while the block runs."""

    @property
    def unready(self) -> str | None:
        """Why no call would be taken now, in a few words; None if one would. Read from the event
        loop: returns at once."""

    async def reserve(self) -> str | None:
        """Keep a place for the call that is opened next; returns why there is none, in words for
        the caller. A place that no call takes is given back after some seconds."""

    def release(self) -> None:
        """Give a place back: its call will not come."""


class Sound(Protocol):
    """The audio of a turn as the brain itself heard it. Only the engine that made it can read it.

    It is compared and hashed by identity, so that a message that holds one can be a key.
    """

    @property
    def ids(self) -> Sequence[int]:
        """One negative id for each latent; no two sounds of a call share one."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``parameters`` is the text of a JSON schema."""

    name: str
    description: str = ""
    parameters: str = "{}"

    def schema(self) -> dict[str, Any]:
        """The description that models were trained to read."""
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = json.loads(self.parameters)
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that was made; ``arguments`` is the text of a JSON object."""

    name: str
    arguments: str
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The output of a function that was called, in the order of the calls."""

    name: str
    output: str
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One finished item of the conversation, as the brain reads it.

    A brain that hears reads a user's ``sound`` in place of the text. The system message has the
    ``tools``, an assistant message may end in ``calls``, and a ``tool`` message has only
    ``results``.
    """

    role: Role
    text: str
    sound: Sound | None = None
    tools: tuple[Tool, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()

    @property
    def texts(self) -> Iterator[str]:
        """All texts of the message."""
        yield self.text
        for tool in self.tools:
            yield from (tool.name, tool.description, tool.parameters)
        for call in self.calls:
            yield from (call.name, call.arguments)
        for result in self.results:
            yield result.output


@dataclass(frozen=True, slots=True)
class Transcript:
    """The words of the open turn.

    ``stable`` are its first words that are not expected to change any more; should they change
    still, ``text`` differs from them. An exact pass has ``stable == text``. ``samples`` is the
    length of the audio at 16 kHz. ``sound`` is the same audio as the brain heard it, if the brain
    hears. ``is_unclear``: somebody spoke and nothing of it was understood, so there is no text;
    only an exact pass says so. ``language`` is the code of the text's, "" if nobody knows.
    """

    text: str
    stable: str
    samples: int
    sound: Sound | None = None
    is_unclear: bool = False
    language: str = ""

    @property
    def heard_speech(self) -> bool:
        """Whether somebody spoke, understood or not; False for noise and silence."""
        return bool(self.text) or self.is_unclear


@dataclass(frozen=True, slots=True)
class CallRule:
    """Rules for the functions that are offered to the model.

    ``must``: it has to call one, the one of that ``name`` if given. Without ``many`` it may call at
    most one, and without ``may`` none: it has to speak. Without ``chained`` it may call none either
    while the result of a call is the last thing in the conversation, unless it ``must``.
    """

    must: bool = False
    name: str | None = None
    many: bool = True
    may: bool = True
    chained: bool = True


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one answer is decoded. ``temperature`` 0 is greedy.

    ``think_tokens`` is the most tokens of reasoning, between ``<think>`` tags that the brain opens,
    and closes if the model does not; 0 answers at once. ``thinking``: all thoughts come before the
    speech, or in parts while it is spoken. ``speech_ahead_s`` returns how long the speech made so
    far will still sound, for a brain that thinks meanwhile. ``calls`` are the rules for the tools
    in the conversation.
    """

    max_tokens: int = 256
    think_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.1
    thinking: Thinking = "before"
    speech_ahead_s: Callable[[], float] = _nothing_ahead
    calls: CallRule = CallRule()


@dataclass(frozen=True, slots=True)
class Speech:
    """Answer text to be spoken.

    A brain that makes its own speech adds ``codes``, 25 a second, which render the text.
    """

    text: str
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning text; never spoken, never in the transcript."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The model calls the function ``name``; nothing is spoken after that."""

    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the text of the call's arguments."""

    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The arguments are whole: a JSON object."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last piece of an answer, with true token counts.

    ``cached_tokens`` of the ``input_tokens`` were in the KV cache when the turn ended.
    """

    reason: FinishReason
    input_tokens: int
    cached_tokens: int
    output_tokens: int


CallPiece = CallStarted | CallArguments | CallEnded
Piece = Speech | Thought | CallPiece | Finished
RawPiece = str | Piece  # of a brain: a plain string may hold thoughts and calls between tags

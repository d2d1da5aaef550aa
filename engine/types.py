"""The words that the engine and its callers share."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length"]
Thinking = Literal["before", "think_first", "speak_first"]


def _nothing_ahead() -> float:
    return 0.0


class Sound(Protocol):
    """What the brain itself heard of a turn; opaque to all but the engine that made it.

    Compared and hashed by identity, so that a message that holds one can be a key.
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
    """One finished item of the conversation, as text the brain is shown.

    A brain that hears is shown a user's ``sound`` in place of the text. The system's message
    brings the ``tools``, an assistant's may end in ``calls``, and one of the role ``tool`` has
    nothing but ``results``.
    """

    role: Role
    text: str
    sound: Sound | None = None
    tools: tuple[Tool, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()

    @property
    def texts(self) -> Iterator[str]:
        """All that is read or written in it."""
        yield self.text
        for tool in self.tools:
            yield from (tool.name, tool.description, tool.parameters)
        for call in self.calls:
            yield from (call.name, call.arguments)
        for result in self.results:
            yield result.output


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the ear made of the open turn's audio.

    ``stable`` is the leading part of ``text`` that is not expected to change any more;
    an exact pass has ``stable == text``. ``samples`` of 16 kHz audio were heard.
    ``sound`` is them as the brain heard them, if it hears.
    """

    text: str
    stable: str
    samples: int
    sound: Sound | None = None


@dataclass(frozen=True, slots=True)
class CallRule:
    """Whether the model has to call a function that it is shown: any, or the one ``name``d. Not
    ``many``: at most one."""

    must: bool = False
    name: str | None = None
    many: bool = True


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How one answer is decoded. ``temperature`` 0 is greedy.

    ``think_tokens``: reason in at most so many tokens, between ``<think>`` tags that the brain
    opens and, if the model does not, closes itself. 0: answer at once. ``thinking`` says when,
    seen from the speech: all before it, or in parts while it is spoken. ``speech_ahead_s`` tells
    a brain that thinks meanwhile how long what was said already will still sound. ``calls`` says
    how the tools in the conversation may be used.
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
    """Answer text that is to be spoken; or, from a brain that speaks itself, the codes that say
    it (25 a second), with the text that belongs to them."""

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
RawPiece = str | Piece  # of a brain: plain text may hold thoughts and calls between tags

"""What the chunks of an OpenAI-compatible endpoint mean for the answer. No IO."""

from dataclasses import replace

from engine.brain.interface import BrainError
from engine.brain.openai_calls import CallJoiner
from engine.brain.openai_chunks import ChoiceDelta, Chunk, Usage
from engine.text.thought_filter import THINK_OPEN
from engine.types import Finished, FinishReason, RawPiece, Thought

_REASONS: dict[str, FinishReason] = {  # in lower case; any other is an end as it should be
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
_CALLING = ("tool_calls", "function_call")
_FAILED = ("error", "server_error")


class StreamedAnswer:
    """The state of one answer while its chunks arrive."""

    def __init__(self, *, in_thought: bool = False) -> None:
        """``in_thought``: its text begins in a thought, which was opened before it. Not so if the
        endpoint sends thoughts on a channel of their own: it has taken them out of the text."""
        self._opens_thought = in_thought  # until something has come
        self._reason: str | None = None  # set by the choice that ends the answer
        self._usage = Usage()
        self._calls = CallJoiner()
        self._choice: int | None = None  # the first of several answers; the others are not read
        self._text, self._thought = _Joined(), _Joined()

    @property
    def is_ended(self) -> bool:
        """Whether the endpoint has said that the answer is over; its counts may follow."""
        return self._reason is not None

    def feed(self, chunk: Chunk) -> list[RawPiece]:
        """Take the next chunk; return its pieces in order."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        pieces: list[RawPiece] = []
        for choice in chunk.choices:
            if self._choice is None:
                self._choice = choice.index
            if choice.index == self._choice:
                pieces += self._take(choice)
        return pieces

    def finish(self, *, done: bool = False) -> list[RawPiece]:
        """The stream is over, with or without the mark that says so: return the last pieces.

        An answer without a reason for its end has been given all the same.

        Raises:
            BrainError: there is no answer in it, or only a part of one.
        """
        reason = (self._reason or "").lower()
        if self._choice is None and not done:
            raise BrainError("the brain's endpoint answers with nothing that can be read")
        if reason in _FAILED:
            raise BrainError("the brain's endpoint failed in the middle of the answer")
        if reason in _CALLING and not self._calls:
            raise BrainError("the brain's endpoint calls a function and does not say which")
        ended = _REASONS.get(reason, "stop")
        usage = self._usage
        return [
            *map(Thought, filter(None, [self._thought.rest()])),
            *filter(None, [self._text.rest()]),
            *self._calls.finish(cut=ended != "stop"),
            Finished(ended, usage.input_tokens, usage.cached_tokens, usage.output_tokens),
        ]

    def _take(self, choice: ChoiceDelta) -> list[RawPiece]:
        pieces: list[RawPiece] = []
        if thought := self._thought.feed(choice.thought):
            self._opens_thought = False
            pieces.append(Thought(thought))  # tags in it are text
        if text := self._text.feed(choice.text):
            if self._opens_thought and text.isspace():
                text = ""  # thoughts may still come on a channel of their own
            elif self._opens_thought:
                self._opens_thought = False
                pieces.append(THINK_OPEN)
            pieces += filter(None, [text])
        for delta in choice.calls:
            arguments = delta.arguments.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
            pieces += self._calls.take(replace(delta, arguments=arguments))
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
        return pieces


class _Joined:
    """Text whose characters may be cut: JSON can hold an emoji's two halves in two chunks, and half
    of one cannot be sent on."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """Take more text; return what is whole."""
        if not text:
            return ""
        text = self._half + text
        is_cut = "\ud800" <= text[-1] <= "\udbff"
        self._half = text[-1] if is_cut else ""
        return _whole(text[:-1] if is_cut else text)

    def rest(self) -> str:
        """What was held back."""
        rest, self._half = self._half, ""
        return _whole(rest)


def _whole(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

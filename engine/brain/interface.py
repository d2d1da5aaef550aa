"""The interface of a brain."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Protocol, runtime_checkable

from engine.brain.context_window import ContextUse
from engine.errors import EngineError
from engine.types import GenerationOptions, Message, RawPiece


class BrainError(EngineError):
    """The brain cannot answer: its model or a remote endpoint failed."""


class BrainSession(Protocol):
    """One call's side of a language model. Its methods run in the event loop: work that takes
    more than a millisecond belongs in a thread (`engine.worker.Worker`, `asyncio.to_thread`).

    The conversation is passed whole each time; the session keeps its KV cache equal to a
    prefix of it, cuts back where they differ and prefills only the rest. To remove an answer that
    the caller never heard, pass the conversation without it.
    """

    async def prefill(self, messages: Sequence[Message], partial: str | None = None) -> None:
        """Bring the cache up to ``messages`` and, if given, an open user turn that starts with
        ``partial`` (its last word may still change; the turn is not closed).

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model failed; the session is usable.
        """

    def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """Yield text as it is decoded, then one `Finished`. Text may hold ``<think>`` tags;
        thoughts that the brain itself knows as such, and speech in codes, come as they are.

        ``aclose()`` cancels within one decode step; the cache keeps the decoded tokens, and the
        next call cuts it back as needed.

        Raises:
            ContextExceeded: the last turn alone is too long for the context.
            BrainError: the model or the endpoint failed; the session is usable.
        """

    def close(self) -> Awaitable[None] | None:
        """Free the cache. The session cannot be used afterwards. What is returned is awaited, so
        it may be an ``async def`` or a plain function."""


class Brain(Protocol):
    """A loaded language model, shared by all calls.

    ``context_tokens`` is the longest conversation that it reads. A brain that keeps nothing for
    a call may be its own session: ``open`` returns ``self``, and ``close`` does nothing, since it
    is called at the end of each call, too.
    """

    context_tokens: int

    def open(self) -> BrainSession:
        """Start a session with an empty cache. Runs in the event loop."""

    def close(self) -> None:
        """Free the weights and stop the worker thread. Called once, when the server ends."""


@runtime_checkable
class MeasuresContext(Protocol):
    """What a session of a brain, or of an engine, may have besides: it knows its tokens."""

    def measure(self, beginning: Sequence[Message]) -> ContextUse | None:
        """How much of the context the instructions and tools take; None if that is not known.
        Instructions that leave no room are then refused when they are set.

        Raises:
            EngineError: they cannot be written for this model.
        """

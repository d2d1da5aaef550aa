"""The brain of one session, which either answers or prefills ahead, never both."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from engine.brain.repeated_calls import without_repeats
from engine.text.answer_filter import sorted_pieces
from engine.types import GenerationOptions, Message, Piece, RawPiece

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class AnsweringBrain(Protocol[P_contra]):
    """The part of a `BrainSession` that a `Responder` needs.

    The type parameter is the type of an open turn: text, or also sound.
    """

    async def prefill(self, messages: Sequence[Message], partial: P_contra | None = None) -> None:
        """See `BrainSession.prefill`."""

    def generate(
        self, messages: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[RawPiece, None]:
        """See `BrainSession.generate`."""


class Responder(Generic[P]):
    """Answers with a brain session, and prefills it while no answer is being made."""

    def __init__(self, brain: AnsweringBrain[P]) -> None:
        self._brain = brain
        self._responding = False

    async def prefill(self, history: Sequence[Message], partial: P | None = None) -> None:
        """Bring the cache up to ``history`` and the open turn ``partial``.

        Does nothing while an answer is being made: that brings the cache up to its own history.
        """
        if not self._responding:
            await self._brain.prefill(history, partial)

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message of ``history``: yield its pieces, then `Finished`.

        Raises:
            EngineError: the brain failed, or called a function in a way that cannot be obeyed.
        """
        self._responding = True
        try:

            def answer(
                messages: Sequence[Message], options: GenerationOptions
            ) -> AsyncGenerator[Piece, None]:
                return sorted_pieces(self._brain.generate(messages, options), messages, options)

            async with aclosing(without_repeats(answer, history, options)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._responding = False

"""What the dialogue needs of an engine. Implementations import nothing from here."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.types import GenerationOptions, Message, Piece, Transcript
from engine.worker import Priority

T = TypeVar("T")


class EngineSession(Protocol):
    """One call's ear and brain.

    The audio of the open turn is appended while the caller speaks; the conversation is passed
    whole to `listen`, `prefill` and `respond`, and the session keeps its cache equal to a prefix
    of it. So a reply that was not heard, and a turn that was deleted, are removed by leaving them
    out.

    All methods run in the event loop: work that takes more than a millisecond belongs in a thread
    (`engine.worker.Worker`, `asyncio.to_thread`). Each may be cancelled at any await; the session
    stays usable.
    """

    def begin_turn(self) -> None:
        """Forget the audio of the turn before; what is appended from now on is the new turn's."""

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add ``samples`` to the open turn: ``[N]``, 16 kHz mono in [-1, 1]. Returns at once."""

    def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts while audio arrives, prefilling the words so far. Ends only
        when it is closed, at the caller's pause.

        Raises:
            EngineError: a model failed; the audio is kept.
        """

    async def end_turn(self) -> Transcript:
        """The exact transcript of the audio so far. More audio may be appended afterwards, if the
        pause was not the end of the turn. That may be found after the turn was answered: the turn
        is over when the next one begins.

        Raises:
            EngineError: a model failed; the audio is kept.
        """

    async def prefill(self, history: Sequence[Message]) -> None:
        """Bring the cache up to ``history`` before it is needed. May do nothing.

        Raises:
            EngineError: a model failed.
        """

    def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message: speech, thought and call pieces, then `Finished`. A system
        message with tools offers them. Closing the generator cancels within one decode step.

        Raises:
            EngineError: a model failed, or called a function that was not offered, or with
                arguments that are no object. This reply fails with the error's message, and the
                call goes on.
        """

    async def close(self) -> None:
        """Free all that the call held."""


@runtime_checkable
class OnlyListens(Protocol):
    """An engine's session that can be spared all that only an answer needs."""

    def only_listen(self) -> None:
        """Nothing will be answered: prefill nothing from now on."""


class Engine(Protocol):
    """Loaded models that hear and think, shared by all calls. One that can be lost while the
    process lives is an `engine.types.Mortal` as well: the server then refuses calls and ends. One
    of other processes is an `engine.types.Elsewhere`."""

    def open(self) -> EngineSession:
        """Start a call. Runs in the event loop."""

    def close(self) -> None:
        """Free the models. Called once, when the server ends."""


class EndEar(Protocol):
    """Hears whether a turn is complete, for all calls; see `engine.ear.smart_turn`."""

    async def completeness(self, samples: NDArray[np.float32]) -> float | None:
        """The probability that a turn that ends in ``samples`` is over: ``[N]``, 16 kHz mono.
        None if it cannot be had."""

    def close(self) -> None:
        """Stop its threads."""


class Steps(Protocol):
    """Runs blocking work off the event loop; see `engine.worker.Worker`."""

    async def run(self, function: Callable[[], T], priority: Priority = ...) -> T:
        """Call ``function`` and return its result."""

    def stream(
        self, iterator: Iterator[T], priority: Priority | Callable[[], Priority] = ...
    ) -> AsyncGenerator[T, None]:
        """Yield what ``iterator`` yields, each step off the loop."""

    def close(self) -> None:
        """Stop the thread."""

"""A scripted engine: what it hears and says, and when, is written beforehand."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.brain.interface import Brain, BrainSession
from engine.text.answer_filter import sorted_pieces
from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Transcript

Answer = str | Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a call. Durations are in seconds of the event loop's clock.

    ``hears`` are the exact transcripts, one for each pass of the ear; the last repeats. A pass is
    over the whole turn, also when the turn goes on after it was ended too early. ``says``
    are the answers, one for each reply; the last repeats. An answer is a text, or pieces where
    thoughts, calls or the pace matter. The ear takes ``ear_s`` for a pass, and each piece of an
    answer comes ``piece_s`` after the one before. Passes without words have heard noise, or with
    ``is_unclear`` somebody who spoke.
    """

    hears: Sequence[str] = ("What time is it?",)
    says: Sequence[Answer] = ((Speech("It is ten. "), Speech("Time for tea.")),)
    ear_s: float = 0.05
    piece_s: float = 0.02
    is_unclear: bool = False


@dataclass(slots=True)
class ScriptedEngine:
    """A `duplex.Engine` whose sessions follow one script; ``sessions`` keeps them for a test.

    With a ``brain`` the script says only what is heard, and the brain answers.
    """

    script: Script = field(default_factory=Script)
    brain: Brain | None = None
    sessions: list["ScriptedSession"] = field(default_factory=list)
    is_alive: bool = True  # set it to False to lose the engine

    def open(self) -> "ScriptedSession":
        """Start a call."""
        brain = None if self.brain is None else self.brain.open()
        session = ScriptedSession(self.script, brain)
        self.sessions.append(session)
        return session

    def close(self) -> None:
        """Close the brain, if there is one."""
        if self.brain is not None:
            self.brain.close()


class ScriptedSession:
    """Plays its script; keeps what it was asked."""

    def __init__(self, script: Script, brain: BrainSession | None = None) -> None:
        self._script = script
        self._brain = brain
        self._passes = 0
        self.audio: list[NDArray[np.float32]] = []  # of the open turn
        self.histories: list[tuple[Message, ...]] = []  # shown to `respond`, in order
        self.options: list[GenerationOptions] = []  # asked of `respond`, in order
        self.cancelled = 0  # replies closed before their end
        self.closed = False
        self._responding = False

    def begin_turn(self) -> None:
        """Forget the audio of the turn before."""
        self.audio.clear()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Keep the audio."""
        self.audio.append(samples)

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield one partial transcript, of the first two words; then wait to be closed."""
        await asyncio.sleep(self._script.ear_s)
        words = self._script.hears[min(self._passes, len(self._script.hears) - 1)].split()
        if len(words) > 1:
            partial = " ".join(words[:2])
            if self._brain is not None:
                await self._brain.prefill(history, partial)
            yield self._transcript(partial, stable=words[0])
        await asyncio.Event().wait()

    async def end_turn(self) -> Transcript:
        """The next transcript of the script."""
        await asyncio.sleep(self._script.ear_s)
        text = self._script.hears[min(self._passes, len(self._script.hears) - 1)]
        self._passes += 1
        is_unclear = self._script.is_unclear and not text
        return replace(self._transcript(text, stable=text), is_unclear=is_unclear)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Pass it on to the brain, if there is one."""
        if self._brain is not None and not self._responding:
            await self._brain.prefill(history)

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Give the next answer of the script, or the brain's."""
        if self._responding:  # as the real ones do
            raise RuntimeError("an answer is being generated; close it first")
        self._responding = True
        number = len(self.histories)
        self.histories.append(tuple(history))
        self.options.append(options)
        done = False
        try:
            async with aclosing(self._pieces(number, history, options)) as pieces:
                async for piece in pieces:
                    done = isinstance(piece, Finished)
                    yield piece
        finally:
            self._responding = False
            if not done:
                self.cancelled += 1

    async def close(self) -> None:
        """Close the brain's session, if there is one."""
        self.closed = True
        if self._brain is not None:
            closing = self._brain.close()
            if closing is not None:
                await closing

    def _pieces(
        self, number: int, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        if self._brain is not None:
            return sorted_pieces(self._brain.generate(history, options), history, options)
        return self._scripted(self._script.says[min(number, len(self._script.says) - 1)])

    async def _scripted(self, answer: Answer) -> AsyncGenerator[Piece, None]:
        pieces = (Speech(answer),) if isinstance(answer, str) else answer
        for piece in pieces:
            await asyncio.sleep(self._script.piece_s)
            yield piece
        yield Finished("stop", input_tokens=10, cached_tokens=8, output_tokens=len(pieces))

    def _transcript(self, text: str, stable: str) -> Transcript:
        return Transcript(text, stable, sum(len(part) for part in self.audio))

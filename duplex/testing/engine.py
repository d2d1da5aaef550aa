"""A scripted engine for tests of the dialogue: what it hears and says, and when, is given."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.types import Finished, GenerationOptions, Message, Piece, Speech, Transcript


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a call. Durations are in seconds of the event loop's clock.

    ``hears`` are the exact transcripts, one per pass; the last repeats. ``says`` are the answers
    as pieces, one answer per reply; the last repeats.
    """

    hears: Sequence[str] = ("What time is it?",)
    says: Sequence[Sequence[Piece]] = ((Speech("It is ten. "), Speech("Time for tea.")),)
    ear_s: float = 0.05
    piece_s: float = 0.02


@dataclass(slots=True)
class FakeEngine:
    """Opens sessions that follow one script; ``sessions`` keeps them for a test to look at."""

    script: Script = field(default_factory=Script)
    sessions: list["FakeSession"] = field(default_factory=list)

    def open(self) -> "FakeSession":
        session = FakeSession(self.script)
        self.sessions.append(session)
        return session

    def close(self) -> None:
        """Nothing is held."""


class FakeSession:
    """Plays its script; notes what it was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._passes = 0
        self.audio: list[NDArray[np.float32]] = []  # of the open turn
        self.histories: list[tuple[Message, ...]] = []  # shown to `respond`, in order
        self.options: list[GenerationOptions] = []  # asked of `respond`, in order
        self.cancelled = 0  # replies closed before their end
        self.closed = False
        self._responding = False

    def begin_turn(self) -> None:
        self.audio.clear()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        self.audio.append(samples)

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        await asyncio.sleep(self._script.ear_s)
        words = self._script.hears[min(self._passes, len(self._script.hears) - 1)].split()
        if len(words) > 1:
            yield self._transcript(" ".join(words[:2]), stable=words[0])
        await asyncio.Event().wait()  # until closed

    async def end_turn(self) -> Transcript:
        await asyncio.sleep(self._script.ear_s)
        text = self._script.hears[min(self._passes, len(self._script.hears) - 1)]
        self._passes += 1
        return self._transcript(text, stable=text)

    async def prefill(self, history: Sequence[Message]) -> None:
        pass

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        if self._responding:  # as the real ones do
            raise RuntimeError("an answer is being generated; close it first")
        self._responding = True
        answer = self._script.says[min(len(self.histories), len(self._script.says) - 1)]
        self.histories.append(tuple(history))
        self.options.append(options)
        done = False
        try:
            for piece in answer:
                await asyncio.sleep(self._script.piece_s)
                yield piece
            done = True
            yield Finished("stop", input_tokens=10, cached_tokens=8, output_tokens=len(answer))
        finally:
            self._responding = False
            if not done:
                self.cancelled += 1

    async def close(self) -> None:
        self.closed = True

    def _transcript(self, text: str, stable: str) -> Transcript:
        return Transcript(text, stable, sum(len(part) for part in self.audio))

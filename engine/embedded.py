"""The embedded engine: a speech recogniser and a text model joined as one that hears and thinks.

While the caller speaks, partial transcripts are made and what is stable of them is prefilled into
the brain; at a pause the exact pass replaces them and only the corrected tail is left to prefill.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.brain.interface import Brain, BrainSession
from engine.ear.guards import quietest_point
from engine.ear.partials import PartialTranscriber
from engine.ear.whisper import WhisperEar
from engine.errors import EngineError
from engine.features import SAMPLE_RATE_HZ
from engine.thinking import ThoughtFilter
from engine.types import Finished, GenerationOptions, Message, Piece, Transcript
from engine.worker import Priority, Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """The words between two samples of a turn, and the seconds that the ear took."""

    text: str
    start: int
    samples: int  # where they end
    cost_s: float


class EmbeddedEngine:
    """Ear and brain, shared by all calls."""

    def __init__(self, ear: WhisperEar, brain: Brain, *, incremental: bool = True) -> None:
        """``incremental`` False gives up the cache before each answer and prefills nothing
        ahead: the yardstick for what incremental prefill is worth."""
        self._ear = ear
        self._brain = brain
        self._incremental = incremental
        self._ear_worker = Worker("ear")

    def open(self) -> "EmbeddedSession":
        """Start a call."""
        brain = self._brain.open()
        return EmbeddedSession(self._ear, self._ear_worker, brain, incremental=self._incremental)

    def close(self) -> None:
        """Stop the threads."""
        self._ear_worker.close()
        self._brain.close()


class EmbeddedSession:
    """One call: the audio of its open turn, and its brain's cache. See `duplex.interfaces`."""

    def __init__(
        self, ear: WhisperEar, worker: Worker, brain: BrainSession, *, incremental: bool
    ) -> None:
        self._ear = ear
        self._worker = worker
        self._brain = brain
        self._incremental = incremental
        self._audio: list[NDArray[np.float32]] = []  # of the open turn
        self._samples = 0  # in it
        self._partials = PartialTranscriber()
        self._grown = asyncio.Event()  # set when audio was appended
        self._responding = False

    def begin_turn(self) -> None:
        """Forget the audio of the turn before."""
        self._audio = []
        self._samples = 0
        self._partials = PartialTranscriber()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._audio.append(samples)
        self._samples += len(samples)
        self._grown.set()

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts; what is stable of them is in the brain's cache then."""
        partials = self._partials
        await self._prefill_ahead(history, partials.transcript.text)
        while True:
            while not partials.due(self._samples):
                self._grown.clear()
                await self._grown.wait()
            await self._commit_head(partials)
            heard = await self._hear(partials.window_start, Priority.BACKGROUND)
            transcript = partials.hypothesis(
                heard.text, heard.samples, heard.cost_s, start=heard.start
            )
            yield transcript
            # All of it, not only what is stable: what turns out wrong is cut back for next to
            # nothing, and the rest need not be prefilled when the caller has stopped.
            await self._prefill_ahead(history, transcript.text)

    async def end_turn(self) -> Transcript:
        """The exact transcript of the audio so far."""
        partials = self._partials
        heard = await self._hear(partials.window_start, Priority.REPLY)
        return partials.exact(heard.text, heard.samples, start=heard.start)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Bring the cache up to ``history``."""
        await self._prefill_ahead(history, None)

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""
        if not self._incremental:
            await self._brain.prefill([])
        thoughts = ThoughtFilter()
        self._responding = True
        try:
            async with aclosing(self._brain.generate(history, options)) as raw:
                async for piece in raw:
                    if isinstance(piece, Finished):
                        for rest in thoughts.finish():
                            yield rest
                        yield piece
                        return
                    for part in thoughts.feed(piece):
                        yield part
        finally:
            self._responding = False

    async def close(self) -> None:
        """Free the cache."""
        await self._brain.close()

    async def _commit_head(self, partials: PartialTranscriber) -> None:
        """Close the beginning of a long turn, so that hearing the rest again stays cheap."""
        span = partials.commit_range(self._samples)
        if span is None:
            return
        cut = quietest_point(np.concatenate(self._audio), SAMPLE_RATE_HZ, *span)
        head = await self._hear(partials.window_start, Priority.BACKGROUND, end=cut)
        partials.commit(head.text, cut)

    async def _hear(self, start: int, priority: Priority, end: int | None = None) -> "_Heard":
        """The words of the open turn from sample ``start`` to ``end``, or to what there is now.

        Raises:
            EngineError: the recogniser failed; the audio is kept.
        """
        end = self._samples if end is None else end
        audio = np.concatenate([*self._audio, np.empty(0, np.float32)])[start:end]

        def transcribe() -> _Heard:
            began_s = time.monotonic()
            try:
                text = self._ear.transcribe(audio) if len(audio) else ""
            except RuntimeError as error:  # what CTranslate2 raises, out of memory for one
                logger.exception("the ear failed")
                raise EngineError("the ear failed") from error
            return _Heard(text, start, end, time.monotonic() - began_s)

        return await self._worker.run(transcribe, priority)

    async def _prefill_ahead(self, history: Sequence[Message], partial: str | None) -> None:
        # An answer that is being made brings the cache up to its own history.
        if self._incremental and not self._responding:
            await self._brain.prefill(history, partial)

"""The embedded engine: a speech recogniser and a text model, joined to one engine.

While the caller speaks, partial transcripts are made and prefilled into the brain. At a pause the
exact pass replaces them, and only the corrected tail is left to prefill.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.brain.context_window import ContextUse
from engine.brain.interface import Brain, BrainSession, MeasuresContext
from engine.brain.responder import Responder
from engine.ear.evidence import SpeechMeter
from engine.ear.interface import Ear, manners_of
from engine.ear.manner import Manner, Measured, Note, measure
from engine.ear.recordings import RecordingEar
from engine.ear.transcription import TurnTranscriber
from engine.types import GenerationOptions, Message, Mortal, Piece, Transcript
from engine.worker import Worker


class EmbeddedEngine:
    """Ear and brain, shared by all calls."""

    def __init__(
        self,
        ear: Ear,
        brain: Brain,
        *,
        incremental: bool = True,
        meter: SpeechMeter | None = None,
        tells_manner: bool = False,
    ) -> None:
        """``incremental`` False empties the cache before each answer and prefills nothing ahead. It
        serves to measure the gain of incremental prefill. ``meter`` tells speech that was not
        understood from noise. ``tells_manner``: the brain is told in a line how a turn sounded, if
        that is out of the ordinary."""
        self._ear = ear
        self._meter = meter
        self._tells_manner = tells_manner
        self._brain = brain
        self._incremental = incremental
        self._ear_worker = Worker("ear", manners_of(ear).at_once)
        self.recordings = RecordingEar(ear, self._ear_worker)

    def open(self) -> "EmbeddedSession":
        """Start a call."""
        turn = TurnTranscriber(self._ear, self._ear_worker, self._meter)
        listening = MannerOfTurn() if self._tells_manner else None
        brain = self._brain.open()
        return EmbeddedSession(turn, brain, incremental=self._incremental, manner=listening)

    @property
    def is_alive(self) -> bool:
        """See `engine.types.Mortal`: as long as its brain is."""
        return not isinstance(self._brain, Mortal) or self._brain.is_alive

    def close(self) -> None:
        """Stop the threads."""
        self._ear_worker.close()
        self._brain.close()


class EmbeddedSession:
    """One call: the words of its open turn, and its brain's cache.

    See `duplex.dialogue.interfaces`.
    """

    def __init__(
        self,
        turn: TurnTranscriber,
        brain: BrainSession,
        *,
        incremental: bool,
        manner: "MannerOfTurn | None" = None,
    ) -> None:
        self._turn = turn
        self._manner = manner
        self._brain = brain
        self._responder: Responder[str] = Responder(brain)
        self._incremental = incremental

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._turn.languages

    def hear_in(self, language: str | None) -> None:
        """Hear the caller in ``language``; None: as the server is configured."""
        self._turn.hear_in(language)

    def only_listen(self) -> None:
        """See `duplex.dialogue.interfaces.OnlyListens`."""
        self._incremental = False

    def begin_turn(self) -> None:
        """Forget the audio of the turn before."""
        self._turn.begin_turn()
        if self._manner is not None:
            self._manner.begin_turn()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._turn.append_audio(samples)
        if self._manner is not None:
            self._manner.append_audio(samples)

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts of the open turn, and prefill each into the brain's cache."""
        await self._prefill_ahead(history, self._turn.transcript.text)
        async with aclosing(self._turn.partials()) as partials:
            async for transcript in partials:
                yield transcript
                # All of it, not only the stable words: cutting wrong words back is cheap, and the
                # right ones need not be prefilled after the caller has stopped.
                await self._prefill_ahead(history, transcript.text)

    async def end_turn(self) -> Transcript:
        """The exact transcript of the open turn's audio so far; the turn may go on."""
        if self._manner is None:
            return await self._turn.end_turn()
        measuring = asyncio.create_task(self._manner.measure())  # while the ear hears
        try:
            transcript = await self._turn.end_turn()
            note = self._manner.note(await measuring, transcript.text)
        finally:
            measuring.cancel()
        return replace(transcript, sound=note)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Bring the cache up to ``history``."""
        await self._prefill_ahead(history, None)

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""
        if not self._incremental:
            await self._brain.prefill([])
        told = _told(history)
        async with aclosing(self._responder.respond(told, options)) as pieces:
            async for piece in pieces:
                yield piece

    def measure(self, beginning: Sequence[Message]) -> ContextUse | None:
        """See `MeasuresContext`."""
        brain = self._brain
        return brain.measure(_told(beginning)) if isinstance(brain, MeasuresContext) else None

    async def close(self) -> None:
        """Free the cache."""
        closing = self._brain.close()
        if closing is not None:
            await closing

    async def _prefill_ahead(self, history: Sequence[Message], partial: str | None) -> None:
        if self._incremental:
            await self._responder.prefill(_told(history), partial)


class MannerOfTurn:
    """Listens to how the caller of one call sounds, beside the ear."""

    def __init__(self) -> None:
        self._manner = Manner()
        self._audio: list[NDArray[np.float32]] = []  # of the open turn

    def begin_turn(self) -> None:
        """The turn before is over."""
        self._audio = []
        self._manner.begin_turn()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._audio.append(samples)

    async def measure(self) -> Measured:
        """Measure the open turn so far, in a thread: numpy lets others run meanwhile."""
        audio = np.concatenate([*self._audio, np.empty(0, np.float32)])
        return await asyncio.to_thread(measure, audio)

    def note(self, measured: Measured, text: str) -> Note | None:
        """What the brain is to be told; nothing of a turn without words."""
        return self._manner.note(measured.saying(text)) if text else None


def _told(history: Sequence[Message]) -> Sequence[Message]:
    """Notes on how turns sounded, in words."""
    return [
        replace(message, text=f"{message.text}\n{message.sound.text}", sound=None)
        if isinstance(message.sound, Note)
        else message
        for message in history
    ]

"""An ear on this machine and a brain behind an endpoint, joined to one engine.

The ear writes the transcript that clients show and that endpointing needs. A brain that hears gets
the caller's sound itself. What is known of a turn goes ahead to the endpoint while the caller still
speaks, so that at the end of the turn only its rest is left to be read there.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.brain.clips import ClippedSound, TurnClips
from engine.brain.openai_compatible import OpenAIBrain, OpenAISession
from engine.brain.responder import Responder
from engine.ear.evidence import SpeechMeter
from engine.ear.interface import Ear, manners_of
from engine.ear.transcription import TurnTranscriber
from engine.errors import EngineError
from engine.types import GenerationOptions, Message, Piece, Sound, Transcript
from engine.worker import Worker

logger = logging.getLogger(__name__)

_PIECE_S = 25.0  # encoders of the Whisper family take 30 s at the most
_PIECE_AHEAD_S = 5.0


class RemoteBrainEngine:
    """An ear and the client of a brain, shared by all calls."""

    def __init__(
        self, ear: Ear, brain: OpenAIBrain, *, hears: bool, meter: SpeechMeter | None = None
    ) -> None:
        """``hears``: the brain gets sound. ``meter`` tells speech that was not understood from
        noise."""
        self._ear = ear
        self._brain = brain
        self._meter = meter
        self._ear_worker = Worker("ear", manners_of(ear).at_once)
        self._piece_s = 0.0
        if hears:
            usual = _PIECE_AHEAD_S if brain.prefill_ahead else _PIECE_S
            self._piece_s = brain.shape.piece_s or usual

    def open(self) -> "RemoteBrainSession":
        """Start a call."""
        words = TurnTranscriber(self._ear, self._ear_worker, self._meter)
        ahead = self._brain.prefill_ahead
        return RemoteBrainSession(words, self._brain.open(), self._piece_s, ahead=ahead)

    def close(self) -> None:
        """Stop the thread of the ear."""
        self._ear_worker.close()
        self._brain.close()


class RemoteBrainSession:
    """One call: its open turn as words and, for a brain that hears, as sound. See
    `duplex.dialogue.interfaces`."""

    def __init__(
        self, words: TurnTranscriber, brain: OpenAISession, piece_s: float, *, ahead: bool
    ) -> None:
        """``piece_s`` is the longest piece of sound; 0: the brain does not hear."""
        self._words = words
        self._brain = brain
        self._responder: Responder[str | Sound] = Responder(brain)
        self._piece_s = piece_s
        self._goes_ahead = ahead
        self._clips = self._open_clips()
        self._stable = ""  # the words of the open turn that are not expected to change
        self._grown = asyncio.Event()  # set when more of the turn can go ahead
        self._shown: tuple[Message, ...] = ()  # the conversation that went ahead last

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._words.languages

    def hear_in(self, language: str | None) -> None:
        """Hear the caller in ``language``; None: as the server is configured."""
        self._words.hear_in(language)

    def begin_turn(self) -> None:
        """Forget the sound of the turn before; its message keeps its own."""
        self._words.begin_turn()
        self._clips = self._open_clips()
        self._stable = ""

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._words.append_audio(samples)
        if self._clips is not None and self._clips.append(samples):
            self._grown.set()

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts. What is closed of the turn goes ahead meanwhile: at most one
        request is in flight, and it is cancelled when this is closed."""
        ahead = asyncio.create_task(self._send_ahead(history)) if self._goes_ahead else None
        try:
            async with aclosing(self._words.partials()) as partials:
                async for transcript in partials:
                    if self._clips is None and transcript.stable != self._stable:
                        self._stable = transcript.stable
                        self._grown.set()
                    yield transcript
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait({ahead})

    async def end_turn(self) -> Transcript:
        """The exact transcript of the open turn's audio so far, with its sound if the brain hears;
        the turn may go on."""
        if self._clips is None:
            return await self._words.end_turn()
        making = asyncio.ensure_future(asyncio.to_thread(self._clips.whole.make))
        try:
            transcript = await self._words.end_turn()
        except BaseException:
            making.cancel()
            raise
        return replace(transcript, sound=await making)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Does nothing: the conversation goes ahead when the caller begins to speak, once for a
        turn, because each time is a request."""

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""
        async with aclosing(self._responder.respond(history, options)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """Close the connection."""
        await self._brain.close()

    def _open_clips(self) -> TurnClips | None:
        return TurnClips(self._piece_s) if self._piece_s else None

    async def _send_ahead(self, history: Sequence[Message]) -> None:
        """Send the conversation ahead, then each time all that is closed of the turn."""
        try:
            if self._shown != tuple(history):
                await self._responder.prefill(history, None)
                self._shown = tuple(history)
            while True:
                self._grown.clear()
                if (partial := self._partial()) is not None:
                    if isinstance(partial, ClippedSound):
                        await asyncio.to_thread(partial.make)
                    await self._responder.prefill(history, partial)
                await self._grown.wait()
        except EngineError as error:  # the answer does without, and meets what is wrong itself
            logger.warning("nothing more of this turn goes ahead to the brain: %s", error)

    def _partial(self) -> str | ClippedSound | None:
        """What is closed of the open turn; None: nothing."""
        if self._clips is None:
            return self._stable or None
        closed = self._clips.closed
        return closed if closed.clips else None

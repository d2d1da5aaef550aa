"""The native engine: the language model hears the caller's audio itself.

An ear runs as well. It writes the transcript that clients show and that endpointing needs.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.brain.context_window import ContextUse
from engine.brain.responder import Responder
from engine.ear.evidence import SpeechMeter
from engine.ear.interface import Ear, manners_of
from engine.ear.recordings import RecordingEar
from engine.ear.transcription import TurnTranscriber
from engine.errors import EngineError
from engine.native.audio_tower import AudioTower
from engine.native.brain import NativeBrain, NativeBrainSession
from engine.native.latents import LatentNames
from engine.native.turn_encoder import TurnEncoder
from engine.types import GenerationOptions, Message, Piece, Sound, Transcript
from engine.worker import Worker


class NativeEngine:
    """Step-Audio's encoder, adaptor and language model, shared by all calls."""

    def __init__(
        self, ear: Ear, tower: AudioTower, brain: NativeBrain, meter: SpeechMeter | None = None
    ) -> None:
        """``meter`` tells speech that was not understood from noise.

        Raises:
            ValueError: the model takes text only.
        """
        if brain.sound_marks is None:
            raise ValueError("the model has no tokens for sound")
        self._ear = ear
        self._meter = meter
        self._tower = tower
        self._brain = brain
        self._ear_worker = Worker("ear", manners_of(ear).at_once)
        self.recordings = RecordingEar(ear, self._ear_worker)
        # Of all calls: a call may show its brain a recording that another session has heard.
        self._names = LatentNames()

    def open(self) -> "NativeSession":
        """Start a call."""
        words = TurnTranscriber(self._ear, self._ear_worker, self._meter)
        return NativeSession(words, self._tower, self._brain, self._names)

    @property
    def is_alive(self) -> bool:
        """See `engine.types.Mortal`: False once the device is lost."""
        return self._brain.is_alive

    def close(self) -> None:
        """Stop the threads."""
        self._ear_worker.close()
        self._brain.close()


class NativeSession:
    """One call: its open turn as words and as latents, and its log. See
    `duplex.dialogue.interfaces`."""

    def __init__(
        self, words: TurnTranscriber, tower: AudioTower, brain: NativeBrain, names: LatentNames
    ) -> None:
        self._words = words
        self._tower = tower
        self._scheduler = brain.scheduler
        assert brain.sound_marks is not None
        self._marks = brain.sound_marks
        self._brain: NativeBrainSession = brain.open()
        self._names = names
        self._turn = self._open_turn()
        self._closing: set[asyncio.Task[None]] = set()
        self._responder: Responder[str | Sound] = Responder(self._brain)

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._words.languages

    def hear_in(self, language: str | None) -> None:
        """Hear the caller in ``language``; None: as the server is configured."""
        self._words.hear_in(language)

    def begin_turn(self) -> None:
        """Forget the audio of the turn before; its latents stay with its message."""
        closing = asyncio.ensure_future(self._turn.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._turn = self._open_turn()
        self._words.begin_turn()

    def append_audio(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples to the open turn."""
        self._words.append_audio(samples)
        self._turn.append(samples)

    async def listen(self, history: Sequence[Message]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts, while the audio goes into the log chunk by chunk."""
        encoding = asyncio.create_task(self._encode_on(history))
        try:
            async with aclosing(self._words.partials()) as partials:
                async for transcript in partials:
                    yield transcript
        finally:
            encoding.cancel()
            await asyncio.wait({encoding})

    async def end_turn(self) -> Transcript:
        """The exact transcript of the open turn's audio so far, with its latents; the turn may go
        on."""
        encoding = asyncio.create_task(self._turn.finish())
        try:
            transcript = await self._words.end_turn()
        except BaseException:
            encoding.cancel()
            await asyncio.wait({encoding})
            raise
        return replace(transcript, sound=await encoding)

    async def prefill(self, history: Sequence[Message]) -> None:
        """Bring the log up to ``history``."""
        await self._responder.prefill(history)

    async def respond(
        self, history: Sequence[Message], options: GenerationOptions
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last message."""
        async with aclosing(self._responder.respond(history, options)) as pieces:
            async for piece in pieces:
                yield piece

    def measure(self, beginning: Sequence[Message]) -> ContextUse:
        """See `MeasuresContext`."""
        return self._brain.measure(beginning)

    async def close(self) -> None:
        """Free all memory of the call."""
        try:
            await asyncio.gather(self._turn.close(), *self._closing)
        finally:
            await self._brain.close()

    def _open_turn(self) -> TurnEncoder:
        return TurnEncoder(self._tower, self._scheduler, self._names, self._marks)

    async def _encode_on(self, history: Sequence[Message]) -> None:
        """Encode and prefill chunk by chunk."""
        turn = self._turn
        with contextlib.suppress(EngineError):  # the end of the turn meets it again, and raises it
            while True:
                sound = await turn.advance()
                await self._responder.prefill(history, sound)
                await turn.grown()

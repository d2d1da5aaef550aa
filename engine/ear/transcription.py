"""Transcribes one call's open turn: partials while the caller speaks, then an exact pass."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.ear.evidence import SpeechMeter, was_spoken
from engine.ear.guards import quietest_point
from engine.ear.interface import Ear
from engine.ear.partials import PartialTranscriber
from engine.errors import EngineError
from engine.features import SAMPLE_RATE_HZ
from engine.types import Transcript
from engine.worker import Priority, Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Words:
    """The words between two samples of a turn, and the seconds that the ear took."""

    text: str
    start: int
    samples: int  # where they end
    cost_s: float


class TurnTranscriber:
    """Transcribes the open turn of one call, with an ear that all calls share."""

    def __init__(self, ear: Ear, worker: Worker, meter: SpeechMeter | None = None) -> None:
        """``worker`` is the thread that runs ``ear`` and ``meter``, for all calls. Without a
        meter every turn counts as spoken, because a detector of speech has opened it."""
        self._ear = ear
        self._worker = worker
        self._meter = meter
        self._audio: list[NDArray[np.float32]] = []  # of the open turn
        self._samples = 0  # in it
        self._partials = PartialTranscriber()
        self._grown = asyncio.Event()  # set when audio was appended

    @property
    def transcript(self) -> Transcript:
        """The transcript of the open turn so far."""
        return self._partials.transcript

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

    async def partials(self) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts of the open turn as they become due, without end.

        Raises:
            EngineError: the recogniser failed; the audio is kept.
        """
        partials = self._partials
        while True:
            while not partials.due(self._samples):
                self._grown.clear()
                await self._grown.wait()
            await self._commit_head(partials)
            heard = await self._hear(partials.window_start, Priority.BACKGROUND)
            yield partials.hypothesis(heard.text, heard.samples, heard.cost_s, start=heard.start)

    async def end_turn(self) -> Transcript:
        """The exact transcript of the audio so far; the turn may still go on.

        Without words it says whether somebody spoke.

        Raises:
            EngineError: the recogniser failed; the audio is kept.
        """
        partials, audio = self._partials, tuple(self._audio)
        heard = await self._hear(partials.window_start, Priority.REPLY)
        transcript = partials.exact(heard.text, heard.samples, start=heard.start)
        if transcript.text:
            return transcript
        return replace(transcript, is_unclear=await self._was_spoken(audio))

    async def _was_spoken(self, audio: Sequence[NDArray[np.float32]]) -> bool:
        meter = self._meter
        if meter is None or not audio:
            return bool(audio)
        whole = np.concatenate(audio)
        return await self._worker.run(lambda: was_spoken(meter(whole)), Priority.REPLY)

    async def _commit_head(self, partials: PartialTranscriber) -> None:
        """Close the beginning of a long turn, so that hearing the rest again stays cheap."""
        span = partials.commit_range(self._samples)
        if span is None:
            return
        cut = quietest_point(np.concatenate(self._audio), SAMPLE_RATE_HZ, *span)
        head = await self._hear(partials.window_start, Priority.BACKGROUND, end=cut)
        partials.commit(head.text, cut)

    async def _hear(self, start: int, priority: Priority, end: int | None = None) -> _Words:
        """The words of the open turn from sample ``start`` to ``end``, or to its newest sample."""
        end = self._samples if end is None else end
        audio = np.concatenate([*self._audio, np.empty(0, np.float32)])[start:end]

        def transcribe() -> _Words:
            began_s = time.monotonic()
            try:
                text = self._ear.transcribe(audio) if len(audio) else ""
            except RuntimeError as error:  # what CTranslate2 raises, out of memory for one
                logger.exception("the ear failed")
                raise EngineError("the ear failed") from error
            return _Words(text, start, end, time.monotonic() - began_s)

        return await self._worker.run(transcribe, priority)

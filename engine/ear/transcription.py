"""Transcribes one call's open turn: partials while the caller speaks, then an exact pass."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.ear.evidence import SPOKEN_MS, SpeechMeter, voiced_ms
from engine.ear.guards import quietest_point
from engine.ear.interface import Ear, Heard, MultilingualEar, manners_of
from engine.ear.partials import NO_PARTIALS, PartialTranscriber
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
    language: str  # "" if it is not known


class TurnTranscriber:
    """Transcribes the open turn of one call, with an ear that all calls share."""

    def __init__(self, ear: Ear, worker: Worker, meter: SpeechMeter | None = None) -> None:
        """``worker`` is the thread that runs ``ear`` and ``meter``, for all calls. Without a
        meter every turn counts as spoken, because a detector of speech has opened it."""
        self._ear = ear
        self._worker = worker
        self._meter = meter
        self._language: str | None = None  # as the call has chosen; None: the ear's own
        self._last_language = "en"  # of the last turn
        self._audio: list[NDArray[np.float32]] = []  # of the open turn
        self._samples = 0  # in it
        self._partials = self._transcriber()
        self._grown = asyncio.Event()  # set when audio was appended

    @property
    def transcript(self) -> Transcript:
        """The transcript of the open turn so far."""
        return self._partials.transcript

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._ear.languages if isinstance(self._ear, MultilingualEar) else None

    def hear_in(self, language: str | None) -> None:
        """Hear this call in ``language``, one of `languages`; None: as the ear hears others."""
        self._language = language

    def begin_turn(self) -> None:
        """Forget the audio of the turn before."""
        self._audio = []
        self._samples = 0
        self._partials = self._transcriber()

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
            self._last_language = heard.language or self._last_language
            return replace(transcript, language=heard.language)
        return replace(transcript, is_unclear=await self._was_spoken(audio))

    async def _was_spoken(self, audio: Sequence[NDArray[np.float32]]) -> bool:
        meter = self._meter
        if meter is None or not audio:
            return bool(audio)
        whole = np.concatenate(audio)
        return await self._worker.run(lambda: voiced_ms(meter(whole)) >= SPOKEN_MS, Priority.REPLY)

    def _transcriber(self) -> PartialTranscriber:
        return PartialTranscriber(None if manners_of(self._ear).partials else NO_PARTIALS)

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
                heard = self._words_in(audio)
            except RuntimeError as error:  # what CTranslate2 raises, out of memory for one
                logger.exception("the ear failed")
                raise EngineError("the ear failed") from error
            cost_s = time.monotonic() - began_s
            return _Words(heard.text, start, end, cost_s, heard.language)

        return await self._worker.run(transcribe, priority)

    def _words_in(self, audio: NDArray[np.float32]) -> Heard:
        ear = self._ear
        if not len(audio):
            return Heard("", "")
        if isinstance(ear, MultilingualEar):
            return ear.hear(audio, self._language or ear.language, self._last_language)
        return Heard(ear.transcribe(audio), "")

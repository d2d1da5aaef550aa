"""Hears a recording passage by passage, with the ear that calls use and behind them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from duplex.audio.formats import Framer, Samples
from duplex.dialogue.interfaces import Engine, EngineSession
from duplex.speech_api.cutting import FRAME_SAMPLES, RATE_HZ, Clip, Cutter, tightened
from duplex.speech_api.transcripts import HeardPassage, moved
from duplex.turns.interfaces import Vad
from engine.ear.passage import Passage, Wish


class PassageEar(Protocol):
    """Hears one passage of a recording at a time; see `engine.ear.recordings.RecordingEar`."""

    @property
    def languages(self) -> frozenset[str] | None:
        """Codes that may be wished for; None: it does not say which it knows."""

    @property
    def knows_times(self) -> bool:
        """Whether it can say when each word is said."""

    @property
    def translates(self) -> bool:
        """Whether it can write in English what is said in another language."""

    async def hear(self, pcm: Samples, wish: Wish) -> Passage:
        """The words of ``pcm``: ``[N]``, 16 kHz mono, at most 30 s.

        Raises:
            EngineError: the recogniser failed.
        """


@runtime_checkable
class HearsRecordings(Protocol):
    """An engine that lends its ear."""

    @property
    def recordings(self) -> PassageEar:
        """For all requests; it keeps nothing of any."""


class _SessionEar:
    """The ear of an engine that shows no more of it than its sessions."""

    languages = None
    knows_times = False
    translates = False

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    async def hear(self, pcm: Samples, wish: Wish) -> Passage:
        self._session.begin_turn()
        self._session.append_audio(pcm)
        heard = await self._session.end_turn()
        return Passage(heard.text, heard.language)


@contextlib.asynccontextmanager
async def lent_ear(engine: Engine) -> AsyncGenerator[PassageEar, None]:
    """The ear of ``engine``, for one recording."""
    if isinstance(engine, HearsRecordings):
        yield engine.recordings
        return
    session = engine.open()
    try:
        yield _SessionEar(session)
    finally:
        await session.close()


class Recording:
    """A recording that is being heard: its passages, and how long it is as far as it was read."""

    def __init__(self, sound: Iterator[Samples], vad: Vad) -> None:
        self.samples = 0  # read so far, at 16 kHz
        self._sound = sound
        self._framer = Framer(FRAME_SAMPLES)
        self._stream = vad.open()
        self._cutter = Cutter()
        self._read: list[Clip] = []  # and not given yet
        self._is_over = False

    @property
    def duration_s(self) -> float:
        """How long it is, once all was read."""
        return self.samples / RATE_HZ

    async def open(self) -> None:
        """Read its beginning.

        Raises:
            UnreadableSound: it is no sound.
        """
        self._read = await asyncio.to_thread(self._step)

    async def clips(self) -> AsyncGenerator[Clip, None]:
        """All passages with speech in them.

        Raises:
            UnreadableSound: it cannot be read.
        """
        while True:
            read, self._read = self._read, []
            for clip in read:
                yield clip
            if self._is_over:
                return
            self._read = await asyncio.to_thread(self._step)

    def _step(self) -> list[Clip]:
        """Read about a second, and return the passages that end in it. It takes time."""
        block = next(self._sound, None)
        if block is not None:
            self.samples += len(block)
            return list(self._cut(block))
        self._is_over = True
        tail = list(self._cut(np.zeros(FRAME_SAMPLES - 1, np.float32)))  # its last frame is whole
        last = self._cutter.finish()
        return tail if last is None else [*tail, last]

    def _cut(self, block: Samples) -> Iterator[Clip]:
        for frame in self._framer.feed(block):
            for heard in self._stream.feed(frame):
                clip = self._cutter.feed(frame, heard.probability)
                if clip is not None:
                    yield clip


async def passages(
    recording: Recording, ear: PassageEar, wish: Wish
) -> AsyncGenerator[HeardPassage, None]:
    """The words of a recording, passage by passage. Its language is that of its first words, unless
    it is wished for.

    Raises:
        UnreadableSound: it cannot be read.
        EngineError: the recogniser failed.
    """
    async for clip in recording.clips():
        heard = await ear.hear(clip.samples, wish)
        if not heard.text:
            continue
        if heard.language:
            wish = replace(wish, otherwise=heard.language)
        words = tightened(heard.words, clip)
        yield HeardPassage(clip.start_s, clip.end_s, moved(heard, words))

"""An answer of an edge's call, spoken by the voice of the engine's process. No sockets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing

from duplex.app import voice_wire as wire
from duplex.dialogue.interfaces import Steps
from engine.remote_engine.wire import encode
from engine.worker import Priority
from tts.errors import VoiceError
from tts.types import AudioChunk, Voice

logger = logging.getLogger(__name__)

_MAX_WAITING = 8  # feeds; an edge sends one after the other


class HostedUtterance:
    """Obeys the frames of one answer in their order; sound goes to ``send``. `run` is its work."""

    def __init__(
        self, voice: Voice, speed: float, steps: Steps, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """
        Raises:
            ValueError: no voice speaks at this ``speed``.
        """
        self._utterance = voice.open(speed)
        self._steps = steps
        self._send = send
        self._feeds: asyncio.Queue[wire.Feed | wire.Finish] = asyncio.Queue(_MAX_WAITING)
        self._demand = asyncio.Semaphore(wire.WINDOW)
        self._has_sounded = False

    def receive(self, data: bytes) -> None:
        """Obey one frame.

        Raises:
            ValueError: it is none, or asks too much.
        """
        frame = wire.to_voice(data)
        if isinstance(frame, wire.More):
            self._demand.release()
            return
        try:
            self._feeds.put_nowait(frame)
        except asyncio.QueueFull:
            raise ValueError("more at a time than an answer has") from None

    async def run(self) -> None:
        """Speak until it is cancelled."""
        while True:
            frame = await self._feeds.get()
            utterance = self._utterance
            answer: wire.Fed | wire.Failed = wire.Fed()
            try:
                await self._speak(
                    utterance.finish()
                    if isinstance(frame, wire.Finish)
                    else utterance.feed(frame.text, frame.codes)
                )
            except VoiceError as error:
                answer = wire.Failed(str(error))
            except Exception:
                logger.exception("the voice failed")
                answer = wire.Failed("the voice failed")
            await self._send(encode(answer))
            if isinstance(frame, wire.Finish):
                return

    async def _speak(self, chunks: Iterator[AudioChunk]) -> None:
        async with aclosing(self._steps.stream(chunks, self._urgency)) as stream:
            async for chunk in stream:
                if not len(chunk.samples) and not chunk.words:
                    continue  # it waits
                await self._demand.acquire()
                self._has_sounded = True
                await self._send(encode(wire.chunk_of(chunk.samples, chunk.words)))

    def _urgency(self) -> Priority:
        """Somebody waits in silence for the first sound; the rest is made ahead."""
        return Priority.FLOW if self._has_sounded else Priority.REPLY

"""From the sound card's thread to the event loop: a bounded queue of 20 ms chunks."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.realtime import CHUNK_MS, CHUNK_SAMPLES, ClientError
from duplex.audio.formats import Framer

Samples = NDArray[np.float32]

# What the network may stand still before the call is given up: speech that is sent later than
# this answers nothing any more.
MAX_WAITING_S = 5.0
MAX_CHUNKS = round(MAX_WAITING_S * 1000 / CHUNK_MS)


class TooSlow(ClientError):
    """The connection does not take what the microphone gives."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """20 ms of the microphone, and when its last sample came."""

    samples: Samples
    at_s: float


class Intake:
    """``put`` is called by the sound card, ``get`` in ``loop``. Full, it stays so and is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._framer = Framer(CHUNK_SAMPLES)
        self._chunks: deque[Chunk] = deque()
        self._arrived = asyncio.Event()
        self._overrun = False  # set for good by the first chunk that found no room
        self._closed = False

    def put(self, samples: Samples) -> None:
        """Samples of any number; never waits."""
        at_s = time.monotonic()
        for frame in self._framer.feed(samples):
            if len(self._chunks) >= MAX_CHUNKS:
                self._overrun = True
            if not self._overrun:
                self._chunks.append(Chunk(frame, at_s))
        if not self._closed:
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def get(self) -> Chunk:
        """The next chunk.

        Raises:
            TooSlow: chunks were lost.
        """
        while not self._chunks:
            self._arrived.clear()
            if not self._chunks:
                await self._arrived.wait()
        if self._overrun:
            raise TooSlow(
                f"the connection is too slow: {MAX_WAITING_S:g} s of speech wait to be sent"
            )
        return self._chunks.popleft()

    def close(self) -> None:
        """The loop takes no more."""
        self._closed = True

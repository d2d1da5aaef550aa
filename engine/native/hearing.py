"""One call's open turn as the model hears it: chunks are encoded while the caller speaks."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.native.latents import HeardSound, LatentNames, Latents
from engine.native.runtime.scheduler import Scheduler
from engine.native.sound import AudioTower, Hearing, SoundRequest
from engine.uncancelled import uncancelled

Marks = tuple[list[int], list[int]]


class TurnHearing:
    """The audio of one turn, and the latents made of it."""

    def __init__(
        self, tower: AudioTower, scheduler: Scheduler, names: LatentNames, marks: Marks
    ) -> None:
        """``marks``: ids before and after a block of latents."""
        self._tower = tower
        self._scheduler = scheduler
        self._names = names
        self._between = [*marks[1], *marks[0]]
        self._stream = tower.open()
        self._blocks: list[list[Latents]] = []  # what is stable, by block
        self._grown = asyncio.Event()  # set when a chunk is due
        # Requests are encoded in the order they are made, and a turn is closed after the last.
        self._encoding = asyncio.Lock()

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples."""
        self._stream.feed(samples)
        if self._stream.due():
            self._grown.set()

    async def grown(self) -> None:
        """Wait until there is a chunk to encode."""
        while not self._stream.due():
            self._grown.clear()
            await self._grown.wait()

    async def advance(self) -> HeardSound:
        """Encode the chunks that are due; returns all that is stable.

        Raises:
            EngineError: there is no room, or the device failed; it may be tried again.
        """
        async with self._encoding:
            await self._encode_due()
            return self._sound([])

    async def finish(self) -> HeardSound:
        """All of the turn as if it ended here; it may go on. Raises as `advance`."""
        async with self._encoding:
            await self._encode_due()
            request = self._stream.finish()
            if request is None:
                return self._sound([])
            hearing = await uncancelled(self._encode(request))
            if len(self._blocks) <= hearing.block:
                self._blocks.append([])
            return self._sound([self._names.name(hearing.provisional)])

    async def close(self) -> None:
        """Give the encoder's memory back; what was heard stays with the call."""
        async with self._encoding:
            await self._scheduler.run(self._stream.close)

    async def _encode_due(self) -> None:
        while self._stream.due():
            # What was encoded has to be noted, or the turn would have a gap.
            await uncancelled(self._keep(self._stream.step()))

    async def _keep(self, request: SoundRequest) -> None:
        try:
            hearing = await self._encode(request)
        except EngineError:
            self._stream.take_back(request)
            raise
        if len(hearing.stable):
            while len(self._blocks) <= hearing.block:
                self._blocks.append([])
            self._blocks[hearing.block].append(self._names.name(hearing.stable))

    async def _encode(self, request: SoundRequest) -> Hearing:
        result = await self._scheduler.together(self._tower.encode, request)
        if isinstance(result, EngineError):
            raise result
        return result

    def _sound(self, tail: list[Latents]) -> HeardSound:
        """What is stable, and after it ``tail``, which belongs to the last block."""
        ids: list[int] = []
        parts: list[Latents] = []
        for index, block in enumerate(self._blocks):
            is_last = index == len(self._blocks) - 1
            heard = [*block, *tail] if is_last else block
            if index and heard:
                ids += self._between
            ids += [id_ for part in heard for id_ in part.ids]
            parts += heard
        return HeardSound(tuple(ids), tuple(parts))

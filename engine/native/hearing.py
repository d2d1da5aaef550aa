"""One call's open turn as the model hears it: chunks are encoded while the caller speaks."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError
from engine.native.brain import HeardSound
from engine.native.latents import LatentTable
from engine.native.scheduler import Scheduler
from engine.native.sound import AudioTower, Hearing, SoundRequest
from engine.uncancelled import uncancelled

Marks = tuple[list[int], list[int]]


class TurnHearing:
    """The audio of one turn, and the ids of the latents made of it."""

    def __init__(
        self, tower: AudioTower, scheduler: Scheduler, latents: LatentTable, marks: Marks
    ) -> None:
        """``marks``: ids before and after a block of latents."""
        self._tower = tower
        self._scheduler = scheduler
        self._latents = latents
        self._between = [*marks[1], *marks[0]]
        self._stream = tower.open()
        self._stable: list[list[int]] = []  # ids, by block
        self._tail: list[int] = []  # of the end as it was last asked for
        self._tail_block = 0
        self._grown = asyncio.Event()  # set when a chunk is due
        self._encoding = asyncio.Lock()  # requests are encoded in the order they are made

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add 16 kHz mono samples."""
        self._stream.push(samples)
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
            EngineError: there is no room, or the device failed.
        """
        async with self._encoding:
            while self._stream.due():
                # What was encoded has to be noted, or the turn would have a gap.
                await uncancelled(self._encode(self._stream.step()))
        return self._sound(with_tail=False)

    async def finish(self) -> HeardSound:
        """All of the turn as if it ended here; it may go on. Raises as `advance`."""
        await self.advance()
        async with self._encoding:
            self._latents.forget(self._tail)
            self._tail = []
            request = self._stream.finish()
            if request is not None:
                await uncancelled(self._encode(request))
        return self._sound(with_tail=True)

    async def close(self) -> None:
        """Give the encoder's memory back; the latents stay with the call."""
        await self._scheduler.run(self._stream.close)

    async def _encode(self, request: SoundRequest) -> None:
        result = await self._scheduler.together(self._tower.encode, request)
        if isinstance(result, EngineError):
            raise result
        self._note(result)

    def _note(self, hearing: Hearing) -> None:
        if len(hearing.stable):
            while len(self._stable) <= hearing.block:
                self._stable.append([])
            self._stable[hearing.block] += self._latents.add(hearing.stable)
        if len(hearing.provisional) and not hearing.complete:
            self._latents.forget(self._tail)
            self._tail = self._latents.add(hearing.provisional)
            self._tail_block = hearing.block

    def _sound(self, *, with_tail: bool) -> HeardSound:
        blocks = [list(block) for block in self._stable]
        if with_tail and self._tail:
            if len(blocks) <= self._tail_block:
                blocks.append([])
            blocks[self._tail_block] += self._tail
        ids: list[int] = []
        for block in blocks:
            ids += [*self._between, *block] if ids else block
        return HeardSound(tuple(ids))

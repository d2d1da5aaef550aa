"""One call's open turn: its audio is encoded to latents chunk by chunk, while the caller speaks."""

import asyncio
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import EngineError
from engine.native.audio_stream import EncodeRequest
from engine.native.audio_tower import AudioTower, EncodedAudio, Forgotten
from engine.native.latents import LatentNames, Latents, LatentSound
from engine.native.runtime.scheduler import Scheduler
from engine.uncancelled import uncancelled

Marks = tuple[list[int], list[int]]


class TurnEncoder:
    """The audio of one turn, and the latents made of it. One object for each turn."""

    def __init__(
        self, tower: AudioTower, scheduler: Scheduler, names: LatentNames, marks: Marks
    ) -> None:
        """``marks``: ids before and after a block of latents."""
        self._tower = tower
        self._scheduler = scheduler
        self._names = names
        self._between = [*marks[1], *marks[0]]
        self._stream = tower.open()
        self._blocks: list[list[Latents]] = []  # the stable latents, by block
        self._named: WeakSet[Latents] = WeakSet()  # those given out that somebody still holds
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

    async def advance(self) -> LatentSound:
        """Encode the chunks that are due; returns all stable latents of the turn.

        Raises:
            EngineError: the cache is full, or the device failed. The call may be repeated.
        """
        async with self._encoding:
            await self._encode_due()
            return self._latents([])

    async def finish(self) -> LatentSound:
        """All latents of the turn, as if it ended here. The turn may go on.

        Raises:
            EngineError: as `advance`.
        """
        async with self._encoding:
            encoded = await self._encode_end()
            if encoded is None:
                return self._latents([])
            if len(self._blocks) <= encoded.block:
                self._blocks.append([])
            ending = self._name(encoded.provisional)
            return self._latents([ending], replaces=encoded.start == 0)

    async def close(self) -> None:
        """Free the encoder's cache of this turn. Latents that were returned stay valid: they move
        to the host."""
        async with self._encoding:
            await self._scheduler.run(self._put_away)

    def _put_away(self) -> None:
        self._stream.close()
        for latents in self._named:
            latents.move_to_host()
        self._named.clear()

    def _name(self, rows: Tensor) -> Latents:
        latents = self._names.name(rows)
        self._named.add(latents)
        return latents

    async def _encode_end(self) -> EncodedAudio | None:
        while True:
            await self._encode_due()
            request = self._stream.finish()
            if request is None:
                return None
            try:
                return await uncancelled(self._encode(request))
            except Forgotten:  # the next request is for the whole block, which cannot be
                continue

    async def _encode_due(self) -> None:
        while self._stream.due():
            # A cancelled caller must not lose an encoded chunk: the turn would have a gap.
            await uncancelled(self._keep(self._stream.step()))

    async def _keep(self, request: EncodeRequest) -> None:
        try:
            encoded = await self._encode(request)
        except EngineError as error:
            self._stream.take_back(request)
            if isinstance(error, Forgotten):
                return
            raise
        if len(encoded.stable):
            while len(self._blocks) <= encoded.block:
                self._blocks.append([])
            if encoded.start == 0:  # a block that is encoded anew
                self._blocks[encoded.block].clear()
            self._blocks[encoded.block].append(self._name(encoded.stable))

    async def _encode(self, request: EncodeRequest) -> EncodedAudio:
        result = await self._scheduler.run_batched(self._tower.encode, request)
        if isinstance(result, EngineError):
            raise result
        return result

    def _latents(self, tail: list[Latents], *, replaces: bool = False) -> LatentSound:
        """The stable latents, followed by ``tail``, which belongs to the last block, or
        ``replaces`` all that is known of it."""
        ids: list[int] = []
        parts: list[Latents] = []
        for index, block in enumerate(self._blocks):
            is_last = index == len(self._blocks) - 1
            latents = [*(() if replaces else block), *tail] if is_last else block
            if index and latents:
                ids += self._between
            ids += [id_ for part in latents for id_ in part.ids]
            parts += latents
        return LatentSound(tuple(ids), tuple(parts))

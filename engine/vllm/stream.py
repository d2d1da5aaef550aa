"""One request of vLLM that stays open: a sequence to which ids are appended.

vLLM cannot cut a sequence. What is to be dropped is dropped with its request; another one then
finds all whole blocks that they have in common in the prefix cache.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator

from engine.brain.interface import BrainError
from engine.errors import EngineError
from engine.vllm.client import Chunk, Client

logger = logging.getLogger(__name__)


class Part:
    """A chunk on its way, and the tokens that are made after it; an async iterator of these."""

    def __init__(self, chunk: Chunk) -> None:
        self.made: list[int] = []
        self.cached = 0  # of its ids, if it began a request; known with its first token
        self.is_over = False
        self._draw = chunk.draw
        self._inbox: asyncio.Queue[int | None] = asyncio.Queue()  # bounded by the chunk's limit
        self._error: EngineError | None = None

    def take(self, token: int) -> None:
        """Note a token that was made."""
        self.made.append(token)
        self._inbox.put_nowait(token)
        if token in self._draw.stop_ids or len(self.made) == self._draw.limit:
            self.end(None)

    def end(self, error: EngineError | None) -> None:
        """No more tokens come."""
        self.is_over = True
        self._error = error
        self._inbox.put_nowait(None)

    def __aiter__(self) -> "Part":
        return self

    async def __anext__(self) -> int:
        """
        Raises:
            EngineError: the engine failed.
        """
        token = await self._inbox.get()
        if token is not None:
            return token
        self._inbox.put_nowait(None)  # for whoever asks again
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration


class Stream:
    """An open request. ``held``: the ids whose keys and values it has, or will have when what is
    on its way has been run."""

    def __init__(self, client: Client) -> None:
        self.held: list[int] = []
        self._client = client
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        self._parts: deque[Part] = deque()  # on their way, the oldest first
        self._error: EngineError | None = None
        self._task = asyncio.create_task(self._read())

    @property
    def is_over(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._task.done() or bool(self._task.cancelling())

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way."""
        return bool(self._parts)

    def feed(self, chunk: Chunk) -> Part:
        """Append ``chunk``, of at least one id. Whatever is on its way only prefills."""
        assert chunk.ids
        part = Part(chunk)
        self.held += chunk.ids
        self._parts.append(part)
        self._chunks.put_nowait(chunk)
        return part

    async def abort(self) -> None:
        """Free its place; the step in flight is not waited for, vLLM leaves its result out."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _read(self) -> None:
        error = EngineError("the request was dropped")
        try:
            async for tokens in self._client.request(self._input()):
                for token in tokens.ids:
                    self._take(token, tokens.cached)
            error = BrainError("the brain's engine ended a request that was still open")
        except Exception as failure:  # vLLM's own, which have no base in common
            alive = self._client.is_alive
            logger.error("vLLM failed: %r", failure, exc_info=alive)
            error = BrainError("the brain's model failed" if alive else "the brain's engine died")
        finally:
            while self._parts:
                self._parts.popleft().end(error)

    def _take(self, token: int, cached: int) -> None:
        part = self._parts[0]
        part.cached = cached
        part.take(token)
        if part.is_over:
            self._parts.popleft()
            self.held += part.made[:-1]

    async def _input(self) -> AsyncGenerator[Chunk, None]:
        while True:
            yield await self._chunks.get()

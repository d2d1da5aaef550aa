"""Requests to a service from parts whose interface blocks: an event loop in a thread."""

import asyncio
import queue
import threading
import weakref
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

import httpx2

from engine.remote.bodies import reason_of_body
from engine.remote.service import RemoteError, Service

T = TypeVar("T")
_STEP_S = 0.05  # what waits for sound can be stopped so often
_NO_SOUND = ("application/json", "text/")
_MOST_TEXT = 1024 * 1024  # bytes


class Background:
    """The connections of one service, used from any thread. Closed, or no longer referred to, it
    drops them and its thread ends."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._client = service.connect()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_run, args=(self._loop, self._client), name=service.part, daemon=True
        )
        self._thread.start()
        self._stop = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def close(self) -> None:
        """Drop the connections. It cannot be used afterwards."""
        self._stop()
        self._thread.join()

    def text(self, path: str, **request: Any) -> bytes:
        """Ask, and wait for the whole body of the answer.

        Raises:
            RemoteError: it cannot be had.
        """
        return self._wait(self._text(path, request))

    def sound(self, path: str, **request: Any) -> Generator[bytes, None, None]:
        """Ask, and yield the body as it comes; b"" each `_STEP_S` in which nothing came. Closing
        the iterator ends the request.

        Raises:
            RemoteError: it cannot be had, or is text.
        """
        pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        reading = asyncio.run_coroutine_threadsafe(self._read(path, request, pieces), self._loop)
        try:
            while True:
                try:
                    piece = pieces.get(timeout=_STEP_S)
                except queue.Empty:
                    yield b""
                    continue
                if piece is None:
                    break
                yield piece
            reading.result()
        finally:
            reading.cancel()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _text(self, path: str, request: dict[str, Any]) -> bytes:
        body = b""
        async with self._service.post(self._client, path, **request) as response:
            async for piece in self._service.body(response):
                body += piece
                if len(body) > _MOST_TEXT:
                    raise RemoteError(f"the answer of {self._service.name} is too long")
        return body

    async def _read(
        self, path: str, request: dict[str, Any], pieces: queue.SimpleQueue[bytes | None]
    ) -> None:
        try:
            async with self._service.post(self._client, path, **request) as response:
                kind = response.headers.get("content-type", "").lower()
                if kind.startswith(_NO_SOUND):
                    said = reason_of_body(await response.aread())
                    raise RemoteError(f"{self._service.name} answers without sound: {said}")
                async for piece in self._service.body(response):
                    pieces.put(piece)
        finally:
            pieces.put(None)


def _run(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    """The thread: until the loop is stopped. It knows no `Background`, which could else not go."""
    loop.run_forever()
    loop.run_until_complete(_wind_up(client))
    loop.close()


async def _wind_up(client: httpx2.AsyncClient) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
    await asyncio.get_running_loop().shutdown_asyncgens()

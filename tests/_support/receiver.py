"""A small HTTP server on a free port of this machine, which keeps what it is sent."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
"""What a webhook may be signed with."""


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """``answer`` is given each request and its number, from 1."""

    answer: Callable[[Request, int], web.Response] = lambda request, number: web.Response()
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, count: int) -> list[Request]:
        """Return the requests, once there are so many."""
        async with asyncio.timeout(20), self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def take(self, request: web.Request) -> web.Response:
        """Keep one, and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = Request(request.path, headers, await request.read())
        async with self._came:
            self.requests.append(kept)
            self._came.notify_all()
        return self.answer(kept, len(self.requests))


@contextlib.asynccontextmanager
async def receiving(
    answer: Callable[[Request, int], web.Response] | None = None,
) -> AsyncIterator[Receiver]:
    """Take requests of any path while the block runs."""
    receiver = Receiver() if answer is None else Receiver(answer)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()

"""A page of another origin that calls a server over WebRTC, and a bad network between them."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from aiohttp import web

from tests._support.webrtc import Network, relayed

_CANDIDATE = re.compile(r"^a=candidate:.*\r?\n", re.MULTILINE)
_CROSS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Location"}


class _Site:
    def __init__(self, files: dict[str, Path], network: Network) -> None:
        self._files = files
        self._network = network
        self._relays: list[asyncio.BaseTransport] = []

    async def file(self, request: web.Request) -> web.StreamResponse:
        path = self._files.get(request.path)
        return web.FileResponse(path) if path is not None else web.Response(status=404)

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Pass a call on, with the relay's addresses in place of both sides' own."""
        body = _CANDIDATE.sub("", (await request.read()).decode()).encode()
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in ("Authorization", "Content-Type")
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(request.query["to"], data=body, headers=headers) as answer,
        ):
            text, location = await answer.text(), answer.headers.get("Location", "")
            if answer.status == 201:
                text, opened = await relayed(text, self._network)
                self._relays += opened
            told = {**_CROSS, "Location": location}
            return web.Response(status=answer.status, text=text, headers=told)

    async def close(self) -> None:
        for relay in self._relays:
            relay.close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def page_served(files: dict[str, Path], network: Network | None = None) -> Iterator[str]:
    """Serve files by path while the block runs; gives the address. ``/relay?to=URL`` takes calls
    that are to go through ``network``."""
    ready, ending = threading.Event(), asyncio.Event()
    found: list[tuple[str, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        site = _Site(files, network or Network())
        app = web.Application()
        app.router.add_post("/relay", site.call)
        app.router.add_get("/{name:.*}", site.file)
        runner = web.AppRunner(app)
        await runner.setup()
        place = web.TCPSite(runner, "127.0.0.1", 0)
        await place.start()
        port = runner.addresses[0][1]
        found.append((f"http://127.0.0.1:{port}", asyncio.get_running_loop()))
        ready.set()
        await ending.wait()
        await site.close()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0][0]
    finally:
        found[0][1].call_soon_threadsafe(ending.set)
        thread.join(20)

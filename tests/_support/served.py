"""A scripted server in a thread, for tests that wait in earnest, behind a line that can be cut."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from client.bench.server_process import serving
from duplex.cli.recordings import server_command
from duplex.config import Config
from duplex.server.keys import Keys
from duplex.testing.engine import Script
from tests._support.servers import FAST, NO_KEYS, Running, running_server


@dataclass
class Line:
    """What lies between a browser and its server: TCP, byte for byte."""

    port: int
    is_up: bool = True
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one connection to the server."""
        if not self.is_up:
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        ends = {writer, to_server}
        self.writers |= ends
        try:
            await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))
        finally:
            self.writers -= ends
            for end in ends:
                end.transport.abort()

    def cut(self) -> None:
        """Drop every connection without a word."""
        for writer in self.writers:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass(frozen=True, slots=True)
class Served:
    """``address`` is where the page is, without a slash at its end."""

    address: str
    running: Running
    _line: Line
    _loop: asyncio.AbstractEventLoop

    def cut_line(self, *, for_good: bool = False) -> None:
        """Drop the connections; with ``for_good`` no others are taken."""

        def cut() -> None:
            self._line.is_up = not for_good
            self._line.cut()

        self._loop.call_soon_threadsafe(cut)

    def stop(self) -> None:
        """Stop the server as a signal would; returns when it takes no more calls."""
        drained = asyncio.run_coroutine_threadsafe(self.running.server.drain(), self._loop)
        drained.result(90)


@contextlib.contextmanager
def served(config: Config, script: Script = FAST, keys: Keys = NO_KEYS) -> Iterator[Served]:
    """Serve until the block ends."""
    ready, ending = threading.Event(), asyncio.Event()
    made: list[Served] = []

    async def serve() -> None:
        async with running_server(config, script, keys) as running:
            line = Line(int(running.http.rpartition(":")[2]))
            proxy = await asyncio.start_server(line.carry, "127.0.0.1", 0)
            async with proxy:
                port = proxy.sockets[0].getsockname()[1]
                loop = asyncio.get_running_loop()
                made.append(Served(f"http://127.0.0.1:{port}", running, line, loop))
                ready.set()
                await ending.wait()
                line.cut()
                await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        while not ready.wait(0.1):
            assert thread.is_alive(), "the server does not start"
        yield made[0]
    finally:
        if made:
            made[0]._loop.call_soon_threadsafe(ending.set)
        thread.join(90)


@contextlib.contextmanager
def real_server(options: Sequence[str] = ()) -> Iterator[str]:
    """A server process with the default models; gives the page's address."""
    ready, ending = threading.Event(), asyncio.Event()
    found: list[tuple[str, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with serving(server_command(list(options))) as server:
            address = server.url.replace("ws", "http", 1).removesuffix("/v1/realtime")
            found.append((address, asyncio.get_running_loop()))
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(120), "the server does not start"
        yield found[0][0]
    finally:
        if found:
            found[0][1].call_soon_threadsafe(ending.set)
        thread.join(30)

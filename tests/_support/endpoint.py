"""An OpenAI-compatible endpoint on a real socket, which answers as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
HELLO = [{"role": "assistant", "content": ""}, {"content": "Hello "}, {"content": "you."}]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Endpoint:
    """The endpoint while it runs. ``replies`` are given in order, the last again and again; what
    is asked of ``pages`` (by path) does not count."""

    replies: Sequence[Reply]
    pages: dict[str, Reply]
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    answering: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        """What a configuration says."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        task = asyncio.current_task()
        assert task is not None
        self.answering.add(task)
        self.writers.append(writer)
        try:
            request = await read_request(reader)
            page = self.pages.get(request.path)
            if page is None:
                self.requests.append(request)
                page = self.replies[min(len(self.requests), len(self.replies)) - 1]
            await page(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, which is its right
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, path, _ = first.split()
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


@asynccontextmanager
async def endpoint(
    *replies: Reply, pages: dict[str, Reply] | None = None
) -> AsyncIterator[Endpoint]:
    """Serve until the block ends."""
    made = Endpoint(replies or [status(404)], pages or {})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in made.writers:
            writer.transport.abort()
        await asyncio.gather(*made.answering, return_exceptions=True)
        for _ in range(2):
            await asyncio.sleep(0)  # else the loop ends before the sockets are closed


def body(*pieces: bytes, kind: str = "text/event-stream", cut: bool = False) -> Reply:
    """A good reply in pieces as they are sent; ``cut``: the connection breaks before its end."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        for piece in pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if not cut:
            writer.write(b"0\r\n\r\n")

    return reply


def events(*data: str, done: bool = True) -> Reply:
    """A stream of events with that data."""
    return body(*(f"data: {text}\n\n".encode() for text in (*data, *["[DONE]"][: int(done)])))


def status(code: int, text: str = "", kind: str = "application/json", **headers: str) -> Reply:
    """A refusal."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = {"Content-Type": kind, "Content-Length": str(len(text.encode())),
                 "Connection": "close",
                 **{name.replace("_", "-"): value for name, value in headers.items()}}  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {code} Status\r\n{head}\r\n{text}".encode())

    return reply


def chunk(delta: Any, finish: Any = None, **fields: Any) -> str:
    """The data of an ordinary chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({**CHUNK, "choices": [choice], **fields})


def hello(*between: str, finish: Any = "stop") -> list[str]:
    """The chunks of "Hello you.", with others after its first word."""
    first, second, third = (chunk(delta) for delta in HELLO)
    return [first, second, *between, third, chunk({}, finish)]

"""The body of an answer that was to be streamed: server-sent events, or one JSON value."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import httpx2

from engine.remote.bodies import text_of_html
from engine.remote.service import RemoteError, Service

_BOM = b"\xef\xbb\xbf"
_MOST = 16 * 1024 * 1024  # bytes of an event or of a body; what is longer is no answer to speak


class Event(NamedTuple):
    """One event: its type ("message" if it has none) and its data."""

    type: str
    data: str


async def read_events(service: Service, response: httpx2.Response) -> AsyncGenerator[Event, None]:
    """The events of ``response``, whatever its content type says: a body that begins with a brace
    or a bracket is one event.

    The last event counts even if no blank line ends it.

    Raises:
        RemoteError: the body is a web page, or too long; it stalls or breaks off.
    """
    body = service.body(response)
    head = b""
    async for piece in body:
        head += piece
        if head.removeprefix(_BOM).strip() and not _BOM.startswith(head):
            break
    head = head.removeprefix(_BOM).lstrip()
    if head[:1] == b"<":
        said = text_of_html((head + await _rest(body)).decode("utf-8", "replace"))
        raise RemoteError(f"{service.name} answers with a web page: {said}")
    if head[:1] in (b"{", b"["):
        rest = await _rest(body)
        if len(head) + len(rest) > _MOST:
            raise RemoteError(f"the answer of {service.name} is too long")
        yield Event("message", (head + rest).decode("utf-8", "replace"))
        return
    stream = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream; charset=utf-8"},
        content=_ended(head, body),
        request=response.request,
    )
    with service.in_words():
        async with aclosing(_sent(httpx2.EventSource(stream, max_event_size=_MOST))) as events:
            async for event in events:
                yield event


async def _sent(source: httpx2.EventSource) -> AsyncGenerator[Event, None]:
    async for event in source:
        yield Event(event.event, event.data)


async def _rest(body: AsyncIterator[bytes]) -> bytes:
    pieces = []
    size = 0
    async for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > _MOST:
            break
    return b"".join(pieces)


async def _ended(head: bytes, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for piece in body:
        yield piece
    yield b"\n\n"

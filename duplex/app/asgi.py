"""The server as an ASGI application: for Ray Serve, uvicorn, or below a path of a larger one.

It serves on a port of its own, which only this machine reaches, as any server does; the application
passes on what it is asked. So all that a server does is there, its limits included, and there is
one way in. A call costs one more hop inside the machine.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from duplex.app.embed import Running, Server
from duplex.config import Config
from duplex.server.keys import check_exposure, load_keys

if TYPE_CHECKING:
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOOPBACK = "127.0.0.1"
_ANYWHERE = "0.0.0.0"  # where whoever serves the application may listen
_OF_ONE_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding"
    b" upgrade host sec-websocket-key sec-websocket-version sec-websocket-extensions"
    b" sec-websocket-protocol x-forwarded-for x-forwarded-proto x-forwarded-host".split()
)
_GONE, _POLICY_VIOLATION, _INTERNAL_ERROR = 1001, 1008, 1011
_DENIAL = "websocket.http.response"  # the extension by which a socket is refused with words


class AsgiApp:
    """An ASGI 3 application that serves what ``Server(config, **parts)`` does.

    The models are loaded when the server that runs it starts (ASGI's lifespan), else at the first
    request. A stop drains it: replies that are being spoken are finished.
    """

    def __init__(self, config: Config | None = None, **parts: Any) -> None:
        """``parts`` are those of `Server`. Of the table ``[server]``, host, port and certificate
        are those of whoever serves the application.

        Raises:
            ConfigError: as `Server`; a key is needed, unless ``server.insecure`` is set.
            ValueError: as `Server`.
        """
        config = config or Config()
        outside = structs.replace(config.server, host=_ANYWHERE)
        check_exposure(structs.replace(config, server=outside), load_keys(config.access))
        inside = structs.replace(
            config.server,
            host=_LOOPBACK,
            port=0,
            tls_certificate="",
            tls_key="",
            trusted_proxies=(*config.server.trusted_proxies, f"{_LOOPBACK}/32"),
        )
        self._server = Server(structs.replace(config, server=inside), **parts)
        self._starting: asyncio.Task[_Inside] | None = None
        self._inside: _Inside | None = None  # set while it is served
        self._stop = contextlib.AsyncExitStack()

    @property
    def open_calls(self) -> int:
        """How many calls are open."""
        return 0 if self._inside is None else self._inside.running.open_calls

    async def drain(self) -> None:
        """Take no new calls, and wait until those that are open have ended, for
        ``server.drain_s`` at the most."""
        if self._inside is not None:
            await self._inside.running.drain()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        match scope["type"]:
            case "lifespan":
                await self._live(receive, send)
            case "websocket":
                await _pass_socket(await self._start(), scope, receive, send)
            case "http":
                await _pass_request(await self._start(), scope, receive, send)

    async def _start(self) -> "_Inside":
        """Have it served; once, whoever asks first."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._serve())
        return await asyncio.shield(self._starting)

    async def _serve(self) -> "_Inside":
        running = await self._stop.enter_async_context(self._server.listen())
        # It never leaves the machine: no certificates are read.
        client = httpx2.AsyncClient(timeout=None, trust_env=False, verify=False)
        await self._stop.enter_async_context(client)
        self._inside = _Inside(running, client)
        return self._inside

    async def _live(self, receive: "Receive", send: "Send") -> None:
        await receive()  # lifespan.startup
        try:
            await self._start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self.drain()
        await self._stop.aclose()
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(frozen=True, slots=True)
class _Inside:
    """The server, and what asks it."""

    running: Running
    client: httpx2.AsyncClient


def _target(running: Running, scope: "Scope") -> str:
    """The address inside; below a path of a larger application, without that path."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{running.page.rstrip('/')}{quote(path)}{'?' if query else ''}{query}"


def _passed_on(scope: "Scope") -> list[tuple[str, str]]:
    """The headers, and who sent them."""
    given = [(name.lower(), value) for name, value in scope["headers"]]
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in given
        if name not in _OF_ONE_HOP
    ]
    before = [value.decode("latin-1") for name, value in given if name == b"x-forwarded-for"]
    client = scope.get("client") or ("unknown", 0)
    is_secure = scope.get("scheme") in ("https", "wss")
    host = dict(given).get(b"host", b"").decode("latin-1")
    kept += [
        ("x-forwarded-for", ", ".join([*before, str(client[0])])),
        ("x-forwarded-proto", "https" if is_secure else "http"),
    ]
    return [*kept, ("x-forwarded-host", host)] if host else kept


async def _pass_request(inside: _Inside, scope: "Scope", receive: "Receive", send: "Send") -> None:
    """Pass a request on and its answer back, each as it comes; cancelled if the client goes."""
    parts: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
    asking = asyncio.create_task(_ask(inside, scope, parts, send))

    async def read() -> None:
        while (message := await receive())["type"] != "http.disconnect":
            await parts.put(message.get("body", b""))
            if not message.get("more_body", False):
                await parts.put(None)
        asking.cancel()

    reading = asyncio.create_task(read())
    try:
        await asyncio.wait([asking])
    finally:
        asking.cancel()
        reading.cancel()
    if not asking.cancelled():
        asking.result()


async def _ask(
    inside: _Inside, scope: "Scope", parts: asyncio.Queue[bytes | None], send: "Send"
) -> None:
    async def body() -> AsyncGenerator[bytes, None]:
        while (part := await parts.get()) is not None:
            yield part

    request = inside.client.build_request(
        scope["method"],
        _target(inside.running, scope),
        headers=_passed_on(scope),
        content=None if scope["method"] in ("GET", "HEAD") else body(),
    )
    async with contextlib.aclosing(await inside.client.send(request, stream=True)) as answer:
        kept = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in _OF_ONE_HOP]
        start = {"type": "http.response.start", "status": answer.status_code}
        await send({**start, "headers": kept})
        async for part in answer.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _pass_socket(inside: _Inside, scope: "Scope", receive: "Receive", send: "Send") -> None:
    await receive()  # websocket.connect
    try:
        socket = await connect(
            _target(inside.running, scope).replace("http", "ws", 1),
            additional_headers=_passed_on(scope),
            subprotocols=[Subprotocol(name) for name in scope.get("subprotocols", [])] or None,
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            user_agent_header=None,
        )
    except InvalidStatus as refused:
        await _deny(refused, scope, send)
        return
    async with socket:
        await send({"type": "websocket.accept", "subprotocol": socket.subprotocol})
        outward = asyncio.create_task(_pass_out(socket, send))
        try:
            if not await _pass_in(socket, receive):
                await outward  # what the server said last, and its goodbye
        finally:
            outward.cancel()
            await asyncio.wait([outward])
    if not outward.cancelled():
        outward.result()


async def _deny(refused: InvalidStatus, scope: "Scope", send: "Send") -> None:
    """Tell the client why it is not let in; as a failed upgrade where that can be said."""
    answer = refused.response
    if _DENIAL in scope.get("extensions", {}):
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.raw_items()
            if name.lower().encode() not in _OF_ONE_HOP
        ]
        start = {"type": f"{_DENIAL}.start", "status": answer.status_code, "headers": headers}
        await send(start)
        await send({"type": f"{_DENIAL}.body", "body": answer.body or b""})
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


async def _pass_in(inside: ClientConnection, receive: "Receive") -> bool:
    """Pass on what the client sends, until either side has gone; returns whether the client has."""
    try:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            await inside.send(text if text is not None else message["bytes"])
    except ConnectionClosed:
        return False
    await inside.close(message.get("code") or _GONE, (message.get("reason") or "")[:100])
    return True


async def _pass_out(inside: ClientConnection, send: "Send") -> None:
    """Pass on what the server sends, and its goodbye."""
    try:
        while True:
            message = await inside.recv()
            kind = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", kind: message})
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else _INTERNAL_ERROR
        reason = closed.rcvd.reason if closed.rcvd else ""
        if closed.rcvd_then_sent is not False:
            await send({"type": "websocket.close", "code": code, "reason": reason})

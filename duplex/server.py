"""The websockets shell: accepts calls, refuses what it cannot hold, keeps faults in their call."""

import asyncio
import contextlib
import http
import logging
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from duplex.call import Parts
from duplex.config import Config
from duplex.errors import CallOverrun
from duplex.outbox import Outbox
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import encode, server_error
from duplex.session import Session

logger = logging.getLogger(__name__)

PATH = "/v1/realtime"
_TRY_AGAIN_LATER = 1013
_POLICY_VIOLATION = 1008
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012


class DialogueServer:
    """All calls of one process. Models are shared; everything else belongs to a call."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._calls = 0  # open ones
        self._numbered = 0  # ever opened, for ids in the log

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM. ``ready`` is told the address once calls are accepted."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with self.listen() as server:
            ready(address(server))
            await stop.wait()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[Server, None]:
        """Accept calls while the block runs; at its end, tell open ones that it is over."""
        server = self._config.server
        async with serve(
            self._handle,
            server.host,
            server.port,
            process_request=_only_our_path,
            select_subprotocol=_realtime_if_offered,
            compression=None,  # ten times the CPU for audio that does not compress
            max_size=server.max_message_bytes,
        ) as listening:
            try:
                yield listening
            finally:
                listening.close(code=_SERVICE_RESTART, reason="the server is stopping")

    async def _handle(self, connection: ServerConnection) -> None:
        if self._calls >= self._config.server.max_calls:
            await self._refuse(connection)
            return
        self._calls += 1
        self._numbered += 1
        call_id = f"call-{self._numbered}"
        try:
            await self._call(connection, call_id)
        finally:
            self._calls -= 1
            logger.info("%s ended, %d open", call_id, self._calls)

    async def _refuse(self, connection: ServerConnection) -> None:
        limit = self._config.server.max_calls
        logger.info("refused a call: %d are open", self._calls)
        message = f"The server is full: it holds {limit} calls. Try again later."
        with contextlib.suppress(ConnectionClosed):
            await connection.send(encode(server_error(message, Code.SERVER_FULL), random_id))
            await connection.close(_TRY_AGAIN_LATER, "server full")

    async def _call(self, connection: ServerConnection, call_id: str) -> None:
        """One call from its first message to its last; what goes wrong in it ends here."""
        outbox = Outbox(self._config.server.max_outbox_bytes)
        session = Session(call_id, self._config, self._parts, outbox)
        writer = asyncio.create_task(_write(connection, outbox))
        code, reason = 1000, ""
        logger.info("%s opened from %s", call_id, connection.remote_address)
        try:
            await session.run(_messages(connection, self._config.server.idle_timeout_s))
        except* TimeoutError:
            code, reason = _POLICY_VIOLATION, "nothing was received for too long"
        except* CallOverrun as overrun:
            code, reason = _POLICY_VIOLATION, str(_innermost(overrun))
        except* Exception:
            logger.exception("%s failed", call_id)
            code, reason = _INTERNAL_ERROR, "internal error"
        if code != 1000:
            with contextlib.suppress(CallOverrun):
                outbox.put(encode(server_error(reason), random_id))
        outbox.close()
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(5):
                await writer
        writer.cancel()
        await connection.close(code, reason)


def _innermost(error: BaseException) -> BaseException:
    """The first error in a group of groups."""
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def address(server: Server) -> str:
    """Where to connect, as a URL."""
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://[{host}]:{port}{PATH}" if ":" in host else f"ws://{host}:{port}{PATH}"


def _only_our_path(connection: ServerConnection, request: Request) -> Response | None:
    """Answer other paths with 404, before the upgrade."""
    if urlsplit(request.path).path == PATH:
        return None
    return connection.respond(http.HTTPStatus.NOT_FOUND, f"Connect to {PATH}\n")


def _realtime_if_offered(
    connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Browsers hang up unless one of theirs is chosen; other clients offer none."""
    return Subprotocol("realtime") if "realtime" in offered else None


async def _messages(
    connection: ServerConnection, idle_timeout_s: float
) -> AsyncGenerator[str | bytes, None]:
    """What the client sends, until it hangs up.

    Raises:
        TimeoutError: nothing came for too long.
    """
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                message = await connection.recv()
        except ConnectionClosed:
            return
        yield message


async def _write(connection: ServerConnection, outbox: Outbox) -> None:
    """Send what is queued. A client that has gone ends its call by its silence on the other
    side, so nothing is done about it here."""
    with contextlib.suppress(ConnectionClosed):
        async for message in outbox.messages():
            await connection.send(message)

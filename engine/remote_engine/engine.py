"""An engine in other processes, for the edge that uses it.

Each address is one process, started with ``duplex engine --listen``. A call has a socket of its
own, to the process with the most room; if that is gone, the next turn goes to another.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection as BlockingConnection
from websockets.sync.client import connect as connect_blocking

from engine.ear.passage import Passage, Wish
from engine.errors import EngineError
from engine.remote_engine import wire
from engine.remote_engine.line import Line
from engine.remote_engine.session import RemoteSession
from engine.remote_engine.sounds import KnownSounds

logger = logging.getLogger(__name__)

_OPEN_S = 3.0  # for an engine to answer an upgrade
_PING_S, _PONG_S = 10.0, 20.0  # between signs of life, and for the answer to one
_AGAIN_S = 0.5, 5.0  # between attempts to reach an engine that is gone: at first, at the most
_SPARE_S = 10.0  # for a caller who was let in to begin the call
_FULL = "All engines are full. Try again later."
_AWAY = "No engine can be reached. Try again in a moment."


@dataclass(slots=True)
class Address:
    """One process: where it is, and how it is as far as is known."""

    url: str  # ws:// or wss://, host and port
    state: wire.State | None = None  # None while there is no link to it

    def is_leaving(self) -> bool:
        """Whether it is about to stop."""
        return self.state is not None and (self.state.is_stopping or not self.state.is_alive)

    @property
    def rank(self) -> tuple[int, float]:
        """The least is asked first: with room and the least full, then unknown, then without."""
        state = self.state
        if state is None:
            return 1, 0.0
        return (0 if state.has_room else 2), state.calls / max(state.limit, 1)


class Refused(Exception):
    """An engine takes no more; ``is_full``: for want of room."""

    def __init__(self, *, is_full: bool) -> None:
        super().__init__()
        self.is_full = is_full


@dataclass(slots=True)
class _Spare:
    line: Line
    until: float


@dataclass(slots=True)
class RemoteEngine:
    """An `Engine` whose models are in other processes; see `engine.types.Elsewhere`.

    ``key`` is sent to each. ``tls`` is for addresses that begin with wss.
    """

    urls: Sequence[str]
    key: str = ""
    tls: ssl.SSLContext | None = None
    sounds: KnownSounds = field(default_factory=KnownSounds)
    about: wire.About | None = None  # set by `meet`, or by the first link
    addresses: list[Address] = field(init=False)
    _edge: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    _spares: deque[_Spare] = field(default_factory=deque)  # kept for callers who were let in
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("an engine elsewhere needs an address")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.path.strip("/"):
                raise ValueError(f"{url!r} is not of the form ws://HOST:PORT or wss://HOST:PORT")
        self.addresses = [Address(url.rstrip("/")) for url in self.urls]

    def meet(self) -> wire.About:
        """Ask the first that answers what it is. Blocks; for the start of a server.

        Raises:
            EngineError: none answers.
        """
        failures = []
        for address in self.addresses:
            try:
                with self._open_blocking(address, wire.LINK_PATH) as socket:
                    about = wire.on_link(_bytes(socket.recv(_OPEN_S)))
            except (OSError, WebSocketException, ValueError) as error:
                failures.append(f"{address.url}: {_said(error)}")
                continue
            if isinstance(about, wire.About):
                self.about = about
                return about
        raise EngineError("; ".join(failures) or "no engine says what it is")

    def open_voice(self, name: str, speed: float) -> BlockingConnection:
        """A socket to the voice of that name, for one answer. Blocks.

        Raises:
            EngineError: there is no engine.
        """
        for address in sorted(self.addresses, key=lambda address: address.rank):
            try:
                return self._open_blocking(address, wire.VOICE_PATH, voice=name, speed=str(speed))
            except (OSError, WebSocketException) as error:
                logger.warning("%s does not speak: %s", address.url, _said(error))
        raise EngineError(_AWAY)

    def _open_blocking(self, address: Address, path: str, **query: str) -> BlockingConnection:
        return connect_blocking(
            self._target(address, path, **query),
            additional_headers=self._headers(),
            ssl=self._tls_of(address),
            open_timeout=_OPEN_S,
            close_timeout=1.0,
            compression=None,
            ping_interval=None,
            max_size=wire.MAX_FRAME_BYTES,
            proxy=None,
            user_agent_header=None,
        )

    def open(self) -> RemoteSession:
        """Start a call, at the place that was kept for it if one was."""
        now = time.monotonic()
        line = None
        while self._spares and line is None:
            spare = self._spares.popleft()
            if spare.line.is_open and spare.until > now and not spare.line.is_leaving():
                line = spare.line
            else:
                self._close_soon(spare.line)
        return RemoteSession(self, line)

    def close(self) -> None:
        """Nothing is held that `in_touch` and the sessions do not let go of."""

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if that is not known."""
        return None if self.about is None else self.about.languages

    @property
    def recordings(self) -> "RemoteRecordings":
        """An ear for recordings."""
        return RemoteRecordings(self)

    # See `engine.types.Elsewhere`.

    @contextlib.asynccontextmanager
    async def in_touch(self) -> AsyncGenerator[None, None]:
        """Know how each process is, while the block runs."""
        links = [asyncio.create_task(self._keep_link(address)) for address in self.addresses]
        try:
            yield
        finally:
            for link in links:
                link.cancel()
            spares = [spare.line.close() for spare in self._spares]
            self._spares.clear()
            await asyncio.gather(*spares)
            await asyncio.wait([*links, *self._closing])

    @property
    def unready(self) -> str | None:
        """Why no process would take a call now, in two words."""
        states = [address.state for address in self.addresses if address.state is not None]
        if not any(state.is_alive and not state.is_stopping for state in states):
            return "engine away"
        return None if any(state.has_room for state in states) else "engine full"

    async def reserve(self) -> str | None:
        """Keep a place for a call that is about to begin; returns why there is none, in words for
        the caller."""
        try:
            line = await self._connect(wants_room=True)
        except Refused as refused:
            return _FULL if refused.is_full else _AWAY
        self._spares.append(_Spare(line, time.monotonic() + _SPARE_S))
        asyncio.get_running_loop().call_later(_SPARE_S + 0.1, self._expire)
        return None

    def release(self) -> None:
        """Give a place back: its call will not come."""
        if self._spares:
            self._close_soon(self._spares.popleft().line)

    async def connect(self) -> Line:
        """Connect a call that was let in to whichever process there is.

        Raises:
            EngineError: there is none.
        """
        try:
            return await self._connect(wants_room=False)
        except Refused:
            raise EngineError(_AWAY) from None

    async def _connect(self, *, wants_room: bool) -> Line:
        is_full = False
        for address in sorted(self.addresses, key=lambda address: address.rank):
            try:
                socket = await self._open_socket(address, wire.CALL_PATH, wants_room=wants_room)
            except InvalidStatus as error:
                is_full = is_full or (error.response.body or b"").startswith(wire.FULL)
                logger.warning("%s does not take a call: %s", address.url, _said(error))
            except (OSError, WebSocketException) as error:
                logger.warning("%s is not there: %s", address.url, _said(error))
            else:
                return Line(socket, _process(socket), address.is_leaving)
        raise Refused(is_full=is_full)

    async def _open_socket(
        self, address: Address, path: str, *, wants_room: bool = False
    ) -> ClientConnection:
        query = {"new": "1"} if wants_room else {}
        return await connect(
            self._target(address, path, **query),
            additional_headers=self._headers(),
            ssl=self._tls_of(address),
            open_timeout=_OPEN_S,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            close_timeout=1.0,
            compression=None,
            max_size=wire.MAX_FRAME_BYTES,
            proxy=None,
            user_agent_header=None,
        )

    async def _keep_link(self, address: Address) -> None:
        wait_s, told = _AGAIN_S[0], ""
        while True:
            try:
                socket = await self._open_socket(address, wire.LINK_PATH)
                wait_s = _AGAIN_S[0]
                async with socket:
                    async for data in socket:
                        self._learn(address, wire.on_link(_bytes(data)))
            except (OSError, WebSocketException, ValueError) as error:
                why = _said(error)
            else:
                why = "it has closed the link"
            if why != told:
                logger.warning("the engine at %s is not there: %s", address.url, why)
            told, address.state = why, None
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _AGAIN_S[1])

    def _learn(self, address: Address, frame: wire.OnLink) -> None:
        if isinstance(frame, wire.State):
            if address.state is None:
                logger.info("the engine at %s is there", address.url)
            address.state = frame
        elif self.about is None:
            self.about = frame
        elif frame.model != self.about.model:
            logger.warning("%s has %s, not %s", address.url, frame.model, self.about.model)

    def _target(self, address: Address, path: str, **query: str) -> str:
        return f"{address.url}{path}?{urlencode({'edge': self._edge, **query})}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _tls_of(self, address: Address) -> ssl.SSLContext | None:
        if not address.url.startswith("wss:"):
            return None
        if self.tls is None:
            self.tls = ssl.create_default_context()
        return self.tls

    def _expire(self) -> None:
        now = time.monotonic()
        while self._spares and self._spares[0].until <= now:
            self._close_soon(self._spares.popleft().line)

    def _close_soon(self, line: Line) -> None:
        task = asyncio.get_running_loop().create_task(line.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class RemoteRecordings:
    """An ear for recordings, of whichever process is there."""

    def __init__(self, engine: RemoteEngine) -> None:
        self._engine = engine

    @property
    def languages(self) -> frozenset[str] | None:
        """Which the ear knows; None if it does not say."""
        return self._engine.languages

    @property
    def knows_times(self) -> bool:
        """Whether it can say when each word is said."""
        return self._engine.about is not None and self._engine.about.knows_times

    async def hear(self, pcm: NDArray[np.float32], wish: Wish) -> Passage:
        """The words of ``pcm``: ``[N]``, 16 kHz mono in [-1, 1], at most 30 s.

        Raises:
            EngineError: the recogniser failed, or there is no engine.
        """
        session = RemoteSession(self._engine)
        try:
            return await session.hear(pcm, wish)
        finally:
            await session.close()


def _process(socket: ClientConnection) -> str:
    """The name of the process at the other end."""
    response = socket.response
    return response.headers.get(wire.ENGINE_HEADER, "") if response is not None else ""


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _said(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"")[:200].decode(errors="replace").strip()
        return f"{error.response.status_code} {body}"
    return str(error) or type(error).__name__

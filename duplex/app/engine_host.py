"""An engine as a process of its own: it hears and thinks for edges, which hold the calls.

An edge is a ``duplex serve`` with ``engine.kind = "remote"``. It keeps a link to each engine, on
which that tells how full it is, and opens a socket for each call; see `engine.remote_engine`.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from duplex.app.hosted_session import HostedSession
from duplex.app.hosted_voice import HostedUtterance
from duplex.config import Config
from duplex.dialogue.interfaces import Engine
from duplex.dialogue.languages import HearsLanguages
from duplex.dialogue.parts import Parts
from duplex.metrics import CONTENT_TYPE, Metrics
from duplex.server import http
from duplex.server.keys import Keys, check_exposure, load_keys, presented_key
from duplex.server.lifetime import base_url, serve_until_told, tls_context
from duplex.server.load import Load
from duplex.server.places import POLICY_VIOLATION
from duplex.server.upgrade import as_response
from duplex.speech_api.hearing import HearsRecordings
from engine.remote_engine import wire
from engine.remote_engine.sounds import KeptSounds
from engine.types import Mortal

logger = logging.getLogger(__name__)

_HARD_LIMIT = 5  # sessions for each call: those of its recordings, and of replies out of band
_STOPPING = 1012
_PING_S, _PONG_S = 10.0, 20.0  # between signs of life, and for the answer to one
_QUEUED_FRAMES = 64


@dataclass(slots=True)
class _Edge:
    """What is kept for one edge, as long as it has a socket here."""

    sounds: KeptSounds = field(default_factory=KeptSounds)
    sockets: int = 0


class _Socket(ServerConnection):
    """A socket that is taken leave of, also if its upgrade never came to an end."""

    def __init__(
        self, *args: Any, on_end: Callable[[ServerConnection], None], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._on_end = on_end

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end(self)
        super().connection_lost(exc)


class EngineHost:
    """Serves one engine to edges: `run` until a signal comes, `listen` while a block runs."""

    def __init__(self, config: Config, parts: Parts, *, keys: Keys | None = None) -> None:
        """Of ``parts``, the first engine is served. Host, port, certificate, ``max_calls`` and
        ``drain_s`` are those of the table ``[server]``, and the keys those of ``[access]``.

        Raises:
            ConfigError: the keys cannot be used, or strangers would be served by accident.
        """
        self._config = config
        self._parts = parts
        self._engine: Engine = parts.engine
        self._keys = load_keys(config.access) if keys is None else keys
        check_exposure(config, self._keys)
        self.metrics = Metrics()
        self.load = Load(config.limits, self.metrics)
        self.process = secrets.token_urlsafe(12)  # its name, which another after it has not
        self._speaking: set[asyncio.Task[None]] = set()  # answers
        self._sessions: dict[ServerConnection, HostedSession | None] = {}  # None: being opened
        self._edges: dict[str, _Edge] = {}
        self._links: set[asyncio.Event] = set()  # set when there is something to tell
        self._is_stopping = False
        self._languages: frozenset[str] | None = None

    @property
    def calls(self) -> int:
        """How many sessions of calls are open."""
        return len(self._sessions)

    @property
    def answers(self) -> int:
        """How many answers are being spoken."""
        return len(self._speaking)

    @property
    def sounds(self) -> int:
        """How many sounds are kept for edges."""
        return sum(len(edge.sounds) for edge in self._edges.values())

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; then `drain`, or stop at the second signal. Calls
        ``ready`` with the address once it listens.

        Raises:
            ConfigError: as `listen`.
            EngineLost: the engine can answer nothing any more.
        """
        await serve_until_told(
            self.listen(),
            lambda listening: ready(self.address(listening)),
            self._is_alive_and_told,
            self.drain,
        )

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[WebSocketServer, None]:
        """Serve edges while the block runs.

        Raises:
            ConfigError: the certificate cannot be used.
        """
        server = self._config.server
        probe = self._engine.open()
        self._languages = probe.languages if isinstance(probe, HearsLanguages) else None
        await probe.close()
        async with (
            self.load.watched(),
            serve(
                self._handle,
                server.host,
                server.port,
                create_connection=partial(_Socket, on_end=self._leave),  # type: ignore[arg-type]
                process_request=self._before_upgrade,
                process_response=self._name_process,
                compression=None,
                max_size=wire.MAX_FRAME_BYTES,
                max_queue=_QUEUED_FRAMES,
                open_timeout=self._config.limits.handshake_s,
                ping_interval=_PING_S,
                ping_timeout=_PONG_S,
                close_timeout=1.0,
                server_header=None,
                ssl=tls_context(server),
            ) as listening,
        ):
            try:
                yield listening
            finally:
                self._is_stopping = True
                listening.close(code=_STOPPING, reason="the engine is stopping")
                await listening.wait_closed()

    async def drain(self) -> None:
        """Take no more calls, tell the edges, and wait until nothing is being made, for
        ``drain_s`` at the most."""
        self._is_stopping = True
        self._tell()
        logger.info("stopping: %d calls are open", len(self._sessions))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.drain_s):
                while busy := self._busy:
                    await asyncio.wait(busy)

    @property
    def _busy(self) -> list[asyncio.Task[Any]]:
        """What is being made and not finished."""
        work = [task for session in self._sessions.values() if session for task in session.work]
        return [task for task in (*work, *self._speaking) if not task.done()]

    def address(self, listening: WebSocketServer) -> str:
        """Where edges connect: ``engine.url``."""
        scheme = "wss" if self._config.server.tls_certificate else "ws"
        return base_url(listening, scheme)

    @property
    def _is_alive(self) -> bool:
        return not isinstance(self._engine, Mortal) or self._engine.is_alive

    def _is_alive_and_told(self) -> bool:
        if not self._is_alive:
            self._tell()
        return self._is_alive

    @property
    def _refusal(self) -> str | None:
        """Why no call is taken, in a word; None if one is."""
        if self._is_stopping:
            return "stopping"
        if not self._is_alive:
            return "engine lost"
        return "full" if len(self._sessions) >= self._config.server.max_calls else None

    def _tell(self) -> None:
        for changed in self._links:
            changed.set()

    # Requests.

    def _before_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain requests and edges that are refused; None lets a socket in."""
        url = urlsplit(request.path)
        if url.path == "/healthz":
            return _answer(HTTPStatus.OK, "ok")
        if url.path == "/readyz":
            why = self._refusal
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, why or "ready")
        key = presented_key(request.headers.get("Authorization"), None)
        owner = self._keys.find(key)
        if owner is None:
            return _answer(HTTPStatus.UNAUTHORIZED, "a key is needed: Authorization: Bearer")
        if url.path == "/metrics" and owner.may_read_metrics:
            return self._metrics_page()
        if url.path not in (wire.CALL_PATH, wire.LINK_PATH, wire.VOICE_PATH):
            return _answer(
                HTTPStatus.NOT_FOUND, "this is an engine: name it in engine.url of an edge"
            )
        if url.path != wire.CALL_PATH:
            return None  # an answer that is spoken belongs to a call that was taken
        limit = self._config.server.max_calls
        refusal = self._refusal
        if refusal == "full" and "new" not in parse_qs(url.query):
            # Of a call that an edge holds already.
            refusal = "full" if len(self._sessions) >= _HARD_LIMIT * limit else None
        if refusal is not None:
            self.metrics.count("duplex_refused_total", reason=refusal)
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, refusal)
        self._sessions[connection] = None  # takes its place before the upgrade is answered
        self._tell()
        return None

    def _leave(self, connection: ServerConnection) -> None:
        if connection in self._sessions:
            del self._sessions[connection]
            self._tell()

    def _name_process(
        self, _: ServerConnection, __: Request, response: Response
    ) -> Response | None:
        response.headers[wire.ENGINE_HEADER] = self.process
        return response

    def _metrics_page(self) -> Response:
        gauges = {
            "duplex_calls_open": len(self._sessions),
            "duplex_calls_limit": self._config.server.max_calls,
            "duplex_tasks": len(asyncio.all_tasks()),
            "duplex_event_loop_lag_p95_seconds": self.load.lag_s,
        }
        return _answer(HTTPStatus.OK, self.metrics.render(gauges), CONTENT_TYPE)

    # Sockets.

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        url = urlsplit(connection.request.path)
        query = parse_qs(url.query)
        name = query.get("edge", [""])[0]
        edge = self._edges.setdefault(name, _Edge())
        edge.sockets += 1
        try:
            if url.path == wire.LINK_PATH:
                await self._keep_link(connection)
            elif url.path == wire.VOICE_PATH:
                await self._speak(connection, query)
            else:
                await self._hold_call(connection, edge.sounds)
        except ConnectionClosed:
            pass
        finally:
            edge.sockets -= 1
            if not edge.sockets:
                self._edges.pop(name, None)

    async def _keep_link(self, connection: ServerConnection) -> None:
        changed = asyncio.Event()
        self._links.add(changed)
        telling = asyncio.create_task(self._tell_link(connection, changed))
        try:
            await connection.wait_closed()
        finally:
            self._links.discard(changed)
            telling.cancel()
            await asyncio.wait([telling])

    async def _tell_link(self, connection: ServerConnection, changed: asyncio.Event) -> None:
        limit = self._config.server.max_calls
        with contextlib.suppress(ConnectionClosed):
            await connection.send(wire.encode(self._about()))
            while True:
                state = wire.State(len(self._sessions), limit, self._is_stopping, self._is_alive)
                await connection.send(wire.encode(state))
                await changed.wait()
                changed.clear()

    def _about(self) -> wire.About:
        engine, parts = self._engine, self._parts
        knows_times = isinstance(engine, HearsRecordings) and engine.recordings.knows_times
        return wire.About(
            parts.defaults.model,
            parts.defaults.instructions,
            wire.options_of(parts.generation),
            self._languages,
            knows_times,
            tuple([self._voice_about(name) for name in parts.voice_names]),
            parts.voice_languages,
        )

    def _voice_about(self, name: str) -> wire.VoiceAbout:
        voice = self._parts.voice_of(name)
        return wire.VoiceAbout(name, voice.sample_rate, voice.takes_codes)

    async def _speak(self, connection: ServerConnection, query: dict[str, list[str]]) -> None:
        """Speak one answer, until the edge hangs up."""
        try:
            voice = self._parts.voice_of(query.get("voice", [""])[0])
            speed = float(query.get("speed", ["1"])[0])
            said = HostedUtterance(voice, speed, self._parts.voice_steps, _sender(connection))
        except ValueError as error:
            await connection.close(POLICY_VIOLATION, str(error)[:100])
            return
        speaking = asyncio.create_task(said.run())
        self._speaking.add(speaking)
        try:
            async for data in connection:
                said.receive(data.encode() if isinstance(data, str) else data)
        except ValueError as error:
            logger.warning("an edge says what cannot be spoken: %s", error)
            await connection.close(POLICY_VIOLATION, "no frame of an edge")
        finally:
            self._speaking.discard(speaking)
            speaking.cancel()
            await asyncio.wait([speaking])

    async def _hold_call(self, connection: ServerConnection, sounds: KeptSounds) -> None:
        session = HostedSession(self._engine, sounds, _sender(connection))
        self._sessions[connection] = session
        self.metrics.count("duplex_calls_total")
        try:
            async for data in connection:
                await session.receive(data.encode() if isinstance(data, str) else data)
        except ValueError as error:
            logger.warning("an edge says what cannot be obeyed: %s", error)
            await connection.close(POLICY_VIOLATION, "no frame of an edge")
        finally:
            await session.close()


def _sender(connection: ServerConnection) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):  # who reads is told of it
            await connection.send(data)

    return send


def _answer(status: HTTPStatus, body: str, kind: str = http.TEXT) -> Response:
    return as_response(http.HttpAnswer(status, f"{body.rstrip()}\n".encode(), kind))

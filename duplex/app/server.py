"""The server: accepts calls on one port, refuses those it must not or cannot hold, ends them.

`duplex.dialogue.session` says what a call does, `duplex.server.gate` what a socket may do.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from duplex.app.observing import Observing
from duplex.app.routes import plain_routes
from duplex.app.shared import Shared
from duplex.call_records import pages as call_pages
from duplex.config import Config
from duplex.dialogue.assistants import asked_assistant
from duplex.dialogue.parts import Parts
from duplex.errors import ResumeError
from duplex.metrics import Metrics
from duplex.phone.calls import PhoneCalls
from duplex.phone.line.leg import MAX_MESSAGE_BYTES
from duplex.phone.providers.webhooks import CODECS as PHONE_PATHS
from duplex.phone.providers.webhooks import PhoneAdmission, assistant_in
from duplex.phone.sip import admission as sip_admission
from duplex.protocol.beta import wants_beta
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import encode, server_error
from duplex.protocol.shapes import ShapeName
from duplex.server import http
from duplex.server.admission import Admission, resumes
from duplex.server.forwarded import trusted
from duplex.server.gate import (
    POLICY_VIOLATION,
    Gate,
    SocketLimits,
)
from duplex.server.keys import (
    ClientSecrets,
    Keys,
    Principal,
    check_exposure,
    is_loopback,
    load_keys,
)
from duplex.server.lifetime import base_url, serve_until_told, tls_context
from duplex.server.load import Load
from duplex.server.places import Place, Refusal
from duplex.server.registry import CallRegistry
from duplex.server.resumable_call import Ending, ResumableCall, beginning
from duplex.server.upgrade import as_response, realtime_if_offered
from duplex.webrtc.calls import WebRtcCalls

if TYPE_CHECKING:
    from duplex.phone.sip.listener import SipListener

logger = logging.getLogger(__name__)

PATH = "/v1/realtime"
_TLS_S = 3.0
_QUEUED_FRAMES = 3  # of a client that sends faster than it is obeyed; each may be a whole message
_SERVICE_RESTART = 1012
_CLOSE_S = 3.0  # for a client to agree to a goodbye
_LOOK_S = 0.1  # between looks at calls that are waited for
STOPPING = Ending(
    "server_stopping", _SERVICE_RESTART, "the server is stopping", Code.SERVER_STOPPING
)


class DialogueServer:
    """One port with all that is behind it: the calls of clients, of phone providers and of SIP
    phones, and the pages.

    `run` serves until a signal comes. To serve inside a program of your own, use `listen`, which
    installs no signal handler; call `drain` before its end to let replies be finished.
    """

    metrics: Metrics
    """What the server counts, from its making on."""

    load: Load
    """How late it runs; measured while it listens."""

    calls: CallRegistry
    """The calls that are open, whatever they come over."""

    shared: Shared
    """What it counts and keeps together with others."""

    sockets: SocketLimits
    """The bounds of its sockets; counts them while it listens."""

    sip: "SipListener | None" = None
    """The SIP calls; set while it listens, if SIP is configured."""

    def __init__(self, config: Config, parts: Parts, *, keys: Keys | None = None) -> None:
        """Servers that are given one store in their configuration share what it holds.

        Raises:
            ConfigError: the keys or an assistant's functions cannot be used, or strangers would
                be served by accident.
        """
        self._config = config
        self._parts = parts
        self._is_stopping = False  # set by `drain`, and when it listens no more
        keys = load_keys(config.access) if keys is None else keys
        check_exposure(config, keys)
        self.metrics = Metrics()
        self.shared = Shared(config.store, self.metrics)
        secrets = ClientSecrets(keys, self.shared.store)
        self.load = Load(config.limits, self.metrics)
        self._observing = Observing(config, self.metrics)
        observe = self._observing.observe
        self.calls = CallRegistry(
            config, parts, self.metrics, self.load, self.shared.places, observe
        )
        self.sockets = SocketLimits(
            config.limits,
            self.metrics,
            self._answer_plain,
            config.server.max_outbox_bytes,
            self.shared.ban,
            max_sockets=config.server.max_calls + 4 * config.limits.max_handshakes,
            proxies=trusted(config.server),
            open_exchange=self._open_exchange,
            stall_s=config.server.stall_s,
            is_exchange=self._is_exchange,
        )
        self._admission = Admission(
            config, keys, secrets, self.calls, self.shared.store, self._stops
        )
        self._phone_admission = PhoneAdmission(config, keys, self._has_room)
        self._phone = PhoneCalls(config, parts, self.metrics, self.calls)
        self._webrtc = WebRtcCalls(config, parts, self.metrics, self.calls, self._admission)
        self._routes = plain_routes(
            config,
            parts,
            keys,
            secrets,
            calls=self.calls,
            sockets=self.sockets,
            load=self.load,
            metrics=self.metrics,
            admission=self._admission,
            shelf=self._observing.shelf,
            phone_page=self._phone_admission.page,
            stops=self._stops,
            otherwise=f"Connect to {PATH} with a WebSocket.",
        )
        self._upgrades: Mapping[str, _Upgrade] = {
            PATH: _Upgrade(self._admission.admit, self._hold_client),
            **dict.fromkeys(PHONE_PATHS, _Upgrade(self._admit_phone, self._hold_phone)),
        }

    def _stops(self) -> bool:
        return self._is_stopping

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; then `drain`, or stop at the second signal. Calls
        ``ready`` with the address once it listens. This replaces the process's handlers of both
        signals.

        Raises:
            ConfigError: as `listen`.
            EngineLost: the engine can answer nothing any more. Until then calls are refused.
        """
        await serve_until_told(
            self.listen(),
            lambda listening: ready(address(listening, self._scheme)),
            lambda: self._parts.are_alive,
            self.drain,
        )

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[WebSocketServer, None]:
        """Accept calls while the block runs. At its end, end the open ones: their clients are
        sent the reason.

        Raises:
            ConfigError: the certificate cannot be used.
        """
        config = self._config.server
        tls = tls_context(config)
        if tls is None and not is_loopback(config.host):
            logger.warning("keys and voices travel in clear: no TLS is configured")
        async with (
            self.load.watched(),
            self._parts.in_touch(),
            self.shared.joined(),
            self._observing.running(),
            serve(
                self._handle,
                config.host,
                config.port,
                create_connection=partial(Gate, shared=self.sockets),  # type: ignore[arg-type]
                process_request=self._before_upgrade,
                select_subprotocol=realtime_if_offered,
                compression=None,  # audio does not compress: docs/decisions/0045-measured-bounds.md
                max_size=config.max_message_bytes,
                max_queue=_QUEUED_FRAMES,
                open_timeout=None,  # the gate has its own
                close_timeout=_CLOSE_S,
                server_header=None,
                ssl=tls,
                # Sockets in a TLS handshake are not counted by `sockets`: they get less time.
                ssl_handshake_timeout=_TLS_S if tls else None,
            ) as listening,
            sip_admission.listening(
                self._config, self.metrics, self.calls, self._phone, self._stops
            ) as self.sip,
        ):
            try:
                yield listening
            finally:
                await self._end_all()
                listening.close(code=_SERVICE_RESTART, reason="the server is stopping")

    async def drain(self) -> None:
        """Take no new calls. End each open one when nobody speaks in it; return when all have
        ended, after ``drain_s`` at the latest. `listen` ends those that are left."""
        self._is_stopping = True
        logger.info("stopping: %d calls are open", len(self.calls))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.drain_s):
                while len(self.calls) or self.sockets.answering:
                    for call in self.calls:
                        if call.is_quiet:
                            call.end(STOPPING)
                    await asyncio.sleep(_LOOK_S)

    async def _end_all(self) -> None:
        self._is_stopping = True
        await self.sockets.end_answers(_CLOSE_S)
        await self.calls.end_all(STOPPING, 2 * _CLOSE_S)
        await self._webrtc.finish(_CLOSE_S)
        await self._phone.finish(_CLOSE_S)

    @property
    def _scheme(self) -> str:
        return "wss" if self._config.server.tls_certificate else "ws"

    async def _has_room(self, principal: Principal) -> bool:
        """Whether another call of this principal's could be held now."""
        if self._is_stopping or self.calls.unready:
            return False
        return await self.shared.has_place(principal)

    # Requests.

    async def _answer_plain(self, request: http.HttpRequest) -> http.HttpAnswer:
        root = self._config.server.root()
        path = http.below(root, request.path)
        if path is None:
            return http.moved(f"{root}/")
        request = replace(request, path=path)
        if self._webrtc.is_for(path):
            return await self._webrtc.answer(request)
        answer = self._routes.answer(request)
        return answer if isinstance(answer, http.HttpAnswer) else await answer

    def _open_exchange(self, head: http.HttpRequest) -> http.HttpAnswer | http.Exchange | None:
        path = http.below(self._config.server.root(), head.path)
        return None if path is None else self._routes.open(replace(head, path=path))

    def _is_exchange(self, path: str) -> bool:
        inside = http.below(self._config.server.root(), path)
        return inside is not None and call_pages.is_for(inside)

    async def _before_upgrade(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer plain requests and refused callers; None lets a caller in."""
        assert isinstance(connection, Gate)
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return as_response(
                http.problem(HTTPStatus.BAD_REQUEST, "The path cannot be read.", "invalid_request")
            )
        headers = http.joined(request.headers.raw_items())
        origin = connection.note_origin(headers)
        inside = http.below(self._config.server.root(), path)
        upgrade = self._upgrades.get(inside or "")
        if upgrade is None or (inside in PHONE_PATHS and "upgrade" not in headers):
            query = urlsplit(request.path).query
            plain = http.HttpRequest("GET", path, headers, query=query, origin=origin)
            return as_response(await self._answer_plain(plain))
        if inside != path:  # `_handle` and all that it calls look at the request again
            request.path = urlsplit(request.path)._replace(path=inside or "").geturl()
        refusal = await upgrade.admit(connection, request)
        if refusal is not None:
            self.metrics.count("duplex_refused_total", reason=refusal.status.phrase.lower())
            return as_response(refusal)
        return None

    async def _admit_phone(self, connection: Gate, request: Request) -> http.HttpAnswer | None:
        """Let a phone provider in (None), or return the refusal."""
        headers = http.joined(request.headers.raw_items())
        admitted = self._phone_admission.admit_stream(request.path, headers, connection.origin)
        if isinstance(admitted, http.HttpAnswer):
            return admitted
        connection.protocol.max_message_size = MAX_MESSAGE_BYTES
        connection.mends_text = True
        return await self._admission.enter(connection, request, admitted)

    # Calls.

    async def _handle(self, connection: ServerConnection) -> None:
        """Hold the call of one socket that was let in."""
        assert isinstance(connection, Gate)
        assert connection.request is not None
        target = connection.request.path
        await self._upgrades[urlsplit(target).path].hold(connection, connection.request)

    async def _hold_phone(self, connection: Gate, request: Request) -> None:
        url = urlsplit(request.path)
        await self._phone.hold(
            connection,
            PHONE_PATHS[url.path](),
            connection.principal,
            url.path.lstrip("/"),
            self._phone_admission.switchboard(url.path),
            assistant_in(url.query),
        )

    async def _hold_client(self, connection: Gate, request: Request) -> None:
        token, after = resumes(request.path)
        if token is not None:
            await self._resume(connection, token, after)
            return
        assert connection.reserved is not None
        admitted = self.calls.refusal() or connection.reserved
        if isinstance(admitted, Refusal):
            await self._refuse(connection, admitted)
        else:
            await self._open(connection, request, admitted).hold(connection)

    async def _refuse(self, connection: Gate, refusal: Refusal) -> None:
        self.calls.refuse(refusal)
        with contextlib.suppress(ConnectionClosed):
            error = server_error(refusal.message, refusal.code)
            await connection.send(encode(error, random_id))
            await connection.close(refusal.close_code, refusal.kind.replace("_", " "))

    def _open(self, caller: Gate, request: Request, place: Place) -> ResumableCall:
        headers = request.headers
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
        beta = wants_beta(headers.get_all("OpenAI-Beta"), [name.strip() for name in offered])
        assistant = asked_assistant(self._config, request.path)
        start = beginning(caller.principal, request.path, self._parts, assistant)
        shape: ShapeName = "beta" if beta else "ga"
        trace = ",".join(headers.get_all("traceparent"))
        return self.calls.open(
            caller.principal, start, caller.address, place, shape=shape, traceparent=trace
        )

    async def _resume(self, connection: Gate, token: str, after: str) -> None:
        try:
            call = self.calls.find(token)
            if call is None or call.principal.name != connection.principal.name:
                raise ResumeError("There is no such call any more.")
            await call.hold(connection, after)
        except ResumeError as error:
            refusal = Refusal("resume", str(error), Code.RESUME_FAILED, POLICY_VIOLATION)
            await self._refuse(connection, refusal)


@dataclass(frozen=True, slots=True)
class _Upgrade:
    """What becomes of a request for a WebSocket at one path."""

    admit: Callable[[Gate, Request], Awaitable[http.HttpAnswer | None]]  # None: let in
    hold: Callable[[Gate, Request], Awaitable[None]]


def address(server: WebSocketServer, scheme: str = "ws") -> str:
    """Return where to connect, as a URL. ``server`` is what `Server.listen` yields."""
    return base_url(server, scheme) + PATH

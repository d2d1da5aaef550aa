"""The server: accepts calls on one port, refuses those it must not or cannot hold, and ends them.

What a call does is `duplex.session`'s affair; what a socket may do, `duplex.net.gate`'s.
"""

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from duplex import memory
from duplex.call import Parts
from duplex.config import Config
from duplex.errors import ConfigError, ResumeError
from duplex.metrics import Metrics
from duplex.net import http
from duplex.net.access import (
    ClientSecrets,
    Keys,
    allows_origin,
    check_exposure,
    is_loopback,
    load_keys,
    presented_key,
)
from duplex.net.gate import BAN_S, POLICY_VIOLATION, Door, Gate
from duplex.net.limits import Account, TokenBucket
from duplex.net.live_call import Ending, LiveCall, token_digest
from duplex.net.load import Load
from duplex.protocol.beta import wants_beta
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import encode, server_error

logger = logging.getLogger(__name__)

PATH = "/v1/realtime"
_TLS_S = 3.0
_QUEUED_FRAMES = 3  # of a client that sends faster than it is obeyed; each may be a whole message
_TRY_AGAIN_LATER = 1013
_SERVICE_RESTART = 1012
_CLOSE_S = 3.0  # for a client to agree to a goodbye
_LOOK_S = 0.1  # between looks at calls that are waited for
_TRIM_S = 1.0  # after a call, for all that end by then together
_CHARGE_S = 10.0  # between looks at a key's minutes, which other calls use too
STOPPING = Ending(
    "server_stopping", _SERVICE_RESTART, "the server is stopping", Code.SERVER_STOPPING
)
OUT_OF_MINUTES = Ending(
    "out_of_minutes", POLICY_VIOLATION, "the key's minutes of today are used", Code.RATE_LIMIT
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a call is not taken: for the metrics, and for the caller."""

    kind: str
    message: str
    code: Code
    close_code: int


class DialogueServer:
    """All calls of one process. Models are shared; everything else belongs to a call."""

    def __init__(self, config: Config, parts: Parts, *, keys: Keys | None = None) -> None:
        """
        Raises:
            ConfigError: the keys cannot be used, or strangers would be served by accident.
        """
        self._config = config
        self._parts = parts
        self._keys = load_keys(config.access) if keys is None else keys
        check_exposure(config.server.host, config.server.insecure, self._keys)
        self.metrics = Metrics()
        self.load = Load(config.limits, self.metrics)
        self._secrets = ClientSecrets(time.time)
        self._secrets_page = http.SecretsPage(self._keys, self._secrets, parts.defaults)
        self._accounts: dict[str, Account] = {}  # by the name of a key
        self._calls: dict[LiveCall, asyncio.Task[None]] = {}
        self._numbered = 0  # calls ever opened, for ids in the log
        self._stopping = False
        self._trimming: asyncio.TimerHandle | None = None  # set when a call has ended
        self.door = Door(
            config.limits,
            self.metrics,
            self._plain_answer,
            config.server.max_outbox_bytes,
            max_sockets=config.server.max_calls + 4 * config.limits.max_handshakes,
        )

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; then wait for answers that are being given, at most
        ``drain_s``, or until the second signal. ``ready`` is told the address."""
        signals: asyncio.Queue[None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signals.put_nowait, None)
        async with self.listen() as server:
            ready(address(server, self._scheme))
            await signals.get()
            draining = asyncio.create_task(self.drain())
            again = asyncio.create_task(signals.get())
            await asyncio.wait([draining, again], return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
            again.cancel()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[Server, None]:
        """Accept calls while the block runs; at its end, tell open ones that it is over.

        Raises:
            ConfigError: the certificate cannot be used.
        """
        config = self._config.server
        tls = _tls(config.tls_certificate, config.tls_key) if config.tls_certificate else None
        if tls is None and not is_loopback(config.host):
            logger.warning("keys and voices travel in clear: no TLS is configured")
        async with (
            self.load.watched(),
            serve(
                self._handle,
                config.host,
                config.port,
                create_connection=partial(Gate, door=self.door),  # type: ignore[arg-type]
                process_request=self._before_upgrade,
                select_subprotocol=_realtime_if_offered,
                compression=None,  # ten times the CPU for audio that does not compress
                max_size=config.max_message_bytes,
                max_queue=_QUEUED_FRAMES,
                open_timeout=self._config.limits.handshake_s,
                close_timeout=_CLOSE_S,
                server_header=None,
                ssl=tls,
                # Sockets in a TLS handshake are not counted by the door: they get less time.
                ssl_handshake_timeout=_TLS_S if tls else None,
            ) as listening,
        ):
            try:
                yield listening
            finally:
                await self._end_all()
                listening.close(code=_SERVICE_RESTART, reason="the server is stopping")

    async def drain(self) -> None:
        """Take no new calls; end each one that is open when nobody speaks in it, and the rest
        after ``drain_s``."""
        self._stopping = True
        logger.info("stopping: %d calls are open", len(self._calls))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.drain_s):
                while self._calls:
                    for call in self._calls:
                        if call.is_quiet:
                            call.end(STOPPING)
                    await asyncio.sleep(_LOOK_S)

    async def _end_all(self) -> None:
        self._stopping = True
        for call in self._calls:
            call.end(STOPPING)
        if self._calls:
            _, late = await asyncio.wait(self._calls.values(), timeout=2 * _CLOSE_S)
            for task in late:
                task.cancel()

    @property
    def _scheme(self) -> str:
        return "wss" if self._config.server.tls_certificate else "ws"

    def _before_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain requests, and callers who may not come in; None lets them in."""
        assert isinstance(connection, Gate)
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return _response(
                http.problem(HTTPStatus.BAD_REQUEST, "The path cannot be read.", "invalid_request")
            )
        if path != PATH:
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            return _response(self._plain_answer(http.HttpRequest("GET", path, headers)))
        refusal = self._identify(connection, request)
        if refusal is not None:
            self.metrics.count("duplex_refused_total", reason=refusal.status.phrase.lower())
            return _response(refusal)
        return None

    def _identify(self, connection: Gate, request: Request) -> http.HttpAnswer | None:
        access, headers = self._config.access, request.headers
        for origin in headers.get_all("Origin"):
            if not allows_origin(origin, self._config.server.host, access.origins):
                message = "Pages of this origin may not call; see access.origins."
                return http.problem(HTTPStatus.FORBIDDEN, message, "origin_not_allowed")
        key = presented_key(
            next(iter(headers.get_all("Authorization")), None),
            ",".join(headers.get_all("Sec-WebSocket-Protocol")),
        )
        principal = self._secrets.find(key) or self._keys.find(key)
        resumed = self._call_of(_resumes(request.path)[0])
        if principal is None and resumed is not None:
            # A browser's secret may have expired meanwhile; the token cannot be guessed either.
            principal = resumed.principal
        if principal is None:
            return http.unauthorized()
        if self._stopping:
            status, retry = HTTPStatus.SERVICE_UNAVAILABLE, (("Retry-After", "10"),)
            return http.problem(status, "The server is stopping.", Code.SERVER_STOPPING, retry)
        connection.principal = principal
        now = asyncio.get_running_loop().time()
        if resumed is None and self.door.is_banned(connection.source, now):
            message = "A call of yours was dropped for sending too much. Wait a little."
            status, retry = HTTPStatus.TOO_MANY_REQUESTS, (("Retry-After", str(int(BAN_S))),)
            return http.problem(status, message, Code.RATE_LIMIT, retry)
        now_s = time.time()
        if principal.name and not principal.secret_id:
            account = self._account(connection)
            connection.may_receive = lambda count: account.receive(count, time.time())
        elif principal.allowance.bytes_per_s:  # strangers, and users of one key, share no rate
            rate = principal.allowance.bytes_per_s
            burst = TokenBucket(rate, rate + 2 * self._config.server.max_message_bytes, now_s)
            connection.may_receive = lambda count: burst.take(count, time.time())
        return None

    def _account(self, caller: Gate) -> Account:
        burst_bytes = 2 * self._config.server.max_message_bytes
        principal = caller.principal
        return self._accounts.setdefault(
            principal.name, Account(principal.allowance, burst_bytes, time.time())
        )

    async def _handle(self, connection: ServerConnection) -> None:
        """One socket of a caller who may come in."""
        assert isinstance(connection, Gate)
        assert connection.request is not None
        token, after = _resumes(connection.request.path)
        if token is not None:
            await self._resume(connection, token, after)
            return
        refusal = self._refusal(connection)
        if refusal is not None:
            await self._refuse(connection, refusal)
            return
        await self._open(connection).hold(connection)

    def _refusal(self, caller: Gate) -> _Refusal | None:
        """Why this call cannot be held, if it cannot."""
        limit = self._config.server.max_calls
        if len(self._calls) >= limit:
            message = f"The server is full: it holds {limit} calls. Try again later."
            return _Refusal("full", message, Code.SERVER_FULL, _TRY_AGAIN_LATER)
        busy = self.load.refusal(time.monotonic()) if self._calls else None
        if busy is not None:
            return _Refusal("busy", busy, Code.SERVER_FULL, _TRY_AGAIN_LATER)
        spent = self._account(caller).refusal(time.time())
        if spent is not None:
            return _Refusal("key_limit", spent, Code.RATE_LIMIT, POLICY_VIOLATION)
        return None

    async def _refuse(self, connection: Gate, refusal: _Refusal) -> None:
        logger.info("refused a call: %s", refusal.kind)
        self.metrics.count("duplex_refused_total", reason=refusal.kind)
        with contextlib.suppress(ConnectionClosed):
            told = server_error(refusal.message, refusal.code)
            await connection.send(encode(told, random_id))
            await connection.close(refusal.close_code, refusal.kind.replace("_", " "))

    def _open(self, caller: Gate) -> LiveCall:
        """Begin a call. It runs as a task of its own, as it may outlive the socket."""
        assert caller.request is not None
        self._numbered += 1
        headers = caller.request.headers
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
        beta = wants_beta(headers.get_all("OpenAI-Beta"), [name.strip() for name in offered])
        call_id = f"call-{self._numbered}"
        call = LiveCall(call_id, self._config, self._parts, self.metrics, caller, beta=beta)
        logger.info(
            "%s opened from %s by %s",
            call_id,
            caller.address,
            call.principal.name or "anybody",
        )
        self.metrics.count("duplex_calls_total")
        account = self._account(caller)
        account.begin(time.time())  # at once: others of the key may be at the door
        self._calls[call] = asyncio.create_task(self._run(call, account))
        return call

    async def _run(self, call: LiveCall, account: Account) -> None:
        loop = asyncio.get_running_loop()
        charging: asyncio.TimerHandle | None = None

        def charge() -> None:
            nonlocal charging
            left_s = account.left_s(time.time())
            if left_s <= 0:
                call.end(OUT_OF_MINUTES)
            elif left_s < float("inf"):
                charging = loop.call_later(min(left_s, _CHARGE_S), charge)

        charge()
        try:
            await call.run()
        finally:
            if charging is not None:
                charging.cancel()
            account.end(time.time())
            del self._calls[call]
            if self._trimming is None:
                self._trimming = loop.call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        memory.give_back()

    async def _resume(self, connection: Gate, token: str, after: str) -> None:
        try:
            call = self._call_of(token)
            if call is None or call.principal.name != connection.principal.name:
                raise ResumeError("There is no such call any more.")
            await call.hold(connection, after)
        except ResumeError as error:
            refusal = _Refusal("resume", str(error), Code.RESUME_FAILED, POLICY_VIOLATION)
            await self._refuse(connection, refusal)

    def _call_of(self, token: str | None) -> LiveCall | None:
        """The call that may be taken up with ``token``."""
        if token is None:
            return None
        digest = token_digest(token)
        return next((call for call in self._calls if call.token_digest == digest), None)

    def _plain_answer(self, request: http.HttpRequest) -> http.HttpAnswer:
        """Answer what is not a call."""
        if request.path == http.SECRETS_PATH:
            return self._secrets_page.answer(request)
        pages = {
            http.MODELS_PATH: self._models,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
        }
        page = pages.get(request.path)
        if page is None:
            message = f"Connect to {PATH} with a WebSocket."
            return http.problem(HTTPStatus.NOT_FOUND, message, "not_found")
        if request.method not in ("GET", "HEAD"):
            return http.method_not_allowed("GET")
        return page(request)

    def _models(self, request: http.HttpRequest) -> http.HttpAnswer:
        parts = self._parts
        return http.models_page(self._keys, parts.models, parts.voice_names, request)

    def _healthz(self, _: http.HttpRequest) -> http.HttpAnswer:
        return http.HttpAnswer(HTTPStatus.OK, b"ok\n", http.TEXT)

    def _readyz(self, _: http.HttpRequest) -> http.HttpAnswer:
        """Whether to send calls here: not while it stops, is full or busy."""
        why = "stopping" if self._stopping else None
        if why is None and len(self._calls) >= self._config.server.max_calls:
            why = "full"
        if why is None and self._calls and self.load.refusal(time.monotonic()):
            why = "busy"
        status = HTTPStatus.OK if why is None else HTTPStatus.SERVICE_UNAVAILABLE
        return http.HttpAnswer(status, f"{why or 'ready'}\n".encode(), http.TEXT)

    def _metrics_page(self, request: http.HttpRequest) -> http.HttpAnswer:
        owner = http.key_owner(self._keys, request)
        if owner is None or not owner.may_read_metrics:
            return http.unauthorized()
        gauges = {
            "duplex_calls_open": len(self._calls),
            "duplex_calls_limit": self._config.server.max_calls,
            "duplex_sockets_open": self.door.sockets,
            "duplex_tasks": len(asyncio.all_tasks()),
            "duplex_event_loop_lag_p95_seconds": self.load.lag_s,
        }
        page = self.metrics.render(gauges).encode()
        return http.HttpAnswer(HTTPStatus.OK, page, "text/plain; version=0.0.4; charset=utf-8")


def _resumes(path: str) -> tuple[str | None, str]:
    """The token of the call that is to be taken up, None for a new one; and the last event that
    its client has."""
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    return query.get("resume", [None])[0], query.get("after", [""])[0]


def address(server: Server, scheme: str = "ws") -> str:
    """Where to connect, as a URL."""
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


def _tls(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"server.tls_certificate, server.tls_key: {error}") from error
    return context


def _response(answer: http.HttpAnswer) -> Response:
    headers = Headers(answer.all_headers())
    return Response(answer.status.value, answer.status.phrase, headers, answer.body)


def _realtime_if_offered(
    connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Browsers hang up unless one of theirs is chosen; other clients offer none."""
    return Subprotocol("realtime") if "realtime" in offered else None

"""The server: accepts calls on one port, refuses those it must not or cannot hold, and ends them.

`duplex.dialogue.session` says what a call does, `duplex.server.gate` what a socket may do.
"""

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from duplex.config import Config
from duplex.dialogue.parts import Parts
from duplex.errors import ConfigError, ResumeError
from duplex.metrics import Metrics
from duplex.phone.calls import PhoneCalls
from duplex.phone.line.leg import MAX_MESSAGE_BYTES
from duplex.phone.providers.webhooks import CODECS as PHONE_PATHS
from duplex.phone.providers.webhooks import PhoneEntry, PhoneRequest, assistant_in
from duplex.phone.sip import door as sip_door
from duplex.protocol.beta import wants_beta
from duplex.protocol.codes import Code
from duplex.protocol.ids import random_id
from duplex.protocol.server_events import encode, server_error
from duplex.server import http
from duplex.server.admission import Admission, resumes
from duplex.server.gate import POLICY_VIOLATION, Door, Gate
from duplex.server.keys import ClientSecrets, Keys, check_exposure, is_loopback, load_keys
from duplex.server.load import Load
from duplex.server.pages import load_pages
from duplex.server.registry import Calls, Refusal
from duplex.server.resumable_call import Ending, LiveCall, beginning

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
    """The port of one process."""

    def __init__(self, config: Config, parts: Parts, *, keys: Keys | None = None) -> None:
        """
        Raises:
            ConfigError: the keys or an assistant's functions cannot be used, or strangers would
                be served by accident.
        """
        self._config = config
        self._parts = parts
        self._keys = load_keys(config.access) if keys is None else keys
        check_exposure(config, self._keys)
        self.metrics = Metrics()
        self.load = Load(config.limits, self.metrics)
        self._secrets = ClientSecrets(time.time)
        self._secrets_page = http.SecretsPage(self._keys, self._secrets, parts.defaults)
        self._static = load_pages()
        self.calls = Calls(config, parts, self.metrics, self.load)
        self._phone_entry = PhoneEntry(config, self._keys)
        self.phone = PhoneCalls(config, parts, self.metrics, self.calls)
        self._stopping = False
        self.door = Door(
            config.limits,
            self.metrics,
            self._plain_answer,
            config.server.max_outbox_bytes,
            max_sockets=config.server.max_calls + 4 * config.limits.max_handshakes,
        )
        self._admission = Admission(
            config,
            self._keys,
            self._secrets,
            self.calls,
            self.door,
            lambda: self._stopping,
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
            sip_door.listening(
                self._config, self.metrics, self.calls, self.phone, lambda: self._stopping
            ) as self.sip,
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
        logger.info("stopping: %d calls are open", len(self.calls))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.drain_s):
                while len(self.calls):
                    for call in self.calls:
                        if call.is_quiet:
                            call.end(STOPPING)
                    await asyncio.sleep(_LOOK_S)

    async def _end_all(self) -> None:
        self._stopping = True
        await self.calls.end_all(STOPPING, 2 * _CLOSE_S)
        await self.phone.finish(_CLOSE_S)

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
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        if path in PHONE_PATHS and "upgrade" in headers:
            refusal = self._admit_phone(connection, request, path, headers)
        elif path == PATH:
            refusal = self._admission.admit(connection, request)
        else:
            query = urlsplit(request.path).query
            plain = http.HttpRequest("GET", path, headers, query=query)
            return _response(self._plain_answer(plain))
        if refusal is not None:
            self.metrics.count("duplex_refused_total", reason=refusal.status.phrase.lower())
            return _response(refusal)
        return None

    def _admit_phone(
        self, connection: Gate, request: Request, path: str, headers: Mapping[str, str]
    ) -> http.HttpAnswer | None:
        """Let a phone provider in (None), or say why not."""
        is_tls = bool(self._config.server.tls_certificate)
        admitted = self._phone_entry.admit(
            PhoneRequest(path, request.path, headers, is_tls=is_tls, is_stream=True)
        )
        if isinstance(admitted, http.HttpAnswer):
            return admitted
        connection.protocol.max_message_size = MAX_MESSAGE_BYTES
        return self._admission.enter(connection, request, admitted)

    async def _handle(self, connection: ServerConnection) -> None:
        """One socket of a caller who may come in."""
        assert isinstance(connection, Gate)
        assert connection.request is not None
        path = urlsplit(connection.request.path).path
        if path in PHONE_PATHS:
            await self.phone.hold(
                connection,
                PHONE_PATHS[path](),
                connection.principal,
                path.lstrip("/"),
                self._phone_entry.switchboard(path),
                assistant_in(urlsplit(connection.request.path).query),
            )
            return
        token, after = resumes(connection.request.path)
        if token is not None:
            await self._resume(connection, token, after)
            return
        refusal = self.calls.refusal(connection.principal)
        if refusal is not None:
            await self._refuse(connection, refusal)
            return
        await self._open(connection, connection.request).hold(connection)

    async def _refuse(self, connection: Gate, refusal: Refusal) -> None:
        self.calls.refuse(refusal)
        with contextlib.suppress(ConnectionClosed):
            told = server_error(refusal.message, refusal.code)
            await connection.send(encode(told, random_id))
            await connection.close(refusal.close_code, refusal.kind.replace("_", " "))

    def _open(self, caller: Gate, request: Request) -> LiveCall:
        headers = request.headers
        offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
        beta = wants_beta(headers.get_all("OpenAI-Beta"), [name.strip() for name in offered])
        start = beginning(caller.principal, request.path, self._parts)
        return self.calls.open(caller.principal, start, caller.address, beta=beta)

    async def _resume(self, connection: Gate, token: str, after: str) -> None:
        try:
            call = self.calls.find(token)
            if call is None or call.principal.name != connection.principal.name:
                raise ResumeError("There is no such call any more.")
            await call.hold(connection, after)
        except ResumeError as error:
            refusal = Refusal("resume", str(error), Code.RESUME_FAILED, POLICY_VIOLATION)
            await self._refuse(connection, refusal)

    def _plain_answer(self, request: http.HttpRequest) -> http.HttpAnswer:
        """Answer what is not a call."""
        if request.path == http.SECRETS_PATH:
            return self._secrets_page.answer(request)
        phone = self._phone_entry.page(
            request,
            is_tls=bool(self._config.server.tls_certificate),
            has_room=lambda caller: not self._stopping and self.calls.refusal(caller) is None,
        )
        if phone is not None:
            return phone
        pages = {
            http.MODELS_PATH: self._models,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
        }
        page = pages.get(request.path)
        if page is None and (static := self._static.answer(request)) is not None:
            return static
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
        why = "stopping" if self._stopping else self.calls.unready
        status = HTTPStatus.OK if why is None else HTTPStatus.SERVICE_UNAVAILABLE
        return http.HttpAnswer(status, f"{why or 'ready'}\n".encode(), http.TEXT)

    def _metrics_page(self, request: http.HttpRequest) -> http.HttpAnswer:
        owner = http.key_owner(self._keys, request)
        if owner is None or not owner.may_read_metrics:
            return http.unauthorized()
        gauges = {
            "duplex_calls_open": len(self.calls),
            "duplex_calls_limit": self._config.server.max_calls,
            "duplex_sockets_open": self.door.sockets,
            "duplex_tasks": len(asyncio.all_tasks()),
            "duplex_event_loop_lag_p95_seconds": self.load.lag_s,
        }
        page = self.metrics.render(gauges).encode()
        return http.HttpAnswer(HTTPStatus.OK, page, "text/plain; version=0.0.4; charset=utf-8")


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

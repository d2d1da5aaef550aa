"""Decides which callers are let in, before anything is allocated for them."""

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request

from duplex.config import Config
from duplex.dialogue.assistants import asked_assistant
from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.rate import TokenBucket
from duplex.server import http
from duplex.server.forwarded import Origin
from duplex.server.gate import BAN_S, Gate, source_of
from duplex.server.keys import ClientSecrets, Keys, Principal, allows_origin, presented_key
from duplex.server.places import Place
from duplex.server.registry import CallRegistry
from duplex.server.resumable_call import edge_of
from duplex.server.store import Store, StoreDown

_ASKED_HEADERS = "access-control-request-headers"


class Admission:
    """Checks the request of each call: its key, its origin, and whether the server is stopping."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        secrets: ClientSecrets,
        calls: CallRegistry,
        store: Store,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._config = config
        self._keys = keys
        self._secrets = secrets
        self._calls = calls
        self._store = store
        self._is_stopping = is_stopping

    async def admit(self, connection: Gate, request: Request) -> http.HttpAnswer | None:
        """Let a Realtime client in (None), or say why not. One that resumes a call of another
        server is sent there."""
        headers = request.headers
        key = presented_key(
            next(iter(headers.get_all("Authorization")), None),
            ",".join(headers.get_all("Sec-WebSocket-Protocol")),
        )
        try:
            principal = await self._secrets.find(key) or self._keys.find(key)
        except StoreDown:
            return http.store_down()
        token, _ = resumes(request.path)
        resumed = self._calls.find(token)
        if principal is None and resumed is not None:
            # A browser's secret may have expired meanwhile; the token cannot be guessed either.
            principal = resumed.principal
        if principal is None:
            return http.unauthorized()
        try:
            asked_assistant(self._config, request.path)
        except ProtocolError as error:
            return http.problem(HTTPStatus.BAD_REQUEST, str(error), "unknown_assistant")
        if token is not None and resumed is None:
            address = await self._address_of(edge_of(token))
            if address is not None:
                asked = urlsplit(request.path)
                path = f"{self._config.server.root()}{asked.path}?{asked.query}"
                return http.elsewhere(address.rstrip("/") + path)
        refusal = await self.enter(connection, request, principal, is_resumed=resumed is not None)
        if refusal is None and token is None:
            connection.reserved = reserved = await self._calls.reserve(principal)
            if isinstance(reserved, Place) and connection.transport.is_closing():
                reserved.give_back()  # it has gone meanwhile, and nobody else will
        return refusal

    async def _address_of(self, edge: str) -> str | None:
        """Where the server of that name is, if it is another."""
        if not edge or edge == self._config.store.edge:
            return None
        try:
            return await self._store.address_of(edge)
        except StoreDown:
            return None

    async def enter(
        self,
        connection: Gate,
        request: Request,
        principal: Principal,
        *,
        is_resumed: bool = False,
    ) -> http.HttpAnswer | None:
        """Let a caller whose identity is known in (None), or say why not."""
        origins = request.headers.get_all("Origin")
        refusal = self._refusal(origins, request.headers.get("Host"), connection.origin)
        if refusal is not None:
            return refusal
        connection.principal = principal
        if not is_resumed and (banned := await self._banned(connection.source)) is not None:
            return banned
        now_s = time.time()
        if principal.name and not principal.secret_id:
            rates = self._calls.rates(principal)
            source = connection.address
            connection.may_receive = lambda count: rates.receive(count, time.time(), source)
        elif principal.allowance.bytes_per_s:  # strangers, and users of one key, share no rate
            rate = principal.allowance.bytes_per_s
            burst = TokenBucket(rate, rate + 2 * self._config.server.max_message_bytes, now_s)
            connection.may_receive = lambda count: burst.take(count, time.time())
        return None

    async def admit_plain(self, request: http.HttpRequest) -> Principal | http.HttpAnswer:
        """Let in a client that begins or ends its call with a plain request, or say why not."""
        key = presented_key(request.headers.get("authorization"), None)
        try:
            principal = await self._secrets.find(key) or self._keys.find(key)
        except StoreDown:
            return http.store_down()
        if principal is None:
            return http.unauthorized()
        address = request.origin.address if request.origin is not None else ""
        banned = await self._banned(source_of(address, principal))
        return self.refusal(request) or banned or principal

    def refusal(self, request: http.HttpRequest) -> http.HttpAnswer | None:
        """Why a plain request is not obeyed, whosever key it has: for the page that sends it, or
        because the server is stopping."""
        pages = [request.headers["origin"]] if "origin" in request.headers else []
        return self._refusal(pages, request.headers.get("host"), request.origin)

    def cross_origin(self, request: http.HttpRequest) -> tuple[tuple[str, str], ...]:
        """The headers that let a page elsewhere ask and read the answer, if it may call."""
        page = request.headers.get("origin")
        if page is None or self.refusal(request):
            return ()
        return (
            ("Access-Control-Allow-Origin", page),
            ("Access-Control-Allow-Methods", "POST"),
            ("Access-Control-Allow-Headers", request.headers.get(_ASKED_HEADERS, "*")),
            ("Access-Control-Expose-Headers", "Location"),
            ("Vary", "Origin"),
        )

    def _refusal(
        self, pages: Iterable[str], host: str | None, sent_from: Origin | None
    ) -> http.HttpAnswer | None:
        """Why nobody may call from these pages, or nobody at all."""
        server, origins = self._config.server, self._config.access.origins
        tls_host = None
        if server.tls_certificate or (sent_from is not None and sent_from.is_secure):
            tls_host = (sent_from.host if sent_from is not None else None) or host
        for page in pages:
            if not allows_origin(page, server.host, origins, tls_host):
                message = "Pages of this origin may not call; see access.origins."
                return http.problem(HTTPStatus.FORBIDDEN, message, "origin_not_allowed")
        if self._is_stopping():
            status, retry = HTTPStatus.SERVICE_UNAVAILABLE, (("Retry-After", "10"),)
            return http.problem(status, "The server is stopping.", Code.SERVER_STOPPING, retry)
        return None

    async def _banned(self, source: str) -> http.HttpAnswer | None:
        """Why a caller has to wait, who was dropped a moment ago."""
        try:
            if not await self._store.is_banned(source):
                return None
        except StoreDown:
            return None
        message = "A call of yours was dropped for sending too much. Wait a little."
        status, retry = HTTPStatus.TOO_MANY_REQUESTS, (("Retry-After", str(int(BAN_S))),)
        return http.problem(status, message, Code.RATE_LIMIT, retry)


def resumes(path: str) -> tuple[str | None, str]:
    """Return the token of the call that is to be taken up, None for a new one, and the id of the
    last event that its client has."""
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    return query.get("resume", [None])[0], query.get("after", [""])[0]

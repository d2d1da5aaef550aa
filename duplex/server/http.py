"""Plain requests, which the port answers alongside calls. Sans-IO: requests in, answers out."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Literal

import h11
import msgspec
from msgspec import Meta

from duplex.errors import ProtocolError
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig
from duplex.server.forwarded import Origin
from duplex.server.keys import (
    SECRET_DEFAULT_S,
    SECRET_MAX_S,
    SECRET_MIN_S,
    ClientSecrets,
    Keys,
    Principal,
    TooManySecrets,
    presented_key,
)
from duplex.server.store import StoreDown

SECRETS_PATH = "/v1/realtime/client_secrets"
MODELS_PATH = "/v1/models"
MAX_BODY_BYTES = 64 * 1024  # unless the path says otherwise; instructions and tools fit
MAX_HEAD_BYTES = 32 * 1024  # of any request, before anything is known of who sends it
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """``path`` has no query; the names of ``headers`` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    query: str = ""
    origin: Origin | None = None  # where it comes from; None: that was not looked at


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a request; the connection is closed after it."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = field(default=())
    cache: str = "no-store"

    def all_headers(self) -> list[tuple[str, str]]:
        """Return its own headers and those that every answer has."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", self.cache),
            ("Connection", "close"),
            *self.headers,
        ]


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose body is sent while it is made.

    Each of ``parts`` is asked for when the ones before are on their way. They are closed when the
    client goes away. If they raise, the connection is dropped, so that nobody takes a part of the
    body for the whole.
    """

    parts: AsyncGenerator[bytes, None]
    content_type: str
    headers: tuple[tuple[str, str], ...] = field(default=())
    status: HTTPStatus = HTTPStatus.OK

    def all_headers(self) -> list[tuple[str, str]]:
        """Return its own headers and those that every answer has."""
        return [
            ("Content-Type", self.content_type),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
            *self.headers,
        ]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Exchange:
    """How one request is answered that takes time, or has a large body.

    ``admit`` is awaited before more of the body is read, and returns a refusal or None. ``answer``
    gets the whole request and is cancelled if the client goes away. ``close`` is called once, when
    nothing more is read or sent.
    """

    answer: Callable[[HttpRequest], Awaitable[HttpAnswer | StreamedAnswer]]
    max_body_bytes: int = MAX_BODY_BYTES
    close: Callable[[], None] = _nothing
    admit: Callable[[], Awaitable[HttpAnswer | None]] | None = None


Answer = HttpAnswer | Awaitable[HttpAnswer]  # the latter if others are asked for it
Handler = Callable[[HttpRequest], Answer]
# Gets a request without its body: refuses it before the body is read, or says how it is answered.
Opener = Callable[[HttpRequest], HttpAnswer | Exchange]


class Routes:
    """What answers which path. Built once for a server."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        otherwise: str,
        exchanges: Mapping[str, Opener] | None = None,
    ) -> None:
        """``otherwise`` is the message for paths that nothing answers. ``exchanges`` open
        requests before their body has come; what they leave is for ``handlers``. A path that ends
        with a slash stands for all below it."""
        self._handlers = dict(handlers)
        self._otherwise = otherwise
        self._exchanges = dict(exchanges or {})

    def open(self, head: HttpRequest) -> HttpAnswer | Exchange | None:
        """Look at a request whose body has not come; None: `answer` answers it as a whole."""
        opener = self._exchanges.get(head.path)
        if opener is None:
            below = (path for path in self._exchanges if path.endswith("/"))
            path = next((path for path in below if head.path.startswith(path)), "")
            opener = self._exchanges.get(path)
        return None if opener is None else opener(head)

    def answer(self, request: HttpRequest) -> Answer:
        """Answer ``request``, with 404 if its path has no handler."""
        handler = self._handlers.get(request.path)
        if handler is None and request.path in self._exchanges:
            return method_not_allowed("POST")
        if handler is None:
            return problem(HTTPStatus.NOT_FOUND, self._otherwise, "not_found")
        return handler(request)


def read_only(handler: Handler) -> Handler:
    """Return ``handler`` for GET and HEAD; other methods are refused."""

    def answer(request: HttpRequest) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return method_not_allowed("GET")
        return handler(request)

    return answer


def below(root: str, path: str) -> str | None:
    """Return what of ``path`` stands below ``root``: all of it if that is not its beginning, as
    where a proxy has taken it away; None if it is ``root`` itself, without the slash that a page
    needs for what it names beside itself to be found."""
    if root and path == root:
        return None
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def moved(address: str) -> HttpAnswer:
    """Return the answer that has a client ask for ``address``."""
    return HttpAnswer(HTTPStatus.PERMANENT_REDIRECT, b"", TEXT, (("Location", address),))


def elsewhere(address: str) -> HttpAnswer:
    """Return the answer that has a client ask at ``address`` this time."""
    return HttpAnswer(HTTPStatus.TEMPORARY_REDIRECT, b"", TEXT, (("Location", address),))


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names in lower case; those that come twice as one (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers:
        known = found.get(name.lower())
        found[name.lower()] = value if known is None else f"{known}, {value}"
    return found


def problem(
    status: HTTPStatus,
    message: str,
    code: str,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    param: str | None = None,
) -> HttpAnswer:
    """Return a refusal in the shape that clients of the OpenAI API read."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "code": code, "param": param}
    return HttpAnswer(status, json.dumps({"error": error}).encode(), headers=headers)


def unauthorized() -> HttpAnswer:
    """Return the answer to a request without a valid key; it does not say what is wrong."""
    return problem(
        HTTPStatus.UNAUTHORIZED,
        "A valid API key is needed: Authorization: Bearer KEY.",
        "invalid_api_key",
        (("WWW-Authenticate", "Bearer"),),
    )


def store_down() -> HttpAnswer:
    """Return the answer to a request that needs the store, while it cannot be used."""
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This cannot be looked up now. Try again in a moment.",
        Code.SERVER_ERROR,
        (("Retry-After", "2"),),
    )


def method_not_allowed(allowed: str) -> HttpAnswer:
    """Return the answer to a method that the path does not have."""
    message = f"Only {allowed} is allowed here."
    headers = (("Allow", allowed),)
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, message, "method_not_allowed", headers)


class _ExpiresAfter(msgspec.Struct, frozen=True):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=SECRET_MIN_S, le=SECRET_MAX_S)] = SECRET_DEFAULT_S


class _SecretRequest(msgspec.Struct, frozen=True):
    expires_after: _ExpiresAfter = _ExpiresAfter()
    session: dict[str, Any] = msgspec.field(default_factory=dict)


class SecretsPage:
    """``POST /v1/realtime/client_secrets``."""

    def __init__(self, keys: Keys, secrets: ClientSecrets, defaults: SessionConfig) -> None:
        self._keys = keys
        self._secrets = secrets
        self._defaults = defaults

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Make a secret for the owner of the request's key."""
        if request.method != "POST":
            return method_not_allowed("POST")
        owner = key_owner(self._keys, request)
        if owner is None:  # a client secret is no key here: it must not outlive itself
            return unauthorized()
        try:
            wanted = msgspec.json.decode(request.body or b"{}", type=_SecretRequest)
            session = self._defaults.merge(wanted.session, self._defaults)
            secret = await self._secrets.make(owner, session, wanted.expires_after.seconds)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error)[:400], Code.INVALID_VALUE)
        except ProtocolError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error), error.code or Code.INVALID_VALUE)
        except TooManySecrets as error:
            return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), Code.RATE_LIMIT)
        except StoreDown:
            return store_down()
        made = {
            "value": secret.value,
            "expires_at": secret.expires_at,
            "session": session.to_dict(),
        }
        return HttpAnswer(HTTPStatus.OK, msgspec.json.encode(made))


def models_page(
    keys: Keys, models: Sequence[str], voices: Sequence[str], request: HttpRequest
) -> HttpAnswer:
    """``GET /v1/models``: the models that a call may name, in the OpenAI API's shape, and the
    voices."""
    if key_owner(keys, request) is None:
        return unauthorized()
    known = {
        "object": "list",
        "data": [{"id": name, "object": "model", "owned_by": "duplex-r1"} for name in models],
        "voices": [{"id": name, "name": name} for name in voices],
    }
    return HttpAnswer(HTTPStatus.OK, msgspec.json.encode(known))


def key_owner(keys: Keys, request: HttpRequest) -> Principal | None:
    """Return the owner of the key that a plain request bears; a client secret is no key here."""
    return keys.find(presented_key(request.headers.get("authorization"), None))


def _no_exchange(_: HttpRequest) -> HttpAnswer | Exchange | None:
    return None


class PlainHttp:
    """Reads one request that does not begin a call, and writes its answer. It bounds the request's
    size; the owner of the socket bounds its time."""

    def __init__(
        self, open_exchange: Callable[[HttpRequest], HttpAnswer | Exchange | None] = _no_exchange
    ) -> None:
        self.exchange: Exchange | None = None  # set when the head has come, if it begins one
        self.is_whole = False  # set when nothing of the request is yet to come
        self._open_exchange = open_exchange
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._request: h11.Request | None = None  # set when the head has come
        self._body = bytearray()
        self._max_body_bytes = MAX_BODY_BYTES

    def receive(self, data: bytes) -> HttpRequest | HttpAnswer | None:
        """Return the request once it is whole, a refusal if it cannot be read, None until then."""
        self._http.receive_data(data)
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return None
                if isinstance(event, h11.Request):
                    if (refusal := self._begin(event)) is not None:
                        return refusal
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > self._max_body_bytes:
                        return self._too_large()
                elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                    self.is_whole = True
                    body, self._body = bytes(self._body), bytearray()
                    return _request(self._request, body)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            return problem(status, f"The request cannot be read: {error}", "invalid_request")

    def go_on(self) -> bytes:
        """Return what the client has to be sent before it sends its body; maybe nothing."""
        if not self._http.they_are_waiting_for_100_continue:
            return b""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def serialize(self, answer: HttpAnswer) -> bytes:
        """Return ``answer`` as bytes; the request's method decides whether its body goes along."""
        is_head = self._request is not None and self._request.method == b"HEAD"
        head = self.begin(answer)
        return head + (b"" if is_head else self.part(answer.body)) + self.end()

    def close(self) -> None:
        """End the exchange, if it has begun and was not answered."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.close()

    def begin(self, answer: HttpAnswer | StreamedAnswer) -> bytes:
        """Return the head of ``answer``."""
        status = answer.status
        headers = answer.all_headers()
        response = h11.Response(status_code=status, reason=status.phrase, headers=headers)
        return self._http.send(response) or b""

    def part(self, data: bytes) -> bytes:
        """Return a piece of the body as it is sent."""
        return self._http.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        """Return the end of the body."""
        return self._http.send(h11.EndOfMessage()) or b""

    def _begin(self, head: h11.Request) -> HttpAnswer | None:
        self._request = head
        request = _request(head, b"")
        found = self._open_exchange(request)
        if isinstance(found, HttpAnswer):
            return found
        if found is not None:
            self.exchange, self._max_body_bytes = found, found.max_body_bytes
        length = request.headers.get("content-length", "")
        return self._too_large() if length and int(length) > self._max_body_bytes else None

    def _too_large(self) -> HttpAnswer:
        message = f"The body has more than {self._max_body_bytes} bytes."
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, "body_too_large")


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    headers = joined(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
    )
    path, _, query = head.target.decode("latin-1").partition("?")
    return HttpRequest(head.method.decode("latin-1"), path, headers, body, query)

"""One service: its address, its key, the proxy before it, and requests to it."""

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx2

from engine.errors import EngineError
from engine.remote.bodies import reason_of_body
from engine.remote.retries import PATIENCE_S, pause_s, retry_after_s

_CONNECT_S = 5.0
# Turns of a call are seconds apart. A service that hangs up sooner is noticed, and asked again.
_KEEP_S = 60.0
_MOST_OF_A_REFUSAL = 64 * 1024  # bytes
_REFUSAL_S = 5.0  # for its body to come
_OF_REQUEST = frozenset({400, 415, 422, 500, 501})  # some say 500 to a form that they do not know


class RemoteError(EngineError):
    """A service did not do what it was asked; the message says why, in one line."""


class Refused(RemoteError):
    """A service answered with a status that says no. ``is_of_request``: to what it was sent."""

    def __init__(self, message: str, *, is_of_request: bool) -> None:
        super().__init__(message)
        self.is_of_request = is_of_request


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy that the environment names for an address, and the variable that names it."""

    variable: str
    url: str


@dataclass(frozen=True, slots=True)
class Service:
    """Where models of another machine are, shared by all calls. It holds no connection: each user
    opens a client of its own.

    ``part`` is what it serves as, in messages: "brain". ``base_url`` is what comes before
    "/chat/completions". ``timeout_s`` bounds the wait for each piece of an answer.

    Raises:
        RemoteError: the key cannot be sent, or the environment's proxy cannot be used.
    """

    part: str
    base_url: str
    api_key: str = ""
    timeout_s: float = 30.0
    proxy: Proxy | None = field(init=False)

    def __post_init__(self) -> None:
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise RemoteError(f"the {self.part}'s API key has characters that no key has")
        object.__setattr__(self, "proxy", proxy_for(self.base_url))
        self._check_proxy()

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the {self.part}'s endpoint"

    def connect(self) -> httpx2.AsyncClient:
        """A client, which its user closes. It connects when it is used, and keeps connections."""
        limits = httpx2.Limits(keepalive_expiry=_KEEP_S)
        return httpx2.AsyncClient(**self._options(), limits=limits)

    def connect_blocking(self, timeout_s: float) -> httpx2.Client:
        """A client for a program that waits, as at the start."""
        return httpx2.Client(**{**self._options(), "timeout": timeout_s})

    @asynccontextmanager
    async def post(
        self, client: httpx2.AsyncClient, path: str, **request: Any
    ) -> AsyncGenerator[httpx2.Response, None]:
        """Ask, and give the response when its head is there; its body is yet to be read, with
        `body`. What may pass is tried again within `PATIENCE_S`.

        Raises:
            RemoteError: it cannot be reached, or refuses.
        """
        with self.in_words():
            response = await self._sent(client, path, request)
            try:
                yield response
            finally:
                await response.aclose()

    async def body(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The body of ``response``, as it arrives.

        Raises:
            RemoteError: it stalls or breaks off.
        """
        with self.in_words():
            async for piece in response.aiter_bytes():
                yield piece

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Turn errors of HTTP into a `RemoteError`."""
        try:
            yield
        except httpx2.TimeoutException as error:
            raise RemoteError(f"{self.name} does not answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise RemoteError(self._failed(error)) from error

    def safe(self, text: str) -> str:
        """``text`` without the key, which a refusal may quote."""
        return text.replace(self.api_key, "***") if len(self.api_key) > 4 else text

    async def _sent(
        self, client: httpx2.AsyncClient, path: str, request: dict[str, Any]
    ) -> httpx2.Response:
        began_s = time.monotonic()
        tries = 0
        while True:
            tries += 1
            try:
                response = await client.send(
                    client.build_request("POST", path, **request), stream=True
                )
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                if tries > 1:
                    raise
                continue  # a connection that was kept and closed meanwhile: another is made
            if response.is_success and response.request.method == "POST":
                return response
            pause = pause_s(response.status_code, response.headers, tries, datetime.now(UTC))
            refusal = await self._refusal(response)
            spent_s = time.monotonic() - began_s
            if pause is None or refusal.is_final or spent_s + pause > PATIENCE_S:
                is_of_request = response.status_code in _OF_REQUEST
                raise Refused(refusal.message, is_of_request=is_of_request)
            await asyncio.sleep(pause)

    async def _refusal(self, response: httpx2.Response) -> "_Refusal":
        """What is wrong with ``response``, which is closed."""
        body = b""
        try:
            async with asyncio.timeout(_REFUSAL_S):
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) >= _MOST_OF_A_REFUSAL:
                        break
        except (TimeoutError, httpx2.HTTPError):
            pass  # the status says enough
        finally:
            await response.aclose()
        status = f"{response.status_code} {response.reason_phrase}".strip()
        if response.is_success:
            message = f"{self.name} has moved: base_url leads to {response.url}"
            return _Refusal(message, is_final=True)
        said = self.safe(reason_of_body(body))
        message = f"{self.name} says {status}" + (f": {said}" if said else "")
        after_s = retry_after_s(response.headers, datetime.now(UTC))
        if after_s is not None and after_s > PATIENCE_S:
            message += f" (to be asked again in {after_s:.0f} s)"
        return _Refusal(message, is_final=b"insufficient_quota" in body)

    def _failed(self, error: Exception) -> str:
        through = f" through the proxy of {self.proxy.variable}" if self.proxy else ""
        why = self.safe(str(error)) or type(error).__name__
        return f"the connection to {self.name}{through} failed: {why}"

    def _options(self) -> dict[str, Any]:
        url = httpx2.URL(self.base_url)
        return {
            "base_url": url.copy_with(query=None),
            "params": url.params,
            "headers": {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
            "timeout": httpx2.Timeout(self.timeout_s, connect=min(_CONNECT_S, self.timeout_s)),
            "verify": _tls(),
            "follow_redirects": True,
            "trust_env": False,  # `proxy_for` reads what is to be read
            "proxy": self.proxy.url if self.proxy else None,
        }

    def _check_proxy(self) -> None:
        try:
            self.connect()
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            if self.proxy is None:
                raise
            host = httpx2.URL(self.base_url).host
            needs = "needs `pip install socksio`" if isinstance(error, ImportError) else str(error)
            raise RemoteError(
                f"{self.proxy.variable} names a proxy that cannot be used ({needs}): "
                f"mend it, unset it, or add {host} to NO_PROXY"
            ) from error


@functools.cache
def _tls() -> ssl.SSLContext:
    """Whom to trust, for all services: reading the certificates takes longer than a request."""
    return httpx2.create_ssl_context()


@dataclass(frozen=True, slots=True)
class _Refusal:
    message: str
    is_final: bool  # whether it is of no use to ask again, whatever the status says


def proxy_for(url: str) -> Proxy | None:
    """The proxy that the environment names for ``url``. What NO_PROXY names has none."""
    parts = httpx2.URL(url)
    if proxy_bypass(parts.host):
        return None
    named = getproxies()
    for scheme in (parts.scheme, "all"):
        if found := named.get(scheme):
            return Proxy(f"{scheme.upper()}_PROXY", found if "://" in found else f"http://{found}")
    return None

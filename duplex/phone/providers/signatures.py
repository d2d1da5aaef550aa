"""Checks that a request comes from the provider that it claims to come from.

Twilio signs what it sends, streams and webhooks alike
(https://www.twilio.com/docs/usage/security): the public address and the sorted parameters of a
form, with the account's auth token. What the others sign is not their media streams, so they carry
a key of this server: ``?token=``, or ``Authorization`` as a bearer or as the password of Basic.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit, urlunsplit

from duplex.config import PhoneConfig
from duplex.server.forwarded import Origin
from duplex.server.keys import presented_key

_DEFAULT_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
Form = Mapping[str, Sequence[str]]


def twilio_signature(token: str, url: str, form: Form) -> str:
    """Return what Twilio sends as ``X-Twilio-Signature``."""
    signed = url + "".join(
        name + value for name in sorted(form) for value in sorted(set(form[name]))
    )
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed_by_twilio(token: str, url: str, form: Form, signature: str) -> bool:
    """Whether ``signature`` is right, whether Twilio counts the port as part of ``url`` or not."""
    presented = signature.encode(errors="replace")
    return any(
        hmac.compare_digest(twilio_signature(token, u, form).encode(), presented)
        for u in _with_and_without_port(url)
    )


def _with_and_without_port(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    name = host if parts.port is None else host.rpartition(":")[0]
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return tuple(
        urlunsplit(parts._replace(netloc=netloc))  # type: ignore[return-value]
        for netloc in (name, f"{name}:{port}")
    )


def public_url(
    config: PhoneConfig,
    headers: Mapping[str, str],
    target: str,
    *,
    is_tls: bool,
    is_stream: bool,
    origin: Origin | None = None,
    root: str = "",
) -> str:
    """Return the address that the provider asked for. The request for ``target`` came with
    ``headers`` (names in lower case); trusted proxies say that its origin is ``origin``. ``root``
    is the path that stands before all of the server's.

    Raises:
        ValueError: the request does not show it.
    """
    scheme, host, prefix = "https" if is_tls else "http", headers.get("host", ""), root
    if config.public_url:
        parts = urlsplit(config.public_url)
        scheme, host, prefix = parts.scheme, parts.netloc, parts.path.rstrip("/") or root
    elif config.trust_forwarded:
        # A chain of proxies appends; what the provider asked for stands first.
        host = headers.get("x-forwarded-host", host).split(",")[0].strip()
        scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
    elif origin is not None:
        host = origin.host or host
        if origin.is_secure is not None:
            scheme = "https" if origin.is_secure else "http"
    is_secure = scheme in ("https", "wss")
    plain = "ws" if is_stream else "http"
    scheme = f"{plain}s" if is_secure else plain
    url = f"{scheme}://{host}{prefix}{target}"
    _ = urlsplit(url).port  # which raises if it is no number
    if not host:
        raise ValueError("the request names no host")
    return url


def key_of(headers: Mapping[str, str], query: str) -> str | None:
    """Return the key that a provider sends, None if there is none."""
    bearer = presented_key(headers.get("authorization"), None)
    if bearer is not None:
        return bearer
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return None
    return parse_qs(query).get("token", [None])[0]

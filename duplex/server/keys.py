"""Decides who may call: API keys, short-lived client secrets, and the web pages of callers.

No key is kept in clear: only its SHA-256, which for a random key of this length is enough.
"""

import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from duplex.config import AccessConfig, Config
from duplex.errors import ConfigError
from duplex.protocol.session_config import SessionConfig
from duplex.server.quota import Allowance
from duplex.server.store import Store
from duplex.toml_file import convert, read_toml

logger = logging.getLogger(__name__)

MIN_KEY_CHARS = 16
SECRET_PREFIX = "ek_"
SECRET_DEFAULT_S, SECRET_MIN_S, SECRET_MAX_S = 600, 10, 7200  # as the OpenAI API has them
MAX_SECRETS = 256  # alive at a time, of one key; each holds a session of at most 64 KiB
_SUBPROTOCOL_KEY = "openai-insecure-api-key."
_ANYBODY = "*"


class _KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the keys file; absent values are those of the configuration."""

    sha256: str
    calls: int | None = None
    minutes_per_day: float | None = None
    bytes_per_s: int | None = None
    metrics: bool = False
    record: bool | None = None
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a key. ``session`` comes with a client secret."""

    name: str
    allowance: Allowance
    may_read_metrics: bool = False
    session: SessionConfig | None = None
    secret_id: str = ""  # tells the users of a key's client secrets apart; empty: the key itself
    is_key: bool = False  # else the name is that of a path which needs no key
    records: bool | None = None  # whether its calls are recorded; None: as the server does
    is_admin: bool = False  # may see and delete the calls of others

    @property
    def account(self) -> str:
        """The name under which its calls are counted."""
        return f"{'key' if self.is_key else 'door'}:{self.name}"


class Keys:
    """The keys of a server. Without any, everybody may call."""

    def __init__(
        self,
        entries: Mapping[str, tuple[bytes, Principal]],
        anybody: Principal,
        admin: bytes | None = None,
    ) -> None:
        """``admin`` is the digest of a key that is for the calls of others only."""
        self._entries = dict(entries)  # name -> digest and owner
        self._anybody = anybody
        digests = [digest for digest, owner in self._entries.values() if owner.is_admin]
        self.admin_digests = digests if admin is None else [*digests, admin]
        """Hashes of the keys whose owners may see and delete the calls of others."""

    @property
    def has_admins(self) -> bool:
        """Whether there is any such key."""
        return bool(self.admin_digests)

    def find_admin(self, key: str | None) -> bytes | None:
        """Return the digest of ``key`` if it is one of an admin's."""
        presented = None if key is None else _digest(key)
        found = None
        for digest in self.admin_digests:  # all of them, as in `find`
            if presented is not None and hmac.compare_digest(digest, presented):
                found = digest
        return found

    def __len__(self) -> int:
        return len(self._entries)

    def named(self, name: str) -> Principal | None:
        """Return the owner of that name; None if there is none any more."""
        if not self._entries:
            return self._anybody if name == self._anybody.name else None
        return self._entries[name][1] if name in self._entries else None

    def find(self, key: str | None) -> Principal | None:
        """Return the owner of ``key``; None if there is none."""
        if not self._entries:
            return self._anybody
        if key is None:
            return None
        presented = _digest(key)
        found = None
        for digest, principal in self._entries.values():  # all of them: equal time for all keys
            if hmac.compare_digest(digest, presented):
                found = principal
        return found


def load_keys(config: AccessConfig, environment: Mapping[str, str] = os.environ) -> Keys:
    """Read the keys file, and the variable that holds a single key.

    Raises:
        ConfigError: the file cannot be used, or the key in the variable is too short.
    """
    usual = Allowance(config.calls, config.minutes_per_day, config.bytes_per_s)
    entries: dict[str, tuple[bytes, Principal]] = {}
    if config.keys_file:
        entries = _read(Path(config.keys_file).expanduser(), usual)
    key = _key_in(config.key_env, environment)
    admin = _key_in(config.admin_key_env, environment)
    if key:
        owner = Principal(config.key_env, usual, may_read_metrics=True, is_key=True)
        entries[config.key_env] = (_digest(key), owner)
    anybody = Principal("", usual, may_read_metrics=True)
    return Keys(entries, anybody, _digest(admin) if admin else None)


def _key_in(variable: str, environment: Mapping[str, str]) -> str:
    key = environment.get(variable, "") if variable else ""
    if key and len(key) < MIN_KEY_CHARS:
        raise ConfigError(
            f"the key in {variable} has fewer than {MIN_KEY_CHARS} characters; make one with: "
            "openssl rand -hex 32"
        )
    return key


def _read(path: Path, usual: Allowance) -> dict[str, tuple[bytes, Principal]]:
    try:
        table = convert(read_toml(path), dict[str, _KeyEntry])
        entries = {
            name: (bytes.fromhex(entry.sha256), _owner(name, entry, usual))
            for name, entry in table.items()
        }
    except ValueError as error:  # of msgspec, of hex digits
        raise ConfigError(f"{path}: {error}") from error
    for name, (digest, _) in entries.items():
        if len(digest) != 32:
            raise ConfigError(f"{path}: {name}.sha256 is not the 64 hex digits of a SHA-256")
    if not entries:
        raise ConfigError(f"{path}: it holds no key")
    return entries


def _owner(name: str, entry: _KeyEntry, usual: Allowance) -> Principal:
    allowance = Allowance(
        usual.calls if entry.calls is None else entry.calls,
        usual.minutes_per_day if entry.minutes_per_day is None else entry.minutes_per_day,
        usual.bytes_per_s if entry.bytes_per_s is None else entry.bytes_per_s,
    )
    return Principal(
        name,
        allowance,
        entry.metrics,
        is_key=True,
        records=entry.record,
        is_admin=entry.admin,
    )


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A client secret as its maker gets it; the server does not keep ``value``."""

    value: str
    expires_at: int


class TooManySecrets(Exception):
    """The key has as many client secrets alive as it may have."""


class _Kept(msgspec.Struct, frozen=True):
    """What the store holds of a client secret: whose it is, and its session."""

    owner: str
    session: SessionConfig


class ClientSecrets:
    """Keys for browsers: they expire, and carry the session that their maker chose. A secret that
    one server has made is good at all that share its store."""

    def __init__(self, keys: Keys, store: Store, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives Unix seconds."""
        self._keys = keys
        self._store = store
        self._clock = clock

    async def make(self, owner: Principal, session: SessionConfig, seconds: int) -> ClientSecret:
        """Make one for ``owner``.

        Raises:
            TooManySecrets: there are `MAX_SECRETS` of this owner's.
            StoreDown: it cannot be kept.
        """
        value = SECRET_PREFIX + secrets.token_hex(24)
        body = msgspec.json.encode(_Kept(owner.name, session))
        digest = _digest(value).hex()
        if not await self._store.keep_secret(digest, owner.account, body, seconds, MAX_SECRETS):
            raise TooManySecrets(f"{MAX_SECRETS} client secrets of this key are alive.")
        return ClientSecret(value, int(self._clock() + seconds))

    async def find(self, value: str | None) -> Principal | None:
        """Return the owner of a secret that has not expired. It is looked up by its digest, whose
        comparison shows a guesser nothing of the secret.

        Raises:
            StoreDown: it cannot be looked up.
        """
        if value is None or not value.startswith(SECRET_PREFIX):
            return None
        digest = _digest(value).hex()
        body = await self._store.secret(digest)
        if body is None:
            return None
        try:
            kept = msgspec.json.decode(body, type=_Kept)
        except msgspec.DecodeError:  # of a server of another version
            logger.warning("a client secret of another version cannot be read")
            return None
        owner = self._keys.named(kept.owner)
        if owner is None:  # the key was withdrawn
            return None
        return Principal(
            owner.name,
            owner.allowance,
            session=kept.session,
            secret_id=digest[:16],
            is_key=owner.is_key,
            records=owner.records,
        )


def presented_key(authorization: str | None, subprotocols: str | None) -> str | None:
    """Return the key of a request: ``Authorization: Bearer KEY``, or, as browsers cannot send
    that, the sub-protocol ``openai-insecure-api-key.KEY``."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    for offered in (subprotocols or "").split(","):
        if offered.strip().startswith(_SUBPROTOCOL_KEY):
            return offered.strip().removeprefix(_SUBPROTOCOL_KEY)
    return None


def allows_origin(
    origin: str | None, host: str, allowed: tuple[str, ...], tls_host: str | None = None
) -> bool:
    """Whether a page of ``origin`` may call a server that listens on ``host``.

    Programs send no Origin. Pages of this machine may call a server that only this machine can
    reach; all others must be listed. That the Origin equals the Host header proves nothing, as a
    hostile page can have its own name resolve to this address; unless there is TLS, where no such
    page gets past the certificate. Then ``tls_host`` is that header, and the page is our own.
    """
    if origin is None or _ANYBODY in allowed or origin in allowed:
        return True
    if tls_host and origin.lower() == f"https://{tls_host.lower()}":
        return True
    try:
        page_host = urlsplit(origin).hostname
    except ValueError:
        return False
    return page_host is not None and is_loopback(host) and is_loopback(page_host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``. A name other than localhost may be anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(config: Config, keys: Keys) -> None:
    """Refuse to serve strangers by accident, and nobody by a slip of the pen.

    Raises:
        ConfigError: others can reach the server, and there is no key; or the address of a page or
            of this server is of a form that no request has.
    """
    _check_addresses(config)
    host = config.server.host
    reached = config.phone.public_url or "the proxy" if config.phone.is_public else host
    is_ours = is_loopback(host) and not config.phone.is_public
    if not (is_ours or len(keys) or config.server.insecure):
        raise ConfigError(
            f"anybody who reaches {reached} could use this server: set a key (DUPLEX_API_KEY, or "
            "access.keys_file; see duplex.example.toml), or say --insecure"
        )


def _check_addresses(config: Config) -> None:
    for origin in config.access.origins:
        scheme, _, host = origin.partition("://")
        if origin not in (_ANYBODY, "null") and (not scheme or not host or "/" in host):
            raise ConfigError(
                f"access.origins: {origin!r} is not of the form https://example.org, without a path"
            )
    public = config.phone.public_url
    if public and urlsplit(public).scheme not in ("https", "http", "wss", "ws"):
        raise ConfigError(f"phone.public_url: {public!r} does not begin with https://")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()

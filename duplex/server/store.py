"""What servers that serve the same callers share: calls and minutes of a key, client secrets, bans,
and where each server is. It has two homes: the memory of one server, and a Valkey of many."""

import time
from collections.abc import Callable
from typing import Protocol

from duplex.errors import DuplexError
from duplex.server.quota import Account, Allowance

_MAX_BANNED = 1000  # sources; those whose time is over are forgotten then


class StoreDown(DuplexError):
    """The store cannot be reached, or not in time."""


class Store(Protocol):
    """Shared by all calls of a server. ``key`` names an account: of an API key, or of a door that
    needs none. Each method returns soon, whatever the network does.

    Raises:
        StoreDown: from every method but ``close``.
    """

    async def begin(self, key: str, allowance: Allowance, call: str) -> str | None:
        """Take a place for a ``call`` of ``key``; or return, in words for the caller, why there is
        none. A place that is not renewed by ``left_s`` becomes free by itself."""

    async def left_s(self, key: str, allowance: Allowance, call: str) -> float:
        """Charge a call for the time since this was asked last, and keep its place. Returns how
        long the key's open calls may go on together; infinite without a limit."""

    async def end(self, key: str, allowance: Allowance, call: str) -> None:
        """Charge a call for the rest, and free its place."""

    async def keep_secret(
        self, digest: str, owner: str, body: bytes, seconds: int, most: int
    ) -> bool:
        """Keep a client secret of ``owner``; False if as many as ``most`` are alive."""

    async def secret(self, digest: str) -> bytes | None:
        """The body of a secret that is alive."""

    async def ban(self, source: str, seconds: float) -> None:
        """Have ``source`` wait before its next call."""

    async def is_banned(self, source: str) -> bool:
        """Whether it has to wait."""

    async def announce(self, edge: str, address: str, seconds: float) -> None:
        """Say where the server ``edge`` is; it holds for so long."""

    async def address_of(self, edge: str) -> str | None:
        """Where it is; None if it does not say so any more."""

    async def close(self) -> None:
        """Let go of it."""


class MemoryStore:
    """The store of one server alone. Places need no lease: they go with the server."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives Unix seconds."""
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        # Digest -> expiry, owner and body; encoded, because it is many times larger decoded.
        self._secrets: dict[str, tuple[float, str, bytes]] = {}
        self._banned: dict[str, float] = {}  # source -> until when
        self._edges: dict[str, str] = {}

    async def begin(self, key: str, allowance: Allowance, call: str) -> str | None:
        """See `Store`."""
        account, now_s = self._account(key, allowance), self._clock()
        refusal = account.refusal(now_s)
        if refusal is None:
            account.begin(now_s)
        return refusal

    async def left_s(self, key: str, allowance: Allowance, call: str) -> float:
        """See `Store`."""
        return self._account(key, allowance).left_s(self._clock())

    async def end(self, key: str, allowance: Allowance, call: str) -> None:
        """See `Store`."""
        self._account(key, allowance).end(self._clock())

    async def keep_secret(
        self, digest: str, owner: str, body: bytes, seconds: int, most: int
    ) -> bool:
        """See `Store`."""
        now_s = self._clock()
        self._secrets = {d: entry for d, entry in self._secrets.items() if entry[0] > now_s}
        if sum(other == owner for _, other, _ in self._secrets.values()) >= most:
            return False
        self._secrets[digest] = (now_s + seconds, owner, body)
        return True

    async def secret(self, digest: str) -> bytes | None:
        """See `Store`."""
        until_s, _, body = self._secrets.get(digest, (0.0, "", b""))
        return body if until_s > self._clock() else None

    async def ban(self, source: str, seconds: float) -> None:
        """See `Store`."""
        now_s = self._clock()
        self._banned[source] = now_s + seconds
        if len(self._banned) > _MAX_BANNED:
            self._banned = {s: until_s for s, until_s in self._banned.items() if until_s > now_s}

    async def is_banned(self, source: str) -> bool:
        """See `Store`."""
        return self._banned.get(source, 0.0) > self._clock()

    async def announce(self, edge: str, address: str, seconds: float) -> None:
        """See `Store`."""
        self._edges[edge] = address

    async def address_of(self, edge: str) -> str | None:
        """See `Store`."""
        return self._edges.get(edge)

    async def close(self) -> None:
        """See `Store`."""

    def _account(self, key: str, allowance: Allowance) -> Account:
        return self._accounts.setdefault(key, Account(allowance, self._clock()))

"""The store of many servers: a Valkey, or a Redis. Needs the extra ``scale``.

Each operation is one script or command, so that no two servers can come between its steps. Times
are the store's own: clocks of servers may differ.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import valkey.asyncio as valkey
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError
from valkey.retry import Retry

from duplex.server.quota import Allowance, Shortage, in_words
from duplex.server.store import StoreDown

T = TypeVar("T")
logger = logging.getLogger(__name__)

_DAYS_S = 48 * 3600  # minutes of a day are kept for longer than it lasts anywhere
_NOW = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
"""
# KEYS: places, minutes. ARGV: call, lease, most calls, most seconds.
_BEGIN = f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local calls, seconds = tonumber(ARGV[3]), tonumber(ARGV[4])
if calls > 0 and redis.call('ZCARD', KEYS[1]) >= calls then return 'calls' end
if seconds > 0 and tonumber(redis.call('GET', KEYS[2]) or '0') >= seconds then return 'minutes' end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2])) + 60)
return ''
"""
# KEYS: places, minutes. ARGV: call, lease (0: the call ends), seconds to charge, how long to keep
# them. Returns the seconds used and the calls that are open.
_CHARGE = f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if tonumber(ARGV[2]) > 0 then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
  redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2])) + 60)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
local used = redis.call('INCRBYFLOAT', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {{used, redis.call('ZCARD', KEYS[1])}}
"""
# KEYS: secrets of the owner, the secret. ARGV: digest, body, seconds, most.
_KEEP = f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIREAT', KEYS[1], math.ceil(now + tonumber(ARGV[3]) + 7200))
return 1
"""


class ValkeyStore:
    """One server's connections to the store. See `duplex.server.store.Store`."""

    def __init__(
        self, url: str, *, password: str = "", prefix: str, lease_s: float, budget_s: float
    ) -> None:
        """Nothing is sent yet. All names in the store begin with ``prefix``. A place is kept for
        ``lease_s``. An operation may take ``budget_s``.

        Raises:
            ValueError: ``url`` is none.
        """
        self._prefix = prefix
        self._lease_s = lease_s
        self._budget_s = budget_s
        options: dict[str, Any] = {"password": password} if password else {}
        # No retries: they take the time in which a caller can be told.
        self._client: Any = valkey.Valkey.from_url(url, retry=Retry(NoBackoff(), 0), **options)
        self._begin = self._client.register_script(_BEGIN)
        self._charge = self._client.register_script(_CHARGE)
        self._keep = self._client.register_script(_KEEP)
        self._charged_at: dict[str, float] = {}  # of the calls here, in monotonic seconds

    async def check(self, patience_s: float) -> None:
        """Connect.

        Raises:
            StoreDown: that fails, or takes longer than ``patience_s``.
        """
        await self._within(self._client.ping(), patience_s)

    async def begin(self, key: str, allowance: Allowance, call: str) -> str | None:
        """See `Store`."""
        limits = [allowance.calls, allowance.minutes_per_day * 60]
        said = await self._within(
            self._begin(keys=self._names(key), args=[call, self._lease_s, *limits])
        )
        if said:
            return in_words(Shortage(said.decode()), allowance)
        self._charged_at[call] = time.monotonic()
        return None

    async def left_s(self, key: str, allowance: Allowance, call: str) -> float:
        """See `Store`."""
        used_s, calls = await self._charged(key, call, self._lease_s)
        if not allowance.minutes_per_day:
            return math.inf
        return max(0.0, allowance.minutes_per_day * 60 - used_s) / max(1, calls)

    async def end(self, key: str, allowance: Allowance, call: str) -> None:
        """See `Store`."""
        try:
            await self._charged(key, call, 0)
        finally:
            self._charged_at.pop(call, None)

    async def keep_secret(
        self, digest: str, owner: str, body: bytes, seconds: int, most: int
    ) -> bool:
        """See `Store`."""
        names = [self._name("secrets", owner), self._name("secret", digest)]
        return bool(await self._within(self._keep(names, [digest, body, seconds, most])))

    async def secret(self, digest: str) -> bytes | None:
        """See `Store`."""
        found: bytes | None = await self._within(self._client.get(self._name("secret", digest)))
        return found

    async def ban(self, source: str, seconds: float) -> None:
        """See `Store`."""
        name = self._name("ban", source)
        await self._within(self._client.set(name, b"1", px=max(1, round(seconds * 1000))))

    async def is_banned(self, source: str) -> bool:
        """See `Store`."""
        return bool(await self._within(self._client.exists(self._name("ban", source))))

    async def announce(self, edge: str, address: str, seconds: float) -> None:
        """See `Store`."""
        name = self._name("edge", edge)
        await self._within(self._client.set(name, address, px=max(1, round(seconds * 1000))))

    async def address_of(self, edge: str) -> str | None:
        """See `Store`."""
        found = await self._within(self._client.get(self._name("edge", edge)))
        return None if found is None else found.decode()

    async def close(self) -> None:
        """See `Store`."""
        try:
            await self._client.aclose()
        except (ValkeyError, OSError) as error:
            logger.info("the store was left without a goodbye: %s", error)

    async def _charged(self, key: str, call: str, lease_s: float) -> tuple[float, int]:
        """The seconds that the calls of ``key`` have used today, and how many are open. What could
        not be charged is charged next time."""
        now = time.monotonic()
        since_s = now - self._charged_at.get(call, now)
        args = [call, lease_s, f"{since_s:.3f}", _DAYS_S]
        used_s, calls = await self._within(self._charge(keys=self._names(key), args=args))
        self._charged_at[call] = now
        return float(used_s), int(calls)

    async def _within(self, operation: Awaitable[T], budget_s: float | None = None) -> T:
        try:
            async with asyncio.timeout(budget_s or self._budget_s):
                return await operation
        except TimeoutError as error:
            raise StoreDown("the store does not answer in time") from error
        except (ValkeyError, OSError) as error:
            raise StoreDown(f"the store cannot be used: {error}") from error

    def _names(self, key: str) -> list[str]:
        """Where a key's places are, and its minutes of today."""
        today = time.strftime("%Y%m%d", time.gmtime())
        return [self._name("calls", key), self._name("used", key, today)]

    def _name(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))

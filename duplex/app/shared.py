"""The store that servers share, as it is configured, and what a server tells the others."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from duplex.config import StoreConfig
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.server.gate import BAN_S
from duplex.server.keys import Principal
from duplex.server.places import Errands, Places, Refusal
from duplex.server.store import MemoryStore, StoreDown

if TYPE_CHECKING:
    from duplex.server.valkey_store import ValkeyStore

logger = logging.getLogger(__name__)

_ANNOUNCE_S, _KNOWN_S = 10.0, 30.0  # between announcements, and how long one holds
_FIRST_S = 2.0  # for the first connection


def make_store(config: StoreConfig) -> "MemoryStore | ValkeyStore":
    """
    Raises:
        ConfigError: its package is missing, or its address is none.
    """
    if not config.url:
        return MemoryStore()
    try:
        from duplex.server.valkey_store import ValkeyStore
    except ImportError as error:
        raise ConfigError(f"store.url needs: pip install 'duplex-r1[scale]' ({error})") from error
    try:
        return ValkeyStore(
            config.url,
            password=os.environ.get(config.password_env, "").strip(),
            prefix=config.prefix,
            lease_s=config.lease_s,
            budget_s=config.budget_ms / 1000,
        )
    except ValueError as error:
        raise ConfigError(f"store.url: {error}") from error


class Shared:
    """What one server shares with others. Alone, it is all the same, and nobody shares it."""

    def __init__(self, config: StoreConfig, metrics: Metrics) -> None:
        """
        Raises:
            ConfigError: as `make_store`.
        """
        self._config = config
        self.store = make_store(config)
        self._errands = Errands(metrics)
        self.places = Places(
            self.store,
            self._errands,
            lease_s=config.lease_s,
            admits_when_down=config.when_down == "admit",
        )

    def ban(self, source: str) -> None:
        """Have ``source`` wait before its next call, on all servers."""
        self._errands.run(self.store.ban(source, BAN_S))

    async def has_place(self, principal: Principal) -> bool:
        """Whether the key of ``principal`` has a place left for a call. None is taken."""
        reserved = await self.places.reserve(principal)
        if isinstance(reserved, Refusal):
            return False
        reserved.give_back()
        await self._errands.finish()
        return True

    @contextlib.asynccontextmanager
    async def joined(self) -> AsyncGenerator[None, None]:
        """While the block runs, others know of this server. A store that is down is told, and used
        once it is there."""
        if isinstance(self.store, MemoryStore):
            yield
            return
        try:
            await self.store.check(_FIRST_S)
        except StoreDown as error:
            logger.warning("%s: %s", self._config.url.rpartition("@")[2], error)
        announcing = asyncio.create_task(self._announce())
        try:
            yield
        finally:
            announcing.cancel()
            await asyncio.wait({announcing})
            await self._errands.finish()
            await self.store.close()

    async def _announce(self) -> None:
        config = self._config
        while config.edge and config.address:
            self._errands.run(self.store.announce(config.edge, config.address, _KNOWN_S))
            await asyncio.sleep(_ANNOUNCE_S)

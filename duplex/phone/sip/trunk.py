"""Our number at a provider or an exchange: registered there, so that it passes calls on to us."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from aiosipua import Registration, RegistrationState, SipDigestAuth, SipUAC, parse_uri

from duplex.config import SipConfig
from duplex.errors import ConfigError

logger = logging.getLogger(__name__)

_AGAIN_S = 30.0  # after a failure
_FAREWELL_S = 1.0  # for it to agree that we leave
_LOOK_S = 0.02


class Trunk:
    """Keeps one registration alive, if one is configured."""

    def __init__(self, config: SipConfig, uac: SipUAC) -> None:
        self._config = config
        self._uac = uac
        self._hosts: frozenset[str] = frozenset()
        self._registration: Registration | None = None  # set while it is wanted
        self._retry: asyncio.TimerHandle | None = None

    def is_from(self, host: str) -> bool:
        """Whether calls from ``host`` are those of the provider, which knows no password."""
        return host in self._hosts

    async def start(self) -> None:
        """Register, and keep at it.

        Raises:
            ConfigError: the provider's address cannot be found.
        """
        if not self._config.register:
            return
        try:
            uri = parse_uri(self._config.register)
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(
                uri.host, uri.port or 5060, family=socket.AF_INET, type=socket.SOCK_DGRAM
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"sip.register: {error}") from error
        addresses = [(str(address[0]), int(address[1])) for *_, address in found]
        self._hosts = frozenset(host for host, _ in addresses)
        password = os.environ.get(self._config.register_password_env, "")
        registration = Registration(
            self._uac,
            f"sip:{uri.user}@{uri.host}",
            addresses[0],
            auth=SipDigestAuth(uri.user or "", password) if password else None,
        )
        registration.on_registered = lambda granted: logger.info(
            "registered at %s for %d s", uri.host, granted.granted_expires
        )
        registration.on_failed = lambda *_: self._later(registration.register)
        registration.on_expired = lambda _: self._later(registration.register)
        self._registration = registration
        registration.register()

    def _later(self, work: Callable[[], object]) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(_AGAIN_S, work)

    async def stop(self) -> None:
        """Have no more calls passed on."""
        if self._retry is not None:
            self._retry.cancel()
        registration, self._registration = self._registration, None
        if registration is None or registration.state is not RegistrationState.REGISTERED:
            return
        registration.on_failed = None
        registration.unregister()
        for _ in range(round(_FAREWELL_S / _LOOK_S)):
            if registration.state is not RegistrationState.REGISTERED:
                return
            await asyncio.sleep(_LOOK_S)

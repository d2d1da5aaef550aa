"""How a server begins and ends: what would keep it from listening, told before models are loaded,
and what it waits for."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from duplex.config import ServerConfig
from duplex.errors import ConfigError

logger = logging.getLogger(__name__)

_ALIVE_S = 0.5  # between looks at whether the engine is alive
_LOST_S = 3.0  # between that it is lost and the end: for `/readyz` and callers to be told


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """Return what speaks TLS with clients, None without a certificate.

    Raises:
        ConfigError: the certificate cannot be used.
    """
    if not config.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_certificate, config.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"server.tls_certificate, server.tls_key: {error}") from error
    return context


def check_address(config: ServerConfig) -> None:
    """
    Raises:
        OSError: the port cannot be listened on; the message says what to do.
    """
    host, port = config.host, config.port
    if not port:
        return
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen(1)
    except OSError as error:
        mend = "server.host" if isinstance(error, socket.gaierror) else "--port or server.port"
        if error.errno == errno.EADDRNOTAVAIL:
            mend = "--host or server.host"
        why = error.strerror or str(error)
        message = f"{host}:{port}: {why}; choose another with {mend}"
        raise OSError(error.errno, message) from error


async def is_told_to_stop(signals: "asyncio.Queue[None]", are_alive: Callable[[], bool]) -> bool:
    """Wait for a signal, True, or for the end of a grace after the engine was lost, False."""
    stopping = asyncio.create_task(signals.get())
    try:
        while are_alive():
            await asyncio.wait([stopping], timeout=_ALIVE_S)
            if stopping.done():
                return True
        logger.error("the engine is lost: calls are refused, and the server ends")
        await asyncio.wait([stopping], timeout=_LOST_S)
        return False
    finally:
        stopping.cancel()

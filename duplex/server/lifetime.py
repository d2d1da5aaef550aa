"""How a server begins and ends: what would keep it from listening, told before models are loaded,
and what it waits for."""

import asyncio
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from websockets.asyncio.server import Server

from duplex.config import ServerConfig
from duplex.errors import ConfigError, EngineLost

logger = logging.getLogger(__name__)

Listening = TypeVar("Listening")

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


def base_url(listening: Server, scheme: str) -> str:
    """Where ``listening`` is reached."""
    host, port = next(iter(listening.sockets)).getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_until_told(
    listening: AbstractAsyncContextManager[Listening],
    ready: Callable[[Listening], object],
    are_alive: Callable[[], bool],
    drain: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Serve while the block ``listening`` runs, which ``ready`` is called with: until SIGINT or
    SIGTERM; then ``drain``, or stop at the second signal. This replaces the process's handlers of
    both signals.

    Raises:
        EngineLost: ``are_alive`` says that nothing can be answered any more.
    """
    signals: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    async with listening as served:
        ready(served)
        if not await is_told_to_stop(signals, are_alive):
            raise EngineLost("the engine is lost; start the server again")
        draining = asyncio.create_task(drain())
        again = asyncio.create_task(signals.get())
        await asyncio.wait([draining, again], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        again.cancel()


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

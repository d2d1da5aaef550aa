"""Whether a server's calls are traced, and the end of that."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import TYPE_CHECKING

from duplex.config import Config
from duplex.dialogue.observers import CallInfo, CallObserver
from duplex.errors import ConfigError
from duplex.telemetry.call_trace import CallTrace, beginning

if TYPE_CHECKING:
    from duplex.telemetry.exporting import Exporter

logger = logging.getLogger(__name__)

_FAREWELL_S = 5.0  # when the server stops: for spans to be exported


def check(config: Config) -> None:
    """
    Raises:
        ConfigError: traces are wanted, and OpenTelemetry is not installed, or is to export them in
            another way than we can.
    """
    if config.telemetry.traces:
        _exporting().check_protocol()


class Traces:
    """The traces of one server's calls; of none if they are not wanted."""

    def __init__(self, config: Config, exporter: "Exporter | None" = None) -> None:
        """``exporter`` in place of one that is made.

        Raises:
            ConfigError: they are wanted, and OpenTelemetry is not installed or its variables
                cannot be used.
        """
        if exporter is None and config.telemetry.traces:
            exporter = _exporting().Exporter()
        self._exporter = exporter

    def observe(self, info: CallInfo) -> CallObserver | None:
        """See `duplex.dialogue.observers.Observe`."""
        if self._exporter is None:
            return None
        return CallTrace(
            info, self._exporter.begin(info.began_s, beginning(info), info.traceparent)
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """At the end of the block, export what is left, for a few seconds at most."""
        try:
            yield
        finally:
            if self._exporter is not None:
                await _end(self._exporter)


async def _end(exporter: "Exporter") -> None:
    """The process does not wait for the thread: a collector may never answer."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def close() -> None:
        exporter.close()
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=close, daemon=True, name="telemetry").start()
    try:
        async with asyncio.timeout(_FAREWELL_S):
            await done.wait()
    except TimeoutError:
        logger.warning("the last spans were not exported within %g s", _FAREWELL_S)


def _exporting() -> ModuleType:
    try:
        from duplex.telemetry import exporting
    except ImportError as error:
        raise ConfigError(
            f"telemetry.traces needs: pip install 'duplex-r1[telemetry]' ({error})"
        ) from error
    return exporting

"""What observes the calls of a server, by its configuration."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from duplex.call_records.journal import CallRecord
from duplex.call_records.keeper import Keeper
from duplex.call_records.shelf import Shelf
from duplex.config import Config
from duplex.dialogue.observers import CallInfo, Observe
from duplex.errors import ConfigError
from duplex.metrics import Metrics
from duplex.telemetry import traces
from duplex.telemetry.traces import Traces
from duplex.webhooks.events import Recording
from duplex.webhooks.hooks import Webhooks, keys_of


def check(config: Config) -> None:
    """What of it can be known before the models are loaded.

    Raises:
        ConfigError: a webhook has no secret, or calls cannot be traced.
    """
    keys_of(config)
    traces.check(config)


class Observing:
    """All of it. Each part has its entry in ``observe``, and runs while `running` does."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        """
        Raises:
            ConfigError: nothing can be written where calls are to be recorded; as `Webhooks` and
                `Traces`.
        """
        self._webhooks = Webhooks(config, metrics)
        self._traces = Traces(config)
        self._loop: asyncio.AbstractEventLoop  # set while it is running
        self.observe: list[Observe] = [self._webhooks.observe, self._traces.observe]
        """What each call is offered to when it begins."""
        self.shelf = _shelf(config)
        """Where calls are recorded; None: they are not."""
        self._keeper: Keeper | None = None
        if self.shelf is not None:
            language = "" if config.ear.language == "auto" else config.ear.language
            self._keeper = Keeper(config.recording, self.shelf, metrics, language, self._recorded)
            self.observe.append(self._keeper.observe)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Work while the block runs; at its end, all calls have ended.

        Raises:
            ConfigError: as `Webhooks.running`.
        """
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._webhooks.running())
            await stack.enter_async_context(self._traces.running())
            if self._keeper is not None:
                await stack.enter_async_context(self._keeper.running())
            yield

    def _recorded(self, info: CallInfo, record: CallRecord) -> None:
        """A recording is whole. Called on the thread that writes."""
        recording = Recording(record.id, round(record.seconds, 3))
        self._loop.call_soon_threadsafe(self._webhooks.recorded, info, recording)


def _shelf(config: Config) -> Shelf | None:
    if not config.recording.dir:
        return None
    try:
        return Shelf(config.recording)
    except OSError as error:
        raise ConfigError(f"recording.dir: {error}") from error

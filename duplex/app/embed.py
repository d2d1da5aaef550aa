"""The server as a library: `duplex.Server`.

`duplex.app.server.DialogueServer` is what serves; here its parts are made and closed.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from duplex.app import build
from duplex.app.plugins import Given
from duplex.config import Config, check
from duplex.errors import DuplexError
from duplex.model_store import Progress
from duplex.server.keys import check_exposure, load_keys
from duplex.server.lifetime import check_address, tls_context

if TYPE_CHECKING:
    from duplex.app.server import DialogueServer
    from duplex.dialogue.interfaces import Engine
    from duplex.dialogue.parts import Parts
    from duplex.turns.interfaces import Vad
    from engine.brain.interface import Brain
    from engine.ear.interface import Ear
    from tts.types import Voice


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts calls."""

    url: str
    """Where Realtime clients connect: ``ws://127.0.0.1:8765/v1/realtime``."""

    _server: "DialogueServer"

    @property
    def page(self) -> str:
        """Where a person talks to it in a browser: ``http://127.0.0.1:8765/``."""
        parts = urlsplit(self.url)
        return f"{parts.scheme.replace('ws', 'http', 1)}://{parts.netloc}/"

    @property
    def open_calls(self) -> int:
        """How many calls are open."""
        return len(self._server.calls)

    async def drain(self) -> None:
        """Take no new calls; end each open one when nobody speaks in it, and wait for that, for
        ``server.drain_s`` at the most."""
        await self._server.drain()


def announce(running: Running) -> None:
    """Write to standard output where the server is."""
    sys.stdout.write(f"ready: {running.url}\ntalk to it at {running.page} or with `duplex talk`\n")
    sys.stdout.flush()


class Server:
    """Serves speech conversations on one port, with parts of your own or the default ones.

        Server(load_config("duplex.toml"), brain=MyBrain()).run()

    Each part is shared by all calls; its Protocol says what it has to do. A part that is not
    given is made from ``config``, and only its models are fetched and loaded. An ``engine`` is
    an ear and a brain in one. A server serves once, and closes its engine afterwards: the brain
    with it, also one that was given.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        ear: "Ear | None" = None,
        brain: "Brain | None" = None,
        voice: "Voice | None" = None,
        vad: "Vad | None" = None,
        engine: "Engine | None" = None,
    ) -> None:
        """Check the configuration; nothing is loaded yet. None: the default `Config`.

        Raises:
            ConfigError: options contradict each other, keys or the certificate cannot be used, or
                strangers would be served by accident.
            ValueError: an engine is given, and an ear or a brain, too.
        """
        self.config = config or Config()
        self._given = Given(engine, ear, brain, voice, vad)
        check(self.config)
        self._keys = load_keys(self.config.access)
        check_exposure(self.config, self._keys)
        tls_context(self.config.server)
        if self.config.sip.enabled:
            from duplex.phone.sip import admission

            admission.check(self.config)
        if self.config.webhooks or self.config.telemetry.traces:
            from duplex.app import observing

            observing.check(self.config)
        self._parts: Parts | None = None  # set by load
        self._has_served = False

    def load(self) -> None:
        """Install the models that are missing and load them, which may take minutes the first
        time; says on standard error what takes longer than two seconds. `run` and `listen` do
        it themselves; call it to have errors before.

        Raises:
            ConfigError: the configuration asks for what is not there, a plug-in for one.
            ModelError: a model cannot be fetched or used.
            OSError: the port cannot be listened on.
        """
        if self._parts is None:
            check_address(self.config.server)
            store = build.open_store(self.config, self._given)
            self._parts = build.load(self.config, store, Progress(sys.stderr), self._given)

    def run(self, ready: Callable[[Running], None] = announce) -> None:
        """Serve until SIGINT or SIGTERM, then wait for replies that are being spoken (at most
        ``server.drain_s``). Blocks, and takes these two signals; for a server in a program of
        your own see `listen`. ``ready`` is called with the address when calls are accepted.

        Raises:
            DuplexError: it is called from another thread than the main one, where no signal
                arrives, or it has served already.
            ConfigError, ModelError: as `load`.
            EngineLost: the engine can answer nothing any more.
            OSError: the port cannot be listened on.
        """
        from duplex.server import memory

        if threading.current_thread() is not threading.main_thread():
            raise DuplexError(
                "Server.run() works in the main thread only, because it waits for signals; "
                "elsewhere use `async with server.listen()`"
            )
        self.load()
        memory.settle()
        with self._serving() as server:
            asyncio.run(server.run(lambda url: ready(Running(url, server))))

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[Running, None]:
        """Accept calls while the block runs; at its end, end those that are open. Installs no
        signal handlers. The models are loaded in a thread.

            async with Server(config).listen() as running:
                print(running.url)

        Raises:
            DuplexError: it has served already.
            ConfigError, ModelError: as `load`.
            OSError: the port cannot be listened on.
        """
        from duplex.app.server import address

        await asyncio.to_thread(self.load)
        with self._serving() as server:
            async with server.listen() as listening:
                is_secure = bool(self.config.server.tls_certificate)
                yield Running(address(listening, "wss" if is_secure else "ws"), server)

    @contextlib.contextmanager
    def _serving(self) -> Iterator["DialogueServer"]:
        """What serves, with the loaded parts, which are closed afterwards."""
        from duplex.app.server import DialogueServer

        if self._has_served:
            raise DuplexError("a Server serves once, and its parts are closed: make another")
        self._has_served = True
        assert self._parts is not None
        try:
            yield DialogueServer(self.config, self._parts, keys=self._keys)
        finally:
            self._parts.close()

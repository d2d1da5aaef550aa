"""A real store on a free port: Valkey, or the Redis that it comes from."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
_WAIT_S = 30.0


@dataclass
class RunningStore:
    """It keeps nothing on disk: started again, it is empty."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What a configuration says."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert PROGRAM is not None
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--save", "", "--appendonly", "no",
             "--bind", "127.0.0.1", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until_s = time.monotonic() + _WAIT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < until_s, "the store does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running_store(folder: Path) -> Iterator[RunningStore]:
    """Run one until the block ends."""
    store = RunningStore(free_port(), folder)
    store.start()
    try:
        yield store
    finally:
        store.kill()

"""Servers as processes of their own, with scripted models, that share a store; and a HAProxy before
them with the configuration of docker/haproxy.cfg."""

import asyncio
import contextlib
import hashlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests._support.proxies import HAPROXY
from tests._support.stores import RunningStore, free_port

ALICE, BOB = "alice-alice-alice-alice", "bob-bob-bob-bob-bob"
_CONFIG = Path(__file__).parents[2] / "docker" / "haproxy.cfg"


@dataclass
class Edge:
    """One server."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where to call."""
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def gone(self) -> None:
        """Wait until it has ended."""
        self.process.wait(60)


def start_edge(name: str, folder: Path, store: RunningStore, *, lease_s: float = 2.0) -> Edge:
    """Start one. Alice's key may hold two calls, Bob's any number."""
    keys = folder / "keys.toml"
    keys.write_text(
        f"[alice]\nsha256 = '{hashlib.sha256(ALICE.encode()).hexdigest()}'\ncalls = 2\n"
        f"[bob]\nsha256 = '{hashlib.sha256(BOB.encode()).hexdigest()}'\n"
    )
    port = free_port()
    path = folder / f"{name}.toml"
    path.write_text(
        f"[server]\nport = {port}\nmax_calls = 8\ndrain_s = 20\nresume_s = 20\n"
        f"[access]\nkeys_file = '{keys}'\n"
        "[limits]\nrefuse_lag_ms = 0\nrefuse_stage_ms = 0\n"
        f"[store]\nurl = '{store.url}'\nlease_s = {lease_s}\nbudget_ms = 2000\nedge = '{name}'\n"
        f"address = 'ws://127.0.0.1:{port}'\n"
    )
    process = subprocess.Popen([sys.executable, "-m", "tests._support.edges", str(path)])
    return Edge(name, port, process)


@contextlib.asynccontextmanager
async def edges(
    folder: Path, store: RunningStore, lease_s: float = 2.0
) -> AsyncIterator[tuple[Edge, Edge]]:
    """Run two, a and b, until the block ends."""
    both = start_edge("a", folder, store, lease_s=lease_s), start_edge("b", folder, store)
    try:
        for edge in both:
            await _listens(edge.port, edge.process)
        yield both
    finally:
        for edge in both:
            edge.process.kill()
            edge.process.wait()


@contextlib.asynccontextmanager
async def balanced(folder: Path, a: Edge, b: Edge) -> AsyncIterator[str]:
    """Put a HAProxy before them, with the configuration that is shipped but for its addresses and
    how long it waits between looks; yields where to call."""
    assert HAPROXY is not None
    port = free_port()
    text = _CONFIG.read_text()
    for shown, real in (
        (r"bind :8765", f"bind 127.0.0.1:{port}"),
        (r"bind :8404", f"bind 127.0.0.1:{free_port()}"),
        (r"edge-a:8765", f"127.0.0.1:{a.port}"),
        (r"edge-b:8765", f"127.0.0.1:{b.port}"),
        (r"inter 1s", "inter 100ms"),
        (r" resolvers \w+", ""),
        (r" init-addr \S+", ""),
    ):
        text, count = re.subn(shown, real, text)
        assert count or "resolvers" in shown or "init" in shown, shown
    path = folder / "haproxy.cfg"
    path.write_text(text)
    process = _start(HAPROXY, path)
    try:
        await _listens(port, process)
        yield f"ws://127.0.0.1:{port}/v1/realtime"
    finally:
        process.kill()
        process.wait()


def _start(program: str, path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([program, "-f", str(path)])


async def _listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(60):
        while True:
            assert process.poll() is None, "it has ended"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


def _main(path: str) -> None:
    from duplex import Server
    from duplex.config import load_config
    from duplex.testing import LoudnessVad, ScriptedEngine, ScriptedVoice
    from tests._support.servers import FAST

    Server(
        load_config(path), engine=ScriptedEngine(FAST), voice=ScriptedVoice(), vad=LoudnessVad()
    ).run(lambda _: None)


if __name__ == "__main__":
    _main(sys.argv[1])

"""An engine that is lost: the server says so, takes no calls, and the process ends."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from duplex.config import Config, ServerConfig
from duplex.dialogue.parts import Parts
from duplex.protocol.codes import Code
from duplex.protocol.session_config import SessionConfig
from duplex.server.lifetime import is_told_to_stop
from duplex.testing.engine import ScriptedEngine
from duplex.testing.steps import TimedSteps
from duplex.testing.turns import LoudnessVad
from duplex.testing.virtual_time import virtual
from duplex.testing.voice import ScriptedVoice
from tests._support.servers import running_server
from tests._support.wire import close_code, say_something, until

ROOT = Path(__file__).parents[3]
PLUGIN = """
import pathlib
from duplex.testing import LoudnessVad, ScriptedEngine, ScriptedVoice


class Engine(ScriptedEngine):
    @property
    def is_alive(self):
        return not pathlib.Path(self.grave).exists()

    @is_alive.setter
    def is_alive(self, value):
        pass


def load(grave):
    Engine.grave = grave
    return Engine()
"""
ENTRY_POINTS = """
[duplex.engines]
mortal = mortal_plugin:load
[duplex.voices]
tone = mortal_plugin:ScriptedVoice
[duplex.vads]
loudness = mortal_plugin:LoudnessVad
"""


async def status(url: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


@pytest.mark.realtime
@pytest.mark.parametrize("which", ["first", "other"])
async def test_a_lost_engine_refuses_calls_and_says_why(which: str) -> None:
    other = ScriptedEngine()
    config = Config(server=ServerConfig(port=0))
    async with running_server(config, engines={"other": other}) as running:
        assert await status(f"{running.http}/readyz") == (200, "ready\n")
        async with connect(running.url) as client:
            assert (await say_something(client))["status"] == "completed"
        (running.engine if which == "first" else other).is_alive = False
        assert await status(f"{running.http}/readyz") == (503, "engine lost\n")
        assert (await status(f"{running.http}/healthz"))[0] == 200
        async with connect(running.url) as refused:
            error = (await until(refused, "error"))["error"]
            assert error["code"] == Code.SERVER_STOPPING
            assert "engine is lost" in error["message"]
            assert await close_code(refused) == 1013
        refusal = running.server.calls.refusal()
        assert refusal is not None
        assert refusal.kind == "engine_lost"
        assert 'refused_total{reason="engine_lost"} 1' in running.server.metrics.render({})
        assert "Say" in (await status(f"{running.http}/twilio"))[1]  # that all lines are busy


def test_after_the_loss_there_is_a_short_grace() -> None:
    async def scenario() -> list[tuple[bool, float]]:
        loop, ended = asyncio.get_running_loop(), []
        for is_lost in (True, False):
            engine, signals = ScriptedEngine(), asyncio.Queue[None]()
            parts = Parts(engine, LoudnessVad(), ScriptedVoice(), TimedSteps(0.02), SessionConfig())
            begun_s = loop.time()
            alive = partial(getattr, parts, "are_alive")
            waiting = asyncio.create_task(is_told_to_stop(signals, alive))
            await asyncio.sleep(100)
            assert not waiting.done()
            if is_lost:
                engine.is_alive = False
            else:
                signals.put_nowait(None)
            ended.append((await waiting, loop.time() - begun_s))
        return ended

    (lost, lost_s), (stopped, stopped_s) = virtual(scenario())
    assert (lost, stopped) == (False, True)
    assert 103 <= lost_s <= 104
    assert stopped_s == pytest.approx(100, abs=0.01)


@pytest.fixture
def grave(tmp_path: Path) -> Path:
    """A file whose coming ends the engine of the plug-in that is installed."""
    info = tmp_path / "mortal_plugin-1.0.dist-info"
    info.mkdir()
    (tmp_path / "mortal_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path / "grave"


@contextlib.contextmanager
def process(grave: Path, port: int):  # type: ignore[no-untyped-def]
    """`duplex serve` with an engine that can be lost."""
    settings = {
        "server.port": port,
        "engine.kind": '"plugin:mortal"',
        "voice.kind": '"plugin:tone"',
        "vad.kind": '"plugin:loudness"',
    }
    config = grave.with_name("duplex.toml")
    config.write_text(f'[engine]\noptions = {{ grave = "{grave}" }}\n')
    switches = [f"--set={name}={value}" for name, value in settings.items()]
    serving = subprocess.Popen(
        [sys.executable, "-m", "duplex", "serve", "--config", str(config), *switches],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{grave.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        assert line.startswith("ready: "), serving.communicate()[1]
        yield serving
    finally:
        serving.kill()
        serving.communicate()


@pytest.mark.realtime
@pytest.mark.parametrize("is_lost", [True, False])
async def test_the_process_ends_so_that_another_can_start(grave: Path, is_lost: bool) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with process(grave, port) as serving:
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime") as client:
            assert (await say_something(client))["status"] == "completed"
            if is_lost:
                await asyncio.to_thread(grave.touch)
                with contextlib.suppress(ConnectionClosed):
                    async with asyncio.timeout(60):
                        while True:
                            await client.recv()
                assert client.close_code == 1012
            else:
                serving.send_signal(signal.SIGTERM)
        _, told = await asyncio.to_thread(serving.communicate, timeout=60)
        assert serving.returncode == (1 if is_lost else 0)
        assert "Traceback" not in told
        assert told.count("calls are refused, and the server ends") == int(is_lost)

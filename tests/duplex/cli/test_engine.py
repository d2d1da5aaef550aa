"""`duplex engine`: where it listens, and that a server finds it."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from duplex.cli.engine import address
from duplex.cli.main import main
from duplex.errors import ConfigError
from engine.remote_engine.engine import RemoteEngine
from engine.types import GenerationOptions, Message
from tests._support.engines import all_of
from tests._support.stores import free_port

ROOT = Path(__file__).parents[3]
PLUGIN = "from tests._support.engines import echo_engine as load\n"
ENTRY_POINTS = """
[duplex.engines]
echo = echo_plugin:load
[duplex.voices]
tone = duplex.testing:ScriptedVoice
[duplex.vads]
loudness = duplex.testing:LoudnessVad
"""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:9000", "0.0.0.0", 9000),
        ("gpu", "gpu", 8766),
        (":9000", "127.0.0.1", 9000),
        ("[::1]:9000", "::1", 9000),
        ("[::1]", "::1", 8766),
    ],
)
def test_an_address(text: str, host: str, port: int) -> None:
    assert address(text) == (host, port)


@pytest.mark.parametrize("text", ["here:there", "here:99999", "here:"])
def test_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        address(text)


def test_others_than_this_machine_need_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--listen", "0.0.0.0:0"]) == 1
    assert "set a key" in capsys.readouterr().err


@pytest.mark.realtime
async def test_a_process_that_is_found_and_stopped(tmp_path: Path) -> None:
    info = tmp_path / "echo_plugin-1.0.dist-info"
    info.mkdir()
    (tmp_path / "echo_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    port = free_port()
    kinds = (f'{part}.kind="plugin:{name}"' for part, name in KINDS.items())
    settings = [word for kind in kinds for word in ("--set", kind)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "duplex", "engine", "--listen", f"127.0.0.1:{port}"),
        *settings,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().removeprefix("ready: ").strip()
        engine = RemoteEngine([url])
        assert (await asyncio.to_thread(engine.meet)).model == "echo"
        session = engine.open()
        said = await all_of(session.respond([Message("user", "so far")], GenerationOptions()))
        assert len(said) == 3
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        await session.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


KINDS = {"engine": "echo", "voice": "tone", "vad": "loudness"}

"""The bridge of Home Assistant, set up by the example, asked as Home Assistant asks it."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]

from duplex.audio.files import write_wav
from duplex.config import Config, ServerConfig
from duplex.testing.engine import Script
from tests._support.servers import running_server

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "examples" / "home_assistant" / "compose.yaml"
ENVIRONMENT = ROOT / ".venv-clients" / "wyoming"
PYTHON = str(ENVIRONMENT / "bin" / "python")
ADDRESS = "http://127.0.0.1:8765"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not ENVIRONMENT.exists(), reason="no environment of the bridge: make clients, Python 3.12"
    ),
]


@contextlib.asynccontextmanager
async def bridge(environment: Mapping[str, str]) -> AsyncIterator[int]:
    """The bridge as a process; gives its port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        "-m",
        "wyoming_openai",
        env={**os.environ, **environment, "WYOMING_URI": f"tcp://127.0.0.1:{port}"},
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, "the bridge has ended"
                await asyncio.sleep(0.1)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def asked(port: int, question: Path) -> dict[str, object]:
    script = ROOT / "tests" / "stock_clients" / "wyoming" / "assist.py"
    process = await asyncio.create_subprocess_exec(
        PYTHON, str(script), str(port), str(question), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    told: dict[str, object] = json.loads(out)
    return told


async def test_home_assistant_hears_and_speaks(tmp_path: Path) -> None:
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    written = {name: str(value) for name, value in service["environment"].items()}
    assert [name for name, value in written.items() if ADDRESS in value] == [
        "STT_OPENAI_URL",
        "TTS_OPENAI_URL",
    ]
    question = tmp_path / "question.wav"
    tone = 0.3 * np.sin(2 * np.pi * 300 / 16_000 * np.arange(16_000)).astype(np.float32)
    write_wav(question, np.concatenate([tone, np.zeros(8_000, np.float32)]), 16_000)
    script = Script(hears=("Turn on the light.",), ear_s=0.001)
    async with running_server(Config(server=ServerConfig(port=0)), script) as running:
        environment = {
            name: value.replace(ADDRESS, running.http).replace("${DUPLEX_API_KEY:-none}", "none")
            for name, value in written.items()
        }
        async with bridge(environment) as port:
            told = await asked(port, question)
    assert told["models"] == ["whisper-1"]
    assert told["voices"] == ["alloy"]
    assert told["heard"] == "Turn on the light."
    # The scripted voice takes 60 ms for a letter.
    assert told["said_s"] == pytest.approx(0.06 * len("The light in the kitchen is on."), abs=0.2)
    assert told["streamed_s"] == pytest.approx(
        0.06 * len("The light is on. And the door is shut."), abs=0.4
    )

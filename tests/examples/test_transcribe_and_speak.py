"""The example of the speech endpoints, run as its first lines say."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
import soundfile

from duplex.config import Config, ServerConfig
from duplex.testing.engine import Script
from tests._support.servers import running_server

pytestmark = pytest.mark.realtime
EXAMPLE = Path(__file__).parents[2] / "examples" / "transcribe_and_speak.py"


async def run(url: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        "--url",
        url,
        *arguments,
        env={**os.environ, "DUPLEX_API_KEY": "none"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_it_speaks_and_hears(tmp_path: Path) -> None:
    said, written = tmp_path / "said.mp3", tmp_path / "said.vtt"
    script = Script(hears=("Good morning.",), ear_s=0.001)
    async with running_server(Config(server=ServerConfig(port=0)), script) as running:
        url = f"{running.http}/v1"
        await run(url, "say", "Good morning.", str(said))
        assert soundfile.info(said).duration > 0.5
        assert await run(url, "hear", str(said)) == "Good morning.\n"
        await run(url, "hear", str(said), str(written))
    assert written.read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")

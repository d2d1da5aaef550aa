"""A spoken call to a server whose brain is on a real vLLM, and the end of that vLLM."""

import asyncio
import io
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from client.bench.server_process import serving
from client.talk import TalkOptions, talk
from duplex.audio.files import write_wav
from duplex.cli.recordings import CLIENT_HZ, server_command, speaker
from duplex.config import Config

pytest.importorskip("vllm", reason="`make test-scale-vllm` installs vLLM")
pytestmark = [pytest.mark.scale, pytest.mark.timeout(1500)]

OPTIONS = "{enforce_eager = true, block_size = 32, dtype = 'bfloat16'}"
ARGUMENTS = ["--set", "brain.kind=vllm", "--set", f"brain.vllm={OPTIONS}"]
# A busy machine takes its time; that it is late is no reason to refuse the call.
PATIENT = ["--set", "limits.refuse_lag_ms=0", "--set", "limits.refuse_stage_ms=0"]


async def test_a_spoken_call_and_the_end_of_its_engine(tmp_path: Path) -> None:
    speak = speaker(Config())
    files = []
    for number, words in enumerate(["What is the capital of France?", "And of Italy?"]):
        files.append(tmp_path / f"{number}.wav")
        write_wav(files[-1], speak(words), CLIENT_HZ)
    async with serving(server_command([*ARGUMENTS, *PATIENT]), timeout_s=900) as server:
        screen = io.StringIO()
        code = await talk(TalkOptions(server.url, files, answer_timeout_s=120), screen)
        shown = screen.getvalue()
        print(shown)
        assert code == 0
        assert "Paris" in shown
        assert "Rome" in shown
        http = server.url.replace("ws", "http", 1).removesuffix("/v1/realtime")
        assert await asyncio.to_thread(_ready, http) == 200
        [engine] = _named(server.pid, "EngineCore")
        os.kill(engine, signal.SIGKILL)
        async with asyncio.timeout(60):
            while (status := await asyncio.to_thread(_ready, http)) == 200:
                await asyncio.sleep(0.1)
        assert status == 503


def _ready(http: str) -> int:
    """The status of `/readyz`; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(f"{http}/readyz", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def _named(pid: int, name: str) -> list[int]:
    """The descendants of a process with ``name`` in their command line."""
    found, pending = [], [pid]
    while pending:
        folder = Path("/proc") / str(pending.pop())
        if name in (folder / "cmdline").read_text():
            found.append(int(folder.name))
        for children in folder.glob("task/*/children"):
            pending += map(int, children.read_text().split())
    return found

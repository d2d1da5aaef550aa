"""The examples, run as their first lines say, against a server process with scripted models."""

import json
import math
import os
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-clients"
RATE_HZ = 24_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    """Addresses by what the caller says there, and the "key"."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests/stock_clients/server.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """A recording: a tone is speech to the scripted ear."""
    path = tmp_path / "question.wav"
    times = np.arange(RATE_HZ) / RATE_HZ
    samples = (0.3 * 32767 * np.sin(2 * math.pi * 300 * times)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", "not compressed"))
        file.writeframes(samples.tobytes())
    return path


def run(environment: str, key: str, *arguments: str) -> str:
    """Run an example in the environment of its client; returns what it printed."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment in {python.parents[1]}: run `make clients`")
    done = subprocess.run(
        [str(python), *arguments],
        cwd=ROOT / "examples",
        env={**os.environ, "DUPLEX_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seconds(path: Path) -> float:
    """How long a recording lasts; it must not be silent."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.abs(samples).max() > 1000
        return len(samples) / file.getframerate()


def test_a_bot_of_a_few_lines_hears_and_answers(
    server: Mapping[str, str], question: Path, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.wav"
    url = server["talk"].removesuffix("/realtime")
    printed = run("openai_sdk", server["key"], "realtime_bot.py", str(question), str(answer), url)
    assert printed == "It is ten. Time for tea.\n"
    assert seconds(answer) == pytest.approx(0.06 * len("It is ten. Time for tea."), abs=0.2)
    *_, code = (ROOT / "examples" / "realtime_bot.py").read_text().partition("import asyncio")
    assert len([line for line in code.splitlines() if line.strip()]) <= 25


def test_a_pipecat_pipeline_calls_its_function(
    server: Mapping[str, str], question: Path, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.wav"
    printed = run(
        "pipecat_service",
        server["key"],
        "pipecat_pipeline.py",
        str(question),
        str(answer),
        "--url",
        server["weather"],
    )
    assert "answered: It is sunny in Paris." in printed
    assert seconds(answer) > 0.5

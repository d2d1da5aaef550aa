"""The examples of the Python API, run as a reader would run them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.realtime

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("embed_server.py", "own_brain.py", "test_a_bot.py")
STAND_INS = """
from duplex.testing import LoudnessVad, ScriptedVoice


class HelloEar:
    def transcribe(self, pcm):
        return "Hello there."


class Dumb:
    context_tokens = 1

    def open(self):
        return self

    def close(self): ...
"""
ENTRY_POINTS = """
[duplex.ears]
hello = stand_ins:HelloEar
[duplex.brains]
dumb = stand_ins:Dumb
[duplex.voices]
tone = stand_ins:ScriptedVoice
[duplex.vads]
loudness = stand_ins:LoudnessVad
"""
CONFIG = """
[server]
port = 0
[ear]
kind = "plugin:hello"
[brain]
kind = "plugin:dumb"
[voice]
kind = "plugin:tone"
[vad]
kind = "plugin:loudness"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which plug-ins stand in for the models, and ``duplex.toml`` names them."""
    info = tmp_path / "stand_ins-1.0.dist-info"
    info.mkdir()
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-ins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "duplex.toml").write_text(CONFIG)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}


def lines_until(
    arguments: list[str], environment: dict[str, str], last: str, *, folder: Path
) -> list[str]:
    """What a program prints until a line begins with ``last``; then it is interrupted."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(last):
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=60)
    return lines


def test_a_server_is_embedded(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = [str(EXAMPLES / "embed_server.py"), "duplex.toml"]
    lines = lines_until(arguments, environment, "1 s", folder=tmp_path)
    assert lines[0].startswith("call ws://127.0.0.1:")
    assert lines[-1] == "1 s"


def test_a_brain_is_added(environment: dict[str, str], tmp_path: Path) -> None:
    """As it is, but for the port and for the models of its ear, its voice and its VAD."""
    text = (EXAMPLES / "own_brain.py").read_text()
    assert text.count("Server(Config(), brain=Parrot()).run()") == 1
    text = text.replace("Config(),", 'load_config("duplex.toml"),')
    (tmp_path / "own_brain.py").write_text(text.replace("import Config", "import load_config"))
    lines = lines_until(["own_brain.py"], environment, "talk", folder=tmp_path)
    assert lines[0].startswith("ready: ws://127.0.0.1:")


def test_a_bot_is_tested() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_a_bot.py"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_example_stays_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 25

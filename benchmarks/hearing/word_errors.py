"""How many words do the ears mishear, by kind of speech?

    python -m benchmarks.hearing.word_errors --data DIR --json FILE

Each recording of a folder (see `corpus`) whose words were checked is heard whole by each ear;
languages other than English by the ears that know them. Words are brought to one spelling by
`client.bench.word_errors`. A kind on a telephone line (8 kHz) is a group of its own. ``--noise``
adds clips of 2 to 8 s over babble of others, that many dB below them.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hearing.corpus import Clip, recordings
from client.bench.word_errors import WordErrors, pooled, wer
from duplex.audio.formats import Samples
from duplex.model_store import ModelStore, default_root
from duplex.turns.vad import SAMPLE_RATE, SileroVad
from engine.ear.whisper import WhisperEar

EARS = ("whisper-tiny.en", "whisper-base")
ENGLISH = "whisper-tiny.en"  # and no other language


def group_of(clip: Clip) -> str:
    """Under which name a clip is counted."""
    return f"{clip.kind}{' telephone' if clip.is_telephone else ''} ({clip.language})"


def in_babble(clips: list[Clip], db: float) -> Iterator[Clip]:
    """English ``clips`` of 2 to 8 s, each over three others at a level of ``db`` below its own."""
    long = [
        clip
        for clip in clips
        if clip.language == "en"
        and 2 * SAMPLE_RATE <= len(clip.samples) <= 8 * SAMPLE_RATE
        and not clip.is_telephone
    ]
    for at, clip in enumerate(long):
        others = [long[(at + step) % len(long)] for step in (7, 19, 31)]
        babble = sum(_cut(_unit(other.samples), len(clip.samples)) for other in others)
        level = np.sqrt(np.mean(clip.samples**2)) * 10 ** (-db / 20)
        noisy = clip.samples + level * _unit(np.asarray(babble, np.float32))
        yield replace(clip, kind=f"babble {db:g} dB", samples=noisy.astype(np.float32))


def _unit(samples: Samples) -> Samples:
    level: Samples = samples / (np.sqrt(np.mean(samples**2)) + np.float32(1e-9))
    return level


def _cut(samples: Samples, length: int) -> Samples:
    return np.resize(samples, length)


def measure(ear: WhisperEar, clips: list[Clip]) -> dict[str, Any]:
    """Word errors of each group, and the compute over the sound's length."""
    errors: dict[str, list[WordErrors]] = defaultdict(list)
    began = time.process_time()
    heard_s = 0.0
    for clip in clips:
        assert clip.text is not None
        errors[group_of(clip)].append(wer([(clip.text, ear.transcribe(clip.samples))]))
        heard_s += len(clip.samples) / SAMPLE_RATE
    seconds = time.process_time() - began
    groups = {name: pooled(found) for name, found in sorted(errors.items())}
    return {
        "cpu_s_per_s": round(seconds / heard_s, 4),
        "groups": {
            name: {"edits": total.edits, "words": total.words, "clips": len(errors[name])}
            for name, total in groups.items()
            if total is not None
        },
    }


def main() -> None:
    """Hear everything with each ear; print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ears", nargs="+", default=EARS)
    parser.add_argument("--kinds", nargs="*", default=())
    parser.add_argument("--noise", type=float)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store = ModelStore(default_root())
    meter = SileroVad(store.path("silero-vad") / "silero_vad.onnx").probabilities
    clips = [
        clip for clip in recordings(options.data, tuple(options.kinds)) if clip.text is not None
    ]
    if options.noise is not None:
        clips += in_babble(clips, options.noise)
    report: dict[str, Any] = {}
    for name in options.ears:
        languages = {"en"} if name == ENGLISH else {clip.language for clip in clips}
        found: dict[str, Any] = {"groups": {}}
        for language in sorted(languages):
            ear = WhisperEar(store.path(name), language=language, meter=meter)
            part = measure(ear, [clip for clip in clips if clip.language == language])
            found["groups"] |= part["groups"]
            if language == "en":
                found["cpu_s_per_s"] = part["cpu_s_per_s"]
        report[name] = found
        for group, counts in found["groups"].items():
            print(f"{name:16} {group:28} {counts['edits'] / counts['words']:6.1%} {counts}")
        print(f"{name:16} {found['cpu_s_per_s']} s of a core for a second of sound", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Do short words pass the ear's guards, and does noise invent any?

    python -m benchmarks.hearing.short_words --data DIR --json FILE

Short words: espeak-ng's voices say 61 (`corpus.WORDS`), and ``DIR`` has recordings of the kinds
`SPOKEN`. No speech: its kind ``noise``, and artificial noises, signals and music; ``--sounds DIR``
adds a folder of more. Each clip is heard as a turn, as the speech detector cuts it, and whole, as
of a client that ends its turns itself.

Two rates for each group: of the clips whose words the decoder had right, how many the guards
reject; of the clips without speech, in how many words are left. ``before`` is the decoder's own
rule, without the detector's evidence. ``unclear`` are the clips without words that are told as
speech. Voices of `CHOSEN_ON` chose the thresholds; the others were held out.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.hearing.corpus import (
    Clip,
    artificial_noises,
    load,
    recordings,
    spoken_words,
)
from benchmarks.hearing.turns import turns_of
from client.bench.word_errors import normalize_words
from duplex.audio.files import sounds_in
from duplex.audio.formats import Samples
from duplex.model_store import ModelStore, default_root
from duplex.turns.vad import SAMPLE_RATE, SileroVad
from engine.ear.evidence import SPOKEN_MS, voiced_ms
from engine.ear.guards import Decoded, is_believed, is_speech
from engine.ear.whisper import CLIP_SAMPLES, WhisperEar

SPOKEN = ("digits", "short", "spelling", "command")
CHOSEN_ON = ("en-us", "en-gb")
# A letter is heard rightly under the name that a dictionary gives it, and a digit as its homophone.
# fmt: off
SAME = {
    "a": "eh hey", "b": "be bee", "c": "see sea", "d": "dee", "e": "ee", "f": "ef eff", "g": "gee",
    "h": "aitch", "i": "eye aye", "j": "jay", "k": "kay ok", "l": "el ell", "m": "em", "n": "en",
    "o": "oh", "p": "pea pee", "q": "queue cue", "r": "are", "s": "ess es", "t": "tea tee",
    "u": "you", "v": "vee", "x": "ex", "y": "why", "z": "zed zee",
    "1": "won", "2": "to too", "4": "for", "8": "ate",
}
# fmt: on
COUNTS = (
    "opened",
    "clips",
    "right",
    "right_rejected",
    "right_rejected_before",
    "left",
    "left_before",
    "unclear",
)  # fmt: skip


def is_right(text: str, heard: str) -> bool:
    """Whether ``heard`` is what is said in ``text``."""
    wanted, words = normalize_words(text), normalize_words(heard)
    same = SAME.get(wanted[0], "").split() if len(wanted) == 1 else []
    return words == wanted or (len(words) == 1 and words[0] in same)


def group_of(clip: Clip) -> str:
    """Under which name a clip is counted."""
    if clip.kind != "synthetic word":
        return clip.kind
    return "synthetic, chosen on" if clip.voice in CHOSEN_ON else "synthetic, held out"


class Study:
    """Counts what the guards do with each clip."""

    def __init__(self, ear: WhisperEar, vad: SileroVad) -> None:
        self._ear = ear
        self._vad = vad
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.wrong: list[dict[str, str]] = []

    def take(self, clip: Clip) -> None:
        """Hear ``clip`` both ways."""
        turns = turns_of(clip, self._vad, self._ear.transcribe)
        self.counts[f"{group_of(clip)}, turns"]["opened"] += bool(turns)
        for turn in turns:
            self._count(clip, "turns", turn)
        self._count(clip, "whole", clip.samples)

    def _count(self, clip: Clip, way: str, pcm: Samples) -> None:
        pcm = pcm[:CLIP_SAMPLES]
        decoded, voiced = self._ear.decode(pcm), voiced_ms(self._vad.probabilities(pcm))
        seconds = len(pcm) / SAMPLE_RATE
        left, before = (
            is_speech(decoded, seconds, voiced),
            bool(decoded.tokens) and is_believed(decoded),
        )
        right = clip.text is not None and is_right(clip.text, decoded.text)
        counts = self.counts[f"{group_of(clip)}, {way}"]
        counts["clips"] += 1
        counts["left"] += left
        counts["left_before"] += before
        counts["right"] += right
        counts["right_rejected"] += right and not left
        counts["right_rejected_before"] += right and not before
        counts["unclear"] += not left and voiced >= SPOKEN_MS
        if (right and not left) or (clip.text is None and left):
            self.wrong.append(_told(clip, way, decoded, voiced))


def _told(clip: Clip, way: str, decoded: Decoded, voiced: int) -> dict[str, str]:
    numbers = f"{decoded.mean_log_probability:.2f} {decoded.no_speech_probability:.2f} {voiced} ms"
    return {"clip": clip.name, "way": way, "heard": decoded.text, "numbers": numbers}


def _sounds(folder: Path) -> Iterator[Clip]:
    for path in sounds_in(folder):
        yield Clip(path.name, "sound", path.name, load(path), None)


def main() -> None:
    """Hear everything; print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--ear", default="whisper-tiny.en")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store = ModelStore(default_root())
    vad = SileroVad(store.path("silero-vad") / "silero_vad.onnx")
    study = Study(WhisperEar(store.path(options.ear), meter=vad.probabilities), vad)
    clips = chain(
        recordings(options.data, (*SPOKEN, "noise")),
        artificial_noises(),
        _sounds(options.sounds) if options.sounds else (),
        spoken_words(),
    )
    for clip in clips:
        if clip.language in ("en", "none"):
            study.take(clip)
    groups = {name: dict(counts) for name, counts in sorted(study.counts.items())}
    for name, counts in groups.items():
        print(f"{name:32}", ", ".join(f"{key} {value}" for key, value in counts.items()))
    if options.json:
        report = {"ear": options.ear, "groups": groups, "wrong": study.wrong}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Do the deltas of a transcript add up to it, and how many words come before the turn's end?

    python -m benchmarks.hearing.deltas --data DIR --json FILE

Each English recording of a folder (see `corpus`) goes through the speech detector; while its turns
are open the ear makes partials, and an exact pass at each pause, in sample time. For each number of
hypotheses that must agree: in how many of the turns with words the deltas, with the last one,
add up to the transcript, and the share of words that were sent before the turn was over (of turns
whose deltas add up).
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.hearing.corpus import Clip, recordings
from benchmarks.hearing.turns import in_a_room, open_detector
from duplex.audio.formats import Samples
from duplex.model_store import ModelStore, default_root
from duplex.protocol.server_events import TranscriptionDelta
from duplex.protocol.shown_words import ShownWords
from duplex.turns.events import PauseStarted, SpeechResumed, SpeechStarted
from duplex.turns.vad import SAMPLE_RATE, SileroVad
from engine.ear.guards import quietest_point
from engine.ear.partials import PartialPolicy, PartialTranscriber
from engine.ear.whisper import WhisperEar

AGREEMENTS = (2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Heard:
    """One text of the ear, of a turn up to ``samples``."""

    way: Literal["partial", "exact", "commit"]
    text: str
    samples: int

    def give(self, partials: PartialTranscriber) -> str:
        """What may be shown after it."""
        match self.way:
            case "partial":
                return partials.hypothesis(self.text, self.samples).stable
            case "exact":
                partials.exact(self.text, self.samples)
            case "commit":
                partials.commit(self.text, self.samples)
        return ""


def hear(clip: Clip, vad: SileroVad, ear: WhisperEar) -> Iterator[list[Heard]]:
    """The texts of each turn, in the order in which a call would get them."""
    detector = open_detector(vad, clip)
    turn: Samples = np.zeros(0, np.float32)
    partials, texts, speaking = PartialTranscriber(), list[Heard](), False

    def take(way: Literal["partial", "exact", "commit"], end: int) -> None:
        texts.append(Heard(way, ear.transcribe(turn[partials.window_start : end]), end))
        texts[-1].give(partials)

    for frame in detector.feed(in_a_room(clip.samples), lambda: None):
        turn = np.concatenate([turn, frame.samples])
        for event in frame.events:
            match event:
                case SpeechStarted(from_sample=start):
                    turn, speaking = detector.since(start), True
                    partials, texts = PartialTranscriber(), []
                case SpeechResumed():
                    speaking = True
                case PauseStarted():
                    speaking = False
                    take("exact", len(turn))
                    detector.words_known(partials.transcript.text)
        if speaking and partials.due(len(turn)):
            if span := partials.commit_range(len(turn)):
                take("commit", quietest_point(turn, SAMPLE_RATE, *span))
            take("partial", len(turn))
        if detector.find_end() is not None:
            detector.end_turn()
            speaking = False
            yield texts


def count(turns: list[list[Heard]], agreement: int) -> dict[str, int]:
    """What a client would have got of the ``turns``."""
    counts = dict.fromkeys(("turns", "add_up", "with_early_words", "early_words", "words"), 0)
    for texts in turns:
        partials, words = PartialTranscriber(PartialPolicy(agreement=agreement)), ShownWords()
        early = ""
        for heard in texts:
            for event in words.show("turn", heard.give(partials)):
                assert isinstance(event, TranscriptionDelta)
                early += event.delta
        transcript = partials.transcript.text
        _, adds_up = words.complete("turn", transcript)
        counts["turns"] += bool(transcript)
        counts["add_up"] += bool(transcript) and adds_up
        counts["with_early_words"] += bool(early)
        counts["early_words"] += len(early.split()) if adds_up else 0
        counts["words"] += len(transcript.split())
    return counts


def main() -> None:
    """Hear everything once; count for each number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store = ModelStore(default_root())
    vad = SileroVad(store.path("silero-vad") / "silero_vad.onnx")
    ear = WhisperEar(store.path("whisper-tiny.en"), meter=vad.probabilities)
    clips = [
        clip
        for clip in recordings(options.data, checked=False)
        if clip.language == "en" and clip.text is not None
    ]
    turns = [texts for clip in clips for texts in hear(clip, vad, ear)]
    report = {str(number): count(turns, number) for number in AGREEMENTS}
    for number, counts in report.items():
        print(number, ", ".join(f"{key} {value}" for key, value in counts.items()))
    if options.json:
        about = {"chosen": PartialPolicy().agreement, "recordings": len(clips)}
        options.json.write_text(json.dumps(about | {"agreement": report}, indent=1) + "\n")


if __name__ == "__main__":
    main()

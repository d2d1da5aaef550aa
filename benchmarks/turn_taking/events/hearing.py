"""What the server's ears make of each event: voice activity and cues, frame by frame."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_taking.events.corpus import Corpus, Event
from benchmarks.turn_taking.events.sounds import Sounds
from benchmarks.turn_taking.events.sources import fetch
from benchmarks.turn_taking.events.voices import Voices
from duplex.audio.formats import Samples
from duplex.interruption.cues import OVER_FRAMES, Cue, Cues, Utterance
from duplex.interruption.network import InterruptionNetwork, Vector, first_syllable
from duplex.model_store import default_root
from duplex.turns.vad import FRAME_SAMPLES, SAMPLE_RATE, SileroVad

PREFIX_SAMPLES = 300 * SAMPLE_RATE // 1000
STOPPING_SAMPLES = 100 * SAMPLE_RATE // 1000  # from the decision until the caller hears nothing
PAUSE_FRAMES = 7  # 224 ms


@dataclass(frozen=True, slots=True)
class Heard:
    """One event's frames from the answer's first on; frame n ends ``ends[n]`` samples in."""

    event: Event
    ends: NDArray[np.int64]
    cues: tuple[Cue, ...]

    @property
    def features(self) -> NDArray[np.float32]:
        """What the network sees of each frame."""
        return np.stack([cue.features for cue in self.cues])

    def sounds(self) -> list[tuple[int, int]]:
        """The frames from and to which the network follows a sound that overlaps the event."""
        found, first = [], None
        for index, cue in enumerate((*self.cues, None)):
            if cue is not None and cue.interrupts is not None:
                first = index if first is None else first
            elif first is not None:
                last = index - OVER_FRAMES + 1
                scene = self.event.scene
                if self.ends[first] <= scene.end or self.event.kind == "echo":
                    found.append((first, max(last, first + 1)))
                first = None
        return found


def hear(event: Event, vad: SileroVad, network: InterruptionNetwork) -> Heard:
    """Play an event's microphone track to the server's ears."""
    scene, stream, cues = event.scene, vad.open(), Cues(network)
    ends, found = [], []
    for frame in stream.feed(scene.microphone):
        at = slice(frame.at_sample, frame.at_sample + FRAME_SAMPLES)
        samples = scene.microphone[at]
        if frame.at_sample < scene.answer_from:
            cues.learn(samples, frame.probability)
        else:
            found.append(cues.hear(samples, frame.probability, scene.answer[at]))
            ends.append(at.stop)
    return Heard(event, np.array(ends), tuple(found))


def hear_stopped(heard: Heard, stops: int, vad: SileroVad, network: InterruptionNetwork) -> Heard:
    """The same event if the caller hears no answer any more from 100 ms after ``stops`` on."""
    scene = heard.event.scene
    silent = stops + STOPPING_SAMPLES
    microphone = np.concatenate([scene.microphone[:silent], scene.silenced[silent:]])
    answer = scene.answer.copy()
    answer[stops:] = 0
    scene = replace(scene, microphone=microphone, answer=answer)
    return hear(replace(heard.event, scene=scene), vad, network)


@dataclass(frozen=True, slots=True)
class Said:
    """An event at its first pause, as the second stage has it."""

    features: tuple[Vector, ...] | None  # of `Utterance`
    speech_ms: int
    known_sample: int
    audio: Samples  # with what is before the speech


def said_in(heard: Heard) -> Said | None:
    """What was said until a pause of 224 ms; None if there was no speech."""
    scene = heard.event.scene
    utterance = Utterance()
    first = last = None
    quiet = 0
    for end, cue in zip(heard.ends, heard.cues, strict=True):
        utterance.take(cue)
        if end <= scene.onset and heard.event.kind != "echo":
            continue
        if cue.probability >= 0.5:
            first = int(end) - FRAME_SAMPLES if first is None else first
            last, quiet = int(end), 0
        elif first is not None:
            quiet += 1
            if quiet >= PAUSE_FRAMES:
                break
    if first is None or last is None:
        return None
    known = min(last + PAUSE_FRAMES * FRAME_SAMPLES, len(scene.microphone))
    features = utterance.features
    return Said(
        None if features is None else tuple(features),
        (last - first) * 1000 // SAMPLE_RATE,
        known,
        scene.microphone[max(0, first - PREFIX_SAMPLES) : known],
    )


@dataclass(frozen=True, slots=True)
class Workbench:
    """All that is needed to draw events and hear them."""

    voices: Voices
    sounds: Sounds
    vad: SileroVad
    models: Path
    seed: int

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """The command line's options of `from_arguments`."""
        parser.add_argument("--models", type=Path, default=default_root(), help="the model store")
        parser.add_argument(
            "--sounds",
            type=Path,
            required=True,
            help="a folder for packages of sounds and what is made of them (1 GB)",
        )
        parser.add_argument("--seed", type=int, default=0)

    @staticmethod
    def from_arguments(arguments: argparse.Namespace) -> "Workbench":
        """Fetch the packages that are missing, and load."""
        fetch(arguments.sounds)
        return Workbench(
            Voices(arguments.models, arguments.sounds / "kokoro", arguments.sounds / "said"),
            Sounds(arguments.sounds / "packages", arguments.sounds / "decoded"),
            SileroVad(arguments.models / "models" / "silero-vad" / "silero_vad.onnx"),
            arguments.models,
            arguments.seed,
        )

    def heard(
        self, split: str, counts: Mapping[str, int], seed: int | None = None
    ) -> Iterator[Heard]:
        """So many events of each kind."""
        corpus = Corpus(split, self.voices, self.sounds, self.seed if seed is None else seed)
        for event in corpus.events(counts):
            yield hear(event, self.vad, first_syllable())

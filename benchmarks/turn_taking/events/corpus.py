"""The events of the benchmark: who makes which sound over which answer, drawn from a seed.

Nothing of the train split is in the test split: neither voices, interruptions, packs nor keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.turn_taking.events.phrases import ANSWERS, BACKCHANNELS, INTERRUPTIONS, QUESTIONS
from benchmarks.turn_taking.events.scenes import Place, Scene, draw_place, lay
from benchmarks.turn_taking.events.sounds import Sound, Sounds, made_cough
from benchmarks.turn_taking.events.voices import TEST_VOICES, TRAIN_VOICES, Voices, is_said, pace

COUNTS: Mapping[str, Mapping[str, int]] = {
    "test": {
        "interruption": 200, "backchannel": 160, "laughter": 40, "cough": 40, "keyboard": 40,
        "far-away": 40, "echo": 40, "short interruption": 40,
    },
    "train": {
        "interruption": 400, "backchannel": 350, "laughter": 70, "cough": 70, "keyboard": 30,
        "far-away": 30, "echo": 30,
    },
    "train, again": {"interruption": 250, "backchannel": 250, "laughter": 60, "cough": 30},
    "train, more": {
        "interruption": 450, "backchannel": 450, "laughter": 90, "cough": 50, "keyboard": 20,
        "far-away": 20, "echo": 30,
    },
}  # fmt: skip
FALSE_KINDS = ("backchannel", "laughter", "cough", "keyboard", "far-away", "echo")
_HUMAN_SHARE = 0.2  # of interruptions and, where there are any, of backchannels


@dataclass(frozen=True, slots=True)
class Event:
    """One event and what is known of it. ``text`` is what was said."""

    kind: str
    source: str
    voice: str
    text: str
    place: Place
    scene: Scene


class Corpus:
    """Draws events.

    Args:
        split: "train" or "test".
    """

    def __init__(self, split: str, voices: Voices, sounds: Sounds, seed: int) -> None:
        self._split = split
        self._voices = voices
        self._names = TEST_VOICES if split == "test" else TRAIN_VOICES
        self._rng = np.random.default_rng([seed, len(split)])
        self._sounds = {
            "laughter": sounds.laughs(),
            "cough": sounds.coughs(),
            "hum": sounds.hums(),
            "line": sounds.lines(),
        }
        self._sounds = {
            kind: [sound for sound in found if sound.split == split]
            for kind, found in self._sounds.items()
        }
        self._typing = sounds.typing
        self._answers = [voices.say("pj-100", text) for text in ANSWERS]

    def events(self, counts: Mapping[str, int]) -> Iterator[Event]:
        """So many of each kind."""
        for kind, count in counts.items():
            for index in range(count):
                yield self._event(kind, index)

    def _event(self, kind: str, index: int) -> Event:
        rng = self._rng
        sound = None if kind == "echo" else self._sound(kind, index)
        place = draw_place(rng, echo_only=kind == "echo")
        near = self._names[index % len(self._names)]
        if sound is not None and sound.source == "synthetic voice" and kind != "far-away":
            near = sound.voice
        elif kind == "far-away" and sound is not None and near == sound.voice:
            near = self._names[(index + 1) % len(self._names)]
        relative = {
            "interruption": rng.uniform(-3, 5),
            "short interruption": rng.uniform(-3, 5),
            "backchannel": rng.uniform(-10, 0),
            "far-away": rng.uniform(-30, -20),
            "keyboard": rng.uniform(-20, -4),
        }.get(kind, rng.uniform(-8, 4))
        question = self._voices.say(near, QUESTIONS[index % 2])
        scene = lay(
            None if sound is None else sound.samples,
            question,
            self._answers[int(rng.integers(len(self._answers)))],
            place,
            rng,
            relative_db=relative,
            far=kind == "far-away",
        )
        if sound is None:
            return Event(kind, "synthetic voice", "pj-100", "", place, scene)
        return Event(kind, sound.source, sound.voice, sound.text, place, scene)

    def _sound(self, kind: str, index: int) -> Sound:
        rng = self._rng
        if kind == "keyboard":
            return self._typing(rng, self._split)
        if kind == "cough" and index % 2:
            return made_cough(rng, self._split)
        human = {"interruption": "line", "backchannel": "hum"}.get(kind, kind)
        if human in ("laughter", "cough") or (
            human in ("line", "hum") and rng.random() < (_HUMAN_SHARE if human == "line" else 0.05)
        ):
            found = self._sounds[human]
            return found[int(rng.integers(len(found)))]
        texts = (BACKCHANNELS if kind == "backchannel" else INTERRUPTIONS)[self._split]
        if kind == "short interruption":
            texts = INTERRUPTIONS[f"{self._split}, short"]
        # Every voice and every text in turn.
        voice = self._names[index % len(self._names)]
        said = [text for text in texts if is_said(self._split, voice, text)]
        text = said[int(rng.integers(len(said)))]
        samples = self._voices.say(voice, text, pace(voice, text))
        return Sound(kind, "synthetic voice", voice, text, self._split, samples)

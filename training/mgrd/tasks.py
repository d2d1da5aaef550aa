"""The questions: kinds of `duplex eval sounds`, made harder by noise, gain and a changed speed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from client.evaluation.items import Samples, Speaker
from client.evaluation.scorers import score
from client.evaluation.sets import sounds
from client.evaluation.sets.drafts import Draft, Measure
from training.mgrd.features import Frames

OPEN_KINDS = ("count", "order", "length", "sum")  # six answers and more: guessing shows
CLAIMS = ("agreement", "conflict")
KINDS = tuple(kind for kind in sounds.KINDS if kind not in CLAIMS)
SPEEDS = (0.92, 1.08)  # played so much slower or faster; pitch moves with it
NOISE_DB = (10.0, 30.0)  # of signal over noise
GAIN_DB = (-12.0, 0.0)


# Frames of sounds by question, of what renders each at 24 kHz.
Hear = Callable[[Mapping[str, Callable[[], Samples]]], Mapping[str, Frames]]


@dataclass(frozen=True, slots=True)
class Question:
    """One question with the frames of its sound. ``words``: what is said in it."""

    id: str
    kind: str
    text: str
    words: str
    answer: str
    scorer: str
    gold: Mapping[str, Any]
    chance: float
    measured: tuple[Measure, ...]
    frames: Frames

    def is_right(self, text: str) -> bool:
        """Whether an answer, after its thoughts, is right."""
        return score(self.scorer, text, self.gold).value == 1.0


def make(
    kinds: Iterable[str],
    count: int,
    seed: int,
    speaker: Speaker,
    hear: Hear,
    only: Collection[str] = (),
) -> list[Question]:
    """``count`` questions, the kinds in turn; a kind may be there several times. Another ``seed``
    gives other questions, in other noise. ``hear`` makes frames of all sounds. ``only``: leave the
    others of these kinds out; those that are left are the same."""
    kinds = list(kinds)
    made: Counter[str] = Counter()
    asked: list[tuple[str, Draft, float]] = []
    renders: dict[str, Callable[[], Samples]] = {}
    for index in range(count):
        kind = kinds[index % len(kinds)]
        number = made[kind]
        made[kind] += 1
        if only and kind not in only:
            continue
        draft = sounds.draft(kind, seed, number)
        random = np.random.default_rng([seed, index, 7])
        speed = float(random.uniform(*SPEEDS))
        id_ = f"{kind}-{seed}-{number}"
        asked.append((id_, draft, speed))
        renders[id_] = partial(_heard, draft, speaker, speed, random)
    frames = hear(renders)
    return [_question(id_, draft, speed, frames[id_]) for id_, draft, speed in asked]


def _question(id_: str, draft: Draft, speed: float, frames: Frames) -> Question:
    answer = draft.gold["answer"]
    return Question(
        id=id_,
        kind=id_.partition("-")[0],
        text=draft.question,
        words=draft.words,
        answer=" ".join(answer) if isinstance(answer, list) else str(answer),
        scorer=draft.scorer,
        gold=draft.gold,
        chance=draft.chance,
        measured=tuple(at_speed(measure, speed) for measure in draft.measured),
        frames=frames,
    )


def _heard(draft: Draft, speaker: Speaker, speed: float, random: np.random.Generator) -> Samples:
    return harder(draft.render(speaker), speed, random)


def harder(samples: Samples, speed: float, random: np.random.Generator) -> Samples:
    """The same at another speed and level, in pink noise."""
    at = np.arange(0, len(samples) - 1, speed)
    played = np.interp(at, np.arange(len(samples)), samples)
    level = float(np.sqrt(np.mean(played**2)))
    noise = _pink(len(played), random) * level * 10 ** (-random.uniform(*NOISE_DB) / 20)
    gain = 10 ** (random.uniform(*GAIN_DB) / 20)
    return np.asarray((played + noise) * gain, np.float32)


def at_speed(measure: Measure, speed: float) -> Measure:
    """What is measured when the sound is played ``speed`` times as fast."""
    if isinstance(measure.value, str) or measure.unit not in ("hz", "s"):
        return measure
    factor = speed if measure.unit == "hz" else 1 / speed
    return replace(measure, value=measure.value * factor)


def _pink(count: int, random: np.random.Generator) -> Samples:
    """Noise of the same power in each octave, of power 1."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), np.float32)

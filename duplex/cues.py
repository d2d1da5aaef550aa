"""What each frame over an answer shows: speech, how much of it is echo, how loud, what it is like.

The evidence that `interruption.InterruptionJudge` weighs. One `Cues` for each call; pure.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from duplex.echo import BandFilter, EchoConfig, EchoPath
from duplex.pcm import Samples
from duplex.probe import Probe, ProbeInput, Vector

# A sound begins with a frame of this probability of speech that is not mostly our echo, and is
# over when so many frames in a row were none such. The network hears it from so many frames before.
_BEGINS = 0.3
_NOT_ECHO = 0.5
OVER_FRAMES = 6
BEFORE_FRAMES = 4

# The caller's level rises to louder speech within some 150 ms of it, and falls by 1 dB in 3 s.
_SURELY_SPEECH = 0.8
_RISE, _FALL = 0.2, 0.01


@dataclass(frozen=True, slots=True)
class Cue:
    """One frame.

    ``unexplained`` is the share of its power that is not our echo; ``level_db`` is that power
    against the caller's usual speech, None while that is not known; ``interrupts`` is what the
    network thinks of the sound so far, 0 to 1, None between sounds; ``features`` are what it saw.
    """

    probability: float
    unexplained: float
    level_db: float | None
    interrupts: float | None
    features: Vector


class Cues:
    """One call's frames. ``probe`` is shared."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._microphone, self._answer = BandFilter(), BandFilter()
        self._echo = EchoPath(EchoConfig())
        self._input = ProbeInput()
        self._caller_db: float | None = None
        self._before: deque[Vector] = deque(maxlen=BEFORE_FRAMES)
        self._state: Vector | None = None  # None between sounds
        self._quiet_frames = 0

    def learn(self, samples: Samples, probability: float) -> None:
        """A frame while no answer sounds: how loud this caller is."""
        self._microphone.push(samples)
        if probability < _SURELY_SPEECH:
            return
        level = _decibels(samples)
        if self._caller_db is None:
            self._caller_db = level
            return
        rate = _RISE if level > self._caller_db else _FALL
        self._caller_db += rate * (level - self._caller_db)

    def hear(self, samples: Samples, probability: float, answer: Samples | None) -> Cue:
        """A frame while an answer sounds; see `interruption.InterruptionJudge.hear`."""
        powers = self._microphone.push(samples)
        sounding = self._answer.push(np.zeros_like(samples) if answer is None else answer)
        left = [self._echo.hear(p, s) for p, s in zip(powers, sounding, strict=True)]
        unexplained = float(np.dot(left, powers.sum(axis=1)) / max(powers.sum(), 1e-12))
        level = None
        if self._caller_db is not None:
            level = _decibels(samples) + 10 * np.log10(max(unexplained, 1e-6)) - self._caller_db
        features = self._input.features(powers, probability, unexplained, level)
        is_sound = probability >= _BEGINS and unexplained >= _NOT_ECHO
        interrupts = self._follow(features, is_sound)
        return Cue(probability, unexplained, level, interrupts, features)

    def _follow(self, features: Vector, is_sound: bool) -> float | None:
        """Take the network along while there is a sound."""
        self._quiet_frames = 0 if is_sound else self._quiet_frames + 1
        if self._quiet_frames >= OVER_FRAMES:
            self._state = None
        if self._state is None:
            if not is_sound:
                self._before.append(features)
                return None
            self._state = self._probe.start()
            for earlier in self._before:
                _, self._state = self._probe.step(earlier, self._state)
            self._before.clear()
        interrupts, self._state = self._probe.step(features, self._state)
        return interrupts


def _decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-10))

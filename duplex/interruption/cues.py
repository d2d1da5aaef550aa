"""What each frame over a reply shows: speech, how much of it is echo, how loud, what it is like.

The evidence that `duplex.interruption.judge` weighs. One `Cues` for each call; pure.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from duplex.audio.formats import Samples
from duplex.interruption.echo_path import BandFilter, EchoConfig, EchoPath
from duplex.interruption.network import InterruptionNetwork, NetworkInput, Vector

# A sound begins with a frame of this probability of speech that is not mostly our echo, and is
# over when so many frames in a row were none such. The network hears it from so many frames before.
_BEGINS = 0.3
_NOT_ECHO = 0.5
OVER_FRAMES = 6
BEFORE_FRAMES = 4

# Sounds further apart than this are not of one utterance; one longer than that is not kept.
_APART_FRAMES = 16
_LONGEST_FRAMES = 64

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

    @property
    def is_sound(self) -> bool:
        """Whether somebody makes a sound in it, which is not mostly our echo."""
        return self.probability >= _BEGINS and self.unexplained >= _NOT_ECHO


class Utterance:
    """What the network of whole utterances hears: the frames from before the first sound to the
    last, with all pauses that are short enough."""

    def __init__(self) -> None:
        self._frames: list[Vector] = []
        self._heard = 0  # frames up to the last sound
        self._quiet_frames = _APART_FRAMES

    def take(self, cue: Cue) -> None:
        """The next frame, whether anybody speaks in it or not."""
        if len(self._frames) <= _LONGEST_FRAMES:
            self._frames.append(cue.features)
        self._quiet_frames = 0 if cue.is_sound else self._quiet_frames + 1
        if cue.is_sound:
            self._heard = len(self._frames)
        elif self._quiet_frames >= _APART_FRAMES:
            self.reset()

    def reset(self) -> None:
        """It is over; the last frames are those before the next."""
        del self._frames[:-BEFORE_FRAMES]
        self._heard, self._quiet_frames = 0, _APART_FRAMES

    @property
    def features(self) -> list[Vector] | None:
        """Of its frames; None if there was no sound, or it is too long to be judged."""
        is_known = 0 < self._heard <= _LONGEST_FRAMES
        return self._frames[: self._heard] if is_known else None


class Cues:
    """Finds the cues of one call. ``network`` is shared by all calls."""

    def __init__(self, network: InterruptionNetwork) -> None:
        self._network = network
        self._microphone, self._reply = BandFilter(), BandFilter()
        self._echo = EchoPath(EchoConfig())
        self._input = NetworkInput()
        self._caller_db: float | None = None
        self._before: deque[Vector] = deque(maxlen=BEFORE_FRAMES)
        self._state: Vector | None = None  # None between sounds
        self._quiet_frames = 0

    def learn(self, samples: Samples, probability: float) -> None:
        """A frame while no reply sounds: how loud this caller is."""
        self._microphone.skip(samples)
        if probability < _SURELY_SPEECH:
            return
        level = _decibels(samples)
        if self._caller_db is None:
            self._caller_db = level
            return
        rate = _RISE if level > self._caller_db else _FALL
        self._caller_db += rate * (level - self._caller_db)

    def hear(self, samples: Samples, probability: float, reply: Samples | None) -> Cue:
        """A frame while a reply sounds; see `InterruptionJudge.hear`."""
        powers = self._microphone.feed(samples)
        sounding = self._reply.feed(np.zeros_like(samples) if reply is None else reply)
        left = [self._echo.hear(p, s) for p, s in zip(powers, sounding, strict=True)]
        unexplained = float(np.dot(left, powers.sum(axis=1)) / max(powers.sum(), 1e-12))
        level = None
        if self._caller_db is not None:
            level = _decibels(samples) + 10 * np.log10(max(unexplained, 1e-6)) - self._caller_db
        features = self._input.features(powers, probability, unexplained, level)
        cue = Cue(probability, unexplained, level, None, features)
        return replace(cue, interrupts=self._follow(features, cue.is_sound))

    def _follow(self, features: Vector, is_sound: bool) -> float | None:
        """Take the network along while there is a sound."""
        self._quiet_frames = 0 if is_sound else self._quiet_frames + 1
        if self._quiet_frames >= OVER_FRAMES:
            self._state = None
        if self._state is None:
            if not is_sound:
                self._before.append(features)
                return None
            self._state = self._network.start()
            for earlier in self._before:
                _, self._state = self._network.step(earlier, self._state)
            self._before.clear()
        interrupts, self._state = self._network.step(features, self._state)
        return interrupts


def _decibels(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-10))

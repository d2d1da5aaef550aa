"""Stand-ins for what decides about turns, which loud tones drive."""

import numpy as np

from duplex.audio.formats import Samples
from duplex.turns.vad import FRAME_SAMPLES, VadFrame

SPEECH_LEVEL = 0.01  # mean magnitude above which a frame is speech


class LoudnessVad:
    """Stands in for silero: a frame is speech if it is loud. A stream as well as what opens it."""

    def __init__(self) -> None:
        self._at = 0

    def open(self) -> "LoudnessVad":
        """Begin the stream of one call."""
        return LoudnessVad()

    def feed(self, samples: Samples) -> list[VadFrame]:
        """Judge one frame."""
        assert len(samples) == FRAME_SAMPLES
        loud = float(np.abs(samples).mean()) > SPEECH_LEVEL
        frame = VadFrame(self._at, 0.9 if loud else 0.05)
        self._at += FRAME_SAMPLES
        return [frame]


class PatientJudge:
    """Stands in for the judge of barge-ins: ``PROOF_MS`` of speech without a gap is one."""

    PROOF_MS = 160

    def __init__(self, _config: object) -> None:
        self._speech_ms = 0

    def learn(self, samples: Samples, probability: float) -> None:
        """Check the frame; nothing is learnt."""
        assert len(samples) == FRAME_SAMPLES

    def hear(self, samples: Samples, probability: float, answer: Samples | None) -> bool:
        """Whether speech has lasted for ``PROOF_MS``."""
        assert len(samples) == FRAME_SAMPLES
        assert answer is None or len(answer) == FRAME_SAMPLES
        self._speech_ms = self._speech_ms + 32 if probability > 0.5 else 0
        return self._speech_ms >= self.PROOF_MS

    @property
    def heard_caller(self) -> bool:
        """Every speech is the caller's."""
        return True

    @property
    def sounds_false(self) -> float | None:
        """The sound says nothing."""
        return None

    def reset(self) -> None:
        """Forget the speech so far."""
        self._speech_ms = 0

"""What of a reply sounds at the caller as time goes by."""

import numpy as np

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.audio.timeline import KEPT_S, Timeline

_REFERENCE_HZ = 16_000
_DRIFT_SAMPLES = 3_200  # 200 ms: audio of callers comes in bursts of up to so much


class EchoReference:
    """What of one item sounds at the caller as time goes by, in frames of 16 kHz that follow one
    another: to tell its echo from the caller's voice. Like the ledger it takes audio to be played
    when it is sent; how much later it is heard nobody knows. Times are of the same clock."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz, _REFERENCE_HZ)
        self._timeline = Timeline()  # with silence where there was nothing to play
        self._from_s = 0.0  # when it begins; set by the first audio
        self._end = 0  # of the timeline
        self._next: int | None = None  # where the next frame begins; set by the first

    def feed(self, samples: Samples, now: float) -> None:
        """Note what is sent ``now``, at the item's rate."""
        if not self._end:
            self._from_s = now
        gap = self._at(now) - self._end
        if gap > 0:
            self._add(np.zeros(gap, np.float32))
        self._add(self._resampler.feed(samples))
        # In case that nobody asks for frames.
        self._timeline.forget(self._at(now) - round(KEPT_S * _REFERENCE_HZ))

    def frame(self, now: float, frame_samples: int) -> Samples:
        """The next frame, which ends about ``now``."""
        start = self._at(now) - frame_samples
        if self._next is not None and abs(start - self._next) <= _DRIFT_SAMPLES:
            start = self._next
        frame = self._timeline.between(start, start + frame_samples)
        self._timeline.forget(start - _DRIFT_SAMPLES)
        self._next = start + frame_samples
        return frame

    def _at(self, now: float) -> int:
        return round((now - self._from_s) * _REFERENCE_HZ)

    def _add(self, samples: Samples) -> None:
        self._timeline.feed(samples)
        self._end += len(samples)

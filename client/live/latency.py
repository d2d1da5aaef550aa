"""When the caller stopped speaking, as the microphone tells it: by energy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOOR_DBFS = -50.0  # below this nothing is speech, however quiet the room
ABOVE_NOISE_DB = 12.0
NOISE_RISE_DB_PER_S = 3.0  # the noise level follows a louder room slowly, a quieter one at once


@dataclass(slots=True)
class SpeechEnd:
    """``speech_end_s`` is the end of the last loud chunk, on the chunks' clock; None: none yet."""

    speech_end_s: float | None = None
    _noise_dbfs: float = FLOOR_DBFS

    def feed(self, samples: NDArray[np.float32], end_s: float, duration_s: float) -> bool:
        """A chunk that ends at ``end_s``; tells whether it is speech."""
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        level = 10 * np.log10(max(power, 1e-12))
        loud = level > max(FLOOR_DBFS, self._noise_dbfs + ABOVE_NOISE_DB)
        self._noise_dbfs = min(level, self._noise_dbfs + NOISE_RISE_DB_PER_S * duration_s)
        if loud:
            self.speech_end_s = end_s
        return bool(loud)

"""What a detector of speech knows about a clip, apart from its words: pure."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 32  # of one probability
VOICED_PROBABILITY = 0.5
# So much speech in one piece is somebody's (docs/decisions/0074-short-words-pass.md).
SPOKEN_MS = 160

# Gives the probability of speech in each 32 ms of a clip ([N], 16 kHz mono), a rest left out. It is
# asked on the ear's thread.
SpeechMeter = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def voiced_ms(probabilities: NDArray[np.float32]) -> int:
    """The longest piece of a clip that is speech from end to end."""
    longest = length = 0
    for is_voiced in probabilities >= VOICED_PROBABILITY:
        length = length + 1 if is_voiced else 0
        longest = max(longest, length)
    return FRAME_MS * longest

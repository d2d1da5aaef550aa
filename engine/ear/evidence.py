"""What a detector of speech knows about a clip, apart from its words: pure."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 32  # of one probability
# A frame of such a probability is speech beyond doubt, and so many of them are somebody who spoke
# (docs/decisions/0074-short-words-pass.md).
SURE_PROBABILITY = 0.8
SPOKEN_MS = 160

# Gives the probability of speech in each 32 ms of a clip ([N], 16 kHz mono), a rest left out. It is
# asked on the ear's thread.
SpeechMeter = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def voiced_ms(probabilities: NDArray[np.float32]) -> int:
    """How much of the clip is speech beyond doubt, in all."""
    return FRAME_MS * int((probabilities >= SURE_PROBABILITY).sum())


def was_spoken(probabilities: NDArray[np.float32]) -> bool:
    """Whether somebody spoke in the clip, with words that an ear understands or not."""
    return voiced_ms(probabilities) >= SPOKEN_MS

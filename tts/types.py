"""What a voice gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MIN_SPEED, MAX_SPEED = 0.25, 4.0  # of a voice; 1 is its natural rate


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the answer and where it ends in its segment's audio.

    ``text`` is a slice of the segment's original text, spaces and punctuation included, so the
    words of a segment joined give the segment back.
    """

    text: str
    end_sample: int


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive audio of one segment: float32 mono in [-1, 1] at the voice's rate.

    ``words`` are those whose last sample lies in this chunk; offsets count from the segment's
    first sample. ``text`` of all words of all chunks of a segment is the segment's text.
    """

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]


class Voice(Protocol):
    """A loaded voice, shared by all calls; holds weights and no call's state."""

    sample_rate: int

    def synthesize(self, text: str, speed: float = 1.0) -> Iterator[AudioChunk]:
        """Speak one segment. Each step of the iterator is one short run of the model, so that
        closing the iterator takes effect within one chunk."""

"""The caller's side of the audio: recordings on a bed of low noise, never silent, never late."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.realtime import CHUNK_SAMPLES, SAMPLE_RATE_HZ

BED_S = 2  # the noise repeats after this


@dataclass(slots=True)
class Microphone:
    """An endless stream of 20 ms chunks at 24 kHz.

    ``noise_dbfs`` is the RMS of white noise under everything, as a room has it; None sends
    exact zeros between the recordings. ``background`` is heard in that room, over and over.
    ``position`` is the first sample not yet taken.
    """

    noise_dbfs: float | None = -70.0
    seed: int = 0
    position: int = 0
    said: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)
    background: NDArray[np.float32] | None = None
    _bed: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        length = BED_S * SAMPLE_RATE_HZ
        if self.background is not None:  # whole chunks of it
            length = max(len(self.background) // CHUNK_SAMPLES, 1) * CHUNK_SAMPLES
        self._bed = np.zeros(length, dtype=np.float32)
        if self.background is not None:
            self._bed[: len(self.background)] += self.background[:length]
        if self.noise_dbfs is not None:
            amplitude = 10.0 ** (self.noise_dbfs / 20.0)
            noise = np.random.default_rng(self.seed).standard_normal(len(self._bed))
            self._bed += (noise * amplitude).astype(np.float32)

    def say(self, samples: NDArray[np.float32]) -> int:
        """Speak from the next chunk on; returns the position of the recording's first sample."""
        self.said.append((self.position, samples))
        return self.position

    def take(self) -> NDArray[np.float32]:
        """The next chunk."""
        offset = self.position % len(self._bed)
        chunk = self._bed[offset : offset + CHUNK_SAMPLES].copy()
        if self.said:
            start, samples = self.said[-1]
            part = samples[self.position - start : self.position - start + CHUNK_SAMPLES]
            chunk[: len(part)] += part
        self.position += CHUNK_SAMPLES
        return chunk

    def timeline(self, length: int) -> NDArray[np.float32]:
        """What was said, without the noise: ``length`` samples from the call's beginning."""
        said = np.zeros(length, dtype=np.float32)
        for start, samples in self.said:
            part = samples[: max(0, length - start)]
            said[start : start + len(part)] += part
        return said

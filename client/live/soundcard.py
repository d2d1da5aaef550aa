"""What the live call asks of a sound card, and how its samples become ours."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from duplex.audio.formats import encode_pcm16, int16_to_float
from duplex.audio.resample import Resampler

Samples = NDArray[np.float32]

# Both are called in the sound card's own threads, must return at once and must not raise.
Capture = Callable[[Samples], None]  # 24 kHz mono from the microphone, any length
Render = Callable[[int], Samples]  # so many samples at 24 kHz mono for the loudspeaker


class SoundCard(Protocol):
    """A microphone and a loudspeaker. The latencies are known once it is started."""

    @property
    def input_latency_s(self) -> float:
        """From a sound at the microphone to ``capture``."""
        ...

    @property
    def output_latency_s(self) -> float:
        """From ``render`` to the sound."""
        ...

    def start(self, capture: Capture, render: Render) -> None:
        """Begin.

        Raises:
            DeviceError: a device cannot be opened.
        """
        ...

    def fault(self) -> str | None:
        """Why it has stopped working, in words for a person, or None."""
        ...

    def close(self) -> None:
        """Give the devices back. Harmless when repeated."""
        ...


class InputFormat:
    """16 bit frames of the device to mono samples at 24 kHz."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._channels = channels
        self._resampler = Resampler(rate_hz, SAMPLE_RATE_HZ)

    def decode(self, data: bytes) -> Samples:
        """The samples that ``data``, whole frames, completes."""
        frames = int16_to_float(np.frombuffer(data, "<i2")).reshape(-1, self._channels)
        mono = frames[:, 0] if self._channels == 1 else frames.mean(axis=1)
        return self._resampler.feed(mono)


class OutputFormat:
    """Samples at 24 kHz, taken as they are needed, to 16 bit frames of the device."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz, self._channels = rate_hz, channels
        self._resampler = Resampler(SAMPLE_RATE_HZ, rate_hz)
        self._rest = np.zeros(0, np.float32)

    def encode(self, frames: int, render: Render) -> bytes:
        """So many frames. Never more samples are taken than they need, so nothing is held back
        when the loudspeaker is to be silent."""
        while (missing := frames - len(self._rest)) > 0:
            wanted = max(1, math.ceil(missing * SAMPLE_RATE_HZ / self._rate_hz))
            self._rest = np.concatenate([self._rest, self._resampler.feed(render(wanted))])
        out, self._rest = self._rest[:frames], self._rest[frames:]
        return encode_pcm16(np.repeat(out, self._channels))

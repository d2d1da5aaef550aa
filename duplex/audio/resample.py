"""The streaming resampler."""

import math
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from duplex.audio.formats import Samples

# Kaiser-windowed sinc. A half width of 25 samples of the lower rate with 80 dB of attenuation
# gives a transition of +-10 % around that rate's Nyquist frequency (Kaiser's formula,
# Oppenheim & Schafer section 7.5.3), and holds the output back by 1.6 ms at 16 kHz.
_HALF_WIDTH = 25
_KAISER_BETA = 0.1102 * (80 - 8.7)
_FEW_PHASES = 8  # between 8, 16, 24 and 48 kHz there are at most 3; with more, lanes are short


@cache
def _filter_bank(up: int, down: int) -> NDArray[np.float32]:
    """One row of taps for each phase of the output between two inputs: [up, taps]."""
    cutoff = min(1.0, up / down)  # of the input's Nyquist frequency
    half = math.ceil(_HALF_WIDTH / cutoff)
    # Row p, column k weighs the input k - half + 1 samples after the one left of the output.
    offset = np.arange(2 * half)[None, :] - (half - 1) - np.arange(up)[:, None] / up
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1 - (offset / half) ** 2)))
    taps = cutoff * np.sinc(cutoff * offset) * window
    taps /= taps.sum(axis=1, keepdims=True)  # every phase passes 0 Hz unchanged
    return taps.astype(np.float32)


class Resampler:
    """Polyphase resampling of one mono stream; any cuts give the same output.

    Written out rather than taken from soxr: its streams work in blocks and hold speech back, which
    a caller waits for (docs/decisions/0031-own-resampler.md).
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if from_hz <= 0 or to_hz <= 0:
            raise ValueError(f"rates must be positive, got {from_hz} and {to_hz}")
        divisor = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // divisor, from_hz // divisor
        self._bank = _filter_bank(self._up, self._down) if from_hz != to_hz else None
        self._half = 0 if self._bank is None else self._bank.shape[1] // 2
        self._buffer: Samples = np.zeros(max(0, self._half - 1), np.float32)
        self._buffer_at = -len(self._buffer)  # input index of the buffer's first sample
        self._received = 0
        self._sent = 0

    def feed(self, samples: Samples) -> Samples:
        """Return all output that ``samples`` and what came before determine."""
        if self._bank is None:
            return samples
        self._received += len(samples)
        self._buffer = np.concatenate([self._buffer, samples])
        return self._emit(self._bank, self._buffer_at + len(self._buffer) - self._half)

    def flush(self) -> Samples:
        """Return the rest, as if silence followed. The stream is over: push no more.

        In total ``ceil(received * to_hz / from_hz)`` samples are given.
        """
        if self._bank is None:
            return np.zeros(0, np.float32)
        self._buffer = np.concatenate([self._buffer, np.zeros(self._half, np.float32)])
        return self._emit(self._bank, self._received)

    def _emit(self, bank: NDArray[np.float32], ready: int) -> Samples:
        """Outputs that lie before input index ``ready``, all of whose inputs are buffered."""
        end = max(self._sent, -(-ready * self._up // self._down))
        if end == self._sent:
            return np.zeros(0, np.float32)
        output = (self._by_phase if self._up <= _FEW_PHASES else self._gathered)(bank, end)
        self._sent = end
        # The next output needs nothing before its own first input.
        keep = end * self._down // self._up - (self._half - 1) - self._buffer_at
        drop = min(max(keep, 0), len(self._buffer))
        self._buffer = self._buffer[drop:].copy()
        self._buffer_at += drop
        return output

    def _by_phase(self, bank: NDArray[np.float32], end: int) -> Samples:
        """The outputs up to ``end``, those of each phase together: their windows lie evenly, and
        are not copied. The bits are those of `_gathered`."""
        windows = sliding_window_view(self._buffer, 2 * self._half)
        output = np.empty(end - self._sent, np.float32)
        for number in range(min(self._up, len(output))):
            at = (self._sent + number) * self._down
            lane = output[number :: self._up]
            first = at // self._up - (self._half - 1) - self._buffer_at
            evenly = windows[first : first + (len(lane) - 1) * self._down + 1 : self._down]
            np.einsum("nk,k->n", evenly, bank[at % self._up], out=lane)
        return output

    def _gathered(self, bank: NDArray[np.float32], end: int) -> Samples:
        """The outputs up to ``end``, each with a copy of its window and of its taps."""
        at = np.arange(self._sent, end, dtype=np.int64) * self._down
        first = at // self._up - (self._half - 1) - self._buffer_at
        windows = sliding_window_view(self._buffer, 2 * self._half)[first]
        output: Samples = np.einsum("nk,nk->n", windows, bank[at % self._up])
        return output


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """A whole recording at another rate."""
    stream = Resampler(from_hz, to_hz)
    return np.concatenate([stream.feed(samples), stream.flush()])

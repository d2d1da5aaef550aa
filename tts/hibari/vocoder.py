"""What hibari's network says of each frame, to sound.

The formula is that of the model's description (hibari-tts 0.2.1 on PyPI, "ONNX interface"):

    S = exp(lh) exp(i pi tanh(theta)) STFT(pulses(f0)) + exp(ln) Z + exp(lr) exp(i phi)

with Z complex Gaussian noise; the sound is the inverse STFT of S. The code here is the project's
own: it renders any run of frames, and joined runs equal one over all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SAMPLE_RATE = 24_000
FRAME_SAMPLES = 300
_WINDOW_SAMPLES = 4 * FRAME_SAMPLES
BINS = _WINDOW_SAMPLES // 2 + 1
_REACH = 2  # frames on either side of a frame that its window covers
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW_SAMPLES) / _WINDOW_SAMPLES)).astype(
    np.float32
)
_ANALYSIS = _WINDOW / FRAME_SAMPLES  # a pulse of one harmonic gives a peak of one
_SYNTHESIS = _WINDOW / 1.5  # the squares of overlapping Hann windows, a quarter apart, add to 1.5
_MOST_LOG = 7.0
_LOWEST_HZ = 40.0  # a lower pitch is no voice
_HIGHEST_HZ = 11_000.0  # of the pulses' harmonics
_NEAR_ZERO = 2e-3
_NOISE_FRAMES = 512  # 6.4 s, then the same again: nobody hears that


@dataclass(frozen=True, slots=True)
class Frames:
    """The network's outputs for one text, frame by frame: spectra [601, F], pitch [F] in Hz."""

    harmonic: Array  # log magnitude lh
    rotation: Array  # theta
    noise: Array  # log magnitude ln
    rest: Array  # log magnitude lr
    phase: Array  # phi
    pitch: Array

    def __len__(self) -> int:
        return len(self.pitch)


class Vocoder:
    """Renders `Frames`. It holds the noise, drawn once from ``seed``; threads may share it."""

    def __init__(self, seed: int = 0) -> None:
        drawn = np.random.default_rng(seed).standard_normal((_NOISE_FRAMES, 2 * BINS), np.float32)
        self._noise = drawn.view(np.complex64)  # [512, 601]

    def open(self, frames: Frames) -> "Rendering":
        """Begin to render."""
        return Rendering(frames, self._noise, pulses(frames.pitch))


class Rendering:
    """One text being rendered; belongs to one call."""

    def __init__(self, frames: Frames, noise: NDArray[np.complex64], source: Array) -> None:
        self._frames = frames
        self._noise = noise
        pad = _WINDOW_SAMPLES // 2
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(source, pad), _WINDOW_SAMPLES)
        self._source = windows[::FRAME_SAMPLES]  # [F + 1, 1200], a view

    def render(self, start: int, stop: int) -> Array:
        """The sound of the frames from ``start`` to ``stop``, 300 samples each."""
        first = max(start - _REACH + 1, 0)
        last = min(stop + _REACH, len(self._frames))
        blocks = np.fft.irfft(self._spectrum(first, last), _WINDOW_SAMPLES, axis=1)
        blocks *= _SYNTHESIS
        quarters = blocks.reshape(last - first, 4, FRAME_SAMPLES)
        # Frame k lies around its beginning: its quarters are those of frames k - 2 to k + 1.
        sound = np.zeros((stop - start, FRAME_SAMPLES), np.float32)
        for quarter in range(4):
            shift = first + quarter - _REACH - start  # of the first block's quarter in `sound`
            skip = max(-shift, 0)
            count = min(last - first, stop - start - shift) - skip
            if count > 0:
                at = shift + skip
                sound[at : at + count] += quarters[skip : skip + count, quarter]
        return sound.reshape(-1)

    def _spectrum(self, first: int, last: int) -> NDArray[np.complex64]:
        """Spectra [frames, 601] of the frames from ``first`` to ``last``."""
        f = self._frames
        run = slice(first, last)
        spectrum = np.asarray(np.fft.rfft(self._source[run] * _ANALYSIS, axis=1), np.complex64)
        spectrum *= _polar(f.harmonic[:, run], np.float32(np.pi) * np.tanh(f.rotation[:, run])).T
        indices = np.arange(first, last) % len(self._noise)
        spectrum += self._noise[indices] * _magnitude(f.noise[:, run]).T
        spectrum += _polar(f.rest[:, run], f.phase[:, run]).T
        return spectrum


def pulses(pitch: Array) -> Array:
    """A train of pulses [300 F] at ``pitch`` [F]: the cosines of all harmonics below 11 kHz, zero
    where the pitch is below 40 Hz. Pitch is linear between the middles of frames.

    The sum of cos(h t) for h up to H is sin((H + 1/2) t) / (2 sin(t / 2)) - 1/2.
    """
    count = len(pitch) * FRAME_SAMPLES
    middles = (np.arange(len(pitch)) + 0.5) * FRAME_SAMPLES - 0.5
    hz = np.interp(np.arange(count), middles, pitch).astype(np.float32)
    voiced = hz > _LOWEST_HZ
    np.maximum(hz, _LOWEST_HZ, out=hz)
    turns = np.cumsum(hz, dtype=np.float64) / SAMPLE_RATE
    half = ((turns % 1.0) * np.pi).astype(np.float32)  # t / 2
    order = np.floor(_HIGHEST_HZ / hz) + np.float32(0.5)
    below = 2 * np.sin(half)
    near = np.abs(below) <= _NEAR_ZERO
    below[near] = 1
    train: Array = np.sin(order * (2 * half)) / below
    train[near] = order[near]
    train -= 0.5
    train[~voiced] = 0
    return train


def _magnitude(log: Array) -> Array:
    result: Array = np.exp(np.minimum(log, _MOST_LOG))
    return result


def _polar(log: Array, angle: Array) -> NDArray[np.complex64]:
    result = np.empty(log.shape, np.complex64)
    np.cos(angle, out=result.real)
    np.sin(angle, out=result.imag)
    result *= _magnitude(log)
    return result

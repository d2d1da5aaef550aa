"""Whisper's log-mel spectrogram in numpy, whole or as a stream.

It is our own, because openai-whisper, librosa and torchaudio compute whole clips only.

The recipe is ``log_mel_spectrogram`` of openai/whisper (whisper/audio.py): 25 ms periodic Hann
windows every 10 ms, centred with reflected edges, power, mel bank, log10 floored at 1e-10, then
clipped to 8 (80 dB) below the maximum and scaled. Here the last step is separate (`normalize`),
because a stream does not know its maximum yet.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
HALF_WINDOW_SAMPLES = WINDOW_SAMPLES // 2
STEP_AUDIO_RIGHT_ZEROS = 479  # behind each clip, log_mel_spectrogram of step-audio2's utils.py
LOG_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0  # in log10 of power
# BLAS wakes its threads for larger products, and they then spin against the models' own threads
# (docs/decisions/0020-guards-of-the-ear.md).
_FRAMES_PER_PRODUCT = 8


@cache
def mel_bank(bins: int) -> Float32:
    """Triangular mel filters of unit area, ``[bins, 201]``, from 0 to 8 kHz.

    The formula is Slaney's Auditory Toolbox (Interval Research report 1998-010), as in
    ``librosa.filters.mel(sr=16000, n_fft=400, n_mels=bins)``, from which Whisper's
    mel_filters.npz was saved: linear to 1 kHz (200/3 Hz per mel), then logarithmic (27 mels
    for a factor of 6.4); each triangle is scaled by 2 / its width in Hz.
    """
    top_mel = 15.0 + 27.0 * np.log(SAMPLE_RATE_HZ / 2 / 1000.0) / np.log(6.4)
    mels = np.linspace(0.0, top_mel, bins + 2)
    linear = mels * (200.0 / 3.0)
    edges_hz = np.where(mels < 15.0, linear, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))
    bins_hz = np.arange(HALF_WINDOW_SAMPLES + 1) * (SAMPLE_RATE_HZ / WINDOW_SAMPLES)
    lower, centre, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))
    bank: Float32 = triangles.astype(np.float32)
    bank.flags.writeable = False  # shared by all callers
    return bank


@cache
def _window() -> Float32:
    phase = 2.0 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES  # periodic, as torch's
    window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    window.flags.writeable = False
    return window


def _frames(padded: Float32, count: int, bins: int) -> Float32:
    """The first ``count`` frames of already padded audio, ``[bins, count]``."""
    if count == 0:
        return np.empty((bins, 0), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)
    windows = windows[: count * HOP_SAMPLES : HOP_SAMPLES]
    spectrum = np.fft.rfft(windows * _window(), axis=1)  # [count, 201]
    power = spectrum.real**2 + spectrum.imag**2
    mels = np.empty((count, bins), np.float32)
    bank = mel_bank(bins).T
    for start in range(0, count, _FRAMES_PER_PRODUCT):
        rows = slice(start, start + _FRAMES_PER_PRODUCT)
        np.matmul(power[rows], bank, out=mels[rows])
    return np.ascontiguousarray(np.log10(np.maximum(mels, np.float32(LOG_FLOOR))).T)


def log_mel(pcm: Float32, bins: int = 80, *, right_zeros: int = 0) -> Float32:
    """Log10 mel power of a whole clip, not normalised: ``[bins, (len(pcm) + right_zeros) // 160]``.

    ``pcm`` is 16 kHz mono in [-1, 1]; ``right_zeros`` of silence are put behind it.

    Raises:
        ValueError: ``pcm`` is not one-dimensional or, with the zeros, shorter than half a window
            (201 samples), which cannot be reflected.
    """
    if right_zeros and pcm.ndim == 1:
        pcm = np.pad(pcm, (0, right_zeros))
    if pcm.ndim != 1 or len(pcm) <= HALF_WINDOW_SAMPLES:
        raise ValueError(f"log_mel needs more than 200 mono samples, not shape {pcm.shape}")
    padded = np.pad(pcm.astype(np.float32, copy=False), HALF_WINDOW_SAMPLES, mode="reflect")
    return _frames(padded, len(pcm) // HOP_SAMPLES, bins)


def normalize(frames: Float32, maximum: float | None = None) -> Float32:
    """Whisper's scaling of log-mel ``frames``; ``maximum`` is the clip's own if not given.

    In a stream it is `LogMelState.maximum`, the largest value so far.
    """
    top = float(frames.max()) if maximum is None else maximum
    clipped = np.maximum(frames, np.float32(top - DYNAMIC_RANGE))
    return (clipped + np.float32(4.0)) / np.float32(4.0)


@dataclass(frozen=True, slots=True)
class LogMelState:
    """The state of one stream.

    ``tail`` is the audio that later frames still need. Before the first frame it is all audio so
    far; afterwards it starts at the next frame's window.
    """

    tail: Float32
    frames: int = 0
    samples: int = 0
    maximum: float = float(np.log10(LOG_FLOOR))


class LogMel:
    """The same spectrogram as a stream; the state is the caller's."""

    def __init__(self, bins: int = 80, *, right_zeros: int = 0) -> None:
        self.bins = bins
        self._right = np.zeros(right_zeros, np.float32)

    def open(self) -> LogMelState:
        """The state of an empty stream."""
        return LogMelState(np.empty(0, np.float32))

    def feed(self, pcm: Float32, state: LogMelState) -> tuple[Float32, LogMelState]:
        """Take the next ``pcm``; return the frames whose whole window is known, ``[bins, n]``.

        The frames of any sequence of calls, with those of `finish`, are `log_mel` of the joined
        audio.
        """
        audio = np.concatenate([state.tail, pcm.astype(np.float32, copy=False)])
        samples = state.samples + len(pcm)
        if state.frames == 0:
            if samples <= HALF_WINDOW_SAMPLES:  # the left edge cannot be reflected yet
                return np.empty((self.bins, 0), np.float32), LogMelState(audio, 0, samples)
            audio = np.pad(audio, (HALF_WINDOW_SAMPLES, 0), mode="reflect")
        ready = max(0, (len(audio) - WINDOW_SAMPLES) // HOP_SAMPLES + 1)
        frames = _frames(audio, ready, self.bins)
        tail = audio[ready * HOP_SAMPLES :].copy()
        maximum = max(state.maximum, float(frames.max(initial=state.maximum)))
        return frames, LogMelState(tail, state.frames + ready, samples, maximum)

    def finish(self, state: LogMelState) -> Float32:
        """The last frames, if the stream ended here, with its right edge reflected.

        The stream may go on from the same state; then these frames were provisional.

        Raises:
            ValueError: the stream has between 160 and 200 samples, as in `log_mel`.
        """
        if len(self._right):
            known, state = self.feed(self._right, state)
            return np.concatenate([known, self._reflected_end(state)], axis=1)
        return self._reflected_end(state)

    def _reflected_end(self, state: LogMelState) -> Float32:
        owed = state.samples // HOP_SAMPLES - state.frames
        if owed == 0:
            return np.empty((self.bins, 0), np.float32)
        if state.frames == 0:
            return log_mel(state.tail, self.bins)
        padded = np.pad(state.tail, (0, HALF_WINDOW_SAMPLES), mode="reflect")
        return _frames(padded, owed, self.bins)

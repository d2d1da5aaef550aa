"""The three spectra that a voice prompt needs, and resampling; numpy, no audio library.

Formulas: openai/whisper ``log_mel_spectrogram`` for the speech tokenizer, Kaldi's ``fbank`` as in
``torchaudio.compliance.kaldi`` for the speaker, HiFi-GAN's mel for the flow, and
``torchaudio.functional.resample`` with its defaults. The resampler is that formula rather than a
library's, soxr's for one: the published voices were made with it, and another filter's samples are
not the same to 1e-5.
"""

import math
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def resample(pcm: Float32, source_hz: int, target_hz: int) -> Float32:
    """``ceil(len * target / source)`` samples: a sinc of 6 zero crossings under a Hann window,
    cut off at 0.99 of the lower Nyquist frequency."""
    if source_hz == target_hz:
        return pcm
    divisor = math.gcd(source_hz, target_hz)
    source, target = source_hz // divisor, target_hz // divisor
    crossings, base = 6, min(source, target) * 0.99
    width = math.ceil(crossings * source / base)
    phase = np.arange(target)[:, None] / -target
    time = (phase + np.arange(-width, width + source) / source) * base
    time = np.clip(time, -crossings, crossings)
    window = np.cos(time * math.pi / crossings / 2) ** 2
    kernels = (np.sinc(time) * window * (base / source)).astype(np.float32)  # [target, taps]
    padded = np.pad(pcm, (width, width + source))
    windows = sliding_window_view(padded, kernels.shape[1])[::source]
    out: Float32 = (windows @ kernels.T).reshape(-1)[: -(-target * len(pcm) // source)]
    return out


@cache
def slaney_bank(rate: int, n_fft: int, bins: int, top_hz: float) -> Float32:
    """``librosa.filters.mel``: triangles of unit area, ``[bins, n_fft // 2 + 1]``, from 0 Hz.

    Linear to 1 kHz (200/3 Hz a mel), then logarithmic (27 mels for a factor of 6.4).
    """
    top = 15 + 27 * math.log(top_hz / 1000) / math.log(6.4) if top_hz >= 1000 else top_hz * 0.015
    mels = np.linspace(0, top, bins + 2)
    edges = np.where(mels < 15, mels / 0.015, 1000 * np.exp((mels - 15) * math.log(6.4) / 27))
    hz = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((hz - lower) / (centre - lower), (upper - hz) / (upper - centre))
    bank: Float32 = (np.maximum(triangles, 0) * (2 / (upper - lower))).astype(np.float32)
    bank.flags.writeable = False  # shared by all callers
    return bank


def _spectrum(padded: Float32, n_fft: int, hop: int) -> NDArray[np.complex128]:
    """``[frames, n_fft // 2 + 1]`` under a periodic Hann window."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.fft.rfft(sliding_window_view(padded, n_fft)[::hop] * hann, axis=1)


def whisper_mel(pcm: Float32) -> Float32:
    """``[128, len // 160]`` normalised log-mel of 16 kHz audio, as the tokenizer was trained."""
    spectrum = _spectrum(np.pad(pcm, 200, mode="reflect"), 400, 160)[:-1]
    power = slaney_bank(16_000, 400, 128, 8000.0) @ (np.abs(spectrum) ** 2).T
    log = np.log10(np.maximum(power, 1e-10))
    out: Float32 = ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)
    return out


def flow_mel(pcm: Float32, bins: int = 80) -> Float32:
    """``[len // 480, bins]`` natural log-mel of 24 kHz audio, 0 to 8 kHz, 80 ms windows."""
    spectrum = _spectrum(np.pad(pcm, 720, mode="reflect"), 1920, 480)
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + 1e-9)
    mel = magnitude @ slaney_bank(24_000, 1920, bins, 8000.0).T
    out: Float32 = np.log(np.maximum(mel, 1e-5)).astype(np.float32)
    return out


@cache
def _kaldi_bank() -> Float64:
    """80 triangles on Kaldi's mel scale, 20 Hz to 8 kHz, not scaled by width, ``[80, 257]``."""

    def mel(hz: NDArray[np.floating]) -> Float64:
        scaled: Float64 = 1127 * np.log1p(hz / 700)
        return scaled

    low, high = mel(np.array([20.0, 8000.0]))
    edges = low + (high - low) * np.arange(82) / 81
    at = mel(np.arange(257) * (16_000 / 512))
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bank: Float64 = np.maximum(
        0, np.minimum((at - lower) / (centre - lower), (upper - at) / (upper - centre))
    )
    bank.flags.writeable = False
    return bank


def kaldi_fbank(pcm: Float32) -> Float32:
    """``[frames, 80]`` log filter bank energies of 16 kHz audio in [-1, 1], without dither.

    25 ms frames every 10 ms, whole frames only; mean removed, pre-emphasis 0.97, Povey window
    (Hann to the power 0.85), 512-point power spectrum.
    """
    frames = sliding_window_view(pcm, 400)[::160].astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = frames - 0.97 * before
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(frames * povey, 512, axis=1)) ** 2
    floor = np.finfo(np.float32).eps
    out: Float32 = np.log(np.maximum(power @ _kaldi_bank().T, floor)).astype(np.float32)
    return out

"""How the last moments before a pause sound: what a voice does when a turn ends. Pure.

A voice that is done falls in pitch and fades; one that goes on holds its pitch and its level, and
draws out the last syllable (Gravano and Hirschberg 2011, Turn-taking cues in task-oriented
dialogue). Nothing here depends on the absolute level.
"""

import numpy as np
from numpy.typing import NDArray

from duplex.audio.formats import Samples

HEARD_MS = 2000  # of sound before a pause that is looked at
SOUND_NAMES = (
    "level_last_100",  # dB against the loudest 100 ms
    "level_last_300",
    "level_slope",  # dB a second over the last 500 ms
    "voiced_last_300",  # share of frames
    "unvoiced_ms",  # since the last voiced frame
    "last_voiced_ms",  # how long the last voiced stretch is
    "pitch_end",  # octaves, the last 100 ms of voice against the median
    "pitch_slope",  # octaves a second, over the last 300 ms of voice
    "pitch_spread",  # octaves, of all
)
_RATE = 16_000
_HOP, _WIDTH = 320, 640  # 20 and 40 ms
_LOWEST_HZ, _HIGHEST_HZ = 70, 400
_OCTAVE_COST = 0.1
_VOICED = 0.5  # of the normalised autocorrelation


def sound_of(samples: Samples) -> NDArray[np.float32]:
    """``SOUND_NAMES`` of the sound up to a pause: ``[N]``, 16 kHz, any N up to `HEARD_MS`."""
    found = np.zeros(len(SOUND_NAMES), np.float32)
    if len(samples) < 5 * _WIDTH:
        return found
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WIDTH)
    frames = windows[(len(samples) - _WIDTH) % _HOP :: _HOP].astype(np.float64)
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-10)
    loudest = np.sort(level)[-5:].mean()
    found[0] = level[-5:].mean() - loudest
    found[1] = level[-15:].mean() - loudest
    found[2] = _slope(level[-25:]) * _RATE / _HOP
    pitch = _pitch(frames, level > loudest - 30)
    voiced = np.flatnonzero(~np.isnan(pitch))
    if len(voiced) < 3:
        return found
    found[3] = (~np.isnan(pitch[-15:])).mean()
    found[4] = (len(pitch) - 1 - voiced[-1]) * _HOP * 1000 / _RATE
    breaks = np.flatnonzero(np.diff(voiced) > 2)
    found[5] = (len(voiced) - (breaks[-1] + 1 if len(breaks) else 0)) * _HOP * 1000 / _RATE
    heights = pitch[voiced]
    found[6] = np.median(heights[-5:]) - np.median(heights)
    found[7] = _slope(heights[-15:]) * _RATE / _HOP
    found[8] = heights.std()
    return np.clip(found, -1000, 2000)


def _slope(values: NDArray[np.float64]) -> float:
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return float(at @ values / max(float(at @ at), 1e-9))


def _pitch(frames: NDArray[np.float64], loud: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The pitch of each frame in octaves, NaN where it has none: the highest peak of the normalised
    autocorrelation (Boersma 1993)."""
    window = np.hanning(_WIDTH)
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    spectrum = np.fft.rfft(centred, 2 * _WIDTH)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :_WIDTH]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * _WIDTH)) ** 2)[:_WIDTH]
    first, last = _RATE // _HIGHEST_HZ, _RATE // _LOWEST_HZ
    ratio = correlation[:, : last + 1] / np.maximum(correlation[:, :1], 1e-12)
    ratio = ratio / np.maximum(own[: last + 1] / own[0], 1e-3)
    # A voice repeats after two periods as well as after one: the shorter is preferred.
    cost = _OCTAVE_COST * np.log2(np.arange(first, last + 1) / first)
    best = (ratio[:, first:] - cost).argmax(axis=1) + first
    strength = ratio[np.arange(len(best)), best]
    pitch = np.log2(_RATE / best)
    pitch[(strength < _VOICED) | ~loud] = np.nan
    return pitch

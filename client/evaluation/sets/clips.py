"""Sounds whose pitch, number, order, level and length are known because they are made here."""

import numpy as np
from numpy.typing import NDArray

from client.evaluation.items import RATE_HZ, Samples

LEVEL = 0.3  # peak of a sound
EDGE_S = 0.01  # faded in and out, so that nothing clicks
BELL_PARTIALS = (1.0, 2.76, 5.4, 8.93)  # of a free bar (Fletcher and Rossing, section 2.15)


def silence(seconds: float) -> Samples:
    """Nothing."""
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def glide(start_hz: float, end_hz: float, seconds: float) -> Samples:
    """A tone with three harmonics that moves evenly, by pitch, from one frequency to another."""
    count = round(seconds * RATE_HZ)
    frequency = start_hz * (end_hz / start_hz) ** np.linspace(0, 1, count)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE_HZ
    return _finished(sum(np.sin(k * phase) / k for k in (1, 2, 3)))


def tone(hz: float, seconds: float) -> Samples:
    """A steady tone."""
    return glide(hz, hz, seconds)


def bell(hz: float, seconds: float) -> Samples:
    """A struck bar that dies away."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    partials = [
        np.sin(2 * np.pi * hz * ratio * time) * np.exp(-time * (3 + 2 * index)) / (index + 1)
        for index, ratio in enumerate(BELL_PARTIALS)
    ]
    return _finished(sum(partials))


def hiss(seconds: float, generator: np.random.Generator) -> Samples:
    """White noise."""
    return _finished(generator.standard_normal(round(seconds * RATE_HZ)) / 3)


def siren(seconds: float) -> Samples:
    """A tone that goes up and down three times a second."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    frequency = 700 + 250 * np.sin(2 * np.pi * 3 * time)
    return _finished(np.sin(2 * np.pi * np.cumsum(frequency) / RATE_HZ))


def fade(samples: Samples, start_db: float, end_db: float) -> Samples:
    """The same, with its level moving evenly from one gain to another."""
    gain = 10 ** (np.linspace(start_db, end_db, len(samples)) / 20)
    return (samples * gain).astype(np.float32)


def bend_end(samples: Samples, factor: float, share: float = 0.4) -> Samples:
    """The same, with the last ``share`` of it moving up or down in pitch, at its end by
    ``factor``: it is played faster or slower, more and more."""
    start = round(len(samples) * (1 - share))
    at, position = [], float(start)
    while position < len(samples) - 1:
        at.append(position)
        position += factor ** ((position - start) / (len(samples) - start))
    bent = np.interp(at, np.arange(len(samples)), samples)
    return np.concatenate([samples[:start], bent]).astype(np.float32)


def trimmed(samples: Samples) -> Samples:
    """Without the silence before and behind."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def framed(*pieces: Samples) -> Samples:
    """One after the other, with a third of a second of silence around."""
    return np.concatenate([silence(0.3), *pieces, silence(0.3)])


def _finished(samples: NDArray[np.float64] | int) -> Samples:
    made = np.asarray(samples, dtype=np.float64)
    edge = round(EDGE_S * RATE_HZ)
    ramp = np.linspace(0, 1, edge)
    made[:edge] *= ramp
    made[-edge:] *= ramp[::-1]
    made *= LEVEL / max(float(np.abs(made).max()), 1e-9)
    return made.astype(np.float32)

"""Background noise for the callers' rooms, made from a seed and from the recordings themselves."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from client.sound.speech import Recording, speech_bounds

Kind = Literal["pink", "babble"]

LENGTH_S = 12
VOICES = 6  # of a babble: one can no longer be told from another
FADE_SAMPLES = SAMPLE_RATE_HZ // 20  # the noise repeats without a click


def background(
    kind: Kind, recordings: Sequence[Recording], snr_db: float, seed: int = 0
) -> NDArray[np.float32]:
    """Twelve seconds, to be repeated, ``snr_db`` below the speech of the recordings.

    "pink" is a fan or a street: 1/f from 50 Hz; "babble" is a room in which others talk: six of
    the recordings at a time.

    Raises:
        ValueError: there are no recordings, or one holds no speech.
    """
    if not recordings:
        raise ValueError("there is no speech to be louder than the noise")
    draw = np.random.default_rng(seed)
    count = LENGTH_S * SAMPLE_RATE_HZ
    noise = _pink(count, draw) if kind == "pink" else _babble(count, recordings, draw)
    ramp = np.linspace(0, 1, FADE_SAMPLES)
    joined = noise[FADE_SAMPLES:].copy()  # the end runs over into what came before the beginning
    joined[-FADE_SAMPLES:] = joined[-FADE_SAMPLES:] * np.sqrt(1 - ramp) + noise[
        :FADE_SAMPLES
    ] * np.sqrt(ramp)
    level = speech_rms(recordings) * 10.0 ** (-snr_db / 20.0)
    scaled = joined * (level / np.sqrt(np.mean(joined**2)))
    return np.asarray(scaled, dtype=np.float32)


def speech_rms(recordings: Sequence[Recording]) -> float:
    """The median over the recordings of the RMS between the first and last sample of speech."""
    levels = []
    for recording in recordings:
        bounds = speech_bounds(recording.samples)
        spoken = recording.samples[bounds.first_sample : bounds.last_sample + 1].astype(np.float64)
        levels.append(float(np.sqrt(np.mean(spoken**2))))
    return float(np.median(levels))


def _pink(count: int, draw: np.random.Generator) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(draw.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ)
    shape = np.where(hertz < 50, 0.0, 1 / np.sqrt(np.maximum(hertz, 50)))
    return np.fft.irfft(spectrum * shape, count)


def _babble(
    count: int, recordings: Sequence[Recording], draw: np.random.Generator
) -> NDArray[np.float64]:
    mixed = np.zeros(count)
    for _ in range(VOICES):
        at = -int(draw.integers(0, SAMPLE_RATE_HZ))
        while at < count:
            samples = recordings[int(draw.integers(0, len(recordings)))].samples
            part = samples[max(0, -at) : count - at]
            mixed[max(0, at) : max(0, at) + len(part)] += part
            at += len(samples)
    return mixed

"""Events laid over a microphone's track while an answer plays. All of it is made here from the
sounds of `voices` and `sounds`; rooms, lines, echo paths and noise are simulated.

A scene: the near caller asks something; the answer begins 0.6 s later; 1 to 2.2 s into it the
event comes; the track ends 0.8 s after it. The caller speaks at -32 to -18 dBFS over room noise
20 to 40 dB below that. A third of the lines are telephones (8 kHz, mu-law).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from duplex.audio.formats import Samples, decode_ulaw, encode_ulaw
from duplex.audio.resample import resample
from duplex.turns.vad import SAMPLE_RATE

BEFORE_S, TURN_GAP_S, AFTER_S = 0.3, 0.6, 0.8


@dataclass(frozen=True, slots=True)
class Echo:
    """The answer as the microphone has it: so many dB below the near caller, and so much later
    than the server believes."""

    below_db: float
    late_ms: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where the caller is; drawn once for each event."""

    caller_dbfs: float
    noise_below_db: float
    phone: bool
    echo: Echo | None


@dataclass(frozen=True, slots=True)
class Scene:
    """A microphone's track, and beside it the answer as the server believes it sounds there.

    ``silenced`` is the microphone's if the answer did not sound. The event is ``onset`` to
    ``end``.
    """

    microphone: Samples
    silenced: Samples
    answer: Samples
    answer_from: int
    onset: int
    end: int


def draw_place(rng: np.random.Generator, *, echo_only: bool = False) -> Place:
    """Half of the callers have no echo (headset, cancelled), a quarter what a canceller leaves,
    20 to 30 dB below them, a quarter 8 to 20 dB. If nothing but the echo is to be heard: 6 to
    30 dB."""
    below, late = rng.uniform(20, 30), rng.uniform(-50, 400)
    chance = rng.random()
    if echo_only:
        below = rng.uniform(6, 30)
    elif chance > 0.75:
        below = rng.uniform(8, 20)
    echo = Echo(below, late) if echo_only or chance > 0.5 else None
    return Place(rng.uniform(-32, -18), rng.uniform(20, 40), bool(rng.random() < 1 / 3), echo)


def lay(
    event: Samples | None,
    question: Samples,
    answer: Samples,
    place: Place,
    rng: np.random.Generator,
    *,
    relative_db: float = 0.0,
    far: bool = False,
) -> Scene:
    """Put a scene together.

    Args:
        event: what comes over the answer; None for nothing but the place's echo.
        question: the near caller's turn before, who sets the level.
        answer: 16 kHz, of at least 7 s.
        relative_db: the event's level, against the caller's speech.
        far: the event comes from the other end of a room: low-passed and reverberant.
    """
    caller = 10 ** (place.caller_dbfs / 20)
    question = levelled(question, caller)
    sound = np.zeros(SAMPLE_RATE, np.float32) if event is None else event
    if far:
        sound = reverberant(lowpass(sound, 3000), rng, rng.uniform(0.4, 0.8), 0.2)
    if event is not None:
        sound = levelled(sound, caller * 10 ** (relative_db / 20))
    answer_from = int((BEFORE_S + TURN_GAP_S) * SAMPLE_RATE) + len(question)
    onset = answer_from + int(rng.uniform(1.0, 2.2) * SAMPLE_RATE)
    end = onset + len(sound)
    length = end + int(AFTER_S * SAMPLE_RATE)
    track = np.zeros(length, np.float32)
    first = int(BEFORE_S * SAMPLE_RATE)
    track[first : first + len(question)] += question
    track[onset:end] += sound
    believed = placed(answer, answer_from, length)
    echo = np.zeros(length, np.float32)
    if place.echo is not None:
        late = int(place.echo.late_ms * SAMPLE_RATE / 1000)
        speaker = placed(small_speaker(answer), answer_from + late, length)
        echo = reverberant(speaker, rng, rng.uniform(0.15, 0.4), 0.6)[:length]
        echo = levelled(echo, caller * 10 ** (-place.echo.below_db / 20))
    noise = room_noise(rng, length) * np.float32(caller * 10 ** (-place.noise_below_db / 20))
    microphone = through_line(track + echo + noise, phone=place.phone)
    silenced = through_line(track + noise, phone=place.phone)
    return Scene(microphone, silenced, believed, answer_from, onset, end)


def through_line(samples: Samples, *, phone: bool) -> Samples:
    """As it arrives: clipped, and on a telephone's line 300 to 3400 Hz in mu-law."""
    if phone:
        narrow = resample(samples, SAMPLE_RATE, 8000)
        narrow = sosfilt(butter(2, [300, 3400], "band", fs=8000, output="sos"), narrow)  # type: ignore[assignment]
        samples = resample(decode_ulaw(encode_ulaw(narrow)), 8000, SAMPLE_RATE)[: len(samples)]
    return np.clip(samples, -1, 1).astype(np.float32)


def levelled(samples: Samples, rms: float) -> Samples:
    """Scaled to ``rms`` over the 20 ms blocks within 30 dB of the loudest."""
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(np.float64)
    power = (blocks**2).mean(axis=1)
    active = float(np.sqrt(power[power > power.max() / 1000].mean()))
    return (samples * (rms / active)).astype(np.float32)


def placed(samples: Samples, at: int, length: int) -> Samples:
    """``samples`` from ``at`` on, in a track of ``length``."""
    track = np.zeros(length, np.float32)
    part = samples[: max(0, length - at)]
    track[at : at + len(part)] = part
    return track


def lowpass(samples: Samples, hz: float) -> Samples:
    """Two poles."""
    found: Samples = sosfilt(butter(2, hz, fs=SAMPLE_RATE, output="sos"), samples)  # type: ignore[assignment]
    return found.astype(np.float32)


def small_speaker(samples: Samples) -> Samples:
    """A telephone's or laptop's speaker: 350 Hz to 6.5 kHz, and soft clipping."""
    band = sosfilt(butter(2, [350, 6500], "band", fs=SAMPLE_RATE, output="sos"), samples)
    return np.tanh(2.0 * band / np.abs(band).max()).astype(np.float32)


def reverberant(
    samples: Samples, rng: np.random.Generator, rt60_s: float, direct: float
) -> Samples:
    """Through a room: a direct path, and noise that decays by 60 dB in ``rt60_s``."""
    length = int(rt60_s * SAMPLE_RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= (1 - direct) / np.sqrt((tail**2).sum())
    tail[0] = direct
    return fftconvolve(samples, tail).astype(np.float32)[: len(samples) + length // 4]


def room_noise(rng: np.random.Generator, length: int) -> Samples:
    """Noise of RMS 1 that falls by 3 dB an octave, as a quiet room's."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 50 * length / SAMPLE_RATE))
    noise = np.fft.irfft(spectrum, length)
    return (noise / np.sqrt((noise**2).mean())).astype(np.float32)

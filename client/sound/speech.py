"""Where speech begins and ends in a recording, by energy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from duplex.audio.files import read_sound
from duplex.audio.resample import resample

FRAME_MS = 10
QUIET_BELOW_PEAK_DB = 35.0  # a frame this far below the loudest one is not speech
FLOOR_DBFS = -55.0  # nor is one below this, however quiet the recording
AUDIBLE = 0.01  # -40 dBFS: a sample of an answer at least this large can be heard


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance of a caller: mono float32 in [-1, 1] at 24 kHz, and what it says."""

    id: str
    text: str
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SpeechBounds:
    """The first and last sample of speech, counted from the recording's start."""

    first_sample: int
    last_sample: int


def read_speech(path: Path) -> NDArray[np.float32]:
    """Read a recording of any rate as mono at 24 kHz.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no recording, or holds no speech; the message names the file.
    """
    try:
        samples, rate_hz = read_sound(path)
        if rate_hz != SAMPLE_RATE_HZ:
            samples = resample(samples, rate_hz, SAMPLE_RATE_HZ)
        speech_bounds(samples)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(path) in text else f"{path}: {text}") from error
    return samples


def speech_bounds(samples: NDArray[np.float32], rate_hz: int = SAMPLE_RATE_HZ) -> SpeechBounds:
    """Find the speech in a clean recording.

    The frames (10 ms) whose RMS is within 35 dB of the loudest frame's and above -55 dBFS are
    speech; within the first and the last of them, the outermost sample above that level counts.

    Raises:
        ValueError: there is none.
    """
    frame = rate_hz * FRAME_MS // 1000
    padded = np.zeros(-(-max(len(samples), 1) // frame) * frame, dtype=np.float64)
    padded[: len(samples)] = samples
    rms = np.sqrt(np.mean(padded.reshape(-1, frame) ** 2, axis=1))
    level = _speech_level(float(rms.max()))
    frames = np.flatnonzero(rms >= level)
    if len(frames) == 0:
        raise ValueError("no speech in it: it is silent")
    loud = np.abs(padded) >= level
    first = int(frames[0]) * frame
    last = (int(frames[-1]) + 1) * frame
    return SpeechBounds(
        first_sample=first + int(np.argmax(loud[first:last])),
        last_sample=last - 1 - int(np.argmax(loud[first:last][::-1])),
    )


def longest_pause_ms(samples: NDArray[np.float32], rate_hz: int = 24_000) -> float:
    """The longest stretch within the speech that is none, in whole frames of 10 ms.

    Raises:
        ValueError: there is no speech.
    """
    bounds = speech_bounds(samples, rate_hz)
    frame = rate_hz * FRAME_MS // 1000
    inside = samples[bounds.first_sample : bounds.last_sample + 1].astype(np.float64)
    rms = np.sqrt(np.mean(inside[: len(inside) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    if len(rms) == 0:
        return 0.0
    speech = np.flatnonzero(rms >= _speech_level(float(rms.max())))
    return float(max(np.diff(speech, prepend=-1) - 1, default=0)) * FRAME_MS


def _speech_level(peak_rms: float) -> float:
    return max(_amplitude(FLOOR_DBFS), peak_rms * _amplitude(-QUIET_BELOW_PEAK_DB))


def first_audible(samples: NDArray[np.float32]) -> int | None:
    """Index of the first sample that can be heard, or None."""
    loud = np.abs(samples) >= AUDIBLE
    return int(np.argmax(loud)) if loud.any() else None


def last_audible(samples: NDArray[np.float32]) -> int | None:
    """Index of the last sample that can be heard, or None."""
    loud = np.abs(samples) >= AUDIBLE
    return len(samples) - 1 - int(np.argmax(loud[::-1])) if loud.any() else None


def _amplitude(decibels: float) -> float:
    return float(10.0 ** (decibels / 20.0))

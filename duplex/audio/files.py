"""Recordings in files."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from duplex.audio.formats import Samples, encode_pcm16


def read_wav(path: Path) -> tuple[Samples, int]:
    """Return a WAV file's samples, its channels averaged, and its rate in Hz.

    Raises:
        ValueError: not a WAV file of 8, 16, 24 or 32 bit integers.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not a PCM WAV file: {error}") from error
    data = data[: len(data) // (width * channels) * width * channels]  # a cut-off last frame
    if width == 1:
        values = np.frombuffer(data, np.uint8).astype(np.float64) - 128
    elif width in (2, 4):
        values = np.frombuffer(data, f"<i{width}").astype(np.float64)
    elif width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = wide.view("<i4")[:, 0].astype(np.float64) / 256
    else:
        raise ValueError(f"{path}: {8 * width} bit samples are not supported")
    mono = values.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)
    return mono.astype(np.float32), rate


def write_wav(path: Path, samples: ArrayLike, rate_hz: int) -> None:
    """Write samples as a 16 bit mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(encode_pcm16(samples))

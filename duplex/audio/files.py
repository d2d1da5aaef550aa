"""Recordings in files: what libsndfile reads, and 16 bit WAV to write."""

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from duplex.audio.formats import Samples, encode_pcm16

# By which the recordings in a folder are known; a file that is named may have any name.
SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")


def read_sound(path: Path) -> tuple[Samples, int]:
    """Return a recording's samples, its channels averaged, and its rate in Hz.

    The format is told by the content: WAV of integers or floats, FLAC, Ogg with Vorbis or Opus,
    MP3, AIFF, and what else libsndfile reads.

    Raises:
        ValueError: it is no such file, or its samples are no numbers; the message names it.
        OSError: it cannot be opened, or libsndfile is missing.
    """
    with path.open("rb") as file:
        return decode_sound(file, str(path))


def decode_sound(file: BinaryIO, name: str) -> tuple[Samples, int]:
    """As `read_sound`, of an open file; ``name`` is what an error calls it.

    Raises:
        ValueError: it is no recording, or its samples are no numbers.
        OSError: libsndfile is missing.
    """
    import soundfile  # where it is used: a server reads no files

    try:
        samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = error.error_string
        raise ValueError(f"{name}: not a sound file that can be read: {reason}") from error
    if not np.isfinite(samples).all():
        raise ValueError(f"{name}: not all of its samples are numbers")
    # Floats, and what was coded with losses, may go a little beyond the range.
    mono: Samples = np.clip(samples.mean(axis=1), -1, 1).astype(np.float32)
    return mono, int(rate)


def sounds_in(folder: Path) -> list[Path]:
    """The files of a folder that are named as recordings, by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)


def write_wav(path: Path, samples: ArrayLike, rate_hz: int) -> None:
    """Write samples as a 16 bit mono WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(encode_pcm16(samples))

"""Recordings in files: what libsndfile reads, and 16 bit WAV to write."""

import itertools
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from duplex.audio.formats import Samples, encode_pcm16

# By which the recordings in a folder are known; a file that is named may have any name.
SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")


def read_sound(path: Path) -> tuple[Samples, int]:
    """Return a recording's samples, its channels averaged, and its rate in Hz.

    The format is told by the content: WAV of integers or floats, FLAC, Ogg with Vorbis or Opus,
    MP3, AIFF, and what else libsndfile reads; with PyAV installed, what FFmpeg reads: m4a, webm.

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

    if not file.read(1):
        raise ValueError(f"{name}: the file is empty")
    file.seek(0)
    try:
        samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        file.seek(0)
        samples, rate = _decode(name, file, error.error_string)
    if not len(samples):
        raise ValueError(f"{name}: there is no sound in it")
    if not np.isfinite(samples).all():
        raise ValueError(f"{name}: not all of its samples are numbers")
    # Floats, and what was coded with losses, may go a little beyond the range.
    mono: Samples = np.clip(samples.mean(axis=1), -1, 1).astype(np.float32)
    return mono, int(rate)


def _decode(name: str, file: BinaryIO, reason: str) -> tuple[NDArray[np.float64], int]:
    """Samples [T, 1] and rate of the first sound in a file that libsndfile does not read.

    Raises:
        ValueError: FFmpeg does not either, or PyAV is not installed.
    """
    told = f"{name}: not a sound file that can be read: {reason}"
    try:
        pieces, rate = ffmpeg_pieces(file)
        sound = list(pieces)
    except ImportError as error:
        hint = "m4a, webm and others need PyAV: pip install 'duplex-r1[files]'"
        raise ValueError(f"{told} ({hint})") from error
    except ValueError as error:
        raise ValueError(f"{told.rstrip('.')}; nor for FFmpeg: {error}") from error
    return np.concatenate(sound or [np.zeros(0, np.float32)])[:, None].astype(np.float64), rate


def ffmpeg_pieces(file: BinaryIO) -> tuple[Iterator[NDArray[np.float32]], int]:
    """Open a file with FFmpeg: the samples of its first sound, its channels averaged, piece by
    piece, and their rate in Hz.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: FFmpeg does not read it, or there is no sound in it; the iterator too.
    """
    import av

    try:
        container = av.open(file, "r")
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error
    stream = next(iter(container.streams.audio), None)
    if stream is None or not stream.rate:
        container.close()
        raise ValueError("it has no sound" if stream is None else "it tells no rate of its sound")

    def pieces() -> Iterator[NDArray[np.float32]]:
        floats = av.AudioResampler(format="fltp")
        with container:
            try:
                for frame in itertools.chain(container.decode(stream), [None]):
                    for piece in floats.resample(frame):
                        yield piece.to_ndarray().mean(axis=0)
            except av.FFmpegError as error:
                raise ValueError(error.strerror or str(error)) from error

    return pieces(), int(stream.rate)


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

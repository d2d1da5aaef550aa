"""Reads a sound file that was sent: any format that libsndfile knows, and with PyAV the containers
of browsers and phones."""

import importlib.util
import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from duplex.audio.files import ffmpeg_pieces
from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.speech_api.cutting import RATE_HZ

MAX_S = 6 * 3600  # of one file: a few megabytes can hold days of silence
_BLOCK_VALUES = 400_000  # of all channels, read at a time
# Of recordings. A resampler to 16 kHz is built and kept for each, and large for odd ones.
_LOWEST_HZ, _HIGHEST_HZ = 4_000, 768_000
_RATES_HZ = frozenset(
    {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000}
    | {64_000, 88_200, 96_000, 176_400, 192_000}
)


class UnreadableSound(ValueError):
    """The file is none that can be read; the message says why, in words for the client."""


def blocks(data: bytes) -> Iterator[Samples]:
    """Yield the sound of a file at 16 kHz, its channels averaged, some seconds at a time.

    Raises:
        UnreadableSound: it is none, or it is too long; part of it may have been given by then.
    """
    parts, from_hz = _opened(data)
    resampler = Resampler(from_hz, RATE_HZ)
    given = 0
    for part in itertools.chain(parts, [None]):
        block = resampler.flush() if part is None else resampler.feed(_clean(part))
        given += len(block)
        if given > MAX_S * RATE_HZ:
            raise UnreadableSound(f"The recording is longer than {MAX_S // 3600} hours.")
        if len(block):
            yield block


def _clean(samples: Any) -> Samples:
    if not np.isfinite(samples).all():
        raise UnreadableSound("Not all samples of the file are numbers.")
    mono: Samples = np.clip(samples, -1, 1).astype(np.float32)
    return mono


def _opened(data: bytes) -> tuple[Iterator[Any], int]:
    import soundfile

    if not data:
        raise UnreadableSound("The file is empty.")
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        return _opened_by_av(data, error.error_string)
    # libsndfile guesses the length of a streamed MP3, and of a streamed FLAC knows none.
    is_guess = file.format == "MP3" or file.frames > MAX_S * file.samplerate
    if not _LOWEST_HZ <= file.samplerate <= _HIGHEST_HZ:
        file.close()
        raise UnreadableSound(f"The file's rate, {file.samplerate} Hz, is none of a recording.")
    is_odd = file.samplerate not in _RATES_HZ
    if is_odd or (is_guess and importlib.util.find_spec("av") is not None):
        file.close()
        return _opened_by_av(data, f"its rate is {file.samplerate} Hz")
    return _read(file, soundfile.LibsndfileError), int(file.samplerate)


def _read(file: Any, failure: type[Exception]) -> Iterator[Any]:
    with file:
        while True:
            try:
                count = max(1, min(file.samplerate, _BLOCK_VALUES // file.channels))
                block = file.read(count, dtype="float32", always_2d=True)
            except failure as error:
                raise UnreadableSound(f"The file is damaged: {error}") from error
            if not len(block):
                return
            yield block.mean(axis=1)


def _opened_by_av(data: bytes, reason: str) -> tuple[Iterator[Any], int]:
    try:
        pieces, rate = ffmpeg_pieces(io.BytesIO(data))
    except ImportError:
        raise UnreadableSound(
            f"The file cannot be read ({reason}). This server reads WAV, FLAC, Ogg, Opus, MP3 and "
            "AIFF; for WebM, MP4, M4A and AAC its owner installs duplex-r1[files]."
        ) from None
    except ValueError as error:
        raise UnreadableSound(f"The file cannot be read: {reason}; {error}") from None
    return _decoded(pieces), rate


def _decoded(pieces: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from pieces
    except ValueError as error:
        raise UnreadableSound(f"The file is damaged: {error}") from error

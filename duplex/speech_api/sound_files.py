"""Reads a sound file that was sent: any format that libsndfile knows, and with PyAV the containers
of browsers and phones."""

import importlib.util
import io
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from duplex.speech_api.cutting import RATE_HZ

MAX_S = 6 * 3600  # of one file: a few megabytes can hold days of silence
_BLOCK_S = 1


class UnreadableSound(ValueError):
    """The file is none that can be read; the message says why, in words for the client."""


def blocks(data: bytes) -> Iterator[Samples]:
    """Yield the sound of a file at 16 kHz, its channels averaged, about a second at a time.

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
    if is_guess and importlib.util.find_spec("av") is not None:
        file.close()
        return _opened_by_av(data, "its length is not known")
    return _read(file, soundfile.LibsndfileError), int(file.samplerate)


def _read(file: Any, failure: type[Exception]) -> Iterator[Any]:
    with file:
        while True:
            try:
                block = file.read(file.samplerate * _BLOCK_S, dtype="float32", always_2d=True)
            except failure as error:
                raise UnreadableSound(f"The file is damaged: {error}") from error
            if not len(block):
                return
            yield block.mean(axis=1)


def _opened_by_av(data: bytes, reason: str) -> tuple[Iterator[Any], int]:
    try:
        import av
    except ImportError:
        raise UnreadableSound(
            f"The file cannot be read ({reason}). This server reads WAV, FLAC, Ogg, Opus, MP3 and "
            "AIFF; for WebM, MP4, M4A and AAC its owner installs duplex-r1[files]."
        ) from None
    try:
        container = av.open(io.BytesIO(data))
    except (av.FFmpegError, ValueError):
        raise UnreadableSound(f"The file cannot be read: {reason}") from None
    if not container.streams.audio:
        container.close()
        raise UnreadableSound("There is no sound in the file.")
    rate = container.streams.audio[0].rate
    if not rate or math.isnan(rate):
        container.close()
        raise UnreadableSound("The file does not say at which rate its sound is.")
    return _decoded(container, av), int(rate)


def _decoded(container: Any, av: Any) -> Iterator[Any]:
    with container:
        stream = container.streams.audio[0]
        mono = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        try:
            for frame in container.decode(stream):
                for part in mono.resample(frame):
                    yield part.to_ndarray()[0]
            for part in mono.resample(None):
                yield part.to_ndarray()[0]
        except av.FFmpegError as error:
            raise UnreadableSound(f"The file is damaged: {error}") from error

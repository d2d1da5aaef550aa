"""Sound in the formats that clients ask for, made piece by piece while the voice speaks."""

import io
import struct
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from duplex.audio.formats import Samples, encode_pcm16

RATE_HZ = 24_000  # of all formats, as OpenAI's


class Encoder(Protocol):
    """One answer's encoder."""

    def feed(self, samples: Samples) -> bytes:
        """Take more samples; return what can be sent of them, maybe nothing."""

    def finish(self) -> bytes:
        """Return the rest."""


class NoSuchFormat(ValueError):
    """The format is not known here, or cannot be made here; the message says so to the client."""


class _Pcm:
    """16 bits, little-endian; with a WAV header whose length is open if it is a ``wav``."""

    def __init__(self, *, wav: bool) -> None:
        self._head = _wav_head() if wav else b""

    def feed(self, samples: Samples) -> bytes:
        head, self._head = self._head, b""
        return head + encode_pcm16(samples)

    def finish(self) -> bytes:
        head, self._head = self._head, b""
        return head


def _wav_head() -> bytes:
    """Of a file whose length is not known yet: the largest one, which players read to its end."""
    open_end = 0xFFFFFFFF
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", open_end, b"WAVE", b"fmt ", 16, 1, 1),
        *(RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", open_end - 36),
    )


class _Sink(io.RawIOBase):
    """What libsndfile writes to. At the end it goes back to write lengths and sums into the head,
    which has been sent by then: that is dropped, and players do without."""

    def __init__(self) -> None:
        self.ready = bytearray()
        self._at = 0
        self._end = 0

    def write(self, data: Any) -> int:
        count = len(data)
        if self._at == self._end:
            self.ready += bytes(data)
            self._end += count
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = min(base + offset, self._end)
        return self._at

    def tell(self) -> int:
        return self._at

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def take(self) -> bytes:
        """Return what was written and not taken."""
        data = bytes(self.ready)
        self.ready.clear()
        return data


class _SoundFile:
    """FLAC, Ogg Opus and MP3, by libsndfile."""

    def __init__(self, container: str, subtype: str, **quality: Any) -> None:
        import soundfile

        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", RATE_HZ, 1, subtype=subtype, format=container, **quality
        )

    def feed(self, samples: Samples) -> bytes:
        self._file.write(samples)
        return self._sink.take()

    def finish(self) -> bytes:
        self._file.close()
        return self._sink.take()


class _Aac:
    """AAC in ADTS frames, by PyAV."""

    def __init__(self) -> None:
        try:
            import av
        except ImportError:
            raise NoSuchFormat(
                "The response_format 'aac' cannot be made here. Use mp3, opus, flac, wav or pcm; "
                "for aac the server's owner installs duplex-r1[files]."
            ) from None
        self._av = av
        self._sink = _Sink()
        self._container = av.open(self._sink, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=RATE_HZ, layout="mono")

    def feed(self, samples: Samples) -> bytes:
        if len(samples):
            frame = self._av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[None]), format="fltp", layout="mono"
            )
            frame.sample_rate = RATE_HZ
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


# Of a constant rate, here of 64 kbit/s: without a head that tells the number of frames, players
# take the length of a file from its first rate.
_MP3 = {"bitrate_mode": "CONSTANT", "compression_level": 0.6}
# By name: what is made, and what it is called in a header.
_FORMATS: dict[str, tuple[Callable[[], Encoder], str]] = {
    "mp3": (lambda: _SoundFile("MP3", "MPEG_LAYER_III", **_MP3), "audio/mpeg"),
    "opus": (lambda: _SoundFile("OGG", "OPUS"), "audio/ogg"),
    "flac": (lambda: _SoundFile("FLAC", "PCM_16"), "audio/flac"),
    "wav": (lambda: _Pcm(wav=True), "audio/wav"),
    "pcm": (lambda: _Pcm(wav=False), "audio/pcm"),
    "aac": (_Aac, "audio/aac"),
}


def encoder(name: str) -> tuple[Encoder, str]:
    """Begin an answer in that format; also its media type.

    Raises:
        NoSuchFormat: there is none of that name here.
    """
    if name not in _FORMATS:
        raise NoSuchFormat(f"Invalid response_format: '{name}'. Known: {', '.join(_FORMATS)}.")
    make, media_type = _FORMATS[name]
    return make(), media_type

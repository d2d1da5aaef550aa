"""Sound as numbers: sample formats, G.711, framing.

Samples are float32 mono in [-1, 1] everywhere inside; other formats exist only on the wire.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Samples = NDArray[np.float32]

_INT16_SCALE = 32768.0


def int16_to_float(samples: NDArray[np.int16]) -> Samples:
    """Scale int16 to [-1, 1)."""
    return samples.astype(np.float32) / np.float32(_INT16_SCALE)


def float_to_int16(samples: ArrayLike) -> NDArray[np.int16]:
    """Round to the nearest int16; what is out of [-1, 1) is clipped."""
    scaled = np.rint(np.asarray(samples, np.float32) * np.float32(_INT16_SCALE))
    clipped: NDArray[np.int16] = np.clip(scaled, -32768, 32767).astype(np.int16)
    return clipped


def decode_pcm16(data: bytes) -> Samples:
    """Little-endian 16 bit PCM to samples.

    Raises:
        ValueError: ``data`` does not hold whole samples.
    """
    if len(data) % 2:
        raise ValueError(f"16 bit PCM must have an even number of bytes, got {len(data)}")
    return int16_to_float(np.frombuffer(data, "<i2"))


def encode_pcm16(samples: ArrayLike) -> bytes:
    """Samples to little-endian 16 bit PCM."""
    return float_to_int16(samples).astype("<i2").tobytes()


def decode_ulaw(data: bytes) -> Samples:
    """G.711 mu-law bytes, one a sample."""
    return int16_to_float(_ulaw_values()[np.frombuffer(data, np.uint8)])


def encode_ulaw(samples: ArrayLike) -> bytes:
    """Samples to G.711 mu-law bytes."""
    return _ulaw_codes()[float_to_int16(samples).view(np.uint16)].tobytes()


def decode_alaw(data: bytes) -> Samples:
    """G.711 A-law bytes, one a sample."""
    return int16_to_float(_alaw_values()[np.frombuffer(data, np.uint8)])


def encode_alaw(samples: ArrayLike) -> bytes:
    """Samples to G.711 A-law bytes."""
    return _alaw_codes()[float_to_int16(samples).view(np.uint16)].tobytes()


@cache
def _ulaw_values() -> NDArray[np.int16]:
    """ITU-T G.711 table 2: inverted bits; sign, 3 bit segment, 4 bit step; bias 33 of 14 bits."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 1) + 33) << ((code & 0x70) >> 4)) - 33
    return (4 * np.where(code & 0x80, -magnitude, magnitude)).astype(np.int16)


@cache
def _alaw_values() -> NDArray[np.int16]:
    """ITU-T G.711 table 1: even bits inverted; sign, 3 bit segment, 4 bit step of 13 bits."""
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    step = ((code & 0x0F) << 1) + 1
    magnitude = np.where(segment == 0, step, (step + 32) << np.maximum(segment - 1, 0))
    return (8 * np.where(code & 0x80, magnitude, -magnitude)).astype(np.int16)


@cache
def _ulaw_codes() -> NDArray[np.uint8]:
    """The code of every int16, indexed by its bits as uint16 (ITU-T G.191, ulaw_compress)."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum((np.where(value < 0, ~value, value) >> 2) + 33, 8191)
    segment = np.searchsorted(2 ** np.arange(6, 14), biased, side="right")
    code = (segment << 4) | ((biased >> (segment + 1)) & 0x0F)
    codes: NDArray[np.uint8] = (code ^ np.where(value < 0, 0x7F, 0xFF)).astype(np.uint8)
    return codes


@cache
def _alaw_codes() -> NDArray[np.uint8]:
    """The code of every int16, indexed by its bits as uint16 (ITU-T G.191, alaw_compress)."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(value < 0, ~value, value) >> 3
    segment = np.searchsorted(2 ** np.arange(5, 13), magnitude, side="right")
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return (code ^ np.where(value < 0, 0x55, 0xD5)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Codec:
    """How samples are written on a wire."""

    encode: Callable[[ArrayLike], bytes]
    decode: Callable[[bytes], Samples]  # raises ValueError: not whole samples
    bytes_per_sample: int


PCM16 = Codec(encode_pcm16, decode_pcm16, 2)
ULAW = Codec(encode_ulaw, decode_ulaw, 1)
ALAW = Codec(encode_alaw, decode_alaw, 1)
CODECS = {"pcm16": PCM16, "ulaw": ULAW, "alaw": ALAW}


class Framer:
    """Chunks of any length in, frames of one length out, nothing lost."""

    def __init__(self, frame_samples: int) -> None:
        if frame_samples <= 0:
            raise ValueError(f"frame_samples must be positive, got {frame_samples}")
        self._frame_samples = frame_samples
        self._rest: Samples = np.zeros(0, np.float32)

    def feed(self, samples: Samples) -> list[Samples]:
        """Return the frames that ``samples`` completes, in order."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // self._frame_samples * self._frame_samples
        self._rest = joined[whole:].copy()
        return list(joined[:whole].reshape(-1, self._frame_samples))

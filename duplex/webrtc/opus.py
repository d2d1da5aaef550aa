"""Opus to and from the session's PCM, 24 kHz and 16 bits. Needs PyAV."""

from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np

from duplex.audio.concealment import Concealer
from duplex.audio.formats import decode_pcm16, encode_pcm16
from duplex.audio.resample import Resampler
from duplex.webrtc.playout import FRAME_SAMPLES, RATE_HZ
from duplex.webrtc.reordering import CLOCK_HZ, Gap, Sound

Packet: TypeAlias = "av.Packet[av.AudioStream]"
_BIT_RATE = 48_000  # of one voice: past what listeners tell from the original
_EXPECTED_LOSS = "5"  # per cent, for which each packet repeats the one before at a low rate
_LONGEST = 48 * 120  # RFC 6716: a packet lasts at most 120 ms
# RFC 6716, table 2: lengths of a frame by the configuration, in samples of 48 kHz.
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)


def length_of(payload: bytes) -> int:
    """How long a packet lasts, in samples of 48 kHz (RFC 6716, section 3.1).

    Raises:
        ValueError: it is none.
    """
    if not payload:
        raise ValueError("an Opus packet has at least a byte")
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = _SILK[config % 4]
    elif config < 16:
        frame = _HYBRID[config % 2]
    else:
        frame = _CELT[config % 4]
    if code == 3 and len(payload) < 2:
        raise ValueError("an Opus packet ends before its count of frames")
    count = (1, 2, 2, payload[1] & 63 if code == 3 else 0)[code]
    length = frame * count
    if not 0 < length <= _LONGEST:
        raise ValueError("an Opus packet lasts at most 120 ms")
    return length


class Encoder:
    """One stream to a caller."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = RATE_HZ
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.bit_rate = _BIT_RATE
        self._codec.time_base = Fraction(1, RATE_HZ)
        self._codec.options = {
            "application": "voip",
            "frame_duration": "20",
            "fec": "1",
            "packet_loss": _EXPECTED_LOSS,
        }
        self._sent = 0  # frames

    def encode(self, pcm: bytes) -> Packet:
        """Encode 20 ms; the packet's time is that of the stream."""
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(pcm, "<i2").reshape(1, FRAME_SAMPLES), format="s16", layout="mono"
        )
        frame.sample_rate = RATE_HZ
        frame.time_base = Fraction(1, RATE_HZ)
        frame.pts = self._sent * FRAME_SAMPLES
        (packet,) = self._codec.encode(frame)
        packet.time_base = Fraction(1, RATE_HZ)
        packet.pts = self._sent * FRAME_SAMPLES
        self._sent += 1
        return packet


class Decoder:
    """One stream of a caller, with something like speech where packets are missing."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = CLOCK_HZ
        self._codec.layout = "mono"
        self._resampler = Resampler(CLOCK_HZ, RATE_HZ)
        self._concealer = Concealer(RATE_HZ)

    def decode(self, part: Sound | Gap) -> bytes:
        """PCM of what was heard."""
        if isinstance(part, Gap):
            return encode_pcm16(self._concealer.conceal(part.length * RATE_HZ // CLOCK_HZ))
        try:
            frames = self._codec.decode(av.Packet(part.payload))
        except av.FFmpegError:  # what is no Opus is lost
            length = length_of(part.payload)
            return encode_pcm16(self._concealer.conceal(length * RATE_HZ // CLOCK_HZ))
        pcm = b"".join(frame.to_ndarray()[0].astype("<i2").tobytes() for frame in frames)
        return encode_pcm16(self._concealer.play(self._resampler.feed(decode_pcm16(pcm))))

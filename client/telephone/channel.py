"""A simulated telephone line: what the codec, the network and the jitter buffer do to speech.

One direction is a stream of 20 ms packets at 8 kHz: noise is added, the band is cut to the
telephone's, the codec quantises; the network loses and delays packets; the receiver's jitter
buffer plays each packet a fixed time after it was sent, conceals those that are missing and those
that come too late (`duplex.audio.concealment`). Everything is drawn from a seed, on the stream's
own clock.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from client.sound.playout import Playout
from client.sound.speech import first_audible, last_audible
from duplex.audio.concealment import Concealer
from duplex.audio.formats import CODECS, Framer, Samples
from duplex.audio.resample import Resampler, resample

Codec = Literal["ulaw", "alaw"]

LINE_HZ = 8000
FRAME_MS = 20
FRAME_SAMPLES = LINE_HZ * FRAME_MS // 1000
CALL_HZ = 24_000  # of the caller's mouth and ear

_TAPS = 129  # a transition of about 230 Hz at 60 dB (Kaiser's formula)
_KAISER_BETA = 0.1102 * (60 - 8.7)
_RESAMPLER_LAG = 25  # samples of 8 kHz that a downsampler holds back


@dataclass(frozen=True, slots=True)
class LineConditions:
    """How good the line is, the same in both directions.

    ``loss`` is the share of packets that the network loses; with ``mean_burst`` they are lost in
    bursts of that many on average (Gilbert's two states), else each by itself. A packet is late
    by the magnitude of a normal deviate with ``jitter_ms`` at three standard deviations; the
    receiver waits ``buffer_ms`` and counts what comes later as lost. ``noise_dbfs``: white noise
    on the wire, RMS.
    """

    codec: Codec = "ulaw"
    loss: float = 0.05
    mean_burst: float | None = None
    jitter_ms: float = 60.0
    buffer_ms: int = 60
    noise_dbfs: float | None = -60.0
    low_hz: float = 300.0
    high_hz: float = 3400.0

    def __post_init__(self) -> None:
        """Raises:
        ValueError: a value that no line has.
        """
        if self.codec not in get_args(Codec):
            raise ValueError(f"codec is one of {', '.join(get_args(Codec))}, not {self.codec}")
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss is a share from 0 to below 1, not {self.loss}")
        if self.mean_burst is not None and self.mean_burst < 1:
            raise ValueError(f"a burst is at least one packet, not {self.mean_burst}")
        if self.mean_burst is not None and self.loss > self.mean_burst * (1 - self.loss):
            raise ValueError(f"no line loses {self.loss} in bursts of {self.mean_burst} on average")
        if self.buffer_ms < 0 or self.buffer_ms % FRAME_MS:
            raise ValueError(f"buffer_ms is a multiple of {FRAME_MS}, not {self.buffer_ms}")
        if self.jitter_ms < 0:
            raise ValueError(f"jitter_ms is not negative, {self.jitter_ms} is")
        if not 0 < self.low_hz < self.high_hz < LINE_HZ / 2:
            raise ValueError(f"no band from {self.low_hz} to {self.high_hz} Hz at {LINE_HZ} Hz")


GOOD_LINE = LineConditions(loss=0.0, jitter_ms=0.0, buffer_ms=0, noise_dbfs=None)


@dataclass(slots=True)
class TelephoneChannel:
    """One direction of one call. ``lost`` and ``late`` count packets of the ``sent``."""

    conditions: LineConditions
    seed: int = 0
    sent: int = 0
    lost: int = 0
    late: int = 0
    _network: np.random.Generator = field(init=False)
    _noise: np.random.Generator = field(init=False)
    _band: NDArray[np.float64] = field(init=False)
    _tail: NDArray[np.float64] = field(init=False)
    _under_way: deque[bytes | None] = field(init=False)
    _receiver: Concealer = field(default_factory=Concealer)
    _losing: bool = False

    def __post_init__(self) -> None:
        network, noise = np.random.SeedSequence(self.seed).spawn(2)
        self._network, self._noise = np.random.default_rng(network), np.random.default_rng(noise)
        self._band = _telephone_band(self.conditions.low_hz, self.conditions.high_hz)
        self._tail = np.zeros(len(self._band) - 1)
        self._under_way = deque()

    @property
    def delay_ms(self) -> float:
        """From a packet's sending to its playing; the band's filter adds about 1 ms."""
        return float(self.conditions.buffer_ms)

    def feed(self, frame: Samples) -> Samples:
        """Send 20 ms and return the 20 ms that are played at the other end meanwhile.

        Raises:
            ValueError: the frame is not 160 samples long.
        """
        if len(frame) != FRAME_SAMPLES:
            raise ValueError(f"a packet has {FRAME_SAMPLES} samples, not {len(frame)}")
        self._under_way.append(self._sent(frame) if self._arrives() else None)
        if len(self._under_way) <= self.conditions.buffer_ms // FRAME_MS:
            return np.zeros(FRAME_SAMPLES, np.float32)  # the buffer fills
        packet = self._under_way.popleft()
        if packet is None:
            return self._receiver.conceal(FRAME_SAMPLES)
        return self._receiver.play(CODECS[self.conditions.codec].decode(packet))

    def _sent(self, frame: Samples) -> bytes:
        signal = frame.astype(np.float64)
        joined = np.concatenate([self._tail, signal])
        self._tail = joined[-len(self._tail) :]
        shaped = np.convolve(joined, self._band, "valid")
        if self.conditions.noise_dbfs is not None:
            shaped += self._noise.standard_normal(FRAME_SAMPLES) * _amplitude(
                self.conditions.noise_dbfs
            )
        return CODECS[self.conditions.codec].encode(shaped.astype(np.float32))

    def _arrives(self) -> bool:
        """Whether the next packet comes, and in time."""
        self.sent += 1
        drawn, deviate = self._network.random(), abs(self._network.standard_normal())
        loss, burst = self.conditions.loss, self.conditions.mean_burst
        if burst is None:
            self._losing = drawn < loss
        else:
            begins = loss / (burst * (1 - loss))
            self._losing = drawn >= 1 / burst if self._losing else drawn < begins
        if self._losing:
            self.lost += 1
            return False
        if deviate * self.conditions.jitter_ms / 3 > self.conditions.buffer_ms:
            self.late += 1
            return False
        return True


@dataclass(slots=True)
class Telephone:
    """A caller's telephone: a line to the server and one back, and what the phone does."""

    conditions: LineConditions
    seed: int = 0
    uplink: TelephoneChannel = field(init=False)
    downlink: TelephoneChannel = field(init=False)
    _resampler: Resampler = field(init=False)
    _framer: Framer = field(init=False)

    def __post_init__(self) -> None:
        self.uplink = TelephoneChannel(self.conditions, 2 * self.seed)
        self.downlink = TelephoneChannel(self.conditions, 2 * self.seed + 1)
        self._resampler = Resampler(CALL_HZ, LINE_HZ)
        self._framer = Framer(FRAME_SAMPLES)
        self._framer.feed(np.zeros(_RESAMPLER_LAG, np.float32))  # so that 20 ms give 20 ms

    @property
    def delay_samples(self) -> int:
        """Of what is heard, in samples of 24 kHz, without the band's filter."""
        return round(self.downlink.delay_ms * CALL_HZ / 1000)

    def speak(self, chunk: Samples) -> bytes:
        """Take 20 ms of 24 kHz; returns the coded packet that the server's side plays now."""
        frames = self._framer.feed(self._resampler.feed(chunk))
        encode = CODECS[self.conditions.codec].encode
        return b"".join(encode(self.uplink.feed(frame)) for frame in frames)

    def listen(self, timeline: Samples) -> Samples:
        """All that was played into the line, 24 kHz, as the ear heard it: as long as it was and
        the line's delay later. Once a call."""
        narrow = resample(timeline, CALL_HZ, LINE_HZ)
        whole = -(-len(narrow) // FRAME_SAMPLES)
        padded = np.zeros((whole, FRAME_SAMPLES), np.float32)
        padded.reshape(-1)[: len(narrow)] = narrow
        heard = [self.downlink.feed(frame) for frame in padded]
        joined = np.concatenate(heard) if heard else narrow
        return resample(joined, LINE_HZ, CALL_HZ)[: len(timeline)]


@dataclass(frozen=True, slots=True)
class Earpiece:
    """A call at the other end of the line: the same questions as `Playout` answers, of ``heard``,
    which is that playout's timeline some ``delay`` later."""

    playout: Playout
    heard: Samples
    delay: int

    def items_at(self, position: int) -> list[str]:
        """The items that had begun to be heard by ``position``, in that order."""
        return self.playout.items_at(position - self.delay)

    def item(self, item_id: str) -> Samples:
        """The item's audio, without the gaps."""
        parts = [
            self.heard[piece.start + self.delay : piece.end + self.delay]
            for piece in self.playout.pieces
            if piece.item_id == item_id
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def first_audible(self, item_id: str) -> int | None:
        """When the item's first audible sample is heard, or None."""
        at = self.playout.first_audible(item_id)
        ends = [piece.end for piece in self.playout.pieces if piece.item_id == item_id]
        end = max(ends, default=0) + self.delay + FRAME_MS * CALL_HZ // 1000
        index = None if at is None else first_audible(self.heard[at + self.delay : end])
        return None if at is None or index is None else at + self.delay + index

    def stopped_at(self, item_id: str) -> int | None:
        """When the cut in the item arrived here, or None if there is none."""
        at = self.playout.stopped_at(item_id)
        return None if at is None else at + self.delay

    def last_audible(self, item_id: str) -> int | None:
        """When the item's last audible sample is heard, or None. A packet that was lost there
        sounds on for a while."""
        at, first = self.playout.last_audible(item_id), self.first_audible(item_id)
        if at is None or first is None:
            return None
        end = at + self.delay + FRAME_MS * CALL_HZ // 1000
        index = last_audible(self.heard[first:end])
        return first if index is None else first + index


@cache
def _telephone_band(low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Taps of a band-pass in its minimum-phase form, which delays speech by about 1 ms."""
    at = np.arange(_TAPS) - (_TAPS - 1) / 2
    low, high = 2 * low_hz / LINE_HZ, 2 * high_hz / LINE_HZ
    taps = (high * np.sinc(high * at) - low * np.sinc(low * at)) * np.kaiser(_TAPS, _KAISER_BETA)
    # Oppenheim & Schafer section 13.5: fold the real cepstrum of the magnitude.
    size = 8192
    logs = np.log(np.maximum(np.abs(np.fft.fft(taps, size)), 1e-4))
    cepstrum = np.fft.ifft(logs).real
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    minimum: NDArray[np.float64] = np.fft.ifft(np.exp(np.fft.fft(cepstrum))).real[:_TAPS]
    return minimum


def _amplitude(decibels: float) -> float:
    return float(10.0 ** (decibels / 20.0))

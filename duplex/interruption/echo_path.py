"""How much of what the microphone hears is the reply itself, come back through the room.

A linear canceller needs the delay to a sample; here it is known to some 400 ms only, and it is
enough to know whether a sound is explained. So powers in bands are compared: which delay fits
best, how loud the reply comes back in each band, and what is left of a frame above that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from duplex.audio.formats import Samples

Bands = NDArray[np.float64]

SAMPLE_RATE = 16_000
HOP = 256  # two band spectra of 16 ms in each VAD frame
BANDS = 21
_COMPRESSION = 0.3  # powers are compared as loudness, so that loud bands do not decide alone


class BandFilter:
    """Powers of one stream in 20 mel bands of 100 to 4000 Hz and one of 4 to 7.5 kHz."""

    def __init__(self) -> None:
        self._last: Samples = np.zeros(HOP, np.float32)

    def skip(self, frame: Samples) -> None:
        """As `feed`, of a frame whose powers nobody asks for."""
        self._last = frame[-HOP:]

    def feed(self, frame: Samples) -> Bands:
        """The powers of a frame's hops, [len(frame) / 256, BANDS]; windows of 32 ms."""
        joined = np.concatenate([self._last, frame])
        self._last = frame[-HOP:]
        windows = np.stack([joined[at : at + 2 * HOP] for at in range(0, len(frame), HOP)])
        spectrum = np.fft.rfft(windows * _WINDOW)
        powers: Bands = (spectrum.real**2 + spectrum.imag**2) @ _BANK
        return powers


def _band_bank() -> NDArray[np.float64]:
    """Triangles of O'Shaughnessy's mel scale, [bins, BANDS], of 1 for a full-scale sine's sum."""

    def mel(hz: float) -> float:
        return float(2595 * np.log10(1 + hz / 700))

    corners = 700 * (10 ** (np.linspace(mel(100), mel(4000), BANDS + 1) / 2595) - 1)
    hz = np.fft.rfftfreq(2 * HOP, 1 / SAMPLE_RATE)[:, None]
    low, mid, high = corners[:-2], corners[1:-1], corners[2:]
    triangles = np.clip(np.minimum((hz - low) / (mid - low), (high - hz) / (high - mid)), 0, None)
    top = ((hz >= 4000) & (hz <= 7500)).astype(float)
    bank: NDArray[np.float64] = np.concatenate([triangles, top], axis=1)
    return bank * (4 / (2 * HOP) ** 2)


_WINDOW = np.hanning(2 * HOP + 1)[:-1]
_BANK = _band_bank()


@dataclass(frozen=True, slots=True)
class EchoConfig:
    """``latest_ms``: the most that the echo may come after the reply is believed to sound;
    ``earliest_ms``: before it. ``memory_s``: of sounding reply, that the path is learnt from.
    """

    earliest_ms: int = 64
    latest_ms: int = 448
    memory_s: float = 2.0
    margin: float = 4.0  # of power, that an echo may exceed what the path predicts


class EchoPath:
    """The path of one call, learnt while replies sound; it lasts from reply to reply."""

    def __init__(self, config: EchoConfig) -> None:
        hop_ms = 1000 * HOP // SAMPLE_RATE
        self._early = config.earliest_ms // hop_ms
        self._lags = self._early + config.latest_ms // hop_ms + 1
        self._keep = np.exp(-hop_ms / 1000 / config.memory_s)
        self._margin = config.margin
        self._replies = np.zeros((self._lags, BANDS))  # newest first, compressed
        self._microphone = np.zeros((self._early + 1, BANDS))  # newest first, compressed
        self._decay = np.zeros(BANDS)
        self._weight = 0.0
        self._x = np.zeros((self._lags, BANDS))
        self._xx = np.zeros((self._lags, BANDS))
        self._xy = np.zeros((self._lags, BANDS))
        self._y = np.zeros(BANDS)
        self._yy = np.zeros(BANDS)

    def hear(self, microphone: Bands, reply: Bands | None) -> float:
        """One hop, both sides' powers, [BANDS]; what share of the microphone's power is not the
        reply's echo, 0 to 1."""
        heard = microphone**_COMPRESSION
        # A room's tail: 60 dB in 0.3 s.
        now = np.zeros(BANDS) if reply is None else reply**_COMPRESSION
        self._decay = np.maximum(now, 0.8 * self._decay)
        self._replies = np.roll(self._replies, 1, axis=0)
        self._replies[0] = self._decay
        self._microphone = np.roll(self._microphone, 1, axis=0)
        self._microphone[0] = heard
        predicted = self._predicted()
        # Lag 0 here is the earliest: the microphone of `early` hops ago against the reply now.
        if self._replies.max() > _AUDIBLE:
            self._learn(self._microphone[-1])
        left = np.maximum(microphone - self._margin * predicted, 0).sum()
        return float(left / max(microphone.sum(), 1e-12))

    def _learn(self, heard: Bands) -> None:
        keep = self._keep
        self._weight = keep * self._weight + 1
        self._x = keep * self._x + self._replies
        self._xx = keep * self._xx + self._replies**2
        self._xy = keep * self._xy + self._replies * heard
        self._y = keep * self._y + heard
        self._yy = keep * self._yy + heard**2

    def _predicted(self) -> Bands:
        """The echo's powers in the newest hop, by the lag that fits best."""
        if self._weight == 0:
            return np.zeros(BANDS)
        covariance = self._xy - self._x * self._y / self._weight
        spread = self._xx - self._x**2 / self._weight
        fit = covariance.sum(axis=1) / np.sqrt(np.maximum(spread.sum(axis=1), 1e-12))
        lag = int(fit.argmax())
        gain = self._xy[lag] / np.maximum(self._xx[lag], 1e-12)
        # The microphone's newest hop hears the reply of `lag - early` hops ago; one that is
        # still to come is taken to be as the newest.
        sounding = self._replies[max(0, lag - self._early)]
        predicted: Bands = (gain * sounding) ** (1 / _COMPRESSION)
        return predicted


_AUDIBLE = (1e-7) ** _COMPRESSION  # a band's power at -70 dBFS

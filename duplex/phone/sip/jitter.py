"""Makes one frame every 20 ms of packets that come late, twice, in the wrong order or never.

How long a frame is held back follows from how late the packets of the last seconds were. The delay
grows only when a frame is missing at its time, and shrinks only where the caller is silent: neither
is heard. Why aiortp's own buffers are not used: docs/decisions/0044-jitter-buffer.md.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from duplex.audio.concealment import Concealer
from duplex.audio.formats import Codec, Samples

RATE_HZ = 8_000
FRAME_SAMPLES = 160
_FRAME_S = FRAME_SAMPLES / RATE_HZ
_WINDOW = 250  # packets: 5 s
_ON_TIME = 0.98  # this share of them is waited for
_MARGIN_S = 0.005  # the loop's own lateness
_MOST_S = 0.3  # held back at most; what comes later is lost
_LATE_RUN = 5  # packets too late one after the other: the sender's clock has jumped
_QUIET = 0.015  # a frame that may be left out: -36 dBFS
_SPACING = 10  # ticks between two that are


@dataclass(slots=True)
class Counts:
    """What became of the frames."""

    played: int = 0
    concealed: int = 0  # made up in the place of one that was missing
    late: int = 0  # came after its time
    left_out: int = 0  # to hold back less


class JitterBuffer:
    """One stream. Pure: the caller passes the time in seconds. Timestamps are RTP's, 32 bits."""

    def __init__(self, codec: Codec) -> None:
        self.counts = Counts()
        self._codec = codec
        self._receiver = Concealer()
        self._frames: dict[int, bytes] = {}  # by position: samples since the first
        self._first = 0  # timestamp of position 0
        self._latest = 0  # position of the newest
        self._head: int | None = None  # position that is played next; None before the first
        self._transits: deque[float] = deque(maxlen=_WINDOW)  # arrival less position, in seconds
        self._fastest_s = 0.0  # the least of them
        self._wanted_s = 0.0  # to be held back, after the fastest
        self._late_run = 0
        self._since_left_out = 0

    def put(self, timestamp: int, frame: bytes, now_s: float) -> None:
        """Take a frame of 160 bytes of G.711."""
        if self._head is None:
            self._restart(timestamp)
        apart = (timestamp - self._first - self._latest + 2**31) % 2**32 - 2**31
        position = self._latest + apart
        if abs(apart) > RATE_HZ * 60:  # no pause lasts so long: another clock
            self._restart(timestamp)
            position = 0
        assert self._head is not None
        if position < self._head:
            self.counts.late += 1
            self._late_run += 1
            if self._late_run < _LATE_RUN:
                self._note(now_s - position / RATE_HZ)
                return
            self._restart(timestamp)
            position = 0
        self._late_run = 0
        self._latest = max(self._latest, position)
        self._frames[position] = frame
        self._note(now_s - position / RATE_HZ)

    def _restart(self, timestamp: int) -> None:
        self._frames.clear()
        self._transits.clear()
        self._first, self._latest, self._head, self._late_run = timestamp, 0, 0, 0

    def _note(self, transit_s: float) -> None:
        """Learn from how long a packet was on its way, up to a constant."""
        self._transits.append(transit_s)
        in_order = sorted(self._transits)
        self._fastest_s = in_order[0]
        spread_s = in_order[int(_ON_TIME * (len(in_order) - 1))] - in_order[0]
        self._wanted_s = min(_MOST_S, spread_s + _MARGIN_S)

    def reset(self) -> None:
        """What comes next is another stream."""
        self._head = None

    def tick(self, now_s: float) -> Samples | None:
        """20 ms; None before the first frame has come."""
        if self._head is None:
            return None
        self._since_left_out += 1
        held_s = now_s - self._fastest_s - self._head / RATE_HZ
        too_long_s = held_s - self._wanted_s
        if self._head not in self._frames:
            if too_long_s > _MOST_S and self._frames:  # the sender's clock has jumped ahead
                self._head = min(self._frames)
                return self._play()
            if too_long_s > 2 * _FRAME_S and self._head + FRAME_SAMPLES in self._frames:
                self._leave_out()
                return self._play()
            if too_long_s >= 0:  # else it may still come
                self._head += FRAME_SAMPLES
            self.counts.concealed += 1
            return self._receiver.conceal(FRAME_SAMPLES)
        samples = self._play()
        is_next_there = self._head in self._frames
        if too_long_s > 1.5 * _FRAME_S and is_next_there and self._may_leave_out(samples):
            self._leave_out()
        return samples

    def _play(self) -> Samples:
        assert self._head is not None
        samples = self._codec.decode(self._frames.pop(self._head))
        self._head += FRAME_SAMPLES
        self.counts.played += 1
        return self._receiver.play(samples)

    def _may_leave_out(self, samples: Samples) -> bool:
        return float(np.abs(samples).max()) < _QUIET and self._since_left_out >= _SPACING

    def _leave_out(self) -> None:
        """Pass over the next frame: less is held back then."""
        assert self._head is not None
        self._frames.pop(self._head, None)
        self._head += FRAME_SAMPLES
        self.counts.left_out += 1
        self._since_left_out = 0

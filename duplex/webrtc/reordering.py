"""Puts the caller's packets in order. One that is missing is waited for a little, then given up.

What comes in order is passed on at once: nobody listens to it in real time, so nothing is held back
for evenness. Positions and lengths are in RTP's clock of Opus, 48 kHz.
"""

from dataclasses import dataclass

CLOCK_HZ = 48_000
_PATIENCE_S = 0.1  # for a packet that others have overtaken
# Without any packet: the sender has nothing to say, and time goes on all the same. Senders that are
# silent in silence send one in 400 ms; sooner, a network that stalls would end turns.
_SILENT_S = 0.45
_STALLED_S = 0.1  # between two ticks: it was we who did not look
_LONGEST_GAP = CLOCK_HZ  # that is filled; a longer pause needs no more to be one
_MOST_HELD = 100  # packets; more come only if the sender's numbers have jumped
_JUMP = 1000  # packets: another stream


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet whose turn it is."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """So much was lost, or never sent."""

    length: int


@dataclass(frozen=True, slots=True)
class _Held:
    timestamp: int
    payload: bytes
    length: int
    came_s: float


@dataclass(slots=True)
class Counts:
    """What became of the packets."""

    played: int = 0
    lost: int = 0
    late: int = 0


class Reordering:
    """One stream. Pure: the caller passes the time in seconds of a monotonic clock. Numbers have
    16 bits and wrap, timestamps 32."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._held: dict[int, _Held] = {}  # by number
        self._next: int | None = None  # the number whose turn it is; None before the first
        self._end = 0  # the timestamp at which the last packet that was passed on ends
        self._filled = 0  # of the silence after it, passed on already
        self._came_s = 0.0  # the last one
        self._ticked_s = 0.0  # the last tick

    def put(
        self, number: int, timestamp: int, payload: bytes, length: int, now_s: float
    ) -> list[Sound | Gap]:
        """Take a packet of ``length``; returns what is to be heard now."""
        if self._next is None:
            self._restart(number, timestamp)
        assert self._next is not None
        ahead = _apart(number, self._next, 16)
        if abs(ahead) > _JUMP:
            self._restart(number, timestamp)
            ahead = 0
        self._came_s = now_s
        if ahead < 0:
            self.counts.late += 1
            return []
        self._held[number] = _Held(timestamp, payload, length, now_s)
        out = self._in_order()
        if len(self._held) > _MOST_HELD:
            out += self._give_up()
        return out

    def tick(self, now_s: float) -> list[Sound | Gap]:
        """Time has passed; returns what is to be heard now."""
        if self._next is None:
            return []
        out: list[Sound | Gap] = []
        while self._held:
            if now_s - min(held.came_s for held in self._held.values()) < _PATIENCE_S:
                return out
            out += self._give_up()
        if now_s - self._ticked_s > _STALLED_S:
            self._came_s = max(self._came_s, now_s - _PATIENCE_S)
        self._ticked_s = now_s
        if now_s - self._came_s >= _SILENT_S:
            missing = round((now_s - self._came_s) * CLOCK_HZ) - self._filled
            self._filled += missing
            out.append(Gap(missing))
        return out

    def _restart(self, number: int, timestamp: int) -> None:
        self._held.clear()
        self._next, self._end, self._filled = number, timestamp, 0

    def _in_order(self) -> list[Sound | Gap]:
        """Pass on as much as follows without a break."""
        assert self._next is not None
        out: list[Sound | Gap] = []
        while self._next in self._held:
            held = self._held.pop(self._next)
            missing = _apart(held.timestamp, self._end, 32) - self._filled
            if missing > 0:
                out.append(Gap(min(missing, _LONGEST_GAP)))
            out.append(Sound(held.payload))
            self._filled = 0
            self._end = (held.timestamp + held.length) % 2**32
            self._next = (self._next + 1) % 2**16
            self.counts.played += 1
        return out

    def _give_up(self) -> list[Sound | Gap]:
        """Go on after what is missing; the gap follows from the timestamps."""
        assert self._next is not None
        first = self._next
        nearest = min(self._held, key=lambda number: _apart(number, first, 16))
        self.counts.lost += _apart(nearest, first, 16)
        self._next = nearest
        return self._in_order()


def _apart(later: int, earlier: int, bits: int) -> int:
    """``later`` less ``earlier``, of numbers that wrap."""
    half = 1 << (bits - 1)
    return (later - earlier + half) % (1 << bits) - half

"""Bounds what one client, or all clients of one key, may use. Pure: callers pass the time."""

import enum
from dataclasses import dataclass

from duplex.rate import TokenBucket

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of all calls of one key together; 0 is no limit."""

    calls: int = 0  # at a time
    minutes_per_day: float = 0.0  # days begin at midnight UTC
    bytes_per_s: int = 0  # received from one address

    @property
    def bounds_calls(self) -> bool:
        """Whether calls, or their minutes, are counted."""
        return bool(self.calls or self.minutes_per_day)


_MAX_SOURCES = 1000  # whose rates are kept; those that were used least lately are forgotten


class Shortage(enum.Enum):
    """What of its allowance a key has used up."""

    CALLS = "calls"
    MINUTES = "minutes"


def in_words(shortage: Shortage, allowance: Allowance) -> str:
    """Why another call cannot begin, for the caller."""
    if shortage is Shortage.CALLS:
        return f"This key may hold {allowance.calls} calls at a time."
    return f"This key may use {allowance.minutes_per_day:g} minutes a day."


class Account:
    """What the calls of one key use now, and have used today.

    Times are Unix seconds. Open calls are charged by the time that passes, so that those which
    last over midnight count for both days.
    """

    def __init__(self, allowance: Allowance, now_s: float) -> None:
        self._allowance = allowance
        self._open = 0
        self._used_s = 0.0  # today, by `_at_s`
        self._at_s = now_s

    def refusal(self, now_s: float) -> str | None:
        """Return why another call cannot begin, in words for the caller; None if it can."""
        if self._allowance.calls and self._open >= self._allowance.calls:
            return in_words(Shortage.CALLS, self._allowance)
        if self.left_s(now_s) <= 0:
            return in_words(Shortage.MINUTES, self._allowance)
        return None

    def begin(self, now_s: float) -> None:
        """A call begins."""
        self._charge(now_s)
        self._open += 1

    def end(self, now_s: float) -> None:
        """A call has ended."""
        self._charge(now_s)
        self._open -= 1

    def left_s(self, now_s: float) -> float:
        """Return how long the open calls may go on together; infinite without a limit."""
        if not self._allowance.minutes_per_day:
            return float("inf")
        self._charge(now_s)
        left_s = self._allowance.minutes_per_day * 60 - self._used_s
        return max(0.0, left_s) / max(1, self._open)

    def _charge(self, now_s: float) -> None:
        if now_s // DAY_S > self._at_s // DAY_S:
            self._used_s = 0.0
            self._at_s = now_s // DAY_S * DAY_S
        self._used_s += max(0.0, now_s - self._at_s) * self._open
        self._at_s = now_s


class Rates:
    """How many bytes the senders of one key may send. Who floods does not have the others of the
    key dropped."""

    def __init__(self, allowance: Allowance, burst_bytes: int) -> None:
        """``burst_bytes``: one message of the largest size must pass."""
        self._rate = allowance.bytes_per_s
        self._burst_bytes = burst_bytes
        self._buckets: dict[str, TokenBucket] = {}  # by sender, the last used last

    def receive(self, count: int, now_s: float, source: str = "") -> bool:
        """Whether ``count`` bytes more are within the rate of ``source``."""
        rate = self._rate
        if not rate:
            return True
        bucket = self._buckets.pop(source, None)
        if bucket is None:
            bucket = TokenBucket(rate, self._burst_bytes + rate, now_s)
            if len(self._buckets) >= _MAX_SOURCES:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[source] = bucket
        return bucket.take(count, now_s)

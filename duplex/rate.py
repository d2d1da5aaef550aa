"""A bound on a rate. Pure: callers pass the time."""


class TokenBucket:
    """Lets ``rate`` units a second through, and ``capacity`` of them at once."""

    def __init__(self, rate: float, capacity: float, now_s: float) -> None:
        if rate <= 0 or capacity <= 0:
            raise ValueError(f"rate and capacity must be positive, got {rate} and {capacity}")
        self._rate = rate
        self._capacity = capacity
        self._level = capacity
        self._at_s = now_s

    def take(self, units: float, now_s: float) -> bool:
        """Whether ``units`` are there; they are taken in either case, so that a client which
        goes on regardless stays refused."""
        return self.debt_s(units, now_s) == 0

    def debt_s(self, units: float, now_s: float) -> float:
        """Take ``units``; return how long it is until the bucket is out of debt again."""
        self._level = self._left(units, now_s)
        self._at_s = now_s
        return max(0.0, -self._level / self._rate)

    def wait_s(self, units: float, now_s: float) -> float:
        """Return what `debt_s` would, and take nothing."""
        return max(0.0, -self._left(units, now_s) / self._rate)

    def _left(self, units: float, now_s: float) -> float:
        grown = self._level + max(0.0, now_s - self._at_s) * self._rate
        return min(self._capacity, grown) - units

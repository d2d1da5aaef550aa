"""Collects the keys that a caller presses to what they mean together: an order number, a choice."""

PAUSE_S = 1.5  # without a further key, after which the keys are complete
MAX_KEYS = 64  # at a time
_END = "#"


class Keypad:
    """Pure: the caller passes the time in monotonic seconds."""

    def __init__(self) -> None:
        self._pressed = ""
        self.due_s: float | None = None  # when the keys so far count as complete

    def press(self, key: str, now_s: float) -> str | None:
        """Return all keys if this one ends them; ``#`` does, and goes along if it is alone."""
        if key == _END:
            return self._take() or _END
        self._pressed += key
        if len(self._pressed) >= MAX_KEYS:
            return self._take()
        self.due_s = now_s + PAUSE_S
        return None

    def tick(self, now_s: float) -> str | None:
        """Return all keys if no further one has come for long enough."""
        if self.due_s is None or now_s < self.due_s:
            return None
        return self._take()

    def _take(self) -> str:
        pressed, self._pressed, self.due_s = self._pressed, "", None
        return pressed

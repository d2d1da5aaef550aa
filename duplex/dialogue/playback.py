"""What the caller has heard of one assistant item.

Nobody reports it over a plain WebSocket, so it is reckoned: playing begins when the first audio is
sent, runs in real time, and stands still while there is nothing left to play.
"""

from collections.abc import Iterable

from tts.types import SpokenWord


class PlaybackLedger:
    """The audio and words sent for one item. Pure: the caller passes the time, in seconds of a
    monotonic clock; positions are samples at the output rate from the item's first sample."""

    def __init__(self, rate_hz: int) -> None:
        if rate_hz <= 0:
            raise ValueError(f"rate_hz must be positive, got {rate_hz}")
        self.rate_hz = rate_hz
        self._sent = 0
        self._words: list[SpokenWord] = []
        # Playing was at sample ``_anchor`` at ``_anchor_s`` and has run in real time since;
        # moved on when audio arrives after an underrun.
        self._anchor = 0
        self._anchor_s = 0.0
        self._pushed_s = float("-inf")

    @property
    def sent_samples(self) -> int:
        """Samples sent so far."""
        return self._sent

    def feed(self, samples_count: int, words: Iterable[SpokenWord], now: float) -> None:
        """Note that ``samples_count`` samples go out at ``now``, and the words that end in them.

        Raises:
            ValueError: a negative count, words out of order, or a clock that goes back;
                nothing was noted.
        """
        words = list(words)
        if samples_count < 0:
            raise ValueError(f"samples_count must not be negative, got {samples_count}")
        if now < self._pushed_s:
            raise ValueError(f"the clock went back from {self._pushed_s} to {now}")
        end = self._words[-1].end_sample if self._words else 0
        for word in words:
            if word.end_sample < end:
                raise ValueError(f"word ends at {word.end_sample}, the one before at {end}")
            end = word.end_sample
        if self.heard_samples(now) == self._sent:
            self._anchor, self._anchor_s = self._sent, now
        self._pushed_s = now
        self._sent += samples_count
        self._words.extend(words)

    def heard_samples(self, now: float) -> int:
        """Samples played by ``now``."""
        played = self._anchor + int((now - self._anchor_s) * self.rate_hz)
        return max(self._anchor, min(self._sent, played))

    def ahead_s(self, now: float) -> float:
        """Seconds of audio sent and not yet played: how long the caller still hears something."""
        return (self._sent - self.heard_samples(now)) / self.rate_hz

    def cut(self, audio_end_ms: int) -> int:
        """The samples that a client says it played, at most what was sent.

        Clients overrun by a constant (85 ms seen) or count from another clock; that is no error.

        Raises:
            ValueError: ``audio_end_ms`` is negative.
        """
        if audio_end_ms < 0:
            raise ValueError(f"audio_end_ms must not be negative, got {audio_end_ms}")
        return min(self._sent, audio_end_ms * self.rate_hz // 1000)

    def text_heard(self, samples: int) -> str:
        """The words that the first ``samples`` samples voice.

        A word lasts from the end of the one before to its own end, and counts when at least half
        of it was heard: a listener knows it by then.
        """
        return "".join(word.text for word in self._words[: self._count_heard(samples)])

    def words_unheard(self, samples: int) -> list[SpokenWord]:
        """The others."""
        return self._words[self._count_heard(samples) :]

    def _count_heard(self, samples: int) -> int:
        start = 0
        for count, word in enumerate(self._words):
            if samples == 0 or 2 * samples < start + word.end_sample:
                return count
            start = word.end_sample
        return len(self._words)

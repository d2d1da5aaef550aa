"""What the caller has heard of one assistant item, and what of it sounds now.

Nobody reports it over a plain WebSocket, so it is reckoned: playing begins when the first audio is
sent, runs in real time, and stands still while there is nothing left to play.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np

from duplex.audio.formats import Samples
from duplex.audio.resample import Resampler
from tts.types import SpokenWord

# How far back sent audio is kept: clients play later than is reckoned, by what the network and
# their buffers hold, and say with conversation.item.truncate how far they came.
KEPT_S = 5.0

_REFERENCE_HZ = 16_000
_DRIFT_SAMPLES = 3_200  # 200 ms: audio of callers comes in bursts of up to so much


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
        """The words after the first ``samples`` samples; see `text_heard`."""
        return self._words[self._count_heard(samples) :]

    def _count_heard(self, samples: int) -> int:
        start = 0
        for count, word in enumerate(self._words):
            if samples == 0 or 2 * samples < start + word.end_sample:
                return count
            start = word.end_sample
        return len(self._words)


class Timeline:
    """The last of a stream of audio; older than is wanted is forgotten. Positions are samples
    from the stream's first."""

    def __init__(self) -> None:
        self._chunks: deque[Samples] = deque()
        self._from = 0  # position of the first sample that is kept
        self.end = 0  # position after the last sample

    def feed(self, samples: Samples) -> None:
        """Add what was sent next."""
        self._chunks.append(samples)
        self.end += len(samples)

    def forget(self, before: int) -> None:
        """Let go of what ends before a position."""
        while self._chunks and self._from + len(self._chunks[0]) <= before:
            self._from += len(self._chunks.popleft())

    def since(self, position: int) -> Samples:
        """All from ``position`` on, as far back as it is kept."""
        kept = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)
        return kept[max(0, position - self._from) :]

    def between(self, start: int, stop: int) -> Samples:
        """The samples from ``start`` to ``stop``; silence where there are none."""
        out = np.zeros(stop - start, np.float32)
        at = self._from
        for chunk in self._chunks:
            left, right = max(start, at), min(stop, at + len(chunk))
            if left < right:
                out[left - start : right - start] = chunk[left - at : right - at]
            at += len(chunk)
        return out


class EchoReference:
    """What of one item sounds at the caller as time goes by, in frames of 16 kHz that follow one
    another: to know its echo from the caller's voice. Like the ledger it takes audio to be played
    when it is sent; how much later it is heard nobody knows. Times are of the same clock."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = Resampler(rate_hz, _REFERENCE_HZ)
        self._timeline = Timeline()  # with silence where there was nothing to play
        self._from_s = 0.0  # when it begins; set by the first audio
        self._next: int | None = None  # where the next frame begins; set by the first

    def feed(self, samples: Samples, now: float) -> None:
        """Note what is sent ``now``, at the item's rate."""
        if not self._timeline.end:
            self._from_s = now
        gap = self._at(now) - self._timeline.end
        if gap > 0:
            self._timeline.feed(np.zeros(gap, np.float32))
        self._timeline.feed(self._resampler.feed(samples))
        # In case that nobody asks for frames.
        self._timeline.forget(self._at(now) - round(KEPT_S * _REFERENCE_HZ))

    def frame(self, now: float, frame_samples: int) -> Samples:
        """The next frame, which ends about ``now``."""
        start = self._at(now) - frame_samples
        if self._next is not None and abs(start - self._next) <= _DRIFT_SAMPLES:
            start = self._next
        frame = self._timeline.between(start, start + frame_samples)
        self._timeline.forget(start - _DRIFT_SAMPLES)
        self._next = start + frame_samples
        return frame

    def _at(self, now: float) -> int:
        return round((now - self._from_s) * _REFERENCE_HZ)

"""A stream of audio by position, of which the last seconds are kept."""

from collections import deque

import numpy as np

from duplex.audio.formats import Samples

# How far back sent audio is kept: clients play later than is reckoned, by what the network and
# their buffers hold, and say with conversation.item.truncate how far they came.
KEPT_S = 5.0


class Timeline:
    """The last of a stream of audio; older than is wanted is forgotten. Positions are samples
    from the stream's first."""

    def __init__(self) -> None:
        self._chunks: deque[Samples] = deque()
        self._from = 0  # position of the first sample that is kept
        self._end = 0

    def feed(self, samples: Samples) -> None:
        """Add what was sent next."""
        self._chunks.append(samples)
        self._end += len(samples)

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

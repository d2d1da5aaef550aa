"""The two channels of a recording, aligned in the call's time. Pure: positions are samples since
the call began, at the recording's rate.

Theory of operation
===================

The caller's sound has no times of its own; it is placed one packet behind the other. A packet that
comes later than that says is taken for delayed by the network, and what follows catches up. If
nothing catches up for `_PATIENCE_S`, the client had sent nothing for a while: that is silence. A
packet that comes earlier, as when a client sends a file, pushes the call's time ahead.

What the server says is played when all that went out before is. An interruption cuts it, and may be
told seconds later, so nothing younger than `SETTLES_S` is given out.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from duplex.audio.formats import Samples

SETTLES_S = 6.0  # `duplex.dialogue.playback.KEPT_S`, and what a network holds
_PATIENCE_S = 1.0
_LATE_S = 0.2  # bursts of so much are usual
KEPT_ITEMS = 16  # whose words and places are known; others are over for long


@dataclass(slots=True)
class _Gap:
    opened: int  # when the first late packet came
    least: int  # how late all since were at least
    chunks: list[Samples] = field(default_factory=list)  # what came since


class CallerTrack:
    """What the caller said."""

    def __init__(self, rate_hz: int) -> None:
        self.received = 0  # samples of the caller's
        self.shifts: list[tuple[int, int]] = []
        """Silences that were put in since this was emptied last: before which received sample, and
        how many samples."""
        self._late = round(_LATE_S * rate_hz)
        self._patience = round(_PATIENCE_S * rate_hz)
        self._chunks: deque[Samples] = deque()
        self._end = 0  # of those chunks
        self._gap: _Gap | None = None
        self._gap_samples = 0  # in its chunks

    def feed(self, samples: Samples, at: int) -> int:
        """Add what came at ``at``. Returns how far the caller is ahead of that."""
        behind = at - (self._end + self._gap_samples + len(samples))
        self.received += len(samples)
        if self._gap is None:
            if behind > self._late:
                self._gap = _Gap(at, behind)
        elif behind <= self._late:
            self._close_gap(0)
        else:
            self._gap.least = min(self._gap.least, behind)
        if self._gap is None:
            self._append(samples)
        else:
            self._gap.chunks.append(samples)
            self._gap_samples += len(samples)
        self._close_if_real(at)
        return max(0, -behind)

    def take(self, count: int, now: int) -> Samples:
        """Give out the next ``count`` samples; silence where nothing came."""
        self._close_if_real(now)
        have = sum(map(len, self._chunks))
        if have < count:
            self._pad(count - have)
        out = np.empty(count, np.float32)
        at = 0
        while at < count:
            chunk = self._chunks.popleft()
            part = chunk[: count - at]
            out[at : at + len(part)] = part
            at += len(part)
            if len(part) < len(chunk):
                self._chunks.appendleft(chunk[len(part) :])
        return out

    def finish(self, now: int) -> int:
        """Nothing more comes. Returns where the caller's sound ends."""
        if self._gap is not None:
            self._close_gap(self._gap.least)
        return max(self._end, now)

    def _append(self, samples: Samples) -> None:
        self._chunks.append(samples)
        self._end += len(samples)

    def _pad(self, count: int) -> None:
        """Nothing came for so long."""
        self.shifts.append((self.received - self._gap_samples, count))
        self._append(np.zeros(count, np.float32))
        if self._gap is not None:
            self._gap.least = max(0, self._gap.least - count)

    def _close_if_real(self, now: int) -> None:
        if self._gap is not None and now - self._gap.opened >= self._patience:
            self._close_gap(self._gap.least)

    def _close_gap(self, silence: int) -> None:
        assert self._gap is not None
        if silence:
            self._pad(silence)
        chunks, self._gap, self._gap_samples = self._gap.chunks, None, 0
        for chunk in chunks:
            self._append(chunk)


@dataclass(slots=True)
class _Piece:
    item_id: str
    index: int  # of its first sample, in the item
    start: int
    samples: Samples


@dataclass(slots=True)
class Span:
    """Where an item is in the call, and how much of it there is."""

    start: int
    end: int
    samples: int = 0


class ReplyTrack:
    """What the server said, as far as it was played."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._taken = 0  # given out to there
        self._end = 0  # of all that was placed
        self._spans: OrderedDict[str, Span] = OrderedDict()

    def place(self, item_id: str) -> Span | None:
        """Return where an item is, as far as it is placed; None if it is not known, or over for
        long."""
        return self._spans.get(item_id)

    def feed(self, item_id: str, samples: Samples, at: int) -> None:
        """Add more of an item, which goes out at ``at``."""
        start = max(at, self._end, self._taken)
        span = self._spans.setdefault(item_id, Span(start, start))
        if not span.samples:
            span.start = start
        self._pieces.append(_Piece(item_id, span.samples, start, samples))
        span.samples += len(samples)
        span.end = self._end = start + len(samples)
        while len(self._spans) > KEPT_ITEMS:
            self._spans.popitem(last=False)

    def cut(self, item_id: str, heard: int, at: int) -> None:
        """Of the item only ``heard`` samples were played, and none after ``at``. What was given out
        stays."""
        span = self._spans.get(item_id)
        if span is None:
            return
        span.end = span.start
        for piece in self._pieces:
            if piece.item_id == item_id:
                keep = max(0, min(heard - piece.index, at - piece.start))
                piece.samples = piece.samples[:keep]
                if len(piece.samples):
                    span.end = piece.start + len(piece.samples)
        span.end = max(span.end, min(span.start + heard, self._taken))
        self._pieces = deque(piece for piece in self._pieces if len(piece.samples))
        self._end = max((piece.start + len(piece.samples) for piece in self._pieces), default=0)

    def take(self, count: int) -> Samples:
        """Give out the next ``count`` samples; silence where nothing is played."""
        out = np.zeros(count, np.float32)
        begin, end = self._taken, self._taken + count
        while self._pieces and self._pieces[0].start < end:
            piece = self._pieces[0]
            left = piece.start - begin
            part = piece.samples[: count - left]
            out[left : left + len(part)] = part
            if len(part) < len(piece.samples):
                piece.samples = piece.samples[len(part) :]
                piece.index += len(part)
                piece.start += len(part)
                break
            self._pieces.popleft()
        self._taken = end
        return out

    def finish(self, at: int) -> list[tuple[str, int]]:
        """The call is over. Returns the items that this cuts: their ids, and how many samples were
        heard of them."""
        cut = []
        for item_id in {piece.item_id: None for piece in self._pieces}:
            pieces = [piece for piece in self._pieces if piece.item_id == item_id]
            if pieces[-1].start + len(pieces[-1].samples) > at:
                before = [piece for piece in pieces if piece.start < at]
                heard = pieces[0].index
                if before:
                    heard = before[-1].index + min(at - before[-1].start, len(before[-1].samples))
                self.cut(item_id, heard, at)
                cut.append((item_id, heard))
        return cut


class CallTracks:
    """Both channels of one call. Times in seconds of the call's clock become positions here."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.caller = CallerTrack(rate_hz)
        self.reply = ReplyTrack()
        self.taken = 0
        """Samples that were given out."""
        self._ahead = 0  # of the clock: pushed by callers whose sound comes faster than it lasts

    def at(self, clock_s: float) -> int:
        """Return where the call is at a time of its clock."""
        return max(0, round(clock_s * self.rate_hz)) + self._ahead

    def heard(self, samples: Samples, at_s: float) -> None:
        """Sound came from the caller."""
        self._ahead += self.caller.feed(samples, self.at(at_s))

    def ready(self, at_s: float) -> int:
        """Return how many samples are settled and can be taken."""
        settled = self.at(at_s) - round(SETTLES_S * self.rate_hz)
        return max(0, settled - self.taken)

    def take(self, count: int, at_s: float) -> Samples:
        """Give out the next ``count`` samples of both channels: [count, 2]."""
        left = self.caller.take(count, self.at(at_s))
        right = self.reply.take(count)
        self.taken += count
        return np.stack([left, right], axis=1)

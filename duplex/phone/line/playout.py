"""Audio on its way to the caller's ear: cuts frames, sends them at the line's pace, and knows how
far they were played.

The provider buffers what it is sent. That buffer is kept short: only a message (`clear`) takes back
what is in it, and not with every provider.
"""

from collections import deque
from dataclasses import dataclass

from duplex.phone.events import Encoding

LEAD_S = 0.2  # sent and not played, at most; a jittering network needs some
MARK_S = 0.1  # of audio between two marks
_PATIENCE_S = 3.0  # for marks that do not come back; after it only the time counts
_MAX_MARKS = 256  # that have not come back; a provider may have forgotten them


@dataclass(frozen=True, slots=True)
class Frame:
    """Audio to send now, behind what was sent before."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark to send behind the last frame."""

    name: str


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was not heard to its end, and how many of its samples were heard."""

    item_id: str
    heard_samples: int


@dataclass(slots=True)
class _Span:
    """Where an item lies in all audio of the call, in samples."""

    item_id: str
    start: int
    end: int


class Playout:
    """The audio that waits, and the position of what was sent. Pure: the caller passes the time in
    monotonic seconds."""

    def __init__(self, encoding: Encoding, frame_ms: int, *, has_marks: bool) -> None:
        self._encoding = encoding
        self._frame_samples = encoding.rate_hz * frame_ms // 1000
        self._frame_bytes = self._frame_samples * encoding.bytes_per_sample
        self._frame_s = frame_ms / 1000
        self._has_marks = has_marks
        self._waiting = bytearray()
        self._spans: deque[_Span] = deque()  # not known to be heard; the last may still grow
        self._is_open = False  # whether more of the last item may come
        self._sent = 0  # samples of the call
        self._ends_s = float("-inf")  # when all that was sent is played, by the pace alone
        self._unmarked = 0  # samples sent since the last mark
        self._marks: deque[tuple[str, int]] = deque()  # not come back: name and position
        self._named = 0
        # Playing was at ``_anchor`` at ``_anchor_s`` and has run in real time since.
        self._anchor = 0
        self._anchor_s = float("-inf")

    def put(self, item_id: str, audio: bytes) -> None:
        """Queue audio of an item, behind all other."""
        if not self._is_open or self._spans[-1].item_id != item_id:
            self.finish()
            end = self._queued_end
            self._spans.append(_Span(item_id, end, end))
            self._is_open = True
        self._waiting += audio
        self._spans[-1].end += len(audio) // self._encoding.bytes_per_sample

    def finish(self) -> None:
        """No more comes of the last item: fill its last frame with silence."""
        if not self._is_open:
            return
        self._is_open = False
        missing = -len(self._waiting) % self._frame_bytes
        self._waiting += self._encoding.silence * (missing // self._encoding.bytes_per_sample)

    @property
    def due_s(self) -> float | None:
        """When the next frame is to be sent; None if none is there."""
        if len(self._waiting) < self._frame_bytes:
            return None
        return self._ends_s + self._frame_s - LEAD_S

    def tick(self, now_s: float) -> list[Frame | Mark]:
        """Return what is to be sent now. Deadlines follow from the audio sent, so they do not
        drift."""
        out: list[Frame | Mark] = []
        while (due_s := self.due_s) is not None and due_s <= now_s:
            if self._is_played(now_s):
                self._anchor, self._anchor_s = self._sent, now_s
            out.append(Frame(bytes(self._waiting[: self._frame_bytes])))
            del self._waiting[: self._frame_bytes]
            self._ends_s = max(self._ends_s, now_s) + self._frame_s
            self._sent += self._frame_samples
            self._unmarked += self._frame_samples
            is_last = len(self._waiting) < self._frame_bytes
            if self._has_marks and (is_last or self._unmarked >= MARK_S * self._encoding.rate_hz):
                out.append(self._mark())
        self._forget(now_s)
        return out

    def played(self, name: str, now_s: float) -> None:
        """A mark has come back. One that was cleared, or never sent, is ignored."""
        if all(name != known for known, _ in self._marks):
            return
        while self._marks:
            known, self._anchor = self._marks.popleft()
            if known == name:
                break
        self._anchor_s = now_s
        self._forget(now_s)

    def heard(self, now_s: float) -> int:
        """Return how many samples of the call were played by now: by the marks, and between them by
        the time, never past the next mark."""
        most = self._marks[0][1] if self._marks else self._sent
        by_time = (now_s - self._anchor_s) * self._encoding.rate_hz if self._sent else 0
        return min(most, self._anchor + round(min(by_time, most)))

    def is_playing(self, now_s: float) -> bool:
        """Whether the caller still hears something, or will."""
        if self._waiting or now_s < self._ends_s:
            return True
        return bool(self._marks) and now_s < self._ends_s + _PATIENCE_S

    @property
    def settles_s(self) -> float | None:
        """When `is_playing` ends if no mark comes; None while something waits to be sent."""
        if self._waiting:
            return None
        return self._ends_s + (_PATIENCE_S if self._marks else 0)

    def clear(self, now_s: float) -> list[Cut]:
        """Forget everything that is not heard. Returns the items that this cuts short."""
        heard = self.heard(now_s)
        cuts = [
            Cut(span.item_id, max(0, heard - span.start))
            for span in self._spans
            if heard < span.end
        ]
        self._spans.clear()
        self._marks.clear()
        self._waiting.clear()
        self._is_open = False
        self._unmarked = 0
        self._anchor, self._anchor_s = self._sent, now_s
        self._ends_s = now_s
        return cuts

    def _is_played(self, now_s: float) -> bool:
        """Whether all that was sent was played, as far as is known."""
        if self._has_marks:
            return not self._marks and not self._unmarked
        return self._ends_s <= now_s

    @property
    def _queued_end(self) -> int:
        return self._sent + len(self._waiting) // self._encoding.bytes_per_sample

    def _mark(self) -> Mark:
        self._named += 1
        self._unmarked = 0
        name = f"m{self._named}"
        self._marks.append((name, self._sent))
        if len(self._marks) > _MAX_MARKS:
            _, self._anchor = self._marks.popleft()
        return Mark(name)

    def _forget(self, now_s: float) -> None:
        """Forget items that were heard to their end."""
        heard = self.heard(now_s)
        last = 1 if self._is_open else 0
        while len(self._spans) > last and self._spans[0].end <= heard:
            self._spans.popleft()

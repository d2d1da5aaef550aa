"""The audio that waits to be played to the caller: one frame every 20 ms, and how far it came."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

RATE_HZ = 24_000
FRAME_MS = 20
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
_SAMPLE_BYTES = 2
_FRAME_BYTES = FRAME_SAMPLES * _SAMPLE_BYTES
_MOST_BEHIND = 5  # frames that are sent at once after a stall; later ones are sent late


@dataclass(frozen=True, slots=True)
class Began:
    """A response is heard from this frame on."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A response was heard to its end, before this frame's own end."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was not heard to its end, and how much of it was."""

    item_id: str
    heard_ms: int


@dataclass(slots=True)
class _Span:
    """The audio of one item: what waits, and how many samples were played."""

    response_id: str
    item_id: str
    waiting: bytearray = field(default_factory=bytearray)
    played: int = 0


class Playout:
    """PCM of 24 kHz and 16 bits, in the order in which it is to be heard. Pure: a call of `frame`
    is 20 ms."""

    def __init__(self) -> None:
        self._spans: deque[_Span] = deque()  # not known to be heard to the end
        self._finished: set[str] = set()  # responses with spans of which no more comes
        self._playing: str | None = None  # the response that has begun and not ended

    def put(self, response_id: str, item_id: str, audio: bytes) -> None:
        """Queue audio behind all other."""
        last = self._spans[-1] if self._spans else None
        if last is None or last.item_id != item_id:
            last = _Span(response_id, item_id)
            self._spans.append(last)
        last.waiting += audio

    def finish(self, response_id: str) -> None:
        """No more comes of that response."""
        if any(span.response_id == response_id for span in self._spans):
            self._finished.add(response_id)

    def frame(self) -> tuple[bytes, Sequence[Began | Ended]]:
        """The next 20 ms, silence if nothing is there, and what happens in them. A part of a frame
        waits for the rest, unless no more comes."""
        if not self._has_frame():
            return bytes(_FRAME_BYTES), self._ends()
        out = bytearray()
        notes: list[Began | Ended] = []
        while len(out) < _FRAME_BYTES:
            notes += self._ends()
            if not self._spans:
                break
            span = self._spans[0]
            if self._playing is None and span.waiting:
                self._playing = span.response_id
                notes.append(Began(span.response_id))
            taken = span.waiting[: _FRAME_BYTES - len(out)]
            if not taken:
                break
            del span.waiting[: len(taken)]
            span.played += len(taken) // _SAMPLE_BYTES
            out += taken
        notes += self._ends()
        return bytes(out) + bytes(_FRAME_BYTES - len(out)), notes

    def clear(self) -> tuple[Sequence[Cut], str | None]:
        """Forget all that waits. Returns the items that this cuts short, and the response whose
        sound it ends, if one was heard."""
        cuts = [
            Cut(span.item_id, span.played * 1000 // RATE_HZ)
            for span in self._spans
            if span.waiting or span.response_id not in self._finished
        ]
        cleared = self._playing
        if cleared is None and self._spans:
            cleared = self._spans[0].response_id
        self._spans.clear()
        self._finished.clear()
        self._playing = None
        return cuts, cleared

    def _has_frame(self) -> bool:
        """Whether there is enough to be heard: a frame, or the end of a response."""
        size = 0
        for span in self._spans:
            size += len(span.waiting)
            if size >= _FRAME_BYTES or (size and span.response_id in self._finished):
                return True
        return False

    def _ends(self) -> list[Began | Ended]:
        """Let go of the items that were heard to their end."""
        notes: list[Began | Ended] = []
        while self._spans and not self._spans[0].waiting:
            response_id = self._spans[0].response_id
            is_last_of_response = len(self._spans) == 1 or (
                self._spans[1].response_id != response_id
            )
            if is_last_of_response and response_id not in self._finished:
                break
            self._spans.popleft()
            if is_last_of_response:
                self._finished.discard(response_id)
                if self._playing == response_id:
                    self._playing = None
                    notes.append(Ended(response_id))
        return notes


class Pace:
    """When frames are due, 20 ms apart, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._due_s: float | None = None  # of the next frame; set by the first

    def next_s(self, now_s: float) -> float:
        """When the next frame is to be sent. After a stall a few follow at once; when it was too
        long, the later ones keep the distance instead."""
        frame_s = FRAME_MS / 1000
        earliest_s = now_s - _MOST_BEHIND * frame_s
        due_s = now_s if self._due_s is None else max(self._due_s, earliest_s)
        self._due_s = due_s + frame_s
        return due_s

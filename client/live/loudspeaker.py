"""What the loudspeaker has still to play, and what of it has really sounded.

The sound card takes samples in a thread of its own, the call adds and stops in the event loop;
a lock that is held for microseconds stands between them, and neither ever waits for sound.
"""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.realtime import SAMPLE_RATE_HZ
from client.sound.speech import first_audible

Samples = NDArray[np.float32]

# Some servers send a whole answer at once; ours keeps two seconds ahead. Ten minutes is no
# answer any more: the call ends rather than fill the memory.
MAX_QUEUED_SAMPLES = 600 * SAMPLE_RATE_HZ


class LoudspeakerFull(Exception):
    """More audio is queued than any answer has."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was stopped, and how much of it is heard."""

    item_id: str
    heard_samples: int


@dataclass(slots=True)
class _Item:
    queued: int = 0  # samples that wait
    taken: list[tuple[int, int]] = field(default_factory=list)  # stretches [start, end)
    audible_s: float | None = None  # when its first audible sample left the loudspeaker


class Loudspeaker:
    """A bounded queue of answers; positions count the samples that the sound card has taken.

    ``latency_samples`` is how long a taken sample is still on its way to the ear. It is known
    once the device is open. An item that was cut is deaf to further audio.
    """

    def __init__(self, latency_samples: int = 0) -> None:
        self.latency_samples = latency_samples
        self._lock = threading.Lock()
        self._pieces: deque[tuple[str, Samples]] = deque()
        self._items: dict[str, _Item] = {}
        self._cut: set[str] = set()
        self._position = 0
        self._queued = 0

    @property
    def sounding(self) -> bool:
        """Something waits to be played or is still on its way to the ear."""
        with self._lock:
            return self._sounding()

    def feed(self, item_id: str, samples: Samples) -> None:
        """Queue audio of an item; that of a cut one is dropped.

        Raises:
            LoudspeakerFull: nobody listens that long.
        """
        with self._lock:
            if item_id in self._cut or not len(samples):
                return
            if self._queued + len(samples) > MAX_QUEUED_SAMPLES:
                minutes = MAX_QUEUED_SAMPLES // (60 * SAMPLE_RATE_HZ)
                raise LoudspeakerFull(f"the server sent more than {minutes} minutes ahead")
            self._pieces.append((item_id, samples))
            self._items.setdefault(item_id, _Item()).queued += len(samples)
            self._queued += len(samples)

    def take(self, count: int, at_s: float = 0.0) -> Samples:
        """The next ``count`` samples, silence where there are none; called by the sound card.

        ``at_s`` is when the first of them is played, but for the device's latency.
        """
        taken = np.zeros(count, np.float32)
        filled = 0
        with self._lock:
            while self._pieces and filled < count:
                item_id, samples = self._pieces.popleft()
                part = samples[: count - filled]
                if len(part) < len(samples):
                    self._pieces.appendleft((item_id, samples[len(part) :]))
                taken[filled : filled + len(part)] = part
                self._note(item_id, part, filled, at_s)
                filled += len(part)
            self._position += count
        return taken

    def stop(self) -> list[Cut]:
        """Take nothing more from the queue; tells which items had not sounded to their end.

        What the sound card has taken cannot be called back: it still sounds, and counts as heard.
        """
        with self._lock:
            cuts = []
            for item_id, item in self._items.items():
                on_its_way = bool(item.taken) and item.taken[-1][1] > self._heard_until()
                if item_id not in self._cut and (item.queued or on_its_way):
                    self._cut.add(item_id)
                    item.queued = 0
                    cuts.append(Cut(item_id, sum(end - start for start, end in item.taken)))
            self._pieces.clear()
            self._queued = 0
            return cuts

    def audible_s(self, item_id: str) -> float | None:
        """When the item's first audible sample was played, by the clock of ``take``."""
        with self._lock:
            item = self._items.get(item_id)
            return None if item is None else item.audible_s

    def _note(self, item_id: str, part: Samples, offset: int, at_s: float) -> None:
        item = self._items[item_id]
        start = self._position + offset
        end = start + len(part)
        if item.taken and item.taken[-1][1] == start:
            start = item.taken.pop()[0]
        item.taken.append((start, end))
        item.queued -= len(part)
        self._queued -= len(part)
        if item.audible_s is None and (index := first_audible(part)) is not None:
            item.audible_s = at_s + (offset + index + self.latency_samples) / SAMPLE_RATE_HZ

    def _sounding(self) -> bool:
        if self._pieces:
            return True
        last = max((item.taken[-1][1] for item in self._items.values() if item.taken), default=0)
        return last > self._heard_until()

    def _heard_until(self) -> int:
        return self._position - self.latency_samples

"""Cuts a recording into passages that the ear takes one at a time. Pure, and in one pass, so that
hours of sound need no more memory than one passage."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from duplex.audio.formats import Samples
from engine.ear.passage import TimedWord

RATE_HZ = 16_000
FRAME_SAMPLES = 512  # 32 ms, of one probability
_VOICED = 0.5
_PAD_FRAMES = 7  # of what is around speech, kept: about 220 ms
# A passage is as long as helps the ear, and as short as calls can wait for: it is one step of the
# ear's thread (docs/decisions/0116-passages-of-recordings.md).
_LONGEST_FRAMES = 20 * RATE_HZ // FRAME_SAMPLES
_LONG_FRAMES = 12 * RATE_HZ // FRAME_SAMPLES  # from here on any pause ends it
_PAUSE_FRAMES = 10  # of such a pause: 320 ms
_END_FRAMES = 32  # a silence that ends any passage: about a second


@dataclass(frozen=True, slots=True)
class Clip:
    """A part of a recording with speech in it, which begins at ``start_sample``; ``voiced`` says
    of each of its frames whether there is speech."""

    start_sample: int
    samples: Samples
    voiced: tuple[bool, ...]

    @property
    def start_s(self) -> float:
        """Where its speech begins, in the recording."""
        return self.start_sample / RATE_HZ

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return (self.start_sample + len(self.samples)) / RATE_HZ


@dataclass(slots=True)
class Cutter:
    """One recording, frame by frame."""

    _frames: list[Samples] = field(default_factory=list)  # since the last passage
    _voiced: list[bool] = field(default_factory=list)  # of each of them
    _first: int = 0  # the number of the first of them
    _silent: int = 0  # how many at the end are without speech

    def feed(self, frame: Samples, probability: float) -> Clip | None:
        """Take the next frame; return a passage if it is over by now."""
        is_voiced = probability >= _VOICED
        self._frames.append(frame)
        self._voiced.append(is_voiced)
        self._silent = 0 if is_voiced else self._silent + 1
        if not any(self._voiced):
            self._forget(max(0, len(self._frames) - _PAD_FRAMES))
            return None
        spoken = len(self._frames) - self._silent
        if self._silent >= _END_FRAMES or (
            spoken >= _LONG_FRAMES and self._silent >= _PAUSE_FRAMES
        ):
            return self._take(len(self._frames))
        if len(self._frames) >= _LONGEST_FRAMES:
            return self._take(self._quietest())
        return None

    def finish(self) -> Clip | None:
        """The recording is over; return its last passage, if there is one."""
        return self._take(len(self._frames)) if any(self._voiced) else None

    def _take(self, end: int) -> Clip:
        """The speech among the first ``end`` frames, a little silence around it."""
        voiced = [i for i in range(end) if self._voiced[i]]
        start = max(0, voiced[0] - _PAD_FRAMES)
        stop = min(end, voiced[-1] + 1 + _PAD_FRAMES)
        samples = np.concatenate(self._frames[start:stop])
        clip = Clip((self._first + start) * FRAME_SAMPLES, samples, tuple(self._voiced[start:stop]))
        self._forget(end if end < len(self._frames) else stop)
        return clip

    def _forget(self, count: int) -> None:
        del self._frames[:count], self._voiced[:count]
        self._first += count
        self._silent = min(self._silent, len(self._frames))

    def _quietest(self) -> int:
        """Where to cut speech without a pause: after the quietest frame of its second half. There
        is speech before it."""
        half = max(len(self._frames) // 2, self._voiced.index(True) + 1)
        energy = [float(np.square(frame).mean()) for frame in self._frames[half:]]
        return half + 1 + int(np.argmin(energy))


def tightened(words: Sequence[TimedWord], clip: Clip) -> list[TimedWord]:
    """The words of a clip at their places in the recording. A pause before or after a word belongs
    to none: what the ear counts to a word is cut to the speech in it."""
    frame_s = FRAME_SAMPLES / RATE_HZ
    made: list[TimedWord] = []
    for word in words:
        first, last = int(word.start_s / frame_s), int(word.end_s / frame_s)
        spoken = [i for i in range(first, min(last + 1, len(clip.voiced))) if clip.voiced[i]]
        start_s, end_s = word.start_s, word.end_s
        if spoken:
            start_s = max(start_s, spoken[0] * frame_s)
            end_s = min(end_s, (spoken[-1] + 1) * frame_s)
        start_s, end_s = start_s + clip.start_s, max(start_s, end_s) + clip.start_s
        made.append(TimedWord(word.text, round(start_s, 3), round(end_s, 3)))
    return made

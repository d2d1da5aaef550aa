"""The transcript of an open turn: its stable words, and when the next partial is due.

Pure logic over the texts that an ear gives. While the caller speaks, each *hypothesis* is the
whole open window heard anew, so its words waver, and not only at its end. Words become stable when
several successive hypotheses agree on all words up to them (LocalAgreement-n: Macháček et al. 2023,
"Turning Whisper into Real-Time Transcription System", section 2.1; how many:
docs/decisions/0075-deltas-add-up.md). An exact pass, at a pause, replaces everything else; stable
words keep the spelling in which they became stable, as long as it has the same words.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.features import SAMPLE_RATE_HZ
from engine.types import Transcript

_TRAILING_PUNCTUATION = re.compile(r"[^\w]+$")


@dataclass(frozen=True, slots=True)
class PartialPolicy:
    """When the next partial is due, and how much audio it may cover.

    ``max_load`` bounds the share of one core that one call's partials may take: the next waits
    until the last one's cost is at most that share of the audio since. A window longer than
    ``max_window_samples`` is shortened by committing its head (see `PartialTranscriber.commit`),
    cut at a quiet point that leaves at least ``min_context_samples`` open. ``agreement`` is the
    number of successive hypotheses that make words stable.
    """

    rate: int = SAMPLE_RATE_HZ
    min_new_samples: int = 9_600
    max_load: float = 0.2
    max_window_samples: int = 20 * SAMPLE_RATE_HZ
    min_context_samples: int = 4 * SAMPLE_RATE_HZ
    min_commit_samples: int = 8 * SAMPLE_RATE_HZ
    agreement: int = 6

    def interval_samples(self, cost_s: float) -> int:
        """Audio to wait for after a partial that took ``cost_s`` seconds of a core."""
        return max(self.min_new_samples, round(cost_s / self.max_load * self.rate))

    def commit_range(self, window_samples: int) -> tuple[int, int] | None:
        """Between which samples of the open window its head should end; None while it is short."""
        if window_samples <= self.max_window_samples:
            return None
        return self.min_commit_samples, window_samples - self.min_context_samples


NO_PARTIALS = PartialPolicy(min_new_samples=2**60)  # more than any turn has


class PartialTranscriber:
    """The transcript of one turn as it grows. One task at a time uses it.

    ``window_start`` is the turn's first sample that is still open: an ear is given the audio
    from there on. Texts may arrive late; one that is older than the newest changes nothing.
    """

    def __init__(self, policy: PartialPolicy | None = None) -> None:
        self._policy = policy or PartialPolicy()
        # (first sample, text) of the heads cut off before window_start; grows in commit
        self._committed: list[tuple[int, str]] = []
        self._open: list[str] = []  # words of the open window, as it was heard last
        self._stable: list[str] = []  # the turn's first words, as they became stable
        # the words of the newest texts, of the whole turn
        self._newest: deque[list[str]] = deque(maxlen=self._policy.agreement)
        self._exact = False  # whether the newest text was an exact pass
        self._samples = 0  # heard by the newest text
        self._next_due = self._policy.min_new_samples
        self.window_start = 0

    @property
    def transcript(self) -> Transcript:
        """The transcript so far."""
        text = _join(*self._spelled(self._heads() + self._open))
        stable = text if self._exact else _bare_end(_join(*self._stable))
        return Transcript(text, stable, self._samples)

    def due(self, samples: int) -> bool:
        """Whether a partial should be made now that the turn has ``samples`` samples."""
        return samples >= self._next_due

    def commit_range(self, samples: int) -> tuple[int, int] | None:
        """Between which samples of the *turn* to cut off the window's head before the next
        partial; None while the window is short enough."""
        span = self._policy.commit_range(samples - self.window_start)
        return span and (self.window_start + span[0], self.window_start + span[1])

    def hypothesis(
        self, text: str, samples: int, cost_s: float = 0.0, start: int | None = None
    ) -> Transcript:
        """Take a partial's text of the turn's audio from ``start`` (default: `window_start`) to
        ``samples``; ``cost_s`` is the time that it took.

        A late text is ignored.
        """
        if samples < self._samples or start not in (None, self.window_start):
            return self.transcript
        self._open = _words(text)
        words = self._heads() + self._open
        self._newest.append(words)
        if len(self._newest) == self._policy.agreement:
            self._grow(words, min(_agreement(self._newest), len(words) - 1))  # the last may be cut
        self._exact = False
        self._samples = samples
        self._next_due = samples + self._policy.interval_samples(cost_s)
        return self.transcript

    def exact(self, text: str, samples: int, start: int | None = None) -> Transcript:
        """Take the exact pass over the turn's audio from ``start`` (default: `window_start`) to
        ``samples``; it replaces all words after ``start``.

        A late text still gives the transcript of its audio, but changes nothing.
        """
        start = self.window_start if start is None else start
        committed = [head for head in self._committed if head[0] < start]
        if samples < self._samples:
            words = [word for _, head in committed for word in _words(head)] + _words(text)
            whole = _join(*self._spelled(words))
            return Transcript(whole, whole, samples)
        self._committed, self.window_start = committed, start
        self._open, self._exact = _words(text), True
        self._newest.append(self._heads() + self._open)
        self._samples = samples
        self._next_due = samples + self._policy.min_new_samples
        return self.transcript

    def commit(self, text: str, at_sample: int) -> None:
        """Close the window's head: ``text`` is the exact pass over the audio from `window_start`
        to ``at_sample``, where the window starts from now on.

        Raises:
            ValueError: ``at_sample`` is not after the window's start.
        """
        if at_sample <= self.window_start:
            raise ValueError(f"sample {at_sample} is not after {self.window_start}")
        end = _end_of_prefix(_words(text), self._open)
        self._open = self._open[end:]
        self._committed.append((self.window_start, text.strip()))
        self._newest.clear()
        heads = self._heads()
        self._grow(heads, len(heads))  # nobody hears them again
        self._exact = False
        self._samples = max(self._samples, at_sample)
        self.window_start = at_sample

    def _heads(self) -> list[str]:
        return [word for _, head in self._committed for word in _words(head)]

    def _grow(self, words: list[str], count: int) -> None:
        """The first ``count`` of the turn's ``words`` are stable, if those that were are among
        them."""
        if count > len(self._stable) and self._begin_stably(words):
            self._stable = self._spelled(words)[:count]

    def _begin_stably(self, words: Sequence[str]) -> bool:
        """Whether the stable words are the first of ``words``, however they are spelled."""
        return [*map(_key, words[: len(self._stable)])] == [*map(_key, self._stable)]

    def _spelled(self, words: list[str]) -> list[str]:
        """The turn's ``words``, the stable ones as they were spelled when they became stable."""
        if not self._stable or not self._begin_stably(words):
            return words
        *before, last = self._stable
        count = len(self._stable)
        mark = _TRAILING_PUNCTUATION.search(words[count - 1])  # it was not shown yet
        return [*before, _bare_end(last) + (mark.group() if mark else ""), *words[count:]]


def _words(text: str) -> list[str]:
    return [word for word in text.split() if _key(word)]


def _key(word: str) -> str:
    return re.sub(r"[^\w]", "", word.casefold())


def _bare_end(text: str) -> str:
    return _TRAILING_PUNCTUATION.sub("", text)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _agreement(texts: Iterable[Sequence[str]]) -> int:
    """How many leading words all ``texts`` have in common."""
    count = 0
    for words in zip(*texts, strict=False):
        if len({_key(word) for word in words}) > 1:
            break
        count += 1
    return count


def _end_of_prefix(prefix: Sequence[str], words: Sequence[str]) -> int:
    """The number of leading ``words`` that match ``prefix`` with the fewest word errors; of several
    such numbers the nearest to the length of ``prefix``."""
    row = list(range(len(words) + 1))
    for i, left in enumerate(map(_key, prefix), start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(map(_key, words), start=1):
            step = min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
            diagonal, row[j] = row[j], step
    return min(range(len(row)), key=lambda j: (row[j], abs(j - len(prefix))))

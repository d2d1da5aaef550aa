"""A segment as the letters that Kokoro-82M and its kin read, word by word."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tts.g2p.g2p import PUNCTUATION, Phonemizer
from tts.g2p.kokoro import to_kokoro
from tts.text.normalize import normalize
from tts.text.pauses import pause_ms

logger = logging.getLogger(__name__)

_SILENT = frozenset(PUNCTUATION + " ")


@dataclass(frozen=True, slots=True)
class Run:
    """Letters for one run of a network, and the words that end in it, each with the number of
    letters after which it is over. ``pause_ms`` is the pause after it, at the natural rate."""

    letters: str
    words: tuple[tuple[str, int], ...]
    pause_ms: int

    @property
    def last_letter(self) -> int:
        """The number of letters up to the last that is heard."""
        return len(self.letters.rstrip(PUNCTUATION + " "))


@dataclass(frozen=True, slots=True)
class Script:
    """``letters`` and the ``words`` of the segment's text that they say: word ``i`` is over after
    the first ``ends[i]`` letters. ``left_out`` counts letters that the voice does not know."""

    letters: str
    words: tuple[str, ...]
    ends: tuple[int, ...]
    pause_ms: int
    left_out: int = 0

    def runs(self, most: int) -> Iterator[Run]:
        """The script in runs of at most ``most`` letters."""
        word = 0
        for start, stop in cut(self.letters, most):
            first = word
            while word < len(self.ends) and self.ends[word] <= stop:
                word += 1
            words = tuple((self.words[i], max(self.ends[i] - start, 0)) for i in range(first, word))
            letters = self.letters[start:stop].rstrip(" ")
            is_last = stop == len(self.letters)
            yield Run(letters, words, self.pause_ms if is_last else pause_ms(letters))


def read_script(text: str, phonemizer: Phonemizer, locale: str, known: Collection[str]) -> Script:
    """What ``text`` sounds like; no letters if there is nothing to say. Letters that are not
    ``known`` are left out and counted."""
    tokens = normalize(text, locale)
    letters, end, left_out = "", 0, 0
    ends = []
    for sounds in phonemizer([token.spoken for token in tokens]):
        if sounds and letters and sounds[0] not in PUNCTUATION:
            letters += " "
        for letter in to_kokoro(sounds):
            if letter not in known:
                left_out += 1
                continue
            letters += letter
            if letter not in _SILENT:  # a word is over before the pause after it
                end = len(letters)
        ends.append(end)
    if left_out:
        logger.info("left out %d letters that the voice does not know", left_out)
    words = tuple(token.text for token in tokens)
    if not end:
        return Script("", words, tuple(ends), 0, left_out)
    return Script(letters.rstrip(" "), words, tuple(ends), pause_ms(text), left_out)


def cut(letters: str, most: int) -> Sequence[tuple[int, int]]:
    """Where to cut ``letters`` into runs that a network can take: after a mark, else after a
    word, else after ``most`` letters. Start and stop of each; no run is of marks alone."""
    runs, start = [], 0
    length = len(letters.rstrip(PUNCTUATION + " "))
    while length - start > most:
        run = letters[start : start + most]
        stop = max(run.rfind(f"{mark} ") for mark in PUNCTUATION) + 2
        if stop < most // 2:
            stop = run.rfind(" ") + 1 or most
        runs.append((start, start + stop))
        start += stop
    return [*runs, (start, len(letters))]

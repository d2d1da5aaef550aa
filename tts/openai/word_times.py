"""When the words of a segment end, estimated from their share of its text. No IO.

An endpoint tells no times. A share of the text is a share of the sound, which is exact for the
segment as a whole; while it still arrives its length is estimated from the segments before it.
"""

import re

from tts.types import SpokenWord

# A word with the space around it; of a script without spaces, each sign.
_WORD = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|"
                   r"[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+)\s*")  # fmt: skip
_SAMPLES_PER_LETTER = 1600.0  # at 24 kHz; 15 letters a second, as English is spoken
_PAUSES = {",": 2, ";": 3, ":": 3, ".": 4, "!": 4, "?": 4, "。": 4, "、": 2}  # in letters
_WIDE = 2.5  # letters that a sign of a script without alphabet lasts
_MEMORY = 0.5  # of the segments before the last


class Pace:
    """How long a letter lasts in one answer; learnt from its segments."""

    def __init__(self, speed: float) -> None:
        self.samples_per_letter = _SAMPLES_PER_LETTER / speed
        self._is_known = False

    def learn(self, letters: float, samples: int) -> None:
        """Take a whole segment into account."""
        if letters <= 0 or samples <= 0:
            return
        seen = samples / letters
        if self._is_known:
            seen = _MEMORY * self.samples_per_letter + (1 - _MEMORY) * seen
        self.samples_per_letter, self._is_known = seen, True


class WordTimes:
    """The words of one segment, given out as their sound arrives."""

    def __init__(self, text: str, pace: Pace) -> None:
        self._pace = pace
        words = _WORD.findall(text) or [text]
        self._words: list[tuple[str, float]] = []  # with the letters up to their end
        letters = 0.0
        for word in words:
            letters += _letters(word)
            self._words.append((word, letters))
        self._letters = letters
        self._given = 0
        self._samples = 0  # of the sound so far

    def feed(self, samples: int) -> tuple[SpokenWord, ...]:
        """``samples`` more have come; the words that end in them. The last word waits."""
        self._samples += samples
        scale = self._pace.samples_per_letter
        words = []
        for text, letters in self._words[self._given : -1]:
            if letters * scale > self._samples:
                break
            words.append(SpokenWord(text, round(letters * scale), is_estimated=True))
        self._given += len(words)
        return tuple(words)

    def finish(self) -> tuple[SpokenWord, ...]:
        """The sound is whole: the rest of the words, which share what is left of it."""
        left = self._words[self._given :]
        before = self._words[self._given - 1][1] if self._given else 0.0
        start = min(self._samples, round(before * self._pace.samples_per_letter))
        share = (self._samples - start) / ((self._letters - before) or 1.0)
        self._pace.learn(self._letters, self._samples)
        self._given = len(self._words)
        return tuple(
            SpokenWord(text, start + round((letters - before) * share), is_estimated=True)
            for text, letters in left
        )


def _letters(word: str) -> float:
    """How many letters the word lasts."""
    return sum(
        _PAUSES.get(letter, 0) if not letter.isalnum() else 1 if letter < "\u3040" else _WIDE
        for letter in word
    ) or 0.5  # fmt: skip

"""Word error rate: the words of two texts in one spelling, aligned by jiwer.

The spelling rules are this project's own, as jiwer's transforms know no numbers. Both
sides are brought to one spelling first: lower case; hyphens, dashes and slashes separate
words; apostrophes are dropped (``don't`` is ``dont``); other punctuation goes; cardinal number
words up to millions become digits (``two hundred and five`` is ``205``, ``3 million`` is
``3000000``); ``$5`` is ``5 dollars``, ``5%`` is ``5 percent``; a few words with two spellings
(``mister``/``mr``, ``okay``/``ok``, ``1st``/``first`` ...) get one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# fmt: off
_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = ["fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
# fmt: on
_VALUES = {word: i for i, word in enumerate(_SMALL)} | {
    word: 10 * i for i, word in enumerate(_TENS, start=2)
}
_SCALES = {"thousand": 1_000, "million": 1_000_000}
_SPELLINGS = {
    "mister": "mr",
    "missus": "mrs",
    "doctor": "dr",
    "okay": "ok",
    "alright": "all right",
    "percentage": "percent",
    "dollar": "dollars",
    "1st": "first",
    "2nd": "second",
    "3rd": "third",
} | {f"{i}th": word for i, word in enumerate(_ORDINALS, start=4)}


@dataclass(frozen=True, slots=True)
class WordErrors:
    """``edits`` (substituted, deleted and inserted words) that turn one text into another, over
    the ``words`` of the reference."""

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """Errors per reference word; 0 if there are neither.

        Raises:
            ZeroDivisionError: there are errors but no reference words.
        """
        return self.edits / self.words if self.words or self.edits else 0.0


def pooled(errors: Iterable[WordErrors | None]) -> WordErrors | None:
    """All edits over all words, or None if there are none to pool."""
    known = [error for error in errors if error is not None]
    if not known:
        return None
    return WordErrors(sum(e.edits for e in known), sum(e.words for e in known))


def wer(pairs: Iterable[tuple[str, str]]) -> WordErrors:
    """The word errors of all (reference, hypothesis) ``pairs`` together."""
    found = [
        WordErrors(edit_distance(expected, normalize_words(hypothesis)), len(expected))
        for expected, hypothesis in ((normalize_words(one), other) for one, other in pairs)
    ]
    return pooled(found) or WordErrors(0, 0)


def normalize_words(text: str) -> list[str]:
    """The words of ``text`` in the spelling described above."""
    text = text.lower().replace("’", "'").replace("'", "")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\$\s?(\d+(?:\.\d+)?(?: thousand| million)?)", r"\1 dollars", text)
    text = text.replace("%", " percent ").replace("&", " and ")
    found = re.findall(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?(?![^\W\d_])|[^\W_]+", text)
    spelled = " ".join(_SPELLINGS.get(word, word) for word in found).split()
    return _numbers_to_digits(spelled)


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The least number of substitutions, deletions and insertions that turn the words ``a`` into
    ``b``."""
    import jiwer  # of the extra `bench`; the command line loads this module without it, too

    found = jiwer.process_words(" ".join(a), " ".join(b))
    return found.substitutions + found.deletions + found.insertions


def _numbers_to_digits(words: list[str]) -> list[str]:
    out: list[str] = []
    start = 0
    while start < len(words):
        value, end = _number(words, start)
        out.append(words[start] if end == start else str(value))
        start = max(end, start + 1)
    return out


def _number(words: list[str], start: int) -> tuple[int, int]:
    """The longest cardinal number that begins at ``start`` and where it ends; (0, start) if
    none does. ``seven four`` is two numbers, ``seventy four`` and ``seven hundred and four``
    one each."""
    total, at = 0, start
    smallest_scale = 10**9
    while True:
        value, end = _below_thousand(words, at)
        if end == at:
            return total, at
        scale = _SCALES.get(words[end], 1) if end < len(words) else 1
        if scale >= smallest_scale or (at > start and value >= smallest_scale):
            return total, at
        total, at = total + value * scale, end + (scale > 1)
        if scale == 1:
            return total, at
        smallest_scale = scale


def _below_thousand(words: list[str], start: int) -> tuple[int, int]:
    if start == len(words):
        return 0, start
    if words[start].isdecimal():
        value, end = int(words[start]), start + 1
    else:
        value, end = _below_hundred(words, start)
    if end == start or end == len(words) or words[end] != "hundred" or not 0 < value < 10:
        return value, end
    value, end = value * 100, end + 1
    after = end + (words[end : end + 1] == ["and"])
    rest, rest_end = _below_hundred(words, after)
    return (value + rest, rest_end) if rest else (value, end)


def _below_hundred(words: list[str], start: int) -> tuple[int, int]:
    if start >= len(words) or words[start] not in _VALUES:
        return 0, start
    value = _VALUES[words[start]]
    unit = _VALUES.get(words[start + 1], 0) if start + 1 < len(words) else 0
    return (value + unit, start + 2) if value >= 20 and 0 < unit < 10 else (value, start + 1)

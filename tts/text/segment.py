"""Cuts a stream of answer text into segments to speak.

The first segment ends as early as still sounds natural, because the caller waits for it in silence.
The second ends a little later, because the first is being heard meanwhile. The others end at
sentences.
"""

import re
from dataclasses import dataclass

from tts.text.codes import calls_for_figures
from tts.text.words import words

MAX_CHARS = 320  # about 20 s of speech; text without spaces is cut here


@dataclass(frozen=True, slots=True)
class Limits:
    """When a segment ends, in words. A sentence's end always ends it.

    A comma, semicolon, colon or dash ends it from ``clause`` words on. Without one it is cut
    after ``phrase`` words as soon as a word comes that starts a phrase at least as strongly as
    ``starter``; after ``soft`` words before the word in it that best starts a phrase; after
    ``hard`` words wherever a word ends.
    """

    clause: int
    phrase: int
    starter: int
    soft: int
    hard: int


# 1st, 2nd, later. The first may end before a verb ("The capital of France | is Paris"): the caller
# waits in silence for each word in it (docs/decisions/0024-first-sound-of-a-segment.md).
LIMITS = (Limits(2, 4, 1, 6, 10), Limits(5, 10, 2, 14, 20), Limits(16, 26, 2, 26, 34))
_LEAST_WORDS = 3  # before a cut that no punctuation asks for

# Words that start a phrase, best first: clauses, then prepositions, then verb groups.
_STARTERS = {
    word: strength
    for strength, text in (
        (3, "but because which who whose when while if so where since although though "
            "unless until whereas then"),
        (2, "in on at for from with by about into through during between after before under "
            "over without within such like as than"),
        (1, "is are was were has have had can could will would should may might must to that "
            "and or"),
    )
    for word in words(text)
}  # fmt: skip
_BINDING = frozenset(words("the a an of my your his her its our their this these very more not no"))

_ABBREVIATION = re.compile(
    r"(?:^|[^\w.])(?:(?:Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|approx|Inc|Ltd|Co|Corp|No"
    r"|Fig|fig|Vol|Ave|Blvd|Rd|Mt|Gen|Sen|Rep|Gov|dept|est|max|min|avg|pp|cf|al|Ph\.D|sq|ft"
    r"|a\.m|p\.m|Sgt|Capt|Lt|Col|Rev|Hon|Pres|Ft|Apt|apt|Tel|tel|ext|Ext|Ch|Ref|Rs|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|[A-Za-z])"
    r"|bzw|ca|Nr|Std|Mio|Mrd|Str|inkl|ggf|evtl|vgl|Sra|Dra|aprox|pág|env|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)
# "am 3. Oktober": with these before it the number is one of a row.
_ORDINAL = re.compile(
    r"\b(?:[Aa]m|[Vv]om|[Zz]um|[Ii]m|[Dd]er|[Dd]em|[Dd]en|[Dd]es|[Bb]is)\s\d{1,2}\.$"
)
_CUE_CHARS = 60
_LIST_NUMBER = re.compile(r"(?:^|\n)\W*\d{1,3}\.$")
_CLOSERS = "\"')]}*_”’»"
_OPENERS = "\"'([{*_“‘«"
_PLAIN_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_DASHES = frozenset({"-", "–", "—", "--"})
# A dash after these may be read as "to" or "minus".
_MAY_RANGE = re.compile(
    r"[\d%°²³)$€£]$|^(?:[AaPp]\.?[Mm]\.?|°?[CF]|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*)$"
)
_CODE_BLOCK = re.compile(r"\W*```")
_CODE_BLOCK_END = re.compile(r"\W*```[\s\S]*```[^\n`]*\n")
_OPEN_SPAN = re.compile(r"`[^`\n]*$|\[[^\]\n]{0,120}\]?$|\]\([^)\n]*$")


class Segmenter:
    """One answer's segmenter. The segments joined are the text fed, and do not depend on how it
    was split into pieces."""

    def __init__(self) -> None:
        self._open = ""  # text not yet in a segment
        self._count = 0  # segments given

    def feed(self, text: str) -> list[str]:
        """Take the next piece of the answer; return the segments it completes."""
        segments = []
        for char in text:
            self._open += char
            end = _cut(self._open, LIMITS[min(self._count, len(LIMITS) - 1)])
            if end:
                segments.append(self._open[:end])
                self._open = self._open[end:]
                self._count += 1
        return segments

    def finish(self) -> list[str]:
        """End the answer; return the rest as the last segment, if there is any."""
        rest, self._open = self._open, ""
        return [rest] if rest else []


def _cut(text: str, limits: Limits) -> int:
    """The place to cut ``text`` now that its last character is known; 0 for not yet."""
    if _CODE_BLOCK.match(text):
        return len(text) if text[-1] == "\n" and _CODE_BLOCK_END.match(text) else 0
    if len(text) >= MAX_CHARS:
        return _last_space(text)
    if not text[-1].isspace():
        return 0 if _OPEN_SPAN.search(text) else _cut_at_mark(text, limits)
    if text[-1] == "\n" and _count_words(text):
        return len(text)
    if _OPEN_SPAN.search(text):
        return 0
    return _cut_at_space(text, limits)


def _cut_at_mark(text: str, limits: Limits) -> int:
    """Cuts that need not wait for the next character: after a mark that follows a plain word,
    and, once the character after "22, " is known, at that comma."""
    word = re.split(r"\s", text)[-1]
    if word[-1] in ",;!?—" and _PLAIN_WORD.fullmatch(word[:-1].lstrip(_OPENERS)):
        return len(text) if word[-1] in "!?" or _count_words(text) >= limits.clause else 0
    before = text[: len(text) - len(word)]
    if len(word) == 1 and re.search(r"\d,\s$", before) and not word.isdigit():
        return len(before) if _count_words(before) >= limits.clause else 0
    return 0


def _cut_at_space(text: str, limits: Limits) -> int:
    """Cuts at the space that ``text`` ends with, or before it."""
    done = text.rstrip()
    bare = done.rstrip(_CLOSERS)
    count = _count_words(text)
    if not count:
        return 0
    mark = bare[-1:]
    if mark in ("!", "?") or (mark == "." and _ends_sentence(bare)):
        return len(text)
    is_clause = mark in (",", ";", ":", "…") or bare.endswith("..") or _ends_with_dash(bare)
    number_goes_on = mark == "," and bare[-2:-1].isdigit()
    if is_clause and not number_goes_on and count >= limits.clause and not _calls_for_code(bare):
        return len(text)
    if number_goes_on:
        return 0
    if count > limits.phrase and _strength(text.split()[-2:]) >= limits.starter:
        cut = len(done) - len(done.split()[-1])
        if not _calls_for_code(text[:cut]):
            return cut
    if count < limits.soft:
        return 0
    return _best_phrase(text) or (_last_space(text) if count >= limits.hard else 0)


def _ends_with_dash(text: str) -> bool:
    """Whether a dash between clauses ends it, and not one of a range or a difference."""
    *before, last = text.split()
    return last in _DASHES and not (before and _MAY_RANGE.search(before[-1]))


def _calls_for_code(text: str) -> bool:
    """Whether what follows is read figure by figure because ``text`` says so ("The PIN is"), and
    would be a plain number without it."""
    return calls_for_figures(text[-_CUE_CHARS:])


def _ends_sentence(text: str) -> bool:
    return not (
        text.endswith("..")
        or _ABBREVIATION.search(text)
        or _LIST_NUMBER.search(text)
        or _ORDINAL.search(text)
        or _calls_for_code(text)  # "account no."
    )


def _strength(pair: list[str]) -> int:
    """How well a phrase starts at the second of two words: 0, not at all, to 3."""
    before, word = (w.lower() for w in pair)
    return 0 if before in _BINDING or before in _STARTERS else _STARTERS.get(word, 0)


def _best_phrase(text: str) -> int:
    """Start of the word that best begins a phrase, the latest of equals; 0 where there is none."""
    best, at = 0, 0
    found = list(re.finditer(r"\S+", text))
    for before, match in zip(found[_LEAST_WORDS - 1 :], found[_LEAST_WORDS:], strict=False):
        strength = _strength([before[0], match[0]])
        if strength >= max(best, 1) and not _calls_for_code(text[: match.start()]):
            best, at = strength, match.start()
    return at


def _last_space(text: str) -> int:
    """After the last word that no figure follows or is ("5 km", "Nov 22"), else the end."""
    gaps = [m.end() for m in re.finditer(r"(?<![\d\s])\s+(?=[^\d\s])", text)]
    return gaps[-1] if gaps else len(text)


def _count_words(text: str) -> int:
    return sum(any(c.isalnum() for c in chunk) for chunk in text.split())

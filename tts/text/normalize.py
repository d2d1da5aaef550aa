"""Answer text to speech text, word by word.

It is our own, because the slices joined have to be the text (only so is it known which words the
caller heard), which nemo-text-processing does not promise; num2words is LGPL.

The text is read from left to right. At each place the first rule that matches gives the speech of
its slice.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from tts.text import addresses, codes, dates, foreign, formulas, latex, names, quantities
from tts.text.codes import calls_for_figures
from tts.text.letters import NAMED, OTHER_LETTER, fold, say_other_script
from tts.text.numbers import number
from tts.text.rules import (
    ANY,
    CODE,
    DASHES,
    DIGITS,
    LIST_MARK,
    MARKS,
    RULED_LINE,
    SENTENCE_END,
    Rule,
    after,
    before,
    rule,
    says,
)

DEFAULT_LOCALE = "en-US"
Rules = tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A slice of the text, with the space after it, and its speech: words in lower or mixed case,
    acronyms to be spelled as letters with dots between (F.B.I), and the marks , . ; : ! ? where
    the voice should pause. ``spoken`` may be empty."""

    text: str
    spoken: str


_SYMBOLS = {
    "&": "and", "+": "plus", "@": "at", "%": "percent", "°": "degrees",
    "±": "plus or minus", "≈": "approximately", "≤": "at most", "≥": "at least", "×": "times",
    "÷": "divided by", "→": "to", "⇒": "so", "√": "square root of", "€": "euros",
    "£": "pounds", "§": "section", "∞": "infinity", "←": "from", "↔": "and", "≠": "is not equal to",
    "∑": "sum of", "∫": "integral of", "∂": "partial", "∆": "delta", "∈": "in", "∅": "empty set",
    "∪": "union", "∩": "intersection", "∀": "for all", "∃": "there exists", "¬": "not",
    "©": "copyright", "™": "trademark", "®": "registered", "№": "number", "¢": "cents",
    "‰": "per mille", "♯": "sharp", "♭": "flat", "℃": "degrees Celsius", "℉": "degrees Fahrenheit",
}  # fmt: skip
_PAUSES = ",.;:!?"
_SPACE = re.compile(r"\s+")
# Most words of most texts: no rule has anything to say about them.
_PLAIN = re.compile(r"(?:[a-z]+|[A-Z][a-z]+)(?=[ ,;!?\n]|$)")
_NOT_PLAIN = frozenset(
    {short for short in names.ABBREVIATIONS if short.isalpha()} | {*dates.MONTHS, "Nov", "Sept"}
    | {month[:3] for month in dates.MONTHS} | {"ext", *names.SMALL_ROMANS, *dates.SHORT_DAYS}
)  # fmt: skip


def normalize(text: str, locale: str = DEFAULT_LOCALE, language: str = "en") -> list[Token]:
    """Split ``text`` into tokens at its spaces; quantities like "Nov 22, 2026" stay whole.

    The tokens' texts joined are ``text``. ``language`` is a code. For English ``locale`` is looked
    up for the order of day and month in dates with slashes: the month comes first in "en-US", the
    day elsewhere.
    """
    folded = fold(text)
    day_first = locale.replace("_", "-").lower() not in ("en", "en-us")
    tokens: list[Token] = []
    start, spoken, position = 0, "", 0
    while position < len(text):
        end, said, space = _next(folded, position, language, day_first)
        spoken = _append(spoken, said)
        position = end
        if space:
            tokens.append(Token(text[start:position], spoken))
            start, spoken = position, ""
    if start < position:
        tokens.append(Token(text[start:], spoken))
    return _punctuated(tokens)


def _punctuated(tokens: list[Token]) -> list[Token]:
    """Drop marks that follow nothing or another mark; keep a final stop that a rule took for
    part of an abbreviation ("3 p.m.")."""
    result: list[Token] = []
    paused = True
    for token in tokens:
        spoken = token.spoken.lstrip(_PAUSES + " ") if paused else token.spoken
        paused = spoken[-1] in _PAUSES if spoken else paused
        result.append(token if spoken is token.spoken else Token(token.text, spoken))
    if not paused and result[-1].spoken and result[-1].text.rstrip().endswith("."):
        result[-1] = Token(result[-1].text, result[-1].spoken + ".")
    return result


def _next(text: str, position: int, language: str, day_first: bool) -> tuple[int, str, bool]:
    """End of the piece at ``position``, its speech, and whether it is space between tokens.

    A line's end is a pause, also where nothing but it ends the line (headings, list items).
    """
    plain = _PLAIN.match(text, position) if language == "en" else None
    if plain and plain[0] not in _NOT_PLAIN:
        return plain.end(), plain[0], False
    if match := _SPACE.match(text, position):
        line_ends = "\n" in match[0] and text[position - 1 : position] not in (*_PAUSES, "|", "")
        return match.end(), "." if line_ends and match.end() < len(text) else "", True
    for candidate in _rules_at(text[position], language, day_first):
        if match := candidate.pattern.match(text, position):
            said = candidate.say(match)
            if said is not None and match.end() > position:
                return match.end(), said, False
    return position + 1, "", False


@lru_cache(4096)
def _rules_at(character: str, language: str, day_first: bool) -> Rules:
    """The rules that may begin with ``character``."""
    rules = _english_rules(day_first) if language == "en" else foreign.rules(language)
    return tuple(r for r in rules if not r.starts or character in r.starts)


def _append(spoken: str, said: str) -> str:
    """Words apart by a space; of marks in a row only the first is kept."""
    if not said or not spoken:
        return spoken or said
    if said[0] in _PAUSES:
        return spoken if spoken[-1] in _PAUSES else spoken + said
    return f"{spoken} {said}"


def _spoken(text: str) -> str:
    return " ".join(token.spoken for token in normalize(text) if token.spoken)


def _link(match: re.Match[str]) -> str:
    return _spoken(match[1])


def _heart(match: re.Match[str]) -> str | None:
    return "love" if re.search(r"\b(?:I|[Ww]e|[Yy]ou) $", before(match)) else None


def _number_sign(match: re.Match[str]) -> str | None:
    is_code = calls_for_figures(before(match) + "#") or after(match, 1).isdecimal()
    return "number" if is_code else None


def _other_script(match: re.Match[str]) -> str:
    said = say_other_script(match[0])
    if not said.startswith(NAMED):
        return said
    return f", {said}," if re.match(r"\s+\w", after(match)) else f", {said}"


@lru_cache(2)
def _english_rules(day_first: bool) -> Rules:
    return (
        CODE,
        rule("![", r"!?\[([^\[\]\n]+)\]\([^()\n]*\)", _link),
        RULED_LINE,
        LIST_MARK,
        rule(DIGITS, r"(?m)^(\d{1,2})[.)](?= )", lambda m: f"{number(m[1])}."),
        rule(  # a reference to a source
            "[【",
            r"(?<=[\w.,;:!?\"')])(?:\[\d{1,3}(?:[,–-] ?\d{1,3})*\]|【[^】\n]*】)",
            lambda _: "",
        ),
        rule("<❤♥", r"(?:<3(?!\d)|[❤♥]\ufe0f?)", _heart),
        rule(ANY, rf"{OTHER_LETTER}(?:[^A-Za-zÀ-ɏͰ-Ͽ\u0400-\u052f\n]*{OTHER_LETTER})?",
             _other_script),
        rule("#", r"#(?=\s?[A-Z]{0,4}-?\d)", _number_sign),
        *addresses.RULES,
        *latex.rules(_spoken),
        *codes.RULES,
        *dates.rules(day_first),
        *names.RULES,
        *quantities.RULES,
        *formulas.RULES,
        *names.SPELLED,
        says(_SYMBOLS),
        *names.WORDS,
        rule(".", r"\.{2,}(?=\s*[a-z])", lambda _: ","),
        rule(".", r"(?<=\w)\.(?=[A-Za-z])", lambda _: "dot"),  # Node.js
        SENTENCE_END,
        DASHES,
        rule(",;:", r"[,;:](?!\w)|,(?=\d)", lambda m: m[0]),
        says(MARKS),
    )  # fmt: skip


def prepare(language: str) -> None:
    """Compile the rules of ``language`` now, and not while a caller waits for the first clause."""
    if language != "en":
        foreign.rules(language)


_english_rules(False)  # likewise

"""What a rule of spoken text is, and the classes of characters that rules begin with."""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

DIGITS = string.digits
UPPER = string.ascii_uppercase
LOWER = string.ascii_lowercase
LETTERS = UPPER + LOWER
ANY = ""  # a rule that any character may begin

START = r"(?<![\w.,])"  # not inside a word or a number
DASH = r"\s?[-–—]\s?"
MINUS = r"(?:(?<![\w)\]])[-−])?"

Say = Callable[[re.Match[str]], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """``say`` turns a match of ``pattern`` into words; None leaves the text to the next rule.

    ``starts`` holds every character that a match can begin with, so that the rule is not tried
    elsewhere; `ANY` tries it everywhere.
    """

    pattern: re.Pattern[str]
    say: Say
    starts: str


def rule(starts: str, pattern: str, say: Say) -> Rule:
    """A rule for matches of ``pattern``, which begin with one of ``starts``."""
    return Rule(re.compile(pattern), say, starts)


def before(match: re.Match[str], characters: int = 60) -> str:
    """The text right before the match, at most ``characters`` of it."""
    return match.string[max(0, match.start() - characters) : match.start()]


def after(match: re.Match[str], characters: int = 60) -> str:
    """The text right after the match, at most ``characters`` of it."""
    return match.string[match.end() : match.end() + characters]


def alternatives(texts: Iterable[str]) -> str:
    """A pattern for any of ``texts``, the longest first."""
    return "|".join(re.escape(text) for text in sorted(texts, key=lambda t: (-len(t), t)))


# Rules of every language. Code is shown, not read out, and neither is markdown.
CODE = rule("`", r"```[\s\S]*?(?:```|\Z)", lambda _: "")
RULED_LINE = rule(ANY, r"(?m)^[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*$", lambda _: "")
LIST_MARK = rule(ANY, r"(?m)^[ \t]*(?:[-*+•>]|#{1,6})(?= )", lambda _: "")
SENTENCE_END = rule(".!?", r"[.!?]+", lambda m: next((c for c in m[0] if c != "."), "."))
DASHES = rule("-", r"(?<= )-+(?= )|--+", lambda _: ",")
MARKS = {"…": ",", "—": ",", "–": ",", "|": ","}


def says(table: Mapping[str, str]) -> Rule:
    """A rule for the single characters of ``table``."""
    texts = "".join(table)
    return rule(texts, f"[{re.escape(texts)}]", lambda m: table[m[0]])

"""Rules of spoken text for languages other than English.

Those of `tts.text.tongues` have tables. For any other language markdown is left out, and figures
stay figures: whoever reads the result (espeak-ng) says them in its language.
"""

import re
from functools import lru_cache

from tts.text.cardinals import LARGEST, digits
from tts.text.rules import (
    ANY,
    CODE,
    DASH,
    DASHES,
    DIGITS,
    LIST_MARK,
    MARKS,
    RULED_LINE,
    SENTENCE_END,
    Rule,
    alternatives,
    before,
    rule,
    says,
)
from tts.text.tongues import TONGUES, Pair, Tongue

_NO_NUMBER = r"(?<![\d.,])"  # not inside a number
_SIGN = r"(?:(?<![\w)\]])[-−+])?"
_SIGNED = DIGITS + "-−+"
_SPACES = "\u00a0\u2009\u202f"  # between thousands in all of them
_WORD = r"[^\W\d_]+(?:['-][^\W\d_]+)*"
_LONGEST = 6  # figures without groups; longer numbers, and "007", are read one by one


@lru_cache
def rules(language: str) -> tuple[Rule, ...]:
    """All rules of ``language``, which is not English."""
    tongue = TONGUES.get(language)
    return (*_MARKDOWN, *(_Sayer(tongue).rules() if tongue else ()), *_REST)


def _itself(match: re.Match[str]) -> str:
    return match[0]


_MARKDOWN = (
    CODE,
    rule("![", r"!?\[([^\[\]\n]+)\]\([^()\n]*\)", lambda m: m[1]),
    RULED_LINE,
    LIST_MARK,
)
_REST = (
    rule(ANY, _WORD, _itself),
    rule(DIGITS, r"\d+(?:[.,:]\d+)*", _itself),
    rule("%€$£°&+=@×÷§", r"[%€$£°&+=@×÷§]", _itself),
    SENTENCE_END,
    DASHES,
    rule(",;:", r"[,;:](?!\w)", _itself),
    says({**MARKS, "¿": "", "¡": ""}),
)


class _Sayer:
    """The rules of one table."""

    def __init__(self, tongue: Tongue) -> None:
        self._tongue = tongue
        thousands = rf"\d{{1,3}}(?:[{re.escape(tongue.groups)}{_SPACES}]\d{{3}})+(?!\d)(?:,\d+)?"
        self._number = rf"(?:{thousands}|\d+\.\d+(?!\.?\d)|\d+(?:,\d+)?(?!\.?\d))"

    def rules(self) -> tuple[Rule, ...]:
        """In the order in which they are tried."""
        return (*self._written(), *self._times(), *self._amounts(), *self._numbers())

    def _written(self) -> tuple[Rule, ...]:
        """Abbreviations and addresses."""
        short = {text.replace(" ", ""): said for text, said in self._tongue.short.items()}
        short |= self._tongue.short
        address = r"(?:https?://)?(?:[\w-]{2,}[.@])+[a-z]{2,6}\b(?:/\S*)?"
        return (
            rule(ANY, rf"(?<![\w.])(?:{alternatives(short)})(?!\w)", lambda m: short[m[0]]),
            rule(ANY, address, self._address),
        )

    def _times(self) -> tuple[Rule, ...]:
        """Numbers of lists, which look like days; dates and times of day."""
        tongue = self._tongue
        months = alternatives((*tongue.months, *(m.capitalize() for m in tongue.months)))
        one = rf"{_NO_NUMBER}(\d{{1,2}})"
        year = r"(\d{4})(?!\d)"
        named = rf"{one}{tongue.day_marks}({months})\b(?:(?: de)? (\d{{4}}))?"
        marks, plain_marks = tongue.clock_marks, tongue.clock_marks.replace(".", "")
        return (
            rule(DIGITS, rf"(?m)^(\d{{1,2}})[.)](?= (?!(?:{months})\b))", self._listed),
            rule(DIGITS, r"(\d{4})-(\d{2})-(\d{2})(?!\d)", lambda m: self._date(m, 3, 1)),
            rule(DIGITS, rf"{one}[./](\d{{1,2}})[./]{year}", lambda m: self._date(m, 1, 3)),
            rule(DIGITS, named, self._named_date),
            rule(DIGITS, rf"{one}{marks}(\d\d){tongue.clock_words}", self._clock),
            rule(DIGITS, rf"{one}()(?:{tongue.clock_words})(?!\w)", self._clock),
            rule(DIGITS, rf"{one}{plain_marks}(\d\d)(?![\d:])", self._clock),
        )

    def _amounts(self) -> tuple[Rule, ...]:
        """Money, and what has a unit."""
        tongue, number = self._tongue, self._number
        coins, units = alternatives(tongue.currencies), alternatives(tongue.units)
        signs = "".join(symbol for symbol in tongue.currencies if not symbol.isalpha())
        signed, end = rf"{_NO_NUMBER}({_SIGN}{number})\s?", r"(?![\w²³])"
        return (
            rule(signs, rf"([{signs}])\s?({number})", lambda m: self._money(m[2], m[1])),
            rule(_SIGNED, rf"{signed}({coins}){end}", lambda m: self._money(m[1], m[2])),
            rule(
                _SIGNED,
                rf"{signed}({units}){end}",
                lambda m: self._quantity(m[1], tongue.units[m[2]]),
            ),
        )

    def _numbers(self) -> tuple[Rule, ...]:
        """All others, and symbols."""
        tongue, number = self._tongue, self._number
        units = alternatives(tongue.units)
        return (
            rule(
                DIGITS,
                rf"{_NO_NUMBER}({number}){DASH}({number})(?:\s?({units}))?(?![\w-])",
                self._range,
            ),
            rule(DIGITS, rf"{_NO_NUMBER}(\d{{1,3}}){tongue.ordinal_marks}", self._ordinal),
            rule(DIGITS, rf"{_NO_NUMBER}(\d{{4}})(?![\d.,]\d)", self._year),
            rule(_SIGNED, rf"{_NO_NUMBER}{_SIGN}{number}", lambda m: self.number(m[0])),
            rule(DIGITS, r"\d+(?:\.\d+)+", self._dotted),
            says(tongue.symbols),
        )

    def number(self, text: str) -> str:
        """A written number, with its sign, its thousands and its decimals."""
        tongue = self._tongue
        if text[0] in tongue.signs:
            return f"{tongue.signs[text[0]]} {self.number(text[1:])}"
        whole, mark, fraction = text.partition(",")
        if not mark and re.fullmatch(r"\d+\.(?!\d{3}$)\d+", text):  # as programs write it
            whole, mark, fraction = text.partition(".")
        whole = re.sub(r"\D", "", whole)
        is_code = len(whole) > 1 and whole[0] == "0"
        if is_code or int(whole) >= LARGEST or (len(whole) > _LONGEST and whole == text):
            said = digits(whole, tongue.cardinal)
        else:
            said = tongue.cardinal(int(whole))
        return f"{said} {tongue.point} {digits(fraction, tongue.cardinal)}" if mark else said

    def _quantity(self, number: str, name: Pair) -> str:
        one, many = name
        return one if number == "1" else f"{self._tongue.counted(self.number(number))} {many}"

    def _money(self, number: str, symbol: str) -> str:
        tongue = self._tongue
        whole, _, rest = number.partition(",")
        said = self._quantity(whole, tongue.currencies[symbol])
        if not re.fullmatch(r"\d\d", rest):
            return said if not rest else self._quantity(number, tongue.currencies[symbol])
        joint = f" {tongue.cents} " if tongue.cents else " "
        return said if rest == "00" else said + joint + tongue.cardinal(int(rest))

    def _clock(self, match: re.Match[str]) -> str | None:
        hour, minute = int(match[1]), int(match[2] or 0)
        return self._tongue.clock(hour, minute) if hour <= 24 and minute < 60 else None

    def _date(self, match: re.Match[str], day_group: int, year_group: int) -> str | None:
        """A date in figures, its month in the middle."""
        day, month = int(match[day_group]), int(match[2])
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return None
        return self._day(match, day, self._tongue.months[month - 1], match[year_group])

    def _named_date(self, match: re.Match[str]) -> str | None:
        if not 1 <= int(match[1]) <= 31:
            return None
        return self._day(match, int(match[1]), match[2], match[3] or "")

    def _day(self, match: re.Match[str], day: int, month: str, year: str) -> str:
        tongue = self._tongue
        said = [tongue.day(day, _word_before(match)), month]
        if year:
            said.append(tongue.year(int(year)))
        return (f" {tongue.of} " if tongue.of else " ").join(said)

    def _year(self, match: re.Match[str]) -> str | None:
        return self._tongue.year(int(match[1])) if match[1][0] != "0" else None

    def _ordinal(self, match: re.Match[str]) -> str | None:
        return self._tongue.ordinal(int(match[1]), _word_before(match)) if int(match[1]) else None

    def _listed(self, match: re.Match[str]) -> str:
        return f"{self.number(match[1])}."

    def _range(self, match: re.Match[str]) -> str:
        tongue = self._tongue
        unit = f" {tongue.units[match[3]][1]}" if match[3] else ""
        return f"{self.number(match[1])} {tongue.until} {self.number(match[2])}{unit}"

    def _dotted(self, match: re.Match[str]) -> str:
        return f" {self._tongue.dot} ".join(self.number(part) for part in match[0].split("."))

    def _address(self, match: re.Match[str]) -> str:
        address = re.sub(r"^https?://(?:www\.)?|/$", "", match[0])
        said = re.sub(r"[^\w.@-]+", " ", address.split("/")[0])
        said = said.replace(".", f" {self._tongue.dot} ")
        return " ".join(said.replace("@", f" {self._tongue.symbols['@']} ").split())


def _word_before(match: re.Match[str]) -> str:
    found = re.search(r"(\w+)\s*$", before(match))
    return found[1] if found else ""

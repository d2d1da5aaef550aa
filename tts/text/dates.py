"""How dates and times of day are said."""

import re
from functools import partial

from tts.text.numbers import cardinal, number, ordinal, year
from tts.text.rules import DASH, DIGITS, LETTERS, START, Rule, before, rule
from tts.text.units import counted
from tts.text.words import words

MONTHS = words("""
    January February March April May June July August September October November December
""")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTH_OF = {m[:n].lower(): m for m in MONTHS for n in (3, 4, len(m))}
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
_SHORT = {m[:3]: m for m in (*MONTHS, *DAYS)} | {
    "Sept": "September", "Tues": "Tuesday", "Thur": "Thursday", "Thurs": "Thursday",
    **{name: name for name in (*MONTHS, *DAYS)},
}  # fmt: skip
SHORT_DAYS = words("Mon Tue Tues Wed Thu Thur Thurs Fri")  # Sat and Sun are words too
_ANY_SHORT = "|".join(sorted(_SHORT, key=len, reverse=True))
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_HALF = r"\s?[AaPp](?:\.\s?[Mm]\.(?!\w)|\.?[Mm]\b\.?)"
_CLOCK = (
    rf"(?:(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?![\d:])(?:{_HALF})?|(?:1[0-2]|[1-9]){_HALF})"
)
_TIME = re.compile(
    r"(?P<hour>\d+)(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?)?(?:\s?(?P<half>[AaPp])\.?\s?[Mm]\.?)?"
)
# A pair like 5/6 is a date after these.
_DATED = re.compile(
    r"(?i)(?:^|\b)(?:on|by|until|till|before|after|from|since|due|dated?|born|through|to|between"
    r"|and|starting|effective|expires?|(?:mon|tues|wednes|thurs|fri|satur|sun)day),?:?\s+$"
)
# After these it may be a fraction too, if it looks like one.
_MAYBE_DATED = re.compile(r"(?i)\b(?:by|to|from|between|and|through|after|before)\s+$")
_BOTH = re.compile(r"\s?(?:[-–]|to|and)\s?\d{1,2}/\d{1,2}\b")


def _date(month: str, day: str | None, written_year: str | None) -> str:
    parts = [_MONTH_OF[month.rstrip(".").lower()]]
    if day:
        parts.append(ordinal(int(re.sub(r"\D", "", day))))
    if written_year:
        full = int(written_year) if len(written_year) > 2 else _century(int(written_year))
        return f"{' '.join(parts)}{',' if day else ''} {year(full)}"
    return " ".join(parts)


def _century(two_digits: int) -> int:
    return two_digits + (2000 if two_digits < 70 else 1900)  # as POSIX strptime's %y, nearly


def _named_date(match: re.Match[str]) -> str:
    day, until = match["day"], match["until"]
    if not until:
        return _date(match["month"], day, match["year"])
    span = f"{_date(match['month'], day, None)} to {ordinal(int(re.sub(r'[a-z]', '', until)))}"
    return f"{span}, {year(int(match['year']))}" if match["year"] else span


def _day_month(match: re.Match[str]) -> str:
    day = ordinal(int(match["day"]))
    if match["until"]:
        day = f"{day} to {ordinal(int(match['until']))}"
    return f"{day} of {_date(match['month'], None, match['year'])}"


def _in_order(first: int, second: int, day_first: bool) -> tuple[int, int] | None:
    """Month and day, whichever way round only one is possible; None if neither is."""
    month, day = (second, first) if day_first else (first, second)
    if month > 12:
        month, day = day, month
    return (month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _slashed(match: re.Match[str], day_first: bool) -> str:
    found = _in_order(int(match[1]), int(match[2]), day_first)
    if found is None:
        return " ".join(number(n) for n in re.findall(r"\d+", match[0]))
    return _date(MONTHS[found[0] - 1], str(found[1]), match[3])


def _short_slashed(match: re.Match[str], day_first: bool) -> str | None:
    text = before(match)
    found = _in_order(int(match[1]), int(match[2]), day_first)
    paired = _BOTH.match(match.string, match.end())
    if found is None or not _DATED.search(text):
        return None
    is_fraction = int(match[1]) < int(match[2]) and int(match[2]) in (2, 3, 4, 5, 8)
    if is_fraction and _MAYBE_DATED.search(text):
        return None
    if re.search(r"(?i)\b(?:from|to|and|between)\s+$", text) and not paired:
        earlier = re.search(r"\d{1,2}/\d{1,2}\s+(?:to|and)\s+$", text)
        if not earlier and not re.search(r"(?i)\bfrom\s+$", text):
            return None
    return _date(MONTHS[found[0] - 1], str(found[1]), None)


def _year_month(match: re.Match[str]) -> str | None:
    """2025-12, but 2011-12 is a span of years."""
    if int(match["year"]) % 100 < int(match["month"]):
        return None
    return f"{MONTHS[int(match['month']) - 1]} {year(int(match['year']))}"


def _dotted(match: re.Match[str]) -> str | None:
    found = _in_order(int(match[1]), int(match[2]), True)
    if found is None:
        return None
    written_year = match[3]
    if not written_year:
        alone = (
            not match.string[: match.start()].strip() and not match.string[match.end() :].strip()
        )
        if not (alone and len(match[2]) == 2) and not re.search(
            r"(?i)\b(?:am|vom|bis|on|by|until|since|from)\s+(?:the\s+)?$", before(match)
        ):
            return None
    return _date(MONTHS[found[0] - 1], str(found[1]), written_year)


def _iso(match: re.Match[str]) -> str | None:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    date = _date(MONTHS[month - 1], str(day), match["year"])
    return f"{date}, {say_time(match['time'])}" if match["time"] else date


def say_time(text: str) -> str:
    """ "10:05 pm" -> "ten oh five P.M"; "9:00" -> "nine o'clock"; "14:00" -> "fourteen hundred"."""
    match = _TIME.match(text)
    assert match is not None
    hour, minute, half = int(match["hour"]), match["minute"], match["half"]
    said = [cardinal(hour)]
    if minute and int(minute):
        said.append(("oh " if minute[0] == "0" else "") + cardinal(int(minute)))
    elif not half and minute:
        said.append("o'clock" if 1 <= hour <= 12 else "hundred")
    if (second := match["second"]) and int(second):
        said.append(f"and {cardinal(int(second))} {counted(str(int(second)), 'second*')}")
    if half:
        said.append(f"{half.upper()}.M")
    return " ".join(said)


def _times(match: re.Match[str]) -> str:
    first, last = match["from"], match["to"]
    if first and last:
        return f"{say_time(first)} to {say_time(last)}".replace(" o'clock to", " to")
    return say_time(match[0])


def _names(match: re.Match[str]) -> str:
    return f"{_SHORT[match[1]]} to {_SHORT[match[2]]}"


def rules(day_first: bool) -> tuple[Rule, ...]:
    """The rules for a language area where 5/6 is the fifth of June, or else May sixth."""
    return (
        rule(
            DIGITS,
            START + r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
            r"(?:T(?P<time>\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?\b(?!-\d)",
            _iso,
        ),
        rule(
            DIGITS,
            START + r"(?P<year>\d{4})/(?P<month>\d{2})/(?P<day>\d{2})(?P<time>)(?![\w/])",
            _iso,
        ),
        rule(
            DIGITS,
            START + r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])",
            partial(_slashed, day_first=day_first),
        ),
        rule(
            DIGITS,
            START + r"(\d{1,2})-(\d{1,2})-(\d{4})(?![\w-])",
            partial(_slashed, day_first=day_first),
        ),
        rule(
            DIGITS,
            START + r"(?P<month>0?[1-9]|1[0-2])/(?P<year>20\d\d)(?![\w/])",
            lambda m: f"{MONTHS[int(m['month']) - 1]} {year(int(m['year']))}",
        ),
        rule(
            DIGITS,
            START + r"(?P<year>20\d\d)-(?P<month>0[1-9]|1[0-2])(?![\w-]|[.,]\d)",
            _year_month,
        ),
        rule(
            DIGITS,
            START + r"(\d{1,2})/(\d{1,2})(?![\w/]|\.\d)",
            partial(_short_slashed, day_first=day_first),
        ),
        rule(DIGITS, START + r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})(?![\w.]\w|\w)", _dotted),
        rule(DIGITS, START + r"(\d{1,2})\.(\d{1,2})\.(?!\w)()", _dotted),
        rule(
            LETTERS,
            rf"\b{_MONTH} (?P<day>{_DAY})(?:[-–](?P<until>{_DAY}))?\b(?![:.,]\d)"
            r"(?!\s?(?:[ap]\.?m\b|%|percent))(?:(?:,| of)? (?P<year>\d{4})\b)?",
            _named_date,
        ),
        rule(LETTERS, rf"\b{_MONTH}(?P<day>)(?P<until>) (?P<year>\d{{4}})\b", _named_date),
        rule(
            DIGITS,
            rf"{START}(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?(?:[-–](?P<until>\d{{1,2}})\.?)?"
            rf"(?: of)? {_MONTH}(?:,? (?P<year>\d{{4}})\b)?",
            _day_month,
        ),
        rule(LETTERS, rf"\b({_ANY_SHORT})\.?{DASH}({_ANY_SHORT})\b", _names),
        rule(LETTERS, rf"\b({'|'.join(SHORT_DAYS)})\b\.?(?!['-])", lambda m: _SHORT[m[1]]),
        rule("-–", r"(?<=[\dmM.])[-–](?=(?:noon|midnight|present|now|today)\b)", lambda _: "to"),
        rule("-–", r"(?:(?<=noon)|(?<=midnight))[-–](?=\d)", lambda _: "to"),
        rule("-–", rf"(?<=\d )[-–](?= (?:{_ANY_SHORT})\b)", lambda _: "to"),
        rule(
            DIGITS,
            START + r"(\d{1,3}):(\d{1,3})[-–](\d{1,3})(?![\w:-]|\s?[AaPp]\.?[Mm]\b)",
            lambda m: f"{number(m[1])} {number(m[2].lstrip('0') or '0')} to {number(m[3])}",
        ),
        rule(
            DIGITS,
            rf"{START}(?P<from>{_CLOCK}|1?\d){DASH}(?P<to>{_CLOCK})(?![\w-])",
            _times,
        ),
        rule(
            DIGITS,
            START + r"([01]?\d|2[0-3])h([0-5]\d)\b",
            lambda m: say_time(f"{m[1]}:{m[2]}"),
        ),
        rule(DIGITS, rf"{START}(?P<from>){_CLOCK}(?P<to>)", _times),
    )

"""Written quantities to words: dates, times, money, measures, telephone numbers, sums.

`RULES` are tried in order wherever a token of the text may start. Each is a pattern and a function
from its match to words.
"""

import re
from collections.abc import Callable

from tts.text.numbers import cardinal, decade, digits, number, ordinal, year
from tts.text.words import words

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

MONTHS = words("""
    January February March April May June July August September October November December
""")
_MONTH_OF = {m[:n].lower(): m for m in MONTHS for n in (3, 4, len(m))}
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_START = r"(?<![\w.,])"  # not inside a word or number
_MINUS = r"(?:(?<![\w)\]])[-−])?"
_DASH = r"\s?[-–—]\s?"
_SCALE = {
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
    "k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion",
    "tn": "trillion",
}  # fmt: skip
_CURRENCY = {
    "$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"), "GBP": ("pound", "pounds", "penny", "pence"),
}  # fmt: skip
# "*" is where the plural's s goes.
_UNITS = {
    "km/h": "kilometer* per hour", "kmh": "kilometer* per hour", "kph": "kilometer* per hour",
    "m/s": "meter* per second", "mph": "mile* per hour", "km²": "square kilometer*",
    "km2": "square kilometer*", "m²": "square meter*", "m2": "square meter*",
    "m³": "cubic meter*", "sq ft": "square foot", "sq. ft.": "square foot", "km": "kilometer*",
    "cm": "centimeter*", "mm": "millimeter*", "nm": "nanometer*", "m": "meter*", "mi": "mile*",
    "ft": "foot", "yd": "yard*", "kg": "kilogram*", "mg": "milligram*", "g": "gram*",
    "lb": "pound*", "lbs": "pound*", "oz": "ounce*", "ml": "milliliter*", "mL": "milliliter*",
    "L": "liter*", "l": "liter*", "°C": "degree* Celsius", "° C": "degree* Celsius",
    "ºC": "degree* Celsius", "°F": "degree* Fahrenheit", "° F": "degree* Fahrenheit",
    "°": "degree*", "%": "percent", "kB": "kilobyte*", "KB": "kilobyte*", "MB": "megabyte*",
    "GB": "gigabyte*", "TB": "terabyte*", "GiB": "gibibyte*", "MiB": "mebibyte*",
    "Mbps": "megabit* per second", "Gbps": "gigabit* per second", "kHz": "kilohertz",
    "MHz": "megahertz", "GHz": "gigahertz", "Hz": "hertz", "kW": "kilowatt*",
    "kWh": "kilowatt hour*", "MW": "megawatt*", "W": "watt*", "V": "volt*",
    "mAh": "milliamp hour*", "kcal": "kilocalorie*", "cal": "calorie*", "ms": "millisecond*",
    "s": "second*", "sec": "second*", "secs": "second*", "min": "minute*", "mins": "minute*",
    "h": "hour*", "hr": "hour*", "hrs": "hour*", "yrs": "year*", "dB": "decibel*",
    "tbsp": "tablespoon*", "tsp": "teaspoon*", "fps": "frame* per second", "px": "pixel*",
    "ppm": "part* per million", "x": "times", "¢": "cent*", "MB/s": "megabyte* per second",
    "GB/s": "gigabyte* per second", "tok/s": "token* per second",
}  # fmt: skip
_UNIT = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True))
_GLYPHS = {"½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third",
           "⅔": "two thirds", "⅕": "one fifth", "⅛": "one eighth"}  # fmt: skip
_SUMS = {"+": "plus", "-": "minus", "−": "minus", "*": "times", "×": "times",
         "÷": "divided by", "/": "divided by", "=": "equals", "<": "is less than",
         ">": "is greater than", "≤": "is at most", "≥": "is at least", "≈": "is about",
         "^": "to the power of"}  # fmt: skip


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
    return _date(match["month"], match["day"], match["year"])


def _numeric_date(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(number(n) for n in re.findall(r"\d+", match[0]))
    return _date(MONTHS[month - 1], str(day), match["year"])


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), match["minute"], match["half"]
    said = [cardinal(hour)]
    if minute and int(minute):
        said.append(("oh " if minute[0] == "0" else "") + cardinal(int(minute)))
    elif not half:
        said.append("o'clock" if 1 <= hour <= 12 else "hundred")
    if second := match["second"]:
        said.append(f"and {_counted(str(int(second)), 'second*')}")
    if half:
        said.append(f"{half[0].upper()}.M")
    return " ".join(said)


def _hour(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} {match[2].upper()}.M"


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = _CURRENCY[match["currency"]]
    sign = "minus " if match["sign"] else ""
    amount, until = match["amount"].replace(",", ""), match["until"]
    scale = f" {_SCALE[match['scale'].lower()]}" if match["scale"] else ""
    if until or scale:
        span = f"{number(amount)} to {number(until)}" if until else number(amount)
        return f"{sign}{span}{scale} {many}"
    whole, _, fraction = amount.partition(".")
    parts = []
    if int(whole) or not int(fraction or 0):
        parts.append(f"{cardinal(int(whole))} {one if int(whole) == 1 else many}")
    if len(fraction) > 2:
        return f"{sign}{number(amount)} {many}"
    if small := int(fraction.ljust(2, "0") or 0):
        parts.append(f"{cardinal(small)} {cent if small == 1 else cents}")
    return sign + " and ".join(parts)


def _counted(amount: str, unit: str) -> str:
    if amount != "1":
        unit = unit.replace("*", "s").replace("foot", "feet")
    return f"{number(amount)} {unit.replace('*', '')}"


def _measure(match: re.Match[str]) -> str:
    amount, until, unit = match["amount"], match["until"], _UNITS[match["unit"]]
    return f"{number(amount)} to {_counted(until, unit)}" if until else _counted(amount, unit)


def _range(match: re.Match[str]) -> str:
    return f"{plain(match[1])} to {plain(match[2])}"


def _fraction(match: re.Match[str]) -> str:
    whole, above, below = match["whole"], int(match["above"]), int(match["below"])
    if (above, below) == (24, 7):
        return "twenty four seven"
    if not 2 <= below <= 20 or above >= 100:
        return f"{cardinal(above)} over {cardinal(below)}"
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
    plural = "halves" if name == "half" else name + "s"
    said = f"{cardinal(above)} {name if above == 1 else plural}"
    return f"{number(whole)} and {said}" if whole else said


def _phone(match: re.Match[str]) -> str:
    return ", ".join(digits(group) for group in re.findall(r"\d+", match[0]))


def plain(text: str) -> str:
    """A number that stands alone. Four digits from 1100 to 2099 are read as a year is, which is
    how most counts of that size are said too."""
    if re.fullmatch(r"\d{4}", text) and 1100 <= int(text) <= 2099:
        return year(int(text))
    return number(text)


def _rule(pattern: str, say: Callable[[re.Match[str]], str]) -> Rule:
    return re.compile(pattern), say


RULES: tuple[Rule, ...] = (
    _rule(_START + r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b", _numeric_date),
    _rule(_START + r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})\b", _numeric_date),
    _rule(
        r"\b" + _MONTH + r" (?P<day>\d{1,2}(?:st|nd|rd|th)?)\b(?![:.,]\d)"
        r"(?!\s?(?:[ap]\.?m\b|%|percent))(?:(?:,| of)? (?P<year>\d{4})\b)?",
        _named_date,
    ),
    _rule(r"\b" + _MONTH + r"(?P<day>) (?P<year>\d{4})\b", _named_date),
    _rule(
        rf"{_START}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}"
        r"(?:,? (?P<year>\d{4})\b)?",
        lambda m: f"{ordinal(int(m['day']))} of {_date(m['month'], None, m['year'])}",
    ),
    _rule(
        _START + r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:])"
        r"(?:\s?(?P<half>[AaPp])\.?[Mm]\b\.?)?",
        _time,
    ),
    _rule(_START + r"(1[0-2]|[1-9])\s?([AaPp])\.?[Mm]\b\.?", _hour),
    _rule(_START + r"\+\d{1,3}(?:[ -]?\(?\d{2,4}\)?){2,4}\b", _phone),
    _rule(r"(?:(?<!\w)\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b", _phone),
    _rule(r"(?<![\w-])\d{3}-\d{4}\b", _phone),
    _rule(
        rf"(?P<sign>{_MINUS})(?P<currency>[$€£¥₹])\s?(?P<amount>{_NUMBER})"
        rf"(?:{_DASH}[$€£¥₹]?(?P<until>{_NUMBER}))?"
        r"(?:\s?(?P<scale>thousand|million|billion|trillion|bn|mn|tn|[kKmMbB])\b)?",
        _money,
    ),
    _rule(
        rf"{_START}(?P<sign>)(?P<amount>{_NUMBER})(?P<until>)(?P<scale>)\s?"
        r"(?P<currency>[€£¥₹]|(?:USD|EUR|GBP)\b)",
        _money,
    ),
    _rule(_START + r"['’]?((?:[12]\d)?\d0)['’]?s\b", lambda m: decade(int(m[1]))),
    _rule(
        rf"(?P<amount>{_MINUS}\b{_NUMBER})(?:{_DASH}(?P<until>{_NUMBER}))?\s?"
        rf"(?P<unit>{_UNIT})(?![\w/²³])",
        _measure,
    ),
    _rule(_START + r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b",
          lambda m: ordinal(int(m[1].replace(",", "")))),
    _rule(
        _START + r"(?:(?P<whole>\d+) )?(?P<above>\d+)\s?[/⁄]\s?(?P<below>[1-9]\d*)\b(?![/\d])"
        r"(?!\s?=)",
        _fraction,
    ),
    _rule(r"(?:(\d+) ?)?([½¼¾⅓⅔⅕⅛])",
          lambda m: f"{number(m[1])} and {_GLYPHS[m[2]]}" if m[1] else _GLYPHS[m[2]]),
    _rule(r"(?<![\d.])\d+(?:\.\d+){2,}",
          lambda m: " dot ".join(number(n) for n in m[0].split("."))),
    _rule(
        rf"{_START}({_NUMBER})[-–—]({_NUMBER})(?![\w-])",
        _range,
    ),
    _rule(rf"{_START}({_NUMBER})([KMB])\b",
          lambda m: f"{number(m[1])} {'K' if m[2] == 'K' else _SCALE[m[2].lower()]}"),
    _rule(_START + r"(\d+):(\d+)(?![\d:])", _range),
    _rule(r"(?:(?<=\d)|(?<=\d )|(?<=\b[A-Za-z] )|(?<=\) ))([+\-−*×÷/=<>≤≥≈])"
          r"(?= [A-Za-z(\d]| ?[-−]?\d)",
          lambda m: _SUMS[m[1]]),
    _rule(r"(?<=\d)\^(?=\d)", lambda m: _SUMS[m[0]]),
    _rule(r"(?<![\w.])\.\d+\b", lambda m: number(m[0])),
    _rule(rf"{_MINUS}{_NUMBER}", lambda m: plain(m[0])),
)  # fmt: skip

"""How amounts are said: money, measures, fractions, ranges, decades."""

import re

from tts.text.numbers import (
    AMOUNT,
    DECIMAL,
    canonical,
    cardinal,
    decade,
    number,
    ordinal,
    plain,
    year,
)
from tts.text.rules import DASH, DIGITS, MINUS, START, after, alternatives, before, rule
from tts.text.units import UNIT, per, unit

_SCALE = {
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
    "k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion",
    "tn": "trillion", "t": "trillion", "mio": "million", "mrd": "billion",
}  # fmt: skip
_SCALES = r"(?:\s?(?P<scale>thousand|million|billion|trillion|bn|mn|tn|Mio|Mrd|[kKmMbBT])\b)?"
_DOLLAR = ("dollar", "dollars", "cent", "cents")
_CURRENCY = {
    "$": _DOLLAR, "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopek", "kopeks"), "₺": ("lira", "lira", "kurus", "kurus"),
    "₿": ("bitcoin", "bitcoins", "", ""), "₪": ("shekel", "shekels", "agora", "agorot"),
    "zł": ("zloty", "zlotys", "grosz", "groszy"),
}  # fmt: skip
_COUNTRIES = {
    "US": "U.S", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian",
    "NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore",
}  # fmt: skip
_CURRENCY |= {
    country + "$": (f"{said} dollar", f"{said} dollars", "cent", "cents")
    for country, said in _COUNTRIES.items()
}
_CURRENCY["Rs."] = _CURRENCY["Rs"] = _CURRENCY["₹"]
_CURRENCY["R$"] = ("real", "reais", "centavo", "centavos")
_CODES = {
    "USD": _DOLLAR, "EUR": _CURRENCY["€"], "GBP": _CURRENCY["£"], "JPY": _CURRENCY["¥"],
    "INR": _CURRENCY["₹"], "CHF": ("Swiss franc", "Swiss francs", "rappen", "rappen"),
    "CAD": _CURRENCY["CA$"], "AUD": _CURRENCY["AU$"], "NZD": _CURRENCY["NZ$"],
    "CNY": ("yuan", "yuan", "fen", "fen"), "SEK": ("Swedish krona", "Swedish kronor", "ore", "ore"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "ore", "ore"),
    "DKK": ("Danish krone", "Danish kroner", "ore", "ore"), "PLN": _CURRENCY["zł"],
}  # fmt: skip
_CURRENCY |= _CODES
_SIGNS = alternatives([c for c in _CURRENCY if c not in _CODES and c != "zł"])
_NAMES = "|".join(_CODES)
_PER = r"(?:\s?/\s?(?P<per>[a-zA-Z]+)\b)?"
_GLYPHS = {"½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third",
           "⅔": "two thirds", "⅕": "one fifth", "⅖": "two fifths", "⅗": "three fifths",
           "⅘": "four fifths", "⅙": "one sixth", "⅛": "one eighth", "⅜": "three eighths",
           "⅝": "five eighths", "⅞": "seven eighths"}  # fmt: skip
_RATED = re.compile(r"(?i)\b(?:rated|rating|score[ds]?|scoring|got|gets?|earned)\s+(?:\w+\s+)?$")
_MANY = re.compile(r"\s(?:[a-z]+s|people|children|men|women)\b")
_MANY_LETTER = {"K": "K", "M": "million", "B": "billion"}


def _money(match: re.Match[str]) -> str | None:
    one, many, cent, cents = _CURRENCY[match["currency"]]
    groups = match.groupdict()
    sign = "minus " if groups.get("sign") else ""
    tail = ""
    if groups.get("per"):
        below = per(match["per"])
        if below is None:
            return None
        tail = f" {below}"
    amount, until = canonical(match["amount"]), groups.get("until")
    scale = f" {_SCALE[match['scale'].lower()]}" if match["scale"] else ""
    if until or scale:
        span = f"{number(amount)} to {number(until)}" if until else number(amount)
        return f"{sign}{span}{scale} {many}{tail}"
    whole, _, fraction = amount.partition(".")
    if len(fraction) > 2 or not cent:
        return f"{sign}{number(amount)} {one if amount == '1' else many}{tail}"
    parts = []
    whole = whole or "0"
    if int(whole) or not int(fraction or 0):
        parts.append(f"{cardinal(int(whole))} {one if int(whole) == 1 else many}")
    if small := int(fraction.ljust(2, "0") or 0):
        parts.append(f"{cardinal(small)} {cent if small == 1 else cents}")
    return sign + " and ".join(parts) + tail


def _measure(match: re.Match[str]) -> str | None:
    amount, until = match["amount"], match["until"]
    attributive = re.search(r"\b[Aa]n?\s$", before(match, 4)) and re.match(
        r"[\s-][a-z]", after(match)
    )
    plural = (bool(until) or amount != "1") and not attributive
    said = unit(match["unit"], plural=plural)
    if said is None:
        return None
    first, second = match["first"], match["unit"]
    if first and first != second:
        return None
    return f"{number(amount)} to {number(until)} {said}" if until else f"{number(amount)} {said}"


def _factor(match: re.Match[str]) -> str | None:
    """2x is "two x" in a sum, and else "two times"."""
    string = match.string
    in_sum = re.match(r"\s*(?:[-+−*/=^)²³]|is\b)", string[match.end() :]) or re.search(
        r"(?:[=+−*/(]|\s-)\s*$", string[: match.start()]
    )
    return f"{number(match[1])} {'x' if in_sum else 'times'}"


def _range(match: re.Match[str]) -> str | None:
    if re.search(r"[A-Za-z]-$|=\s*$", before(match, 4)) or re.match(r"\s*=", after(match, 4)):
        return None  # a difference, or part of a name
    if match[1] == match[2] and len(match[1]) == 2:
        return f"{number(match[1])} {number(match[2])}"  # 50-50
    scale = f" {match[3]}" if match.re.groups > 2 and match[3] else ""
    return f"{plain(match[1])} to {plain(match[2])}{scale}"


def _fraction(match: re.Match[str]) -> str | None:
    whole, above, below = match["whole"], int(match["above"]), int(match["below"])
    if (above, below) in ((24, 7), (9, 11)) or (above == below and above >= 10):
        return f"{cardinal(above)} {cardinal(below)}"
    if not whole and (_RATED.search(before(match)) or match["of"]):
        return f"{cardinal(above)} out of {cardinal(below)}{match['of'] or ''}"
    measure = match["unit"] and unit(match["unit"], plural=bool(whole) or above > 1)
    if match["unit"] and not measure:
        return None
    if below == 1:
        return f"{cardinal(above)} to one"
    if not 2 <= below <= 20 or above >= 100:
        said = f"{cardinal(above)} over {cardinal(below)}"
    else:
        name = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
        plural = "halves" if name == "half" else name + "s"
        said = f"{cardinal(above)} {name if above == 1 else plural}"
    said = f"{number(whole)} and {said}" if whole else said
    return f"{said} {measure}" if measure else said


def _glyph(match: re.Match[str]) -> str:
    said = f"{number(match[1])} and {_GLYPHS[match[2]]}" if match[1] else _GLYPHS[match[2]]
    return said


def _lettered(match: re.Match[str]) -> str:
    """5M users are millions, and 12B alone is a seat, a model or a flat."""
    amount, letter = match[1], match[2]
    is_count = "." in amount or _MANY.match(match.string, match.end())
    return f"{number(amount)} {_MANY_LETTER[letter] if is_count else letter}"


def _years(match: re.Match[str]) -> str | None:
    first, last = int(match[1]), int(match[2])
    if not first % 100 < last:
        return None
    return f"{year(first)} to {_short_year(match[2])}"


def _about(match: re.Match[str]) -> str:
    return "" if re.search(r"(?i)about $", before(match, 8)) else "about"


def _season(match: re.Match[str]) -> str | None:
    """2023/24 or 1999/2000: a year and the one after it."""
    first, last = int(match[1]), match[2]
    if (first + 1) % 10 ** len(last) != int(last):
        return None
    return f"{year(first)} {year(int(last)) if len(last) == 4 else _short_year(last)}"


def _short_year(text: str) -> str:
    return f"{'oh ' if text[0] == '0' else ''}{cardinal(int(text))}"


def _by(match: re.Match[str]) -> str:
    """4x4, 8.5 x 11, 12' x 10'."""
    unit_said = " feet" if match[2] else ""
    return f"{plain(match[1])}{unit_said} by {plain(match[3])}{unit_said}"


def _height(match: re.Match[str]) -> str:
    return f"{cardinal(int(match[1]))} foot {cardinal(int(match[2]))}"


RULES = (
    rule(
        DIGITS + "-−" + "".join({sign[0] for sign in _CURRENCY}),
        rf"(?P<sign>{MINUS})(?<![A-Za-z])(?P<currency>{_SIGNS}|(?:{_NAMES})(?=\s?\d))\s?"
        rf"(?P<amount>{DECIMAL}|\.\d{{2}}\b)(?:{DASH}(?:{_SIGNS})?(?P<until>{DECIMAL}))?{_SCALES}{_PER}",
        _money,
    ),
    rule(
        DIGITS + "-−",
        rf"(?P<sign>{MINUS}){START}(?P<amount>{DECIMAL})(?:{DASH}(?P<until>{DECIMAL}))?{_SCALES}\s?"
        rf"(?P<currency>[€£¥₹₩₽₺₪$]|(?:{_NAMES}|zł)\b){_PER}",
        _money,
    ),
    rule(DIGITS + "'", START + r"'?((?:[12]\d)?\d0)'?s\b", lambda m: decade(int(m[1]))),
    rule(DIGITS, START + r"(\d)'\s?(\d{1,2})(?:\"|″|'')(?!\w)", _height),
    rule(
        DIGITS,
        START + r"(\d{1,2})\s?ft\.?\s?(\d{1,2})\s?in\b\.?",
        lambda m: f"{cardinal(int(m[1]))} feet {cardinal(int(m[2]))} inches",
    ),
    rule(
        DIGITS,
        rf"{START}({AMOUNT})('?)(?:x|\sx\s)({AMOUNT})(?:'|\b)(?![\w.]\w)",
        _by,
    ),
    rule("-–", r"(?<=\dst|\dnd|\drd|\dth)[-–](?=\d+(?:st|nd|rd|th)\b)", lambda _: "to"),
    rule("-–", r"(?<=\ds)[-–](?='?\d{2,4}s\b)", lambda _: "to"),
    rule(DIGITS, rf"{START}({AMOUNT})x(?![\w²³^])", _factor),
    rule(
        DIGITS + "-−",
        rf"(?P<amount>{MINUS}\b{DECIMAL})(?:(?:\s?(?P<first>[%‰]|°\s?[CF]?|[a-zA-Zμ]{{1,3}}))?{DASH}"
        rf"(?P<until>{DECIMAL}))?\s?(?P<unit>{UNIT})",
        _measure,
    ),
    rule(
        DIGITS,
        START + r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b",
        lambda m: ordinal(int(m[1].replace(",", ""))),
    ),
    rule(DIGITS, START + r"((?:19|20)\d{2})/(\d{4}|\d{2})(?![\w/])", _season),
    rule(
        DIGITS,
        START + r"(?:(?P<whole>\d+)[ -])?(?P<above>\d+)\s?/\s?(?P<below>[1-9]\d*)\b(?![/\d])"
        r"(?!\s?=)(?P<of> (?:stars|points))?(?: (?P<unit>tsp|tbsp|oz|lb|in\.|mi|km|kg|L)\b)?",
        _fraction,
    ),
    rule(DIGITS + "".join(_GLYPHS), r"(?:(\d+)\s?)?([½¼¾⅓⅔⅕⅖⅗⅘⅙⅛⅜⅝⅞])", _glyph),
    rule(DIGITS, START + r"(1\d{3}|20\d{2})[-–](\d{2})(?![\w-]|[.,]\d)", _years),
    rule(DIGITS, rf"{START}({AMOUNT})(?:[-–—]|\s–\s)({AMOUNT})([kKMB])?(?![\w-]|[.,]\d)", _range),
    rule(DIGITS, rf"{START}({AMOUNT})([KMB])\b", _lettered),
    rule(DIGITS, START + r"(\d+):(\d+)(?![\d:])", _range),
    rule("~≈<>≤≥", r"[~≈]\s?(?=[$€£]?\d)", _about),
    rule(
        "<>≤≥", r"(?<![\w)] )(?<![\w)])([<>≤≥]=?)\s?(?=[$€£]?[-−]?\d)",
        lambda m: {"<": "less than", ">": "more than"}.get(
            m[1], "at most" if m[1][0] in "<≤" else "at least"
        ),
    ),
)  # fmt: skip

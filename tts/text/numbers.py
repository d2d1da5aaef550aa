"""Numbers as American English words; our own, because num2words is LGPL."""

import re

from tts.text.words import words

_ONES = words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
""")
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
# A written amount: thousands apart by comma, point, apostrophe or space, decimals or none.
AMOUNT = (
    r"(?:\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*\d)"
    r"|\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?![.\d])"
    r"|\d{1,3}(?:'\d{3})+(?:[.,]\d+)?(?![\d'])"
    r"|[1-9]\d{0,2}(?:[ \u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?(?![\w-]|[ .,]\d)"
    r"|\d+,\d{2}(?![\d,])|0,\d+(?![\d,])|\d+(?:\.\d+)?)"
)
DECIMAL = rf"(?:\d+,\d{{1,2}}(?![\d,])|{AMOUNT})"  # where a unit or a currency makes it clear
_LARGEST = 1000 ** len(_SCALES)


def cardinal(number: int) -> str:
    """42 -> "forty two". Past the quadrillions digit by digit."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number >= _LARGEST:
        return digits(str(number))
    if number == 0:
        return _ONES[0]
    said: list[str] = []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            said = [*_below_thousand(group), *([scale] if scale else []), *said]
    return " ".join(said)


def ordinal(number: int) -> str:
    """42 -> "forty second"."""
    head, _, last = cardinal(number).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = (last[:-1] + "ie" if last.endswith("y") else last) + "th"
    return f"{head} {last}".strip()


def digits(text: str) -> str:
    """ "407" -> "four zero seven"; other characters are left out."""
    return " ".join(_ONES[int(c)] for c in text if c in "0123456789")


def year(number: int) -> str:
    """1066 -> "ten sixty six"; 1905 -> "nineteen oh five"; 2007 -> "two thousand seven"."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(number: int) -> str:
    """1990 -> "nineteen nineties"; 90 -> "nineties"."""
    head, _, last = (year(number) if number >= 100 else cardinal(number)).rpartition(" ")
    plural = last[:-1] + "ies" if last.endswith("y") else last + "s"
    return f"{head} {plural}".strip()


def canonical(text: str) -> str:
    """A written amount with no marks but a decimal point: "1 234,5", "1'234.5" and "1,234.5" are
    "1234.5". Where one comma could be either, three figures after it make thousands."""
    text = re.sub(r"[\s']", "", text)
    comma, point = text.rfind(","), text.rfind(".")
    if comma >= 0 and point >= 0:
        thousands = "," if comma < point else "."
        return text.replace(thousands, "").replace(",", ".")
    if comma >= 0:
        grouped = re.fullmatch(r"[-−+]?\d{1,3}(?:,\d{2,3})*,\d{3}", text)
        return text.replace(",", "" if grouped else ".")
    return text.replace(".", "") if text.count(".") > 1 else text


def number(text: str) -> str:
    """A written number, with or without sign, thousands and decimals: "-1,000.5" -> "minus one
    thousand point five". Leading zeros are read out ("007").

    Raises:
        ValueError: ``text`` is not a number.
    """
    if text[:1] in "-−+":
        return f"{'plus' if text[0] == '+' else 'minus'} {number(text[1:])}"
    whole, point, fraction = canonical(text).partition(".")
    if point:
        return f"{number(whole) if whole else 'zero'} point {digits(fraction)}"
    if len(whole) > 1 and whole.startswith("0"):
        return digits(whole)
    return cardinal(int(whole))


def plain(text: str) -> str:
    """A number that stands alone. Four digits from 1100 to 2099 are read as a year is, which is
    how most counts of that size are said too."""
    if re.fullmatch(r"\d{4}", text) and 1100 <= int(text) <= 2099:
        return year(int(text))
    return number(text)


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    said = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        said.append(_TENS[rest // 10 - 2])
        rest %= 10
    return [*said, _ONES[rest]] if rest else said

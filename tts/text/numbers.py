"""Numbers as American English words; our own, because num2words is LGPL."""

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


def number(text: str) -> str:
    """A written number, with or without sign, thousands and decimals: "-1,000.5" -> "minus one
    thousand point five". Leading zeros are read out ("007").

    Raises:
        ValueError: ``text`` is not a number.
    """
    if text[:1] in "-−+":
        return f"{'plus' if text[0] == '+' else 'minus'} {number(text[1:])}"
    whole, point, fraction = text.replace(",", "").partition(".")
    if point:
        return f"{number(whole) if whole else 'zero'} point {digits(fraction)}"
    if len(whole) > 1 and whole.startswith("0"):
        return digits(whole)
    return cardinal(int(whole))


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    said = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        said.append(_TENS[rest // 10 - 2])
        rest %= 10
    return [*said, _ONES[rest]] if rest else said

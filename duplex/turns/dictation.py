"""Whether words are a dictation that goes on: a number, a spelling or an address, said in groups.

Pure, for English. A dictation is over when it is complete: a telephone number has its digits, an
e-mail address its domain. Until then a pause is one between groups.
"""

import re
from collections.abc import Sequence
from itertools import takewhile

_DIGIT_NAMES = "zero one two three four five six seven eight nine"
_NUMBER_WORDS = {word: str(digit) for digit, word in enumerate(_DIGIT_NAMES.split())}
_NUMBER_WORDS |= {"oh": "0", "o": "0", "double": "", "triple": ""}
# What small ears write for a digit behind others: "five five" becomes "time time".
_DIGIT_SOUNDS = {"time": "5", "times": "5", "fine": "5", "free": "3", "tree": "3", "low": "0"}
_LEAD = re.compile(
    r"\b(?:(?:phone|telephone|mobile|cell|card|account|order|reference|tracking|booking|policy"
    r"|member\w*|confirmation|serial|social|passport|security|routing|code|pin|zip|id)\b"
    r"|plus\b|(?:my|the|your|its|their|his|her) number\b|number is\b|it's\b|it is\b|that's\b)"
)
_NUMBER_NAMED = re.compile(
    r"\b(?:phone|telephone|mobile|cell|card|account|order|reference|tracking|booking|policy"
    r"|member\w*|confirmation|serial|social|passport|security|routing|number)\b"
)
_CARD_NAMED = re.compile(r"\b(?:card|credit|debit|iban)\b")
_MAIL_NAMED = re.compile(r"\be-? ?mail\b(?! (?:me|him|her|them|us|you|the|to)\b)|\bat sign\b")
_MAIL_ENDS = re.compile(
    r"(?:\.|\bdot )(?:com|org|net|edu|gov|io|co|uk|de|fr|es|it|nl|eu|ca|au|us"
    r"|info|biz|me|ai|app|dev)\W*$"
)
_MAIL_AT = re.compile(r"@|\bat \w+(?: ?dot\b|\.\w)|\bdot \w+\W*$")
_MAIL_BEGUN = re.compile(
    r"mail(?: address)?(?:'s| is| would be|:)|^(?:it's|it is) \w+(?: dot \w+)* at\b"
    r"(?: (?:gmail|hotmail|yahoo|outlook|icloud))?\W*$"
)
_LETTERS_ALONE = re.compile(r"(?:\b[A-Z]{2,5}\b[\s,.\-]*)+$")
_NO_SPELLING = frozenset(["OK", "TV", "AM", "PM", "US", "UK", "USA"])
_BIRTH_BEGUN = re.compile(r"\b(?:date of birth|birth date|birth is|born on)\b")
_YEAR = re.compile(r"\b(?:19|20)\d\d\W*$|/\d\d\W*$")
_SPELLED_NAMED = re.compile(r"\bspel(?:l|t|led|ling)\b")
_STREET_BEGUN = re.compile(
    r"\b(?:address is|live (?:at|on)|address:|deliver(?:y)? (?:it )?to"
    r"|ship (?:it )?to|send it to)\b"
)
_POSTCODE = re.compile(r"\b\d{5}(?:-\d{4})?\W*$|\b[a-z]{1,2}\d[a-z\d]? ?\d[a-z]{2}\W*$")
_PHONE_DIGITS, _CARD_DIGITS = 10, 15


def is_dictating(transcript: str) -> bool:
    """Whether the words up to a pause are a dictation that is not complete."""
    written = transcript.strip().replace("’", "'")
    text = written.lower()
    if not text:
        return False
    return (
        _number_goes_on(text)
        or _spelling_goes_on(text)
        or _letters_go_on(written)
        or _birth_goes_on(text)
        or _mail_goes_on(text)
        or _street_goes_on(text)
    )


def _number_goes_on(text: str) -> bool:
    """Digits at the end, in groups or behind words that lead up to a number, and too few."""
    words = re.findall(r"[a-z']+|\d+", text)
    at = _run_of_digits(words)
    groups = len(words) - at
    digits = "".join(map(_digits_of, words[at:]))
    if not digits:
        return bool(re.search(r"\b(?:phone |card |account )?number(?: is|'s)\W*$", text))
    needed = _CARD_DIGITS if _CARD_NAMED.search(text) else _PHONE_DIGITS
    if text.startswith(("+", "00", "plus")) and needed == _PHONE_DIGITS:
        needed += 1
    if len(digits) >= needed or re.search(r"[$£€]|\d/\d", text):
        return False
    lead = " ".join(words[:at])
    if _NUMBER_NAMED.search(lead):
        return True
    if re.search(r"\b(?:zip|pin|code|extension)\b", lead):
        return len(digits) < (5 if "zip" in lead else 4)
    if not lead and re.fullmatch(r"(?:19|20)\d\d", digits):
        return False  # a year
    if re.search(r"\b(?:call|reach|text|phone)\b.*\b(?:on|at)$", lead) and len(digits) > 2:
        return True
    is_bare = not lead or bool(_LEAD.search(lead) and len(words[:at]) <= 4)
    if groups == 1:
        return is_bare and (len(digits) >= 3 or "plus" in lead)
    return groups >= 3 or is_bare


def _run_of_digits(words: Sequence[str]) -> int:
    """Where the digits at the end begin. What only sounds like one counts behind two groups, behind
    a group of three, and in a number that was named as one."""
    at = len(words)
    while at and (_is_digits(words[at - 1]) or words[at - 1] in _DIGIT_SOUNDS):
        at -= 1
    while at < len(words) and words[at] in _DIGIT_SOUNDS:
        at += 1  # a number begins with a digit
    sure = list(takewhile(_is_digits, words[at:]))
    is_named = sure and _NUMBER_NAMED.search(" ".join(words[:at]))
    if is_named or len(sure) > 1 or len(_digits_of(*sure[:1])) > 2:
        return at
    return at if at + len(sure) == len(words) else len(words)


def _is_digits(word: str) -> bool:
    return word.isdigit() or word in _NUMBER_WORDS


def _digits_of(word: str = "") -> str:
    return _NUMBER_WORDS.get(word, _DIGIT_SOUNDS.get(word, word))


def _letters_go_on(written: str) -> bool:
    """Letters that the ear wrote as one word in capitals: nothing else was said, or a spelling was
    announced."""
    run = _LETTERS_ALONE.search(written)
    if run is None or _NO_SPELLING.intersection(re.findall(r"[A-Z]+", run.group())):
        return False
    return run.start() == 0 or bool(_SPELLED_NAMED.search(written.lower()))


def _birth_goes_on(text: str) -> bool:
    """A date of birth without its year."""
    begun = _BIRTH_BEGUN.search(text)
    if begun is None or _YEAR.search(text):
        return False
    return bool(re.search(r"\d|\b(?:first|second|third|\w+th)\b", text[begun.end() :]))


def _spelling_goes_on(text: str) -> bool:
    """Letters one by one: two or more at the end, or one behind a word that announces them."""
    run = re.search(r"(?:\b[a-z]\b[\s,.\-]*)+$", text)
    if run is None:
        return bool(re.search(r"\bspel(?:led|t|l it|ling is)\W*$", text))
    letters = len(re.findall(r"[a-z]", run.group()))
    is_listed = text[: run.start()].endswith(", ")  # "..., M." behind one that was misheard
    return letters >= 2 or is_listed or bool(_SPELLED_NAMED.search(text))


def _mail_goes_on(text: str) -> bool:
    if not (_MAIL_NAMED.search(text) or _MAIL_BEGUN.search(text) or "@" in text):
        return False
    if _MAIL_ENDS.search(text):
        return False
    return bool(_MAIL_BEGUN.search(text) or _MAIL_AT.search(text))


def _street_goes_on(text: str) -> bool:
    """A street address without its postcode, behind words that lead up to one; or a bare number."""
    begun = _STREET_BEGUN.search(text)
    if begun is None or _POSTCODE.search(text):
        return False
    rest = text[begun.end() :]
    return bool(re.search(r"\d", rest)) or not re.search(r"\w", rest)

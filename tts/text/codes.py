"""Figures that are no amounts: telephone numbers, codes, seats, flights, versions, addresses.

They are read figure by figure where their shape or the words around them say so.
"""

import re

from tts.text.numbers import cardinal, digits, number
from tts.text.rules import DIGITS, LETTERS, LOWER, START, UPPER, before, rule
from tts.text.words import words

_NOUNS = (
    r"(?:(?:zip|post(?:al|code)?|pin|pass|access|security|area|country|verification|confirmation"
    r"|error|status|promo|discount|entry|door|gate|swift|sort|activation|booking|order|reference"
    r"|tracking|serial|account|card|phone|telephone|cell|mobile|fax|routing|policy|case|ticket"
    r"|flight|invoice|member(?:ship)?|customer|client|employee|student|patient|registration"
    r"|license|licence|passport|social security|model|part|meeting|reservation|id)"
    r"[\s-]*(?:code|number|no\.?|num|id|pin|#)s?"
    r"|pins?|cvvs?|cvcs?|codes?|zips?|zipcodes?|postcodes?|passcodes?|passwords?|otps?|isbn|issn|ssn|imei|iban"
    r"|extensions?|ext\.?|phone|mobile|cell|fax|tel\.?|hotline|reference|ref\.?"
    r"|room code|vin|sku|upc|ean|vouchers?"
    r"|coupons?|licen[sc]e plates?|booking ref\.?"
    r"|(?:last|first) (?:two|three|four|five|six) digits|digits)"
)
_LINK = (
    r"(?:\s*(?:[:=#(\"'*`]|\b(?:is|are|was|now|your|my|number|no\.|for (?:\w+ ){1,3}is"
    r"|\d+,? (?:and|or))(?!\w)))*"
)
# What comes next is read figure by figure: "PIN is ", "order number: ".
_CODE_CUE = re.compile(rf"(?i)\b{_NOUNS}{_LINK}\s*$")
_ENDING = re.compile(
    r"(?i)\b(?:card|account|number|visa|mastercard)\s+(?:that\s+)?end(?:s|ing)(?:\s+(?:in|with))?\s*$"
)
_CALLED = re.compile(
    r"(?i)\b(?<!\bthe )(?<!\ba )(?<!\bthis )(?:call(?:ing)?|dial(?:ing)?|phone|text(?:ing)?|ring"
    r"|sms|fax|whatsapp|tel\.?|telephone|hotline|reach (?:us|me|them|him|her) (?:at|on))"
    r"(?:\s+(?:us|me|him|her|them|back|now|at|on|is|number|the|or|and|[A-Z]+ to"
    r"|toll[- ]free|\d{3,}))*[:\s]*$"
)
_NUMBER_CUE = re.compile(
    r"(?i)\b(?:number|order|account|card|ticket|case|id|serial|tracking|invoice|claim|policy)"
    r"(?:\s*(?:[:=#]|\b(?:is|was|no\.?)\b))*\s*$"
)
_FOLLOWED = re.compile(
    rf"(?i)\s+(?:is|as|was|for)\s+(?:(?:the|your|my|our|his|her|their|a|new)\s+)*{_NOUNS}(?!\w)"
)
_PLACES = (
    r"(?:seats?|gates?|rows?|rooms?|apt\.?|apartments?|suites?|units?|stands?|platforms?|berths?"
    r"|lockers?|sections?|exits?|flats?|terminals?|levels?|bays?|docks?|blocks?|stalls?|tracks?)"
)
_AT_PLACE = re.compile(rf"(?i)\b{_PLACES}\s+(?:(?:\d+[A-Z]?|and|or|to|is|number)[,\s]+)*$")
_ROOM = re.compile(r"(?i)\b(?:room|suite|apartment|apt\.?|flat|office)\s+$")
_FLIGHT = re.compile(r"(?i)\bflights?\s+(?:[A-Z]{2}\s?|number\s+|no\.\s+)?$")
_AIRLINES = "|".join(words("""
    LH UA AA DL BA AF KL LX EK QR EY SQ CX QF NZ WN NK FR IB AY TP TK LO JL NH KE OZ MU CZ JQ
    WS TG MH GA VN B6 F9 U2 W6 EI DY
"""))  # fmt: skip
_STATES = "|".join(words("""
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM
    NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC
"""))  # fmt: skip
_RELEASED = re.compile(
    r"(?i)\b(?:versions?|release|python|node(?:\.js)?|java|ios|macos|android|windows|ubuntu|debian"
    r"|cuda|php|ruby|rust|go|kernel|linux|pytorch|django|react|kubernetes|postgres(?:ql)?)\s+$"
)
# A date, or thousands apart by points.
_NO_VERSION = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}|\d\d\.\d\d\.\d\d|\d{1,3}(?:\.\d{3}){2,}")
_GROUPS = re.compile(r"\d+")
_SEPARATED = r"(?:[\s./-]|\s[/-]\s|\s?\(0?\)\s?|\)\s?|\s?\()"


def calls_for_figures(text: str) -> bool:
    """Whether figures that follow ``text`` are read one by one because of how it ends, as after
    "The PIN is" and "Call us at"."""
    return _CODE_CUE.search(text) is not None or _CALLED.search(text) is not None


def _by_group(text: str) -> str:
    return ", ".join(digits(group) for group in _GROUPS.findall(text))


def _phone(match: re.Match[str]) -> str:
    return _by_group(match[0])


def _combination(match: re.Match[str]) -> str:
    """12-34-56: pairs as numbers, longer groups figure by figure."""
    groups = match[0].split("-")
    if all(len(group) < 3 for group in groups):
        return ", ".join(number(group) for group in groups)
    return _by_group(match[0])


def _long_phone(match: re.Match[str]) -> str | None:
    """Groups that make a number of 7 to 15 figures, and begin as one does or are called so."""
    text = match[0]
    count = sum(c.isdigit() for c in text)
    groups = _GROUPS.findall(text)
    if not 7 <= count <= 15 or len(groups) < 2:
        return None
    is_trunk = text.lstrip("(").startswith("0") and len(groups[0]) > 1 and count >= 9
    if not (is_trunk or text.startswith("(0)") or _CALLED.search(before(match))):
        return None
    if re.fullmatch(r"\d+\.\d+", text) and not re.fullmatch(r"\d{3}\.\d{4}", text):
        return None
    return _by_group(text)


def _letters_and_figures(text: str) -> str:
    """ "AB12-CD" -> "A B one two, C D". Letters stand apart, so that each is said by its name."""
    said = []
    for part in re.split(r"[-/\s]+", text.upper()):
        pieces = re.findall(r"[A-Z]|\d", part)
        said.append(" ".join(digits(p) if p.isdigit() else p for p in pieces))
    return ", ".join(part for part in said if part)


def _coded(match: re.Match[str]) -> str | None:
    """Figures, or letters and figures, that the words around them call a code or a number."""
    text, ahead = match[0], before(match)
    count = sum(c.isdigit() for c in text)
    if not count or (text.isdigit() and count < 2):
        return None
    cued = (
        _CODE_CUE.search(ahead)
        or _ENDING.search(ahead)
        or _FOLLOWED.match(match.string, match.end())
    )
    weak = _NUMBER_CUE.search(ahead) and count >= 5
    called = count >= 3 and text.isdigit() and _CALLED.search(ahead)
    flight = count >= 2 and _FLIGHT.search(ahead)
    if not (cued or weak or called or flight):
        return None
    if re.search(r"(?i)\b(?:area|cell)\s*$", ahead) or (
        count < 3 and re.search("(?i)codes?", ahead)
    ):
        return None
    return _letters_and_figures(text)


def _unbroken(match: re.Match[str]) -> str | None:
    """Ten figures and more in a row are a number of some account, unless they are round."""
    return None if match[0].endswith("000") else digits(match[0])


def _place(match: re.Match[str]) -> str | None:
    if not _AT_PLACE.search(before(match)):
        return None
    return f"{_room_number(match[1])} {match[2].upper()}"


def _room(match: re.Match[str]) -> str | None:
    return _room_number(match[0]) if _ROOM.search(before(match)) else None


def _room_number(text: str) -> str:
    if len(text) == 3 and text[1] == "0" and text[2] != "0":
        return f"{cardinal(int(text[0]))} oh {cardinal(int(text[2]))}"
    if len(text) == 4 and text[0] != "0":
        floor, rest = int(text[:2]), int(text[2:])
        if not rest:
            return f"{cardinal(floor)} hundred"
        return f"{cardinal(floor)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"
    return number(text)


def _spelled(match: re.Match[str]) -> str:
    return f"{'.'.join(match[1])} {_by_group(match[2])}"


def _vanity(match: re.Match[str]) -> str:
    return f"{_by_group(match[1])}, {match[2].title().replace('-', ' ')}"


def _airliner(match: re.Match[str]) -> str:
    return f"seven {number(match[1])} {number(match[2]) if match[2] else ''}".rstrip()


def _address(match: re.Match[str]) -> str:
    said = " dot ".join(digits(p) if len(p) > 2 else number(p) for p in match[1].split("."))
    if not match[2]:
        return said
    if match[2][0] == "/":
        return f"{said} slash {number(match[2][1:])}"
    return f"{said} colon {digits(match[2])}"


def _version(match: re.Match[str]) -> str:
    lead = "version " if match[1] else ""
    return lead + _points(match[2])


def _points(text: str) -> str:
    return " point ".join(number(part) for part in text.split("."))


def _named_version(match: re.Match[str]) -> str | None:
    if not _RELEASED.search(before(match)) and (
        match[0].count(".") == 1 or _NO_VERSION.fullmatch(match[0])
    ):
        return None
    return _points(match[0])


RULES = (
    rule(
        UPPER,
        r"\b[A-Z]{2}\d{2}(?:\s?[A-Z\d]{4}){3,7}(?:\s?[A-Z\d]{1,3})?(?!\w)",
        lambda m: _letters_and_figures(m[0].replace(" ", "")),
    ),
    rule(
        "+",
        r"\+\d{1,3}(?:[\s.-]?(?:\(\d{1,4}\)|\d{1,5})){2,6}(?![\w])",
        lambda m: _by_group(m[0]),
    ),
    rule(
        DIGITS,
        rf"{START}((?:1[-.\s])?(?:8\d\d|900))[-.\s]([A-Z]{{2,8}}(?:-[A-Z]{{2,8}})?)\b",
        _vanity,
    ),
    rule(DIGITS, START + r"1[-.\s](?:\(\d{3}\)|\d{3})[-.\s]?\d{3}[-.\s]\d{4}\b", _phone),
    rule("(" + DIGITS, r"(?:(?<!\w)\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b", _phone),
    rule(DIGITS, r"(?<![\w-])\d{3}-\d{4}\b(?!-)", _phone),
    rule(DIGITS, START + r"\d{3}-\d{2}-\d{4}\b(?!-)", _phone),
    rule(DIGITS, START + r"\d{5}-\d{4}(?![\w-])", _phone),
    rule(DIGITS, START + r"(?:1[38]00 \d{3} \d{3}|[6-9]\d{4} \d{5})\b(?! \d)", _phone),
    rule("x", r"(?<=\d )x\s?(\d{2,5})\b", lambda m: f"extension {digits(m[1])}"),
    rule(DIGITS, START + r"1-(8\d\d|900)(?![\w-])", lambda m: f"one {number(m[1])}"),
    rule("9", START + r"911\b(?![.,]\d| [a-z]+s\b)", _phone),
    rule(DIGITS, START + r"\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}\b", _phone),
    rule(DIGITS, START + r"97[89][- ]\d{1,5}[- ]\d{1,7}[- ]\d{1,7}[- ][\dX]\b", _phone),
    rule(
        DIGITS + "(",
        rf"(?<![\w.,/-])(?:\(0\)\s?|\(\d{{2,5}}\)[\s/-]?)?\d{{2,12}}(?:{_SEPARATED}\d{{2,12}}){{0,7}}(?![\w/])",
        _long_phone,
    ),
    rule(DIGITS, r"(?<![\w.])((?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d))"
         r"(/\d{1,2}|:\d{2,5})?(?![\w]|\.\d)", _address),
    rule(UPPER, rf"\b({_AIRLINES})\s?(\d{{3,4}})\b(?![.,]\d)", _spelled),
    rule(UPPER, rf"\b({_STATES})\s(\d{{5}}(?:-\d{{4}})?)\b", _spelled),
    rule(UPPER, r"\b[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}\b", lambda m: _letters_and_figures(m[0])
         .replace(",", "")),
    rule(
        DIGITS + UPPER + LOWER,
        r"(?<![\w.,$€£])(?=[A-Za-z-]{0,6}\d)(?:[A-Z]{1,6}-?|[a-z])?\d[A-Z\d]*"
        r"(?:[-/ ](?=[A-Z]*\d)[A-Z\d]+)*(?![\w%°]|[.,:]\d)",
        _coded,
    ),
    rule(DIGITS, START + r"(\d{1,4})([A-Za-z])\b(?!['.]\w)", _place),
    rule(DIGITS, START + r"\d{3,4}\b(?![.,:/]\d)", _room),
    rule(DIGITS, START + r"\d{10,}\b(?![.,]\d)", _unbroken),
    rule(LETTERS, r"(?<!\w)(v(?=\d)|[vV]\.?\s?(?=\d+\.\d))(\d+(?:\.\d+)*)(?![\w]|\.\d)", _version),
    rule(DIGITS, r"(?<![\w.,])\d+(?:\.\d+)+(?![\w]|[.,]\d)", _named_version),
    rule(DIGITS, r"(?<=[RG]TX )\d{4}\b", lambda m: f"{number(m[0][:2])} {number(m[0][2:])}"),
    rule(DIGITS, r"(?<=Boeing )7(\d7)(?:-(\d00))?\b", _airliner),
    rule(DIGITS, START + r"(?!\d{4}-\d\d-\d\d\b|\d\d?-\d\d?-\d{4}\b)\d{1,5}(?:-\d{1,5}){2,}"
         r"(?![\w-])", _combination),
    rule("0", r"\b0x([0-9A-Fa-f]+)\b", lambda m: f"zero X {_letters_and_figures(m[1])}"),
)  # fmt: skip

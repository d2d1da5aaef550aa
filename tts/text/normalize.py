"""Answer text to speech text, word by word.

It is our own, because the slices joined have to be the text (only so is it known which words the
caller heard), which nemo-text-processing does not promise; num2words is LGPL.

The text is read from left to right. At each place the first rule that matches gives the speech of
its slice.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from tts.text.numbers import digits, number
from tts.text.quantities import RULES as QUANTITIES
from tts.text.quantities import Rule
from tts.text.words import words


@dataclass(frozen=True, slots=True)
class Token:
    """A slice of the text, with the space after it, and its speech: words in lower or mixed case,
    acronyms to be spelled as letters with dots between (F.B.I), and the marks , . ; : ! ? where
    the voice should pause. ``spoken`` may be empty."""

    text: str
    spoken: str


_ABBREVIATIONS = {
    "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Prof.": "Professor",
    "Jr.": "Junior", "Sr.": "Senior", "vs.": "versus", "vs": "versus", "etc.": "et cetera",
    "e.g.": "for example", "i.e.": "that is", "approx.": "approximately", "Inc.": "Incorporated",
    "Ltd.": "Limited", "Corp.": "Corporation", "Fig.": "Figure", "fig.": "figure",
    "Vol.": "Volume", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "Mt.": "Mount",
    "Gen.": "General", "Sen.": "Senator", "Rep.": "Representative", "Gov.": "Governor",
    "dept.": "department", "est.": "estimated", "max.": "maximum", "min.": "minimum",
    "avg.": "average", "w/": "with", "w/o": "without", "Ph.D.": "P.H.D", "PhD": "P.H.D",
    "a.m.": "A.M", "p.m.": "P.M", "a.k.a.": "A.K.A", "aka": "A.K.A", "pp.": "pages",
    "Wi-Fi": "wifi",
}  # fmt: skip
# A dot after these does not end a sentence, whatever follows.
_TITLES = frozenset({"Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "Gen.", "Sen.", "Rep.", "Gov.", "Mt.",
                     "e.g.", "i.e.", "vs.", "Fig.", "fig.", "Vol.", "approx.", "pp."})  # fmt: skip
_SAID_AS_WORDS = frozenset(
    words("""
    NASA NATO UNESCO UNICEF OPEC AIDS RAM ROM JPEG ASCII NAFTA FIFA SIM PIN CAPTCHA YOLO SCUBA
    SWAT NASDAQ CUDA LAN WAN CRUD REST COVID LASER RADAR SONAR MIDI BIOS GIF JSON YAML WASM
    DARPA ASAP OK I A ZIP BASIC LEGO IKEA
    """)
)
_SHOUTED = frozenset(  # not spelled either
    words("""
    NOT NO YES AND OR BUT ALL ANY MUST NEVER ONLY VERY STOP DO DON IS ARE THE THIS THAT NOTE
    ALWAYS BIG FREE NEW NOW GO ONE TWO IF ELSE FOR WHILE TRUE FALSE NULL FROM WHERE YOU YOUR WE
    TO OF IN ON AT BE SO MORE LESS BOTH EACH WILL CAN SHOULD THEN WHEN HELLO HI WOW LOVE
    """)
)
_DOMAINS = "com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|us|info|me|tv|gg|xyz"
_SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "%": "percent", "°": "degrees",
    "±": "plus or minus", "≈": "approximately", "≤": "at most", "≥": "at least", "×": "times",
    "÷": "divided by", "→": "to", "⇒": "so", "√": "square root of", "π": "pi", "€": "euros",
    "£": "pounds", "§": "section", "²": "squared", "³": "cubed", "∞": "infinity", "½": "one half",
}  # fmt: skip
_PAUSES = ",.;:!?"
_MARKS = {"…": ",", "—": ",", "–": ",", "|": ","}
_NUMERALS = {"II": "two", "III": "three", "VII": "seven", "VIII": "eight", "XIV": "fourteen"}


def normalize(text: str) -> list[Token]:
    """Split ``text`` into tokens at its spaces; quantities like "Nov 22, 2026" stay whole.

    The tokens' texts joined are ``text``.
    """
    tokens: list[Token] = []
    start, spoken, position = 0, "", 0
    while position < len(text):
        end, said, space = _next(text, position)
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
        result.append(Token(token.text, spoken))
    if not paused and result[-1].spoken and result[-1].text.rstrip().endswith("."):
        result[-1] = Token(result[-1].text, result[-1].spoken + ".")
    return result


def _next(text: str, position: int) -> tuple[int, str, bool]:
    """End of the piece at ``position``, its speech, and whether it is space between tokens.

    A line's end is a pause, also where nothing but it ends the line (headings, list items).
    """
    if match := _SPACE.match(text, position):
        line_ends = "\n" in match[0] and text[position - 1 : position] not in (*_PAUSES, "|", "")
        return match.end(), "." if line_ends and match.end() < len(text) else "", True
    for pattern, say in _RULES:
        if match := pattern.match(text, position):
            return match.end(), say(match), False
    return position + 1, "", False


def _append(spoken: str, said: str) -> str:
    """Words apart by a space; of marks in a row only the first is kept."""
    if not said or not spoken:
        return spoken or said
    if said[0] in _PAUSES:
        return spoken if spoken[-1] in _PAUSES else spoken + said
    return f"{spoken} {said}"


def _link(match: re.Match[str]) -> str:
    return " ".join(token.spoken for token in normalize(match[1]) if token.spoken)


def _address(match: re.Match[str]) -> str:
    bare = re.sub(r"^(?:https?://)?(?:www\.)?|[/?#]+$", "", match[0], flags=re.IGNORECASE)
    return _read_out(bare.split("?")[0])


def _read_out(address: str) -> str:
    names = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon"}
    parts = re.findall(r"[A-Za-z]+|\d+|[./@:_-]", address)
    return " ".join(names.get(p) or (digits(p) if p.isdigit() else p) for p in parts)


def _abbreviation(match: re.Match[str]) -> str:
    short = match[0]
    rest = match.string[match.end() :].lstrip()
    if short == "St.":
        said, title = ("Saint", True) if rest[:1].isupper() else ("Street", False)
    elif short == "No.":
        said, title = ("number", True) if rest[:1].isdigit() else ("No", False)
    else:
        said, title = _ABBREVIATIONS[short], short in _TITLES
    ends = short.endswith(".") and not title and (not rest or rest[0].isupper())
    return said + "." if ends else said


def _dotted(match: re.Match[str]) -> str:
    """U.S. and other initials; the last dot may end the sentence as well."""
    rest = match.string[match.end() :]
    ends = not rest.strip() and match[0].count(".") > 1
    return match[0].rstrip(".") + ("." if ends else "")


def _acronym(match: re.Match[str]) -> str:
    letters, plural = match[1], match[2]
    after_name = re.search(r"[A-Z][a-z]+ $", match.string[: match.start()])
    if after_name and letters in _NUMERALS:
        return _NUMERALS[letters]
    shouting = match.string.isupper() and len(match.string.split()) > 2
    if shouting or letters in _SAID_AS_WORDS or letters in _SHOUTED:
        return letters.lower().capitalize() + plural
    return ".".join(letters) + plural.replace("’", "'")


def _word(match: re.Match[str]) -> str:
    composed = unicodedata.normalize("NFC", match[0].replace("’", "'"))
    word = "".join(c for c in composed if c.isalpha() or c == "'")  # no ² or ①
    return word.lower() if len(word) > 1 and word.isupper() else word


def _rule(pattern: str, say: Callable[[re.Match[str]], str]) -> Rule:
    return re.compile(pattern), say


_SPACE = re.compile(r"\s+")
_SHORT = "|".join(re.escape(a) for a in sorted([*_ABBREVIATIONS, "St.", "No."], key=len)[::-1])
_LETTER = "[^\\W\\d_]"
_SPELLED = f"(?:{_LETTER}[\u0300-\u036f]*)+"
_RULES: tuple[Rule, ...] = (
    _rule(r"```[\s\S]*?(?:```|\Z)", lambda _: ""),  # code is shown, not read out
    _rule(r"!?\[([^\[\]\n]+)\]\([^()\n]*\)", _link),
    _rule(r"(?m)^[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*$", lambda _: ""),
    _rule(r"(?m)^[ \t]*(?:[-*+•>]|#{1,6})(?= )", lambda _: ""),
    _rule(r"(?m)^(\d{1,2})[.)](?= )", lambda m: f"{number(m[1])}."),
    _rule(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", lambda m: _read_out(m[0])),
    _rule(r"(?i)(?:https?://|www\.)[^\s<>()\"]*[^\s<>()\".,;:!?*_`]", _address),
    _rule(rf"(?i)\b(?:[a-z0-9-]+\.)+(?:{_DOMAINS})\b(?:/[\w./-]*\w)?(?![\w.]\w)", _address),
    _rule(rf"(?<![\w.])(?:{_SHORT})(?!\w)", _abbreviation),
    _rule(r"(?<!\w)(?:[A-Z]\.){2,}(?![A-Za-z])", _dotted),
    _rule(r"(?<!\w)[A-Z]\.(?= [A-Z][a-z])", _dotted),  # J. Smith
    *QUANTITIES,
    _rule(r"#(?=\d)", lambda _: "number"),
    _rule(r"~(?=\d)", lambda _: "about"),
    _rule(rf"(?<!{_LETTER})([A-Z]{{2,5}})((?:['’]?s)?)(?!{_LETTER}|['’]{_LETTER})", _acronym),
    _rule(f"[{''.join(_SYMBOLS)}]", lambda m: _SYMBOLS[m[0]]),
    _rule(rf"{_SPELLED}(?:['’]{_SPELLED})*", _word),
    _rule(r"\.{2,}(?=\s*[a-z])", lambda _: ","),
    _rule(r"(?<=\w)\.(?=[A-Za-z])", lambda _: "dot"),  # Node.js
    _rule(r"[.!?]+", lambda m: next((c for c in m[0] if c != "."), ".")),
    _rule(r"(?<= )-+(?= )|--+", lambda _: ","),
    _rule(r"[,;:](?!\w)", lambda m: m[0]),
    _rule(f"[{''.join(_MARKS)}]", lambda m: _MARKS[m[0]]),
)

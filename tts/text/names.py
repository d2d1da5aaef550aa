"""Abbreviations, acronyms, Roman numerals, and names with signs in them (C#, AT&T)."""

import re
import unicodedata

from tts.text.letters import latin
from tts.text.numbers import cardinal, ordinal
from tts.text.rules import ANY, LETTERS, UPPER, after, alternatives, before, rule
from tts.text.words import words

ABBREVIATIONS = {
    "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Prof.": "Professor",
    "Jr.": "Junior", "Sr.": "Senior", "vs.": "versus", "vs": "versus", "etc.": "et cetera",
    "e.g.": "for example", "i.e.": "that is", "approx.": "approximately", "Inc.": "Incorporated",
    "Ltd.": "Limited", "Corp.": "Corporation", "Fig.": "Figure", "fig.": "figure",
    "Vol.": "Volume", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "Mt.": "Mount",
    "Gen.": "General", "Sen.": "Senator", "Rep.": "Representative", "Gov.": "Governor",
    "dept.": "department", "Dept.": "Department", "est.": "estimated", "max.": "maximum",
    "min.": "minimum", "avg.": "average", "w/": "with", "w/o": "without", "b/c": "because",
    "Ph.D.": "P.H.D", "PhD": "P.H.D", "PhDs": "P.H.Ds", "a.m.": "A.M", "p.m.": "P.M",
    "a.k.a.": "A.K.A", "aka": "A.K.A", "pp.": "pages", "p.": "page", "Wi-Fi": "wifi",
    "iOS": "i O.S", "macOS": "mac O.S",
    "Sgt.": "Sergeant", "Capt.": "Captain", "Lt.": "Lieutenant", "Col.": "Colonel",
    "Rev.": "Reverend", "Hon.": "Honorable", "Pres.": "President", "Ln.": "Lane", "Ct.": "Court",
    "Pl.": "Place", "Hwy.": "Highway", "Pkwy.": "Parkway", "Apt.": "Apartment",
    "apt.": "apartment", "Ste.": "Suite", "Co.": "Company", "Bros.": "Brothers", "cf.": "compare",
    "ca.": "about", "al.": "al", "esp.": "especially", "incl.": "including",
    "excl.": "excluding", "ext.": "extension", "Ext.": "Extension", "Tel.": "Telephone",
    "tel.": "telephone", "Jan.": "January", "Feb.": "February", "Apr.": "April", "Aug.": "August",
    "Sept.": "September", "Oct.": "October", "Nov.": "November", "Dec.": "December",
    "Ft.": "Fort", "govt.": "government", "Ref.": "Reference", "ref.": "reference",
    "WWI": "World War one", "WWII": "World War two", "WW1": "World War one",
    "WW2": "World War two", "BSc": "B.S.C", "MSc": "M.S.C", "IPv4": "I.P V four",
    "IPv6": "I.P V six", "HCl": "H C.L", "NaCl": "N.A C.L", "NaOH": "N.A O H", "y/o": "years old",
    "Ch.": "Chapter", "Bldg": "Building", "Bldg.": "Building",
    "misc.": "miscellaneous", "resp.": "respectively",
    "N/A": "not applicable", "n/a": "not applicable", "and/or": "and or", "c/o": "care of",
}  # fmt: skip
# A dot after these does not end a sentence, whatever follows.
TITLES = frozenset({
    "Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "Gen.", "Sen.", "Rep.", "Gov.", "Mt.", "e.g.", "i.e.",
    "vs.", "Fig.", "fig.", "Vol.", "approx.", "pp.", "p.", "Sgt.", "Capt.", "Lt.", "Col.", "Rev.",
    "Hon.", "Pres.", "Ft.", "cf.", "ca.", "esp.", "incl.", "excl.", "ext.", "Ext.", "Tel.",
    "tel.", "Apt.", "apt.", "Ste.", "resp.", "St.", "No.", "Nos.",
})  # fmt: skip
SMALL_ROMANS = frozenset(words("ii iii iv vi vii viii ix xi xii xiii xiv xv xvi xvii xx"))
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
_ROMAN = r"(?=[IVXL])(?:X[LC]|L?X{0,3})(?:IX|IV|V?I{0,3})"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}
# A numeral follows these for certain, a single I, V or X too.
_NUMBERED = re.compile(
    r"\b(?:World War|Chapter|Part|Act|Scene|Volume|Vol\.|Book|Section|Phase|Type|Class|Level|Title"
    r"|Article|Stage|Grade|Appendix|Figure|Table|Episode|Season|Round|Division|Category|Group"
    r"|Factor|Form|Mark|Unit|Canto|Schedule|Tier|Element|Symphony|Sonata|Super Bowl|Bowl|Windows"
    r"|Mac OS|iPhone|Fantasy|Quest)s?\s$", re.IGNORECASE,
)  # fmt: skip
# Of rulers, whose numeral is an ordinal: Henry the eighth.
_RULERS = re.compile(
    r"\b(?:(?:King|Queen|Pope|Emperor|Tsar|Czar|Prince|Sultan|Empress)\s(?:[A-Z][a-z]+\s){1,2}"
    r"|(?:Henry|Louis|Elizabeth|Charles|George|Edward|James|William|Richard|Mary|John Paul|Pius"
    r"|Benedict|Leo|Gregory|Clement|Innocent|Urban|Alexander|Nicholas|Catherine|Peter|Ivan"
    r"|Frederick|Wilhelm|Philip|Ferdinand|Napoleon|Rames?ses|Ramses|Ludwig|Friedrich|Carl|Ptolemy|Xerxes|Darius|Gustav|Christian"
    r"|Haakon|Harald|Olav|Leopold|Albert|Felipe|Alfonso|Juan Carlos|Franz Joseph|Thutmose"
    r"|Amenhotep|Emmanuel|Otto|Sigismund|Margrethe|Isabella|Selim|Mehmed|Murad|Robert)\s)$"
)
_NO_NAMES = frozenset(words("""
    The An A This My Your His Her Its Our Their Each Every Some And With For In On At By Of To From
    Is Are Was Use Try If When Then But Or So As No Yes That These Those What Which Your Give Start
"""))  # fmt: skip
_PRONOUN = re.compile(
    r"\s(?:am|have|had|will|would|can|could|think|thought|know|do|did|want|like|love|need|see|saw"
    r"|should|must|may|might|hope|guess|mean|feel|was told|just|also|really|never|always)\b|'"
)
_TIME_OF = re.compile(r"\s(?:century|centuries|dynasty|Olympi)")
_STREET = re.compile(r"(?<![.!?:]\s)\b(?:[A-Z][a-z]+|\d+(?:st|nd|rd|th))\s$")
_GREETING = re.compile(r"\b(?:Hello|Hi|Hey|Thanks|Dear|Ask|See|Call|Yes|No|Mount|Mt\.|The)\s$")
_OPENER = re.compile(
    r"(?:The|It|He|She|They|We|I|This|That|Then|You|There|A|An|In|On|At|But|And)\b"
)


def _abbreviation(match: re.Match[str]) -> str | None:
    short = match[0]
    if short == "p." and not _a_number_follows(match):
        return None
    rest = after(match).lstrip()
    title = short in TITLES
    if short == "c.":
        return "about" if re.match(r"\s?\d{3,4}\b", after(match)) else None
    if short == "ext":
        return "extension" if _a_number_follows(match) else None
    if short == "no.":
        return "number" if rest[:1].isdecimal() else None
    if short in ("St.", "Dr."):
        said, title = _saint_or_street(match, rest)
    elif short in ("No.", "Nos."):
        said, title = ("number", True) if rest[:1].isdecimal() else ("No", False)
    else:
        said = ABBREVIATIONS[short]
    ends = short.endswith(".") and not title and (not rest or rest[0].isupper())
    return said + "." if ends else said


def _a_number_follows(match: re.Match[str]) -> bool:
    return re.match(r"\s?\d", after(match)) is not None


def _saint_or_street(match: re.Match[str], rest: str) -> tuple[str, bool]:
    """St. and Dr., which stand before a name or after one; and whether it is before."""
    ahead = before(match)
    names = ("Saint", "Street") if match[0] == "St." else ("Doctor", "Drive")
    after_name = bool(_STREET.search(ahead)) and not _GREETING.search(ahead)
    before_name = rest[:1].isupper() and not _OPENER.match(rest)
    if after_name and (not before_name or re.search(r"\d+\s(?:[A-Z]\w*\s){1,3}$", ahead)):
        return names[1], False
    if match[0] == "St." and not rest[:1].isupper():
        return names[1], False
    return names[0], bool(rest)


def _letter_range(match: re.Match[str]) -> str | None:
    return f"{match[1]} to {match[2]}" if match[1] < match[2] else None


def _initials(match: re.Match[str]) -> str:
    """U.S. and other initials; the last dot may end the sentence as well."""
    rest = match.string[match.end() :]
    ends = not rest.strip() and match[0].count(".") > 1
    return match[0].rstrip(".") + ("." if ends else "")


def _acronym(match: re.Match[str]) -> str:
    letters, plural = match[1], match[2]
    if _is_shouted(match.string) or letters in _SAID_AS_WORDS or letters in _SHOUTED:
        return letters.lower().capitalize() + plural
    return ".".join(letters) + plural


def _is_shouted(text: str) -> bool:
    """Whether it is in capitals for loudness, and not a list of acronyms."""
    if not text.isupper():
        return False
    spelled = re.findall(r"[A-Z']+", text)
    return len(spelled) > 2 and any(len(w) > 5 or w in _SHOUTED for w in spelled)


def _roman(match: re.Match[str]) -> str | None:
    text, ahead = match[1], before(match)
    value = _value(text)
    if _TIME_OF.match(match.string, match.end()):
        return ordinal(value)
    if _NUMBERED.search(ahead):
        return cardinal(value)
    if re.match(r"(?:,|\s?[-–]|\sand|\sto)\s?II\b", after(match)):
        return cardinal(value)
    name = re.search(r"(\w+),?\s$", ahead)
    if name is None:
        return None
    if _RULERS.search(ahead):
        if text == "I" and _PRONOUN.match(match.string, match.end()):
            return None
        return f"the {ordinal(value)}"
    in_list = re.search(r"\b[IVXL]+(?:,|,?\s(?:and|or|to))\s$", ahead)
    follows_name = name[1][0].isupper() and name[1][1:].islower() and name[1] not in _NO_NAMES
    if len(text) > 1 and (follows_name and not value > 39):
        return cardinal(value)
    if in_list and len(text) > 1:
        return cardinal(value)
    return None


def _small_roman(match: re.Match[str]) -> str | None:
    text = match[1].upper()
    if not re.fullmatch(_ROMAN, text) or not _NUMBERED.search(before(match)):
        return None
    return cardinal(_value(text))


def _roman_range(match: re.Match[str]) -> str:
    return f"{cardinal(_value(match[1]))} to {cardinal(_value(match[2]))}"


def _value(numeral: str) -> int:
    values = [_VALUES[letter] for letter in numeral.replace("C", "")]
    total = 0
    for value, following in zip(values, [*values[1:], 0], strict=True):
        total += value if value >= following else -value
    return total


def _roman_signs(match: re.Match[str]) -> str:
    """Ⅳ: one character, or several, that are a numeral and nothing else."""
    text = unicodedata.normalize("NFKC", match[0]).upper()
    if re.fullmatch(_ROMAN, text):
        return cardinal(_value(text))
    return " ".join(cardinal(int(unicodedata.numeric(c))) for c in match[0])


def _with_sign(match: re.Match[str]) -> str:
    sign = {"#": "sharp", "♯": "sharp", "++": "plus plus", "♭": "flat"}[match[2]]
    return f"{match[1]} {sign}"


def _joined(match: re.Match[str]) -> str:
    """AT&T, R&D, Q&A: letters on both sides of "and"."""
    said = " and ".join(".".join(part) for part in match[1].split("&"))
    return f"{said}'s" if match[2] else said


def word(match: re.Match[str]) -> str:
    """A plain word in Latin letters; one in capitals is not meant to be spelled."""
    said = latin(match[0])
    return said.lower() if len(said) > 1 and said.isupper() else said


_LETTER = "[^\\W\\d_]"
_SPELLED = f"(?:{_LETTER}[\u0300-\u036f\u00ad\u200b-\u200d\u2060]*)+"
_SHORT = alternatives([*ABBREVIATIONS, "St.", "No.", "Nos.", "no.", "c.", "ext"])

RULES = (
    rule(LETTERS, rf"(?<![\w.])(?:{_SHORT})(?!\w)", _abbreviation),
    rule(LETTERS, r"(?<![\w&])((?:[A-Z]{1,3}&)+[A-Z]{1,3})('?s)?(?![\w&])", _joined),
    rule(LETTERS, r"(?<!\w)([A-Za-z]|Notepad|Visual C)(#|♯|♭|\+\+)(?:(?!\w)|(?=m\b))", _with_sign),
    rule(UPPER, r"(?<![\w-])([A-Z])[-–]([A-Z])(?![\w-])", _letter_range),
    rule(UPPER, r"(?<!\w)(?:[A-Z]\.){2,}(?![A-Za-z])", _initials),
    rule(UPPER, r"(?<!\w)[A-Z]\.(?= [A-Z][a-z])", _initials),  # J. Smith
    rule(
        LETTERS,
        r"(?i)\b(?:s?he/s?he|his/hers?|hers?/his|him/her|her/him|yes/no|on/off|true/false)\b",
        lambda m: m[0].replace("/", " or "),
    ),
    rule("ivxl", r"(?<![\w.'-])([ivxl]{2,6})(?![\w-]|\.\w)", _small_roman),
    rule("IVXL", rf"(?<![\w.'-])({_ROMAN})[-–]((?!I\b){_ROMAN})(?![\w-])", _roman_range),
    rule("IVXL", rf"(?<![\w.'-])({_ROMAN})(?![\w]|\.\w|-[A-Za-z])", _roman),
    rule("".join(map(chr, range(0x2160, 0x2180))), r"[\u2160-\u217f]+", _roman_signs),
)
SPELLED = (rule(UPPER, r"(?<![^\W\d_])([A-Z]{2,5})((?:'?s)?)(?![^\W\d_]|'[^\W\d_])", _acronym),)
WORDS = (rule(ANY, rf"{_SPELLED}(?:'{_SPELLED})*", word),)

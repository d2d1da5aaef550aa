"""Letters of other alphabets: folded for the rules, and written in Latin letters for the voice.

The text itself keeps its letters; only what is spoken is written anew.
"""

import re
import unicodedata
from functools import lru_cache

from anyascii import anyascii

_HYPHENS = "‐‑‒⁃﹣"
_QUOTES = "’‘ʼ‛"
_FOLDED_FORMS = ("<wide>", "<narrow>", "<font>")
# Scripts whose letters stand for sounds one by one, so that an English voice can read them.
_READABLE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN", "MODIFIER"})
_SYLLABLES = frozenset({"HIRAGANA", "KATAKANA", "HALFWIDTH", "HANGUL"})
_LONGEST_SPELT = 24  # letters of a syllabary; more of a language than a phrase is only named
_LANGUAGES = {
    "CJK": "Chinese", "IDEOGRAPHIC": "Chinese", "BOPOMOFO": "Chinese", "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese", "HALFWIDTH": "Japanese", "HANGUL": "Korean", "DEVANAGARI": "Hindi",
    "GURMUKHI": "Punjabi", "ORIYA": "Odia", "MYANMAR": "Burmese", "ETHIOPIC": "Amharic",
    "THAANA": "Maldivian", "CANADIAN": "Inuktitut",
}  # fmt: skip
_GREEK = {
    "ου": "ou", "ού": "ou", "μπ": "b", "γκ": "g", "γγ": "ng",
    **{a + u: x + "f" for a, x in (("α", "a"), ("ε", "e")) for u in "υύ"},
}  # fmt: skip
_GREEK_PAIR = re.compile("|".join(_GREEK))

NAMED = "text in "  # what is said for letters that cannot be read begins so

# Everything that is a letter, and neither Latin, Greek, Cyrillic, Armenian nor Georgian.
OTHER_LETTER = (
    "[\u0590-\u109f\u1100-\u1bff\u2e80-\u2fdf\u3005-\u3007\u3031-\u303c\u3041-\u31ff\u3400-\u4dbf"
    "\u4e00-\ua63f\ua800-\uab2f\uabc0-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufefc\uff66-\uffdc"
    "\U00010280-\U0001d3ff\U0001e000-\U0001efff\U00020000-\U0003ffff]"
)


def fold(text: str) -> str:
    """``text`` with full-width and styled characters, hyphens, quotes and digits as ASCII has
    them. Character by character, so places in it are places in ``text``."""
    if text.isascii():
        return text
    return "".join(c if c < "\x80" else _folded(c) for c in text)


@lru_cache(4096)
def _folded(character: str) -> str:
    if character in _HYPHENS:
        return "-"
    if character in _QUOTES:
        return "'"
    if unicodedata.category(character) == "Nd":
        return str(unicodedata.decimal(character))
    composed = unicodedata.normalize("NFC", character)  # ohm, kelvin and angstrom signs
    if len(composed) > 1:  # a few musical signs
        return character
    if unicodedata.decomposition(composed).startswith(_FOLDED_FORMS) or composed in "µ。⁄∕":
        composed = {"。": ".", "∕": "/", "⁄": "/"}.get(composed) or unicodedata.normalize(
            "NFKC", composed
        )
    return composed if len(composed) == 1 else character


def latin(word: str) -> str:
    """``word`` in Latin letters: "Łódź" -> "Lódz", "Москва" -> "Moskva".

    Accents stay, because voices know how to take them. Characters that are no letters, and letters
    that only a speaker of the language could read, are left out.
    """
    if word.isascii():
        return "".join(c for c in word if c.isalpha() or c == "'")
    composed = unicodedata.normalize("NFC", word)
    greek = _GREEK_PAIR.sub(lambda m: _GREEK[m[0]], composed)
    letters = "".join(map(_latin_letter, greek))
    if word.isupper() or not letters[:1].isupper():
        return letters
    return letters[0] + letters[1:].lower() if word[1:].islower() else letters


@lru_cache(4096)
def _latin_letter(character: str) -> str:
    if character.isascii():
        return character if character.isalpha() or character == "'" else ""
    if not character.isalpha():
        return ""
    base = unicodedata.normalize("NFD", character)[0]
    if base.isascii() and base.isalpha():
        return character
    form = unicodedata.decomposition(character)
    if form.startswith(("<super>", "<sub>", "<circle>")):
        return ""
    if script_of(character) not in _READABLE | _SYLLABLES:
        return ""
    return "".join(c for c in anyascii(character) if c.isalpha())


@lru_cache(4096)
def script_of(character: str) -> str:
    """The first word of its Unicode name, which names the script of a letter."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def say_other_script(text: str) -> str:
    """What is said for letters of scripts that an English voice cannot read.

    A few Japanese or Korean syllables are read out; else the language is named: "text in Arabic".
    """
    scripts = [script_of(c) for c in text if c.isalpha()]
    if not scripts:
        return ""
    if len(scripts) <= _LONGEST_SPELT and _SYLLABLES.issuperset(scripts):
        words = (latin(word).lower() for word in re.split(r"\W+", text))
        return " ".join(word for word in words if word)
    if kana := _SYLLABLES.difference({"HANGUL"}).intersection(scripts):
        return NAMED + _LANGUAGES[min(kana)]
    script = max(scripts, key=scripts.count)
    name = _LANGUAGES.get(script, script.capitalize())
    return NAMED + (name if name.isalpha() else "another script")

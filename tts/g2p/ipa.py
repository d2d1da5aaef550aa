"""Translates two phonetic alphabets to the IPA of the voice (espeak's American English).

The voice knows phonemes only as the symbols of its training data, so sounds are written here as
espeak writes them.
"""

import re
from collections.abc import Sequence

_STRESS = "ˈˌ"
_VOWELS = "aeiouæɐɑɔəɚɛɜɪʊʌᵻ"

_MISAKI = str.maketrans(
    {"A": "eɪ", "I": "aɪ", "W": "aʊ", "Y": "ɔɪ", "O": "oʊ", "ʤ": "dʒ", "ʧ": "tʃ", "ᵊ": "ə"}
)

# Applied in order to words already written in IPA letters.
_CONVENTIONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"ɜɹ(?=[{_STRESS}]?[{_VOWELS}])", "ɜːɹ"),  # hurry
        (r"ɜɹ", "ɜː"),  # bird
        (rf"əɹ(?=[{_STRESS}]?[{_VOWELS}])", "ɚɹ"),  # memory, around
        (r"əɹ", "ɚ"),  # better
        (r"^ə(?!$)", "ɐ"),  # about
        (r"ʔn", "ʔn̩"),  # button
        (r"ɑ(?!ː)", "ɑː"),
        (r"ɔ(?![ɪː])", "ɔː"),
        (r"(?<![aeɔo])u(?!ː)", "uː"),
        (rf"(?<=[{_STRESS}])i(?!ː)", "iː"),  # see; a weak i, as in happy, stays short
    )
)

_ARPABET = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "B": "b", "CH": "tʃ",
    "D": "d", "DH": "ð", "EH": "ɛ", "ER": "ɜɹ", "EY": "eɪ", "F": "f", "G": "ɡ", "HH": "h",
    "IH": "ɪ", "IY": "i", "JH": "dʒ", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "ŋ",
    "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ",
    "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_WEAK = {"AH": "ə", "ER": "əɹ"}
_STRESS_MARK = {"1": "ˈ", "2": "ˌ"}


def from_misaki(phones: str) -> str:
    """Translate one word of misaki's American dictionaries (EN_PHONES.md of that project)."""
    return _apply_conventions(phones.translate(_MISAKI))


def from_arpabet(phones: Sequence[str]) -> str:
    """Translate one word of ARPAbet symbols with stress digits, as in the CMU dictionary.

    Raises:
        ValueError: a symbol is not ARPAbet.
    """
    parts = []
    for phone in phones:
        name, digit = (phone[:-1], phone[-1]) if phone[-1].isdigit() else (phone, "")
        if name not in _ARPABET:
            raise ValueError(f"not an ARPAbet symbol: {phone!r}")
        weak = _WEAK.get(name) if digit == "0" else None
        parts.append(_STRESS_MARK.get(digit, "") + (weak or _ARPABET[name]))
    return _apply_conventions("".join(parts))


def _apply_conventions(word: str) -> str:
    for pattern, replacement in _CONVENTIONS:
        word = pattern.sub(replacement, word)
    return word

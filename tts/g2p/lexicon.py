"""Pronunciations from misaki's American dictionaries (Apache-2.0), in misaki's alphabet.

Rules derive other words from them: plurals, possessives, past tenses and participles, a few
prefixes and suffixes, and compounds of two known words.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tts.text.words import words

Entry = str | Mapping[str, str | None]

_VOICELESS = "ptkfθ"
_SIBILANT = "szʃʒʧʤ"
_VOWELS = "AIOWYiuæɑəɛɪɹʊʌ"  # after one of these a t before a weak vowel is a flap
_STRESS = str.maketrans("", "", "ˈˌ")

# A word with two readings (record, use, live) is a verb after the first, a noun after the second.
_VERB_CUES = frozenset(
    words("""
    to will would can could should shall may might must not always never often also and help let
    please i you we they he she it who that let's i'll you'll we'll they'll he'll she'll it'll
    i'd you'd we'd they'd don't doesn't didn't won't can't couldn't wouldn't shouldn't cannot
    """)
)
_NOUN_CUES = frozenset(
    words("""
    the a an this these those my your his her its our their no some any each every of in for
    with by from at on more most best good new first last one two
    """)
)
_PERFECT_CUES = frozenset(
    words("""
    have has had having i've you've we've they've he's she's was were been be being is are
    already just ever never
    """)
)
_PREFIXES = {"un": "ʌn", "re": "ɹi", "non": "nˌɑn", "pre": "pɹi", "co": "kO", "micro": "mˌIkɹO",
             "multi": "mˌʌlti", "over": "ˌOvəɹ", "super": "sˌupəɹ", "anti": "ˌænti",
             "inter": "ˌɪntəɹ", "sub": "sʌb", "dis": "dɪs", "mis": "mɪs"}  # fmt: skip
_SUFFIXES = {"ly": "li", "ness": "nəs", "less": "ləs", "ful": "fᵊl", "ment": "mənt", "er": "əɹ",
             "able": "əbᵊl", "like": "lˌIk", "wise": "wˌIz", "ish": "ɪʃ",
             "'d": "əd", "'ve": "əv", "'ll": "əl", "'re": "əɹ"}  # fmt: skip


class Lexicon:
    """Word to phones. Read-only after loading; safe to share between threads."""

    def __init__(self, gold: Path, silver: Path) -> None:
        self._entries: dict[str, Entry] = _load(silver)
        self._entries.update((word, entry) for word, entry in _load(gold).items() if entry)

    def lookup(self, word: str, before: str = "", *, final: bool = False) -> str | None:
        """Phones of ``word``, or None where neither the dictionaries nor the rules know it.

        ``before`` is the previous word in lower case; ``final`` says that a pause follows. Both
        choose among the readings of a heteronym.
        """
        for form in dict.fromkeys((word, word.lower(), word.capitalize())):
            entry = self._entries.get(form)
            if entry is not None:
                return (
                    entry if isinstance(entry, str) else _choose(form.lower(), entry, before, final)
                )
        return self._inflected(word.lower(), before) if word.isascii() else None

    def _inflected(self, word: str, before: str) -> str | None:
        word = word.rstrip("'")
        for ending, minimum, stems in (
            ("'s", 3, ("",)),
            ("ies", 5, ("y",)),
            ("s", 3, ("",)),
            ("es", 4, ("",)),
            ("ied", 5, ("y",)),
            ("ed", 4, ("", "e")),
            ("ing", 5, ("", "e")),
        ):
            if not word.endswith(ending) or len(word) < minimum or word.endswith("ss"):
                continue
            base = word.removesuffix(ending)
            doubled = base[:-1] if base[-1:] == base[-2:-1] and ending in ("ed", "ing") else None
            for stem in (*(base + s for s in stems), doubled):
                phones = self._plain(stem, before) if stem else None
                if phones:
                    return _inflect(phones, ending)
        return self._derived(word)

    def _derived(self, word: str) -> str | None:
        for suffix, sound in _SUFFIXES.items():
            base = word.removesuffix(suffix)
            for stem in (base, base + "e", base[:-1] + "y" if base.endswith("i") else ""):
                if base != word and len(base) > 2 and (phones := self._plain(stem)):
                    return phones + sound
        for prefix, sound in _PREFIXES.items():
            base = word.removeprefix(prefix)
            if base != word and len(base) > 3 and (phones := self._plain(base)):
                return sound + phones
        for cut in range(len(word) - 3, 2, -1):  # a compound: both halves long and known
            first, second = self._plain(word[:cut]), self._plain(word[cut:])
            if first and second and len(word) > 7:
                return first + second.replace("ˈ", "ˌ")
        return None

    def _plain(self, word: str, before: str = "") -> str | None:
        entry = self._entries.get(word) or self._entries.get(word.capitalize())
        if entry is None or len(word) < 2:
            return None
        return entry if isinstance(entry, str) else _choose(word, entry, before, False)


def _load(path: Path) -> dict[str, Entry]:
    entries = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: expected a dictionary of words")
    return entries


def _choose(word: str, entry: Mapping[str, str | None], before: str, final: bool) -> str | None:
    tag = "DEFAULT"
    if final and "None" in entry:
        tag = "None"
    elif before in _PERFECT_CUES and "VBN" in entry and word != "wound":
        tag = "VBN"
    elif before in _VERB_CUES and "VERB" in entry:
        tag = "VERB"
    elif before in _NOUN_CUES and "NOUN" in entry:
        tag = "NOUN"
    return entry.get(tag) or entry.get("DEFAULT")


def _inflect(phones: str, ending: str) -> str:
    last = phones.translate(_STRESS)[-1:]
    if ending == "ing":
        return _flapped(phones) + "ɪŋ"
    if ending in ("ed", "ied"):
        if last in ("t", "d"):
            return _flapped(phones) + "ᵻd"
        return phones + ("t" if last in _VOICELESS or last in "sʃʧ" else "d")
    if last in _SIBILANT:
        return phones + "ᵻz"
    return phones + ("s" if last in _VOICELESS else "z")


def _flapped(phones: str) -> str:
    return phones[:-1] + "ɾ" if phones[-1] == "t" and phones[-2:-1] in _VOWELS else phones

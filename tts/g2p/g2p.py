"""English words to the phonemes of the voice.

It is our own, because phonemizer and espeak-ng are GPL; see
docs/decisions/0026-own-text-and-sound-for-the-voice.md.
A word is looked up in this order: letters spelled out, weak forms of function words, the
dictionaries and their rules, the neural network.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tts.g2p.ipa import from_arpabet, from_misaki
from tts.g2p.lexicon import Lexicon
from tts.g2p.neural import NeuralG2P

GOLD_FILE, SILVER_FILE, NETWORK_FILE = "us_gold.json", "us_silver.json", "checkpoint20.npz"
PUNCTUATION = ",.;:!?"

_PIECES = re.compile(
    r"[A-Z](?:\.[A-Z])+(?:'?s\b)?|[A-Za-z]+(?:'[A-Za-z]+)*|[,.;:!?]"
)  # initials, words, marks
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z']+")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})
_VOWEL_SOUND = re.compile("[ˈˌ]?[aeiouæɐɑɔəɚɛɜɪʊʌᵻ]")

# As espeak says them inside a sentence; the voice was trained on its phonemes.
WEAK_FORMS = {
    "a": "ɐ", "an": "ɐn", "and": "ænd", "the": "ðə", "to": "tə", "of": "ʌv", "i": "aɪ",
    "or": "ɔːɹ", "for": "fɔːɹ", "is": "ɪz", "it": "ɪt", "in": "ɪn", "at": "æt", "as": "æz",
    "on": "ɔn", "if": "ɪf", "are": "ɑːɹ", "was": "wʌz", "were": "wɜː", "you": "juː",
    "your": "jʊɹ", "he": "hiː", "she": "ʃiː", "we": "wiː", "they": "ðeɪ", "me": "miː",
    "my": "maɪ", "her": "hɜː", "his": "hɪz", "its": "ɪts", "it's": "ɪts", "be": "biː",
    "do": "duː", "with": "wɪð", "that": "ðæt", "this": "ðɪs", "but": "bʌt", "from": "fɹʌm",
    "i'm": "aɪm", "by": "baɪ", "has": "hæz", "have": "hæv", "had": "hæd", "can": "kæn",
    "will": "wɪl", "not": "nˌɑːt", "than": "ðɐn", "so": "sˌoʊ", "us": "ˌʌs", "our": "ˌaʊɚ",
}  # fmt: skip
_BEFORE_VOWEL = {"the": "ðɪ", "to": "tʊ"}
# Common in answers, in no dictionary, and wrong from the network.
_EXTRA = {
    "github": "ɡˈɪthˌʌb", "linux": "lˈɪnəks", "wifi": "wˈaɪfaɪ", "api": "ˌeɪpiːˈaɪ",
    "chatgpt": "tʃˈæt dʒˌiːpˌiːtˈiː", "pytorch": "pˈaɪtˌɔːɹtʃ", "nginx": "ˈɛndʒɪnˈɛks",
    "qwen": "kwˈɛn", "numpy": "nˈʌmpaɪ", "ubuntu": "uːbˈuːntuː", "sql": "sˈiːkwəl",
    "kubernetes": "kˌuːbɚnˈɛɾiːz", "iphone": "ˈaɪfoʊn", "ipad": "ˈaɪpæd", "ebay": "ˈiːbeɪ",
    "emoji": "ɪmˈoʊdʒi", "blog": "blˈɑːɡ", "podcast": "pˈɑːdkæst", "covid": "kˈoʊvɪd",
    "that's": "ðæts", "json": "dʒˈeɪsən", "yaml": "jˈæməl", "spotify": "spˈɑːɾɪfˌaɪ",
}  # fmt: skip


class Phonemizer(Protocol):
    """A function from the words of one segment to phonemes of the voice."""

    def __call__(self, spoken: Sequence[str]) -> list[str]:
        """One phoneme string for each item of ``spoken``.

        An item is normalised speech text: any number of words with the punctuation that follows
        them. An item with nothing to say gives ''.
        """


class G2P:
    """Dictionaries, rules and network. Safe to share between threads.

    ``directory`` holds misaki's ``us_gold.json`` and ``us_silver.json`` and g2p_en's
    ``checkpoint20.npz``.
    """

    def __init__(self, directory: Path) -> None:
        self._lexicon = Lexicon(directory / GOLD_FILE, directory / SILVER_FILE)
        self._network = NeuralG2P(directory / NETWORK_FILE)

    def __call__(self, spoken: Sequence[str]) -> list[str]:
        """See `Phonemizer`."""
        items = [_PIECES.findall(_latin(text)) for text in spoken]
        flat = [piece for pieces in items for piece in pieces]
        sounds = iter(self._sentence(flat))
        return [_join([next(sounds) for _ in pieces]) for pieces in items]

    def _sentence(self, pieces: Sequence[str]) -> list[str]:
        """Sounds of words and punctuation marks.

        It works from the last to the first, because the sound of "the" and "to" depends on the
        sound that follows.
        """
        sounds: list[str] = []
        following = ""
        for index in range(len(pieces) - 1, -1, -1):
            piece = pieces[index]
            before = pieces[index - 1].lower() if index else ""
            if piece[0] in PUNCTUATION:
                sounds.append(piece[0])
                following = ""
                continue
            following = self._word(piece, before, following)
            sounds.append(following)
        return sounds[::-1]

    def _word(self, word: str, before: str, following: str) -> str:
        lower = word.lower()
        if _VOWEL_SOUND.match(following) and lower in _BEFORE_VOWEL:
            return _BEFORE_VOWEL[lower]
        if lower in WEAK_FORMS and (word != "A" or following) and not _is_acronym(word):
            return WEAK_FORMS[lower]
        if lower in _EXTRA:
            return _EXTRA[lower]
        if len(word) == 1 or "." in word:
            return self._letters(word)
        if phones := self._lexicon.lookup(word, before, final=not following):
            return from_misaki(phones)
        humps = _HUMPS.findall(word)  # the parts of TensorFlow
        if len(humps) > 1 and all(len(h) > 1 for h in humps):
            return "".join(self._word(h, "", ".") for h in humps)
        if not re.search("[aeiouy]", lower):
            return self._letters(word)
        return from_arpabet(self._network(lower))

    def _letters(self, word: str) -> str:
        """Letter names as one word with the stress on the last, as in "FBI"."""
        stem = re.sub(r"(?<=[A-Z])'?s$", "", word)
        names = [from_misaki(self._lexicon.lookup(c.upper()) or "") for c in stem if c.isalpha()]
        plural = "z" if len(stem) < len(word) else ""
        return "".join(n.replace("ˈ", "ˌ") for n in names[:-1]) + "".join(names[-1:]) + plural


def _is_acronym(word: str) -> bool:
    return len(word) > 1 and word.isupper()


def _latin(text: str) -> str:
    """``text`` with straight quotes, and letters without their accents: é as e."""
    split = unicodedata.normalize("NFD", text.translate(_QUOTES))
    return "".join(c for c in split if not unicodedata.combining(c))


def _join(sounds: Sequence[str]) -> str:
    """Join words by one space, punctuation straight after its word."""
    text = ""
    for sound in sounds:
        text += sound if not text or sound in PUNCTUATION else f" {sound}"
    return text

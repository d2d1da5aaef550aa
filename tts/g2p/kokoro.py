"""IPA, as `tts.g2p` writes it, to the letters that Kokoro-82M and its kin read.

They were trained on misaki's output: one letter for each diphthong and affricate, no marks of
length (EN_PHONES.md of that project).
"""

import re

# The words a and an keep the letter that others lose.
_ARTICLE = re.compile(r"(?<![^ ])ɐ(?=n?(?![^ ,.;:!?]))")
_KEPT = "\ue000"  # stands for that letter meanwhile
_CONSONANTS = "bdfhjklmnpstvwzðŋɡɾʃʒʔθ"
_SYLLABIC = re.compile(rf"(?<=[{_CONSONANTS}])ə(?=l(?:[{_CONSONANTS}]|(?![^ ,.;:!?])))")
_RULES = (
    ("ʔn̩", "tn"), ("n̩", "ᵊn"), ("l̩", "ᵊl"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɚɹ", "əɹ"),
    ("ɚ", "əɹ"), ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"), ("əʊ", "O"),
    ("dʒ", "ʤ"), ("tʃ", "ʧ"),
)  # fmt: skip
_LETTERS = str.maketrans(
    {"ː": "", "ɐ": "ə", "ɾ": "T", "ʔ": "t", "r": "ɹ", "g": "ɡ", "ɫ": "l", "ɬ": "l", "e": "A",
     "o": "O", "ɒ": "ɑ", "x": "k", "ç": "h", "…": ".", "—": ",", "\u0329": "", "\u0361": ""}
)  # fmt: skip


def to_kokoro(sounds: str) -> str:
    """Translate the sounds of any number of words, the marks between them included."""
    sounds = _SYLLABIC.sub("ᵊ", sounds)
    for ipa, letters in _RULES:
        sounds = sounds.replace(ipa, letters)
    kept = _ARTICLE.sub(_KEPT, sounds)
    return kept.translate(_LETTERS).replace(_KEPT, "ɐ")

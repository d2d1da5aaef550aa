"""What is said in place of an answer in which nothing can be said: code, emoji, marks."""

import re
import unicodedata

from tts.text.letters import NAMED, OTHER_LETTER, fold, say_other_script
from tts.text.normalize import DEFAULT_LOCALE, normalize
from tts.text.segment import Segmenter

_MOST_NAMES = 3  # of the emoji or marks of an answer
_FENCE = re.compile(r"```[ \t]*([\w+#-]*)")
_LANGUAGES = {
    "py": "Python", "python": "Python", "js": "JavaScript", "javascript": "JavaScript",
    "ts": "TypeScript", "typescript": "TypeScript", "c": "C", "cpp": "C++", "c++": "C++",
    "cs": "C#", "csharp": "C#", "go": "Go", "rs": "Rust", "rust": "Rust", "java": "Java",
    "rb": "Ruby", "ruby": "Ruby", "php": "P.H.P", "sh": "shell", "bash": "shell", "shell": "shell",
    "sql": "SQL", "html": "HTML", "css": "CSS", "json": "JSON", "yaml": "YAML", "toml": "TOML",
    "kotlin": "Kotlin", "swift": "Swift", "r": "R", "xml": "XML",
}  # fmt: skip
_MARKS = {".": "dot", "…": "dot dot dot", "-": "dash", "–": "dash", "—": "dash", "*": "star",
          "?": "question mark", "!": "exclamation mark", "_": "underscore", "|": "bar", "#": "hash",
          "`": "backtick", "~": "tilde", "/": "slash", "\\": "backslash", ",": "comma",
          ":": "colon", ";": "semicolon", "'": "apostrophe", '"': "quote", "$": "dollar sign",
          "^": "caret", "=": "equals", "<": "less than", ">": "more than"}  # fmt: skip
_SKIN = re.compile(r" (?:light|medium light|medium|medium dark|dark) skin tone\b")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zs", "Zl", "Zp"})


def stand_in(text: str) -> str:
    """Words to say for ``text``, of which no voice says anything; '' for nothing but space.

    Code is named with its language, emoji by their CLDR short names, marks by theirs; at most
    `_MOST_NAMES` of them.
    """
    if not text.strip():
        return ""
    if fence := _FENCE.search(text):
        language = _LANGUAGES.get(fence[1].lower())
        return f"code in {language}" if language else "some code"
    names = list(dict.fromkeys(_emoji_names(text) or _mark_names(text)))
    return ", ".join(names[:_MOST_NAMES]) or "a sign without a name"


def named_script(text: str) -> str:
    """What is said for ``text`` if nothing but its script is named, as in "text in Arabic"; ''
    where there is something to read."""
    if text.isascii() or any(c.isalnum() for c in re.sub(OTHER_LETTER, "", text)):
        return ""
    said = say_other_script(text)
    return said if said.startswith(NAMED) else ""


def speech(text: str, locale: str = DEFAULT_LOCALE, language: str = "en") -> str:
    """The words of a whole answer as they will be spoken: cut into clauses as it would be."""
    segmenter = Segmenter()
    clauses = [*segmenter.feed(text), *segmenter.finish()]
    said = " ".join(t.spoken for c in clauses for t in normalize(c, locale, language) if t.spoken)
    if said:
        return said
    return " ".join(token.spoken for token in normalize(stand_in(text), locale))


def _emoji_names(text: str) -> list[str]:
    import emoji  # reads its table of names, which few answers need

    return [
        _SKIN.sub("", _plain_words(emoji.demojize(found["emoji"], delimiters=("", ""))))
        for found in emoji.emoji_list(text)
    ]


def _mark_names(text: str) -> list[str]:
    text = re.sub(r"\.{3,}", "…", fold(text))
    shown = (c for c in text if unicodedata.category(c) not in _HIDDEN)
    names = (_plain_words(_MARKS.get(c, unicodedata.name(c, ""))).lower() for c in shown)
    return [name for name in names if name]


def _plain_words(name: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+|\d+", name))

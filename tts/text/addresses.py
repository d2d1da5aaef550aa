"""Addresses, paths and names of the net, said as one spells them out: "me at example dot com"."""

import re

from tts.text.letters import latin
from tts.text.numbers import digits
from tts.text.rules import ANY, LETTERS, Rule, rule
from tts.text.words import words

_DOMAINS = (
    "com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|es|it|nl|ch|at|eu|ca|au|jp|us|info|me|tv|gg|xyz"
)
_ENDINGS = (
    "pdf|docx?|xlsx?|pptx?|txt|csv|json|ya?ml|toml|md|html?|css|js|ts|tsx|jsx|py|rs|go|java|cpp|hpp"
    "|sh|sql|xml|zip|tar|gz|png|jpe?g|gif|svg|mp[34]|wav|flac|exe|dll|log|cfg|ini|ipynb|onnx"
)
_SIGNS = {".": "dot", "/": "slash", "\\": "backslash", "@": "at", "-": "dash", "_": "underscore",
          ":": "colon", "+": "plus", "~": "tilde", "#": "hash", "=": "equals", "&": "and",
          "%": "percent"}  # fmt: skip
# Ends of names that are said as words; others of up to four letters are spelled.
_SAID = frozenset(
    words("com org net gov info app dev co name biz shop me site blog zip log java go")
)
_NAMED = {"txt": "text", "js": "js", "py": "pie", "jpg": "J.peg", "jpeg": "J.peg", "md": "M.D",
          "json": "Jason", "yml": "yaml", "yaml": "yaml", "toml": "toml", "gif": "gif"}  # fmt: skip
_PIECES = re.compile(r"[^\W\d_]+|\d+|[./\\@:_+~#=&%-]")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def read_out(address: str) -> str:
    """ "a.b@c.de" -> "a dot b at c dot D.E". What has no name is left out."""
    parts = _PIECES.findall(address)
    said = []
    for index, part in enumerate(parts):
        if part.isdecimal():
            said.append(digits(part))
        elif part in _SIGNS:
            said.append(_SIGNS[part])
        elif index and parts[index - 1] == ".":
            said.append(_ending(part))
        else:
            said.append(_spelled(latin(part)))
    return " ".join(part for part in said if part)


def _ending(name: str) -> str:
    lower = name.lower()
    if lower in _NAMED:
        return _NAMED[lower]
    if lower in _SAID or not re.fullmatch(rf"{_DOMAINS}|{_ENDINGS}", lower) or len(lower) > 4:
        return latin(name).lower()
    return ".".join(latin(name).upper())


def _address(match: re.Match[str]) -> str:
    bare = re.sub(r"^(?:(?:https?|ftp)://)?(?:www\.)?|[/?#]+$", "", match[0], flags=re.IGNORECASE)
    return read_out(re.split(r"[?#]", bare)[0])


def _read(match: re.Match[str]) -> str:
    return read_out(match[0])


def _hashtag(match: re.Match[str]) -> str:
    parts = (p for name in match[1].split("_") for p in _HUMPS.findall(latin_or_digits(name)))
    return "hashtag " + " ".join(map(_hump, parts))


def _hump(part: str) -> str:
    return digits(part) if part.isdecimal() else _spelled(part)


def _spelled(name: str) -> str:
    """A few capitals are letters."""
    return ".".join(name) if name.isupper() and 1 < len(name) < 5 else name


def latin_or_digits(text: str) -> str:
    """Letters as `latin` has them, and figures as they are."""
    return "".join(c if c.isdecimal() else latin(c) for c in text)


RULES: tuple[Rule, ...] = (
    rule(ANY, r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+(?<![.\-])", _read),
    rule("HhWwFfSs", r"(?i)(?:https?://|ftp://|www\.)[^\s<>()\"]*[^\s<>()\".,;:!?*_`']", _address),
    rule(
        ANY,
        rf"(?i)\b(?:[a-z0-9-]+\.)+(?:{_DOMAINS})\b(?::\d+)?(?:/[\w./~%-]*\w)?(?![\w.]\w)"
        r"(?:\?[\w=&%+-]+)?",
        _address,
    ),
    rule(".", r"(?<!\w)\.NET\b", lambda _: "dot net"),
    rule("l", r"\blocalhost(?::\d+)?(?:/[\w./-]*\w)?", _read),
    rule(LETTERS, r"(?<!\w)[A-Za-z]:\\(?:[\w.~ -]+\\)*[\w.~-]*", _read),
    rule("~/.", r"(?<![\w)/<])(?:~|\.{1,2})?/(?:[\w.@+-]+/)*[\w.@+-]*\w/?(?<!\d/\d)", _read),
    rule(ANY, rf"(?<![\w./@])[\w-]+(?:/[\w.-]+)*\.(?:{_ENDINGS})(?!\w|\.\w)", _read),
    rule("-", r"(?<!\S)(?:--(?=\w)|-(?=[a-z]\b))", lambda m: " ".join("dash" for _ in m[0])),
    rule("@", r"(?<![\w@])@[A-Za-z_][\w.]*\w", _read),
    rule("#", r"(?<![\w#&])#([^\W\d]\w+)", _hashtag),
)

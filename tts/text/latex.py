"""Formulas in LaTeX, as language models write them: ``\\frac{a}{b}`` is "a over b"."""

import re
from collections.abc import Callable

from tts.text.rules import Rule, rule
from tts.text.words import words

_COMMANDS = {
    "times": "times", "cdot": "times", "div": "divided by", "pm": "plus or minus",
    "le": "is at most",
    "leq": "is at most", "ge": "is at least", "geq": "is at least", "ne": "is not equal to",
    "neq": "is not equal to", "approx": "is about", "to": "to", "rightarrow": "to",
    "Rightarrow": "so", "infty": "infinity", "sum": "sum of", "int": "integral of", "in": "in",
    "sqrt": "square root of", "partial": "partial", "circ": "degrees", "ldots": ",", "cdots": ",",
    "varepsilon": "epsilon", "ln": "natural log", "sin": "sine", "cos": "cosine", "tan": "tangent",
}  # fmt: skip
_SILENT = frozenset(words("left right quad qquad text mathrm mathbf displaystyle boxed begin end"))
_ARGUMENT = r"\{((?:[^{}]|\{[^{}]*\})*)\}"


def rules(spoken: Callable[[str], str]) -> tuple[Rule, ...]:
    """The rules; ``spoken`` says what stands in braces."""

    def fraction(match: re.Match[str]) -> str:
        above, below = match[1], match[2]
        if above.isdecimal() and below.isdecimal():
            return spoken(f"{above}/{below}")
        return f"{spoken(above)} over {spoken(below)}"

    def command(match: re.Match[str]) -> str:
        return "" if match[1] in _SILENT else _COMMANDS.get(match[1], match[1])

    return (
        rule("\\", rf"\\[dt]?frac{_ARGUMENT}{_ARGUMENT}", fraction),
        rule(
            "\\",
            rf"\\sqrt{_ARGUMENT}",
            lambda m: f"square root of {spoken(m[1])}",
        ),
        rule("\\", r"\\([A-Za-z]+)", command),
    )

"""How formulas are said: exponents, indices, operators, functions, chemistry."""

import re
import unicodedata

from tts.text.letters import latin
from tts.text.numbers import AMOUNT, cardinal, number, ordinal, plain
from tts.text.rules import ANY, DIGITS, LETTERS, LOWER, MINUS, START, UPPER, rule
from tts.text.units import unit
from tts.text.words import words

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵃᵇᶜᵈᵉᵏᵐᵗˣʸ", "0123456789+-=()niabcdekmtxy")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢₐₑₒₓⱼₖₘₚₛₜ", "0123456789+-=()niaeoxjkmpst")
_RAISED, _LOWERED = (
    "".join(map(chr, table)) for table in (_SUPERSCRIPT, _SUBSCRIPT)
)
_POWERS = {"2": "squared", "3": "cubed"}
_GREEK = {
    **{chr(c): unicodedata.name(chr(c)).split()[-1].lower() for c in range(0x3B1, 0x3CA) if c != 0x3C2},
    **{c: unicodedata.name(c).split()[-1].lower() for c in "ΓΔΘΛΞΠΣΦΨΩ"},
    "λ": "lambda", "Λ": "lambda", "ϵ": "epsilon", "ϕ": "phi",
}  # fmt: skip
_OPERATORS = {
    "+": "plus", "-": "minus", "−": "minus", "*": "times", "×": "times", "·": "times",
    "⋅": "times", "÷": "divided by", "/": "divided by", "=": "equals", "==": "equals",
    "<": "is less than", ">": "is greater than", "≤": "is at most", "≥": "is at least",
    "<=": "is at most", ">=": "is at least", "≈": "is about", "~": "is about",
    "≠": "is not equal to", "!=": "is not equal to", "±": "plus or minus", "≡": "is equivalent to",
    "∝": "is proportional to", "∈": "is in", "^": "to the power of",
}  # fmt: skip
_OPERATOR = "|".join(sorted(map(re.escape, _OPERATORS), key=len, reverse=True))
# Elements whose symbols are read letter by letter in a formula.
_ELEMENTS = "|".join(sorted(words("""
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Ti Cr Mn Fe Co Ni Cu Zn As Se Br Kr Ag Sn
    I Xe Ba Pt Au Hg Pb Rn Ra U
"""), key=len, reverse=True))  # fmt: skip
_FORMULA = re.compile(rf"(?:(?:{_ELEMENTS})\d*)+")
_ELEMENT = re.compile(rf"({_ELEMENTS})(\d*)")


def _exponent(text: str) -> str:
    """What follows the base: "squared", "to the sixth", "to the minus three", "to the n"."""
    text = text.translate(_SUPERSCRIPT).strip("{}() ")
    if text in _POWERS:
        return _POWERS[text]
    if text.isdecimal():
        return f"to the {ordinal(int(text))}"
    said = re.sub(
        r"\d+(?:\.\d+)?|[-−+*/=]|[A-Za-z]+",
        lambda m: f" {_OPERATORS.get(m[0]) or (number(m[0]) if m[0][0].isdecimal() else m[0])} ",
        text,
    )
    kept = " ".join("".join(c for c in word if c.isalpha()) for word in said.split()).split()
    return f"to the {' '.join(kept)}" if kept else ""


def _raised(match: re.Match[str]) -> str | None:
    """A base of letters or figures with an exponent; a raised 1 after a word is a footnote."""
    base, raised = match["base"], match["raised"]
    exponent = raised.translate(_SUPERSCRIPT).lstrip("^")
    if raised[0] != "^" and len(base) > 3 and exponent.isdecimal() and base.isalpha():
        return latin(base) if base.islower() or base.istitle() else None
    return f"{_base(base)} {_exponent(exponent)}"


def _base(text: str) -> str:
    """Letters of a product by their names: mc -> "m c", πr -> "pi r"; figures as a number."""
    parts = re.findall(rf"{AMOUNT}|\w", text)
    said = (number(p) if p[0].isdecimal() else _GREEK.get(p) or latin(p) for p in parts)
    return " ".join(part for part in said if part)


def _power_of_ten(match: re.Match[str]) -> str:
    sign = "minus " if match[2] == "-" or match[2] == "−" else ""
    power = int(match[3])
    said = f"minus {cardinal(power)}" if sign else ordinal(power)
    return f"{number(match[1])} times ten to the {said}"


def _index(match: re.Match[str]) -> str | None:
    """A formula of chemistry, or a letter with an index: CO₂, x₁."""
    text = match[0].translate(_SUBSCRIPT).translate(_SUPERSCRIPT)
    name, lowered = match["name"], match["index"].translate(_SUBSCRIPT)
    if lowered.isdecimal() and _FORMULA.fullmatch(text) and name[0].isupper():
        return _say_formula(text)
    if len(name) > 3:
        return None
    return f"{_base(name)} {number(lowered) if lowered.isdecimal() else _letters(lowered)}".strip()


def _letters(text: str) -> str:
    return " ".join(number(c) if c.isdecimal() else c for c in text if c.isalnum())


def _say_formula(text: str) -> str:
    said = []
    for element, count in _ELEMENT.findall(text):
        said.append(".".join(element.upper()))
        if count:
            said.append(number(count))
    return " ".join(said)


def _formula(match: re.Match[str]) -> str | None:
    """CO2, H2O, C6H12O6; A4 and B12 are not, and are said the same way all the same."""
    text = match[0].translate(_SUBSCRIPT)
    if not _FORMULA.fullmatch(text) or len(_ELEMENT.findall(text)) < 2:
        return None
    return _say_formula(text)


def _function(match: re.Match[str]) -> str:
    return f"{match[1]} of {match[2]}"


def _operator(match: re.Match[str]) -> str:
    return _OPERATORS[match[1]]


def _unit_power(match: re.Match[str]) -> str | None:
    """A unit with an exponent that stands without an amount: "in m²"."""
    return unit(match[0], plural=True)


RULES = (
    rule(
        DIGITS,
        rf"{START}({AMOUNT})(?:[eE]|\s?[×x*·]\s?10\^)\{{?([-−+]?)\{{?(\d{{1,3}})\}}?(?!\w)",
        _power_of_ten,
    ),
    rule("mckdsl", r"\b[a-zμ]{1,2}[²³](?!\w)(?<!mc²)", _unit_power),
    rule(
        ANY,
        rf"(?P<base>(?<![\d.,]){AMOUNT}|(?<!\w)[^\W\d_]{{1,12}}?|(?<=\d)[a-z]|(?<=[)\]]))"
        rf"(?P<raised>[{_RAISED}]+|\^(?:\{{[^{{}}\n]{{1,20}}\}}|\([^()\n]{{1,20}}\)|[-−]?\w+))",
        _raised,
    ),
    rule(
        ANY,
        rf"(?<!\w)(?P<name>(?:[^\W\d_]|(?<=[A-Za-z])[\d{_LOWERED}](?=[A-Z{_LOWERED}])){{1,12}}?)"
        rf"(?P<index>[{_LOWERED}]+)(?:(?P<more>[A-Z][A-Za-z{_LOWERED}]*))?",
        _index,
    ),
    rule(UPPER, r"\b(?:[A-Z][a-z]?\d{0,2}){2,8}(?!\w)(?<=[\dOH])", _formula),
    rule(LETTERS, r"(?<![\w.])([fghFGPQ])\(([a-z])\)", _function),
    rule(LOWER, r"(?<![\w.])(sin|cos|tan|log|ln|exp|sqrt|max|min)\(", lambda m: {
        "ln": "natural log", "sqrt": "square root", "sin": "sine", "cos": "cosine",
        "tan": "tangent", "max": "maximum", "min": "minimum", "exp": "exponential"}
        .get(m[1], m[1]) + " of"),
    rule(
        "".join({operator[0] for operator in _OPERATORS}),
        rf"(?:(?<=\d)|(?<=\d )|(?<=\b[A-Za-z] )|(?<=[)²³%½] )|(?<=[)²³⁴⁵]))({_OPERATOR})"
        r"(?= [A-Za-zα-ω√(\d]| ?[-−]?\d|[a-z]\b|[A-Za-zα-ω][²³])(?!-? ?[a-z]{3,}-)",
        _operator,
    ),
    rule("+-−", r"(?<=UTC|GMT)[+−-](?=\d)", _operator),
    rule("=", r"=", lambda _: "equals"),
    rule(".", r"(?<![\w.])\.\d+\b", lambda m: number(m[0])),
    rule(DIGITS + "-−", rf"{MINUS}{AMOUNT}", lambda m: plain(m[0])),
    rule(
        "".join(_GREEK), rf"(?<![Ͱ-Ͽ])[{''.join(_GREEK)}](?![Ͱ-Ͽ])", lambda m: _GREEK[m[0]]
    ),
)  # fmt: skip

"""How formulas are said: exponents, indices, operators, functions, chemistry."""

import re
import unicodedata

from tts.text.letters import latin
from tts.text.numbers import AMOUNT, cardinal, number, ordinal, plain
from tts.text.rules import ANY, DIGITS, LETTERS, LOWER, MINUS, START, UPPER, before, rule
from tts.text.units import UNIT, unit
from tts.text.words import words

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵃᵇᶜᵈᵉᵏᵐᵗˣʸ", "0123456789+-=()niabcdekmtxy")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢₐₑₒₓⱼₖₘₚₛₜ", "0123456789+-=()niaeoxjkmpst")
_RAISED, _LOWERED = ("".join(map(chr, table)) for table in (_SUPERSCRIPT, _SUBSCRIPT))
_L = "[A-Za-zÀ-ÖØ-öø-ɏͰ-Ͽ\u0400-\u04ff]"  # a letter, and no figure of any kind
_POWERS = {"2": "squared", "3": "cubed"}
_GREEK = {
    **{c: unicodedata.name(c).split()[-1].lower() for c in "αβγδεζηθικμνξοπρστυφχψωΓΔΘΞΠΣΦΨΩ"},
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
_FUNCTIONS = {
    "sin": "sine", "cos": "cosine", "tan": "tangent", "log": "log", "exp": "exponential",
    "ln": "natural log", "sqrt": "square root", "max": "maximum", "min": "minimum",
}  # fmt: skip
_OPERATOR = "|".join(sorted(map(re.escape, _OPERATORS), key=len, reverse=True))
# Elements whose symbols are read letter by letter in a formula.
_ELEMENTS = "|".join(sorted(words("""
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Ti Cr Mn Fe Co Ni Cu Zn As Se Br Kr Ag Sn
    I Xe Ba Pt Au Hg Pb Rn Ra U
"""), key=len, reverse=True))  # fmt: skip
_FORMULA = re.compile(rf"(?:(?:{_ELEMENTS})\d*)+")
_NO_QUOTIENTS = frozenset({"y/n", "a/c", "b/c", "i/o", "b/w", "c/o", "w/o", "p/e"})
_ELEMENT = re.compile(rf"({_ELEMENTS})(\d*)")


def _exponent(text: str) -> str:
    """What follows the base: "squared", "to the sixth", "to the minus three", "to the n"."""
    text = text.translate(_SUPERSCRIPT).strip("{}() ")
    if text in _POWERS:
        return _POWERS[text]
    if text.isdecimal():
        return f"to the {ordinal(int(text))}"
    said = re.sub(
        rf"\d+(?:\.\d+)?|[-−+*/=]|[A-Za-z]+|[{''.join(_GREEK)}]",
        lambda m: f" {_said(m[0])} ",
        text,
    )
    kept = " ".join(word for word in said.split() if word.isascii() and word.isalpha())
    return f"to the {kept}" if kept else ""


def _said(piece: str) -> str:
    if piece[0].isdecimal():
        return number(piece)
    return _OPERATORS.get(piece) or _GREEK.get(piece) or latin(piece)


def _raised(match: re.Match[str]) -> str | None:
    """A base of letters or figures with an exponent; a raised 1 after a word is a footnote."""
    base, raised = match["base"], match["raised"]
    exponent = raised.translate(_SUPERSCRIPT).lstrip("^")
    if raised[0] != "^" and len(base) > 3 and exponent.isdecimal() and base.isalpha():
        return latin(base) if base.islower() or base.istitle() else None
    said = _FUNCTIONS.get(base) or _base(base)
    if charge := re.fullmatch(r"(\d*)([-−+])", exponent):
        plain_base = base.translate(_SUBSCRIPT)
        said = _say_formula(plain_base) if _FORMULA.fullmatch(plain_base) else said
        count = f"{number(charge[1])} " if charge[1] else ""
        return f"{said} {count}{_OPERATORS[charge[2]]}".strip()
    return f"{said} {_exponent(exponent)}".strip()


def _base(text: str) -> str:
    """Letters of a product by their names: mc -> "m c", πr -> "pi r"; figures as a number."""
    parts = re.findall(rf"{AMOUNT}|\w", text)
    said = (number(p) if p[0].isdecimal() else _GREEK.get(p) or latin(p) for p in parts)
    return " ".join(part for part in said if part)


def _ten_to_the(exponent: str, name: str) -> str | None:
    said = unit(name, plural=True)
    return said and f"ten {_exponent(exponent)} {said}"


def _power_of_ten(match: re.Match[str]) -> str | None:
    raised = (match[2] or match[3]).translate(_SUPERSCRIPT)
    if not raised.lstrip("-−+").isdecimal():
        return None
    power = int(raised.lstrip("-−+"))
    said = f"minus {cardinal(power)}" if raised[0] in "-−" else ordinal(power)
    measure = unit(match[4], plural=True) if match[4] else ""
    if measure is None:
        return None
    return f"{number(match[1])} times ten to the {said} {measure}".rstrip()


def _index(match: re.Match[str]) -> str | None:
    """A formula of chemistry, or a letter with an index: CO₂, x₁."""
    text = match[0].translate(_SUBSCRIPT).translate(_SUPERSCRIPT)
    name, lowered = match["name"], match["index"].translate(_SUBSCRIPT)
    if lowered.isdecimal() and _FORMULA.fullmatch(text) and name[0].isupper():
        return _say_formula(text)
    if len(name) > 3:
        return None
    if name == "log" and lowered.isdecimal():
        of = " of" if match.string.startswith("(", match.end()) else ""
        return f"log base {number(lowered)}{of}"
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


def _arguments(text: str) -> str:
    return number(text) if text.isdecimal() else text.replace(",", ", ").replace("  ", " ")


def _function(match: re.Match[str]) -> str:
    return f"{match[1]}{' prime' * len(match[2])} of {_arguments(match[3])}"


def _quotient(match: re.Match[str]) -> str | None:
    above, below = match[1], match[2]
    if f"{above}/{below}" in _NO_QUOTIENTS:
        return None
    parts = (
        " ".join(_GREEK.get(c) or {"∂": "partial"}.get(c, c) for c in p) for p in match.groups()
    )
    return " over ".join(parts)


def _product(match: re.Match[str]) -> str | None:
    """4ac in an equation: letters by their names."""
    return " ".join(match[0]) if "=" in match.string else None


def _isotope(match: re.Match[str]) -> str | None:
    mass = match[1].translate(_SUPERSCRIPT)
    return f"{'.'.join(match[2].upper())} {number(mass)}" if mass.isdecimal() else None


def _operator(match: re.Match[str]) -> str:
    joins_name = match[1] == "-" and re.search(r"[A-Za-z][\w.]*-?[\d.]+$", before(match))
    return "" if joins_name else _OPERATORS[match[1]]


def _unit_power(match: re.Match[str]) -> str | None:
    """A unit with an exponent that stands without an amount: "in m²"."""
    return unit(match[0], plural=True)


RULES = (
    rule(
        DIGITS,
        rf"{START}({AMOUNT})(?:(?:[eE]|\s?[×x*·⋅]\s?10\^)\{{?([-−+]?\d{{1,3}})\}}?(?!\w)"
        rf"|\s?[×x*·⋅]\s?10([{_RAISED}]+))(?:\s({UNIT}))?",
        _power_of_ten,
    ),
    rule(
        "1",
        rf"{START}10([{_RAISED}]+|\^[-−]?\d+)\s({UNIT})",
        lambda m: _ten_to_the(m[1].lstrip("^"), m[2]),
    ),
    rule("μkMG", r"(?<!\w)(?:μ[a-zA-Z]{1,3}|[kMG]Ω)(?!\w)", _unit_power),
    rule("mckdsl", r"\b[a-zμ]{1,2}[²³](?!\w)(?<!mc²)", _unit_power),
    rule(
        LETTERS + "μ",
        r"(?<![\w/])(?!./.\b(?<!m/s))[a-zA-Zμ]{1,3}[²³]?[/·][a-zA-Z]{1,3}[²³]?(?![\w/²³])",
        _unit_power,
    ),
    rule(
        ANY,
        rf"(?P<base>(?<![\d.,]){AMOUNT}|(?<!{_L})[A-Z][A-Za-z{_LOWERED}]{{0,12}}[{_LOWERED}]"
        rf"|(?<!{_L}){_L}{{1,12}}?|(?<=[)\]]))"
        rf"(?P<raised>[{_RAISED}]+|\^(?:\{{[^{{}}\n]{{1,20}}\}}|\([^()\n]{{1,20}}\)|[-−]?\w+))",
        _raised,
    ),
    rule(
        ANY,
        rf"(?<!{_L})(?P<name>(?:{_L}|(?<=[A-Za-z])[\d{_LOWERED}](?=[A-Z{_LOWERED}])){{1,12}}?)"
        rf"(?P<index>[{_LOWERED}]+)(?:(?P<more>[A-Z][A-Za-z{_LOWERED}]*))?",
        _index,
    ),
    rule(UPPER, r"\b(?=[A-Za-z]*\d)(?:[A-Z][a-z]?\d{0,2}){2,8}(?!\w)(?<=[\dOH])", _formula),
    rule(LETTERS, r"(?<![\w.])([fghFGPQ])('{0,2})\(([a-z](?:, ?[a-z])*|\d+)\)", _function),
    rule(LOWER, rf"(?<![\w.])({'|'.join(_FUNCTIONS)})\(", lambda m: _FUNCTIONS[m[1]] + " of"),
    rule(LOWER + "Δ∂", r"(?<![\w./])([dΔ∂]?[a-z])/([dΔ∂]?[a-z])(?![\w/])", _quotient),
    rule("!", r"(?<=[\dn)])!(?=\s*[=+*/^×-])", lambda _: "factorial"),
    rule(
        "".join({operator[0] for operator in _OPERATORS}),
        rf"(?:(?<=\d)|(?<=\d )|(?<=\b[A-Za-z] )|(?<=\d[a-z] )|(?<=[)²³%½!] )|(?<=[)²³⁴⁵]))"
        rf"({_OPERATOR})"
        r"(?= [A-Za-zα-ω√(\d]| ?[-−]?\d|[a-z]\b(?!-)|[A-Za-zα-ω][²³])(?!-? ?[a-z]{3,}-)",
        _operator,
    ),
    rule("-−", r"(?:(?<=[(=\[])|(?<== ))[-−](?=[a-zα-ω]\b|√)", lambda _: "minus"),
    rule(LOWER, r"(?<=\d)[a-z]{2,3}(?!\w)", _product),
    rule(_RAISED, rf"([{_RAISED}]+)([A-Z][a-z]?)(?![a-z])", _isotope),
    rule("+-−", r"(?<=UTC|GMT)[+−-](?=\d)", lambda m: _OPERATORS[m[0]]),
    rule("<>", r"(?<=\b[A-Za-z])([<>]=?)(?=[A-Za-z\d])", _operator),
    rule("=", r"=", lambda _: "equals"),
    rule(".", r"(?<![\w.])\.\d+\b", lambda m: number(m[0])),
    rule(DIGITS + "-−", rf"{MINUS}{AMOUNT}", lambda m: plain(m[0])),
    rule(
        "".join(_GREEK), rf"(?<![Ͱ-Ͽ])[{''.join(_GREEK)}](?![Ͱ-Ͽ])", lambda m: _GREEK[m[0]]
    ),
)  # fmt: skip

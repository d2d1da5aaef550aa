"""Units of measure as words, also those made of others: "m/s²", "mg/dL", "kWh"."""

import re

from tts.text.words import words

# "*" is where the plural's s goes.
_PREFIXES = {
    "p": "pico", "n": "nano", "μ": "micro", "u": "micro", "m": "milli", "c": "centi", "d": "deci",
    "h": "hecto", "k": "kilo", "K": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta",
}  # fmt: skip
# Each base with the prefixes that are in use.
_BASES = (
    ("m", "meter*", "pnμucdk"), ("g", "gram*", "nμumk"), ("L", "liter*", "μumcdh"),
    ("l", "liter*", "μumcdh"), ("s", "second*", "nμum"), ("W", "watt*", "mkMGT"),
    ("Wh", "watt hour*", "kMGT"), ("V", "volt*", "μmkM"), ("A", "amp*", "nμmk"),
    ("Ah", "amp hour*", "m"), ("Hz", "hertz", "kMGT"), ("B", "byte*", "kKMGTP"),
    ("bit", "bit*", "kMGT"), ("b", "bit*", "kMGT"), ("bps", "bit* per second", "kMGT"),
    ("Pa", "pascal*", "hkMG"), ("bar", "bar*", "m"), ("J", "joule*", "mkMG"),
    ("N", "newton*", "mkM"), ("Ω", "ohm*", "mkMG"), ("F", "farad*", "pnμm"),
    ("eV", "electronvolt*", "kMGT"), ("mol", "mole*", "nμm"), ("cal", "calorie*", "k"),
    ("Sv", "sievert*", "mμ"), ("Bq", "becquerel*", "kMG"), ("T", "tesla*", "mμ"),
    ("K", "kelvin*", "mμ"),
)  # fmt: skip
_OTHERS = {
    "kmh": "kilometer* per hour", "kph": "kilometer* per hour", "mph": "mile* per hour",
    "sq ft": "square foot", "sq. ft": "square foot", "sq ft.": "square foot",
    "sq. ft.": "square foot", "mi": "mile*", "ft": "foot", "yd": "yard*",
    "lb": "pound*", "lbs": "pound*", "oz": "ounce*", "°C": "degree* Celsius",
    "° C": "degree* Celsius", "ºC": "degree* Celsius", "º C": "degree* Celsius",
    "º F": "degree* Fahrenheit", "fl oz": "fluid ounce*", "fl. oz": "fluid ounce*",
    "℃": "degree* Celsius",
    "°F": "degree* Fahrenheit", "° F": "degree* Fahrenheit", "ºF": "degree* Fahrenheit",
    "℉": "degree* Fahrenheit", "°": "degree*", "°N": "degree* north", "°S": "degree* south",
    "°E": "degree* east", "°W": "degree* west", "° N": "degree* north", "° S": "degree* south",
    "° E": "degree* east", "° W": "degree* west", "%": "percent", "‰": "per mille",
    "GiB": "gibibyte*", "MiB": "mebibyte*", "KiB": "kibibyte*", "TiB": "tebibyte*",
    "sec": "second*", "secs": "second*", "min": "minute*", "mins": "minute*", "h": "hour*",
    "hr": "hour*", "hrs": "hour*", "yr": "year*", "yrs": "year*", "dB": "decibel*",
    "tbsp": "tablespoon*", "tsp": "teaspoon*", "fps": "frame* per second", "px": "pixel*",
    "ppm": "part* per million", "ppb": "part* per billion", "rpm": "revolution* per minute",
    "mmHg": "millimeter* of mercury", "¢": "cent*", "tok": "token*", "ha": "hectare*",
    "psi": "pound* per square inch",
    "in.": "inch", "″": "inch", "′": "foot", "kcal": "kilocalorie*", "pt": "point*",
    "gal": "gallon*", "mAh": "milliamp hour*", "Å": "angstrom*", "lm": "lumen*", "lx": "lux",
    "wk": "week*", "wks": "week*", "mo": "month*", "mos": "month*",
}  # fmt: skip
_ONLY_BELOW = words("day week month year hour person night d head unit minute second")  # 5 $/day
# One letter alone after a number is more often a letter: seat 12A, vitamin or grade.
_ONLY_WITH_OTHERS = frozenset("ABFJKNTb") | {"pm", "pF"}
_LENGTHS = ("meter", "inch", "foot", "mile", "yard")
_POWERS = {"²": 2, "³": 3, "2": 2, "3": 3, "^2": 2, "^3": 3, "⁻¹": 1, "⁻²": 2, "⁻³": 3}

_UNITS = {base: said for base, said, _ in _BASES} | _OTHERS
_UNITS |= {
    prefix + base: _PREFIXES[prefix] + said
    for base, said, prefixes in _BASES
    for prefix in prefixes
}
_DENOMINATORS = _UNITS | {name: name for name in _ONLY_BELOW} | {"d": "day"}

_NAME = (
    r"(?:°\s?[CFNSEW](?![\w])|º\s?[CF]|[°º%‰¢℃℉″′]|sq\.? ft\b(?:\.(?=\s[a-z]))?|in\.(?=\s[a-z]|,|$)"
    r"|fl\.? oz|[A-Za-zμΩÅ]+)"
)
_POWER = r"(?:[²³]|⁻[¹²³]|\^[23]|(?<=m)[23])?"
UNIT = rf"{_NAME}{_POWER}(?:[/·⋅][A-Za-zμΩ]+{_POWER})*(?![\w/²³^⁻])"
_PART = re.compile(r"(?P<name>.+?)(?P<power>[²³]|⁻[¹²³]|\^[23]|(?<=m)[23])?")


def unit(text: str, *, plural: bool) -> str | None:
    """How the unit ``text`` is said after an amount; None if it is none."""
    above, *below = re.split(r"[/·⋅]", text)
    if not below and above in _ONLY_WITH_OTHERS:
        return None
    head = _part(above, _UNITS)
    if head is None:
        return None
    said = [head]  # of a product only the last has the plural: newton meters
    divisors: list[str] = []
    for sign, name in zip(re.findall(r"[/·⋅]", text), below, strict=True):
        part = _part(name, _DENOMINATORS)
        if part is None:
            return None
        (divisors if sign == "/" or "⁻" in name else said).append(part)
    product = [*(_numbered(part, False) for part in said[:-1]), _numbered(said[-1], plural)]
    return " ".join([*product, *(f"per {_numbered(part, False)}" for part in divisors)])


def per(name: str) -> str | None:
    """ "/kg", "/month" after a price: "per kilogram", "per month"."""
    part = _part(name, _DENOMINATORS)
    return part and f"per {_numbered(part, False)}"


def counted(amount: str, said: str) -> str:
    """``said``, which marks its plural's s with "*", as it is after ``amount``."""
    return _numbered(said, amount != "1")


def _numbered(said: str, plural: bool) -> str:
    if plural:
        said = re.sub(r"\binch\b", "inches", re.sub(r"\bfoot\b", "feet", said))
        return said.replace("*", "s")
    return said.replace("*", "")


def _part(text: str, known: dict[str, str]) -> str | None:
    if text in known:
        return known[text]
    match = _PART.fullmatch(text)
    said = known.get(match["name"]) if match else None
    if match is None or said is None or match["power"] is None:
        return None
    power = _POWERS[match["power"]]
    if power == 1:
        return said
    if any(length in said for length in _LENGTHS):
        return f"{'square' if power == 2 else 'cubic'} {said}"
    return f"{said} {'squared' if power == 2 else 'cubed'}"

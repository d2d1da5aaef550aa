"""Numbers as German, Spanish and French words; our own, because num2words is LGPL."""

from collections.abc import Callable

from tts.text.words import words

Cardinal = Callable[[int], str]
LARGEST = 10**12  # from here on digit by digit

_DE = words("""
    null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn
    sechzehn siebzehn achtzehn neunzehn
""")
_DE_TENS = words("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_DE_ORDINALS = {"eins": "erst", "drei": "dritt", "sieben": "siebt", "acht": "acht"}

_ES = words("""
    cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince
    dieciséis diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro
    veinticinco veintiséis veintisiete veintiocho veintinueve
""")
_ES_TENS = words("treinta cuarenta cincuenta sesenta setenta ochenta noventa")
_ES_HUNDREDS = words("""
    ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos
    novecientos
""")

_FR = words("""
    zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize
    dix-sept dix-huit dix-neuf
""")
_FR_TENS = words("vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt")


def german(number: int) -> str:
    """21 -> "einundzwanzig", 1_000_000 -> "eine Million"."""
    said = []
    for scale, one, many in ((10**9, "Milliarde", "Milliarden"), (10**6, "Million", "Millionen")):
        count, number = divmod(number, scale)
        if count:
            said.append(f"eine {one}" if count == 1 else f"{_german_small(count)} {many}")
    if number or not said:
        said.append(_german_small(number))
    return " ".join(said)


def german_ordinal(number: int) -> str:
    """The stem, to which an ending is added: 3 -> "dritt", 19 -> "neunzehnt", 20 -> "zwanzigst"."""
    if number % 100 >= 20 or number % 100 == 0:
        return f"{german(number)}st"
    last = _DE[number % 100]
    return german(number).removesuffix(last) + _DE_ORDINALS.get(last, f"{last}t")


def german_year(number: int) -> str:
    """1989 -> "neunzehnhundertneunundachtzig"; 2024 as any number."""
    century, rest = divmod(number, 100)
    if not 1100 <= number <= 1999:
        return german(number)
    return f"{german(century)}hundert{german(rest) if rest else ''}"


def _german_small(number: int) -> str:
    """Below a million, in one word."""
    thousands, rest = divmod(number, 1000)
    said = f"{_german_counted(thousands)}tausend" if thousands else ""
    hundreds, rest = divmod(rest, 100)
    said += f"{_german_counted(hundreds)}hundert" if hundreds else ""
    if rest < len(_DE):
        return said + (_DE[rest] if rest or not said else "")
    tens, ones = divmod(rest, 10)
    return said + (f"{_german_counted(ones)}und" if ones else "") + _DE_TENS[tens - 2]


def _german_counted(number: int) -> str:
    """Before "tausend" and its like: "ein", not "eins"."""
    said = _german_small(number)
    return said.removesuffix("s") if said.endswith("eins") else said


def spanish(number: int) -> str:
    """21 -> "veintiuno", 1_000 -> "mil", 1_000_000 -> "un millón"."""
    millions, number = divmod(number, 10**6)
    thousands, rest = divmod(number, 1000)
    said = []
    if millions:
        counted = f"{apocope(spanish(millions))} millones"
        said.append("un millón" if millions == 1 else counted)
    if thousands:
        said.append("mil" if thousands == 1 else f"{apocope(_spanish_small(thousands))} mil")
    if rest or not said:
        said.append(_spanish_small(rest))
    return " ".join(said)


def _spanish_small(number: int) -> str:
    if number == 100:
        return "cien"
    hundreds, rest = divmod(number, 100)
    said = [_ES_HUNDREDS[hundreds - 1]] if hundreds else []
    if rest >= len(_ES):
        tens, ones = divmod(rest, 10)
        said.append(_ES_TENS[tens - 3] + (f" y {_ES[ones]}" if ones else ""))
    elif rest or not said:
        said.append(_ES[rest])
    return " ".join(said)


def apocope(said: str) -> str:
    """Before what it counts: "veintiún mil", "treinta y un millones"."""
    if said.endswith("veintiuno"):
        return said.removesuffix("uno") + "ún"
    return said.removesuffix("o") if said.endswith("uno") else said


def french(number: int) -> str:
    """21 -> "vingt et un", 71 -> "soixante et onze", 80 -> "quatre-vingts"."""
    said = []
    for scale, name in ((10**9, "milliard"), (10**6, "million")):
        count, number = divmod(number, scale)
        if count:
            said.append(f"{_french_small(count)} {name}{'s' if count > 1 else ''}")
    thousands, rest = divmod(number, 1000)
    if thousands:
        counted = _french_small(thousands, is_last=False)
        said.append("mille" if thousands == 1 else f"{counted} mille")
    if rest or not said:
        said.append(_french_small(rest))
    return " ".join(said)


def _french_small(number: int, *, is_last: bool = True) -> str:
    """Below a thousand. At the end of a number "cents" and "vingts" are plural."""
    hundreds, rest = divmod(number, 100)
    said = []
    if hundreds:
        plural = "s" if hundreds > 1 and not rest and is_last else ""
        said.append(f"{f'{_FR[hundreds]} ' if hundreds > 1 else ''}cent{plural}")
    if rest or not said:
        said.append(_french_tens(rest, is_last=is_last))
    return " ".join(said)


def _french_tens(number: int, *, is_last: bool) -> str:
    if number < len(_FR):
        return _FR[number]
    tens, ones = divmod(number, 10)
    name = _FR_TENS[tens - 2]
    if tens in (7, 9):  # soixante-dix, quatre-vingt-dix
        ones += 10
    if not ones:
        return f"{name}s" if tens == 8 and is_last else name
    joint = " et " if ones in (1, 11) and tens < 8 else "-"
    return f"{name}{joint}{_FR[ones]}"


def digits(text: str, cardinal: Cardinal) -> str:
    """Figure by figure."""
    return " ".join(cardinal(int(c)) for c in text if c in "0123456789")

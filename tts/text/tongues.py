"""How German, Spanish and French say what is not written in words: data for `tts.text.foreign`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tts.text import cardinals
from tts.text.words import words

Pair = tuple[str, str]  # of one with its number, of more without theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Tongue:
    """One language. ``clock`` says hours and minutes, ``day`` a day of a month, given the word
    before it; both get numbers. ``groups`` holds what may stand between thousands."""

    cardinal: cardinals.Cardinal
    year: cardinals.Cardinal
    groups: str
    point: str
    dot: str
    until: str
    signs: Mapping[str, str]
    symbols: Mapping[str, str]
    currencies: Mapping[str, Pair]
    cents: str  # between whole and hundredths of a currency
    units: Mapping[str, Pair]
    months: tuple[str, ...]
    short: Mapping[str, str]
    clock: Callable[[int, int], str]
    clock_marks: str  # a pattern between hours and minutes
    clock_words: str  # a pattern of what stands behind a time and is said by `clock`
    day: Callable[[int, str], str]
    day_marks: str  # a pattern behind a day before its month
    ordinal: Callable[[int, str], str | None]
    ordinal_marks: str  # a pattern behind a number that makes it one
    of: str = ""  # between day, month and year
    counted: Callable[[str], str] = str  # a number before what it counts


def _counted(one: str, names: str) -> dict[str, Pair]:
    """Units that are the same for one and many: "km Kilometer, ..."; ``one`` is their "a"."""
    pairs = (entry.split(maxsplit=1) for entry in names.split(","))
    return {unit: (f"{one} {name}", name) for unit, name in pairs}


# German

_AFTER_DATIVE = frozenset(words("am vom zum beim im dem den des ab bis seit nach einem einen"))
_AFTER_ARTICLE = frozenset(words("der die das diese dieser dieses jede jeder jedes"))


def _german_ending(before: str) -> str | None:
    before = before.lower()
    if before in _AFTER_DATIVE:
        return "en"
    return "e" if before in _AFTER_ARTICLE else None


def _german_clock(hour: int, minute: int) -> str:
    said = "ein" if hour == 1 else cardinals.german(hour)
    return f"{said} Uhr{f' {cardinals.german(minute)}' if minute else ''}"


def _german_ordinal(number: int, before: str) -> str | None:
    ending = _german_ending(before)
    return None if ending is None else cardinals.german_ordinal(number) + ending


GERMAN = Tongue(
    cardinal=cardinals.german,
    year=cardinals.german_year,
    groups=".",
    point="Komma",
    dot="Punkt",
    until="bis",
    signs=MappingProxyType({"-": "minus", "−": "minus", "+": "plus"}),
    symbols=MappingProxyType({
        "&": "und", "+": "plus", "=": "gleich", "@": "ät", "%": "Prozent", "°": "Grad",
        "§": "Paragraf", "×": "mal", "÷": "geteilt durch", "±": "plus minus", "≈": "etwa",
        "→": "nach", "#": "Nummer", "€": "Euro", "$": "Dollar", "£": "Pfund", "/": "",
    }),
    currencies=MappingProxyType({
        "€": ("ein Euro", "Euro"), "EUR": ("ein Euro", "Euro"), "Euro": ("ein Euro", "Euro"),
        "$": ("ein Dollar", "Dollar"), "£": ("ein Pfund", "Pfund"),
        "CHF": ("ein Franken", "Franken"),
    }),
    cents="",
    units=MappingProxyType({
        **_counted("ein", "% Prozent,Prozent Prozent,km Kilometer,m Meter,cm Zentimeter,"
                   "mm Millimeter,kg Kilogramm,g Gramm,mg Milligramm,l Liter,ml Milliliter,"
                   "km/h Kilometer pro Stunde,m/s Meter pro Sekunde,°C Grad Celsius,° Grad,"
                   "m² Quadratmeter,m³ Kubikmeter,km² Quadratkilometer,W Watt,kW Kilowatt,V Volt,"
                   "kWh Kilowattstunden,GB Gigabyte,MB Megabyte,KB Kilobyte,TB Terabyte,Hz Hertz,"
                   "kHz Kilohertz,MHz Megahertz,GHz Gigahertz,ha Hektar"),
        "h": ("eine Stunde", "Stunden"), "Std.": ("eine Stunde", "Stunden"),
        "min": ("eine Minute", "Minuten"), "Min.": ("eine Minute", "Minuten"),
        "s": ("eine Sekunde", "Sekunden"), "ms": ("eine Millisekunde", "Millisekunden"),
        "Mio.": ("eine Million", "Millionen"), "Mrd.": ("eine Milliarde", "Milliarden"),
    }),
    months=words("Januar Februar März April Mai Juni Juli August September Oktober November "
                 "Dezember"),
    short=MappingProxyType({
        "z. B.": "zum Beispiel", "d. h.": "das heißt", "u. a.": "unter anderem",
        "z. T.": "zum Teil", "v. a.": "vor allem", "u. U.": "unter Umständen",
        "i. d. R.": "in der Regel", "usw.": "und so weiter", "etc.": "et cetera",
        "bzw.": "beziehungsweise", "ca.": "circa", "Nr.": "Nummer", "Dr.": "Doktor",
        "Prof.": "Professor", "Hr.": "Herr", "Fr.": "Frau", "Str.": "Straße",
        "ggf.": "gegebenenfalls",
        "evtl.": "eventuell", "inkl.": "inklusive", "vgl.": "vergleiche", "sog.": "sogenannte",
        "Abb.": "Abbildung", "Kap.": "Kapitel", "Bd.": "Band", "Tel.": "Telefon",
        "Mio.": "Millionen", "Mrd.": "Milliarden", "St.": "Sankt", "Jh.": "Jahrhundert",
        "geb.": "geboren",
    }),
    clock=_german_clock,
    clock_marks=r"[:.]",
    clock_words=r"\s?Uhr",
    day=lambda day, before: cardinals.german_ordinal(day) + (_german_ending(before) or "er"),
    day_marks=r"\.\s?",
    ordinal=_german_ordinal,
    ordinal_marks=r"\.(?=\s[A-ZÄÖÜ])",
)  # fmt: skip

# Spanish


def _spanish_clock(hour: int, minute: int) -> str:
    said = "una" if hour == 1 else cardinals.spanish(hour).replace("uno", "una")
    return f"{said}{f' y {cardinals.spanish(minute)}' if minute else ''}"


_ES_ORDINALS = words("primer segund tercer cuart quint sext séptim octav noven décim")

SPANISH = Tongue(
    cardinal=cardinals.spanish,
    year=cardinals.spanish,
    groups=". ",
    point="coma",
    dot="punto",
    until="a",
    signs=MappingProxyType({"-": "menos", "−": "menos", "+": "más"}),
    symbols=MappingProxyType({
        "&": "y", "+": "más", "=": "igual a", "@": "arroba", "%": "por ciento", "°": "grados",
        "×": "por", "÷": "entre", "±": "más menos", "≈": "aproximadamente", "→": "a",
        "#": "número", "€": "euros", "$": "dólares", "£": "libras", "/": "",
    }),
    currencies=MappingProxyType({
        "€": ("un euro", "euros"), "EUR": ("un euro", "euros"), "euros": ("un euro", "euros"),
        "$": ("un dólar", "dólares"), "£": ("una libra", "libras"),
    }),
    cents="con",
    units=MappingProxyType({
        "%": ("uno por ciento", "por ciento"), "km": ("un kilómetro", "kilómetros"),
        "m": ("un metro", "metros"), "cm": ("un centímetro", "centímetros"),
        "mm": ("un milímetro", "milímetros"), "kg": ("un kilo", "kilos"),
        "g": ("un gramo", "gramos"), "l": ("un litro", "litros"),
        "ml": ("un mililitro", "mililitros"), "h": ("una hora", "horas"),
        "min": ("un minuto", "minutos"), "s": ("un segundo", "segundos"),
        "km/h": ("un kilómetro por hora", "kilómetros por hora"),
        "°C": ("un grado", "grados"), "°": ("un grado", "grados"), "GB": ("un giga", "gigas"),
        "MB": ("un mega", "megas"), "kW": ("un kilovatio", "kilovatios"),
        "m²": ("un metro cuadrado", "metros cuadrados"),
    }),
    months=words("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
                 "diciembre"),
    short=MappingProxyType({
        "p. ej.": "por ejemplo", "etc.": "etcétera", "Sr.": "señor", "Sra.": "señora",
        "Srta.": "señorita", "Dr.": "doctor", "Dra.": "doctora", "Ud.": "usted",
        "Uds.": "ustedes", "EE. UU.": "Estados Unidos", "aprox.": "aproximadamente",
        "n.º": "número", "núm.": "número", "pág.": "página", "tel.": "teléfono", "Av.": "avenida",
        "a. C.": "antes de Cristo", "d. C.": "después de Cristo", "a. m.": "de la mañana",
        "p. m.": "de la tarde",
    }),
    clock=_spanish_clock,
    clock_marks=r":",
    clock_words=r"\s?h(?:oras)?\b\.?",
    day=lambda day, _: "primero" if day == 1 else cardinals.spanish(day),
    day_marks=r"(?: de)? ",
    ordinal=lambda n, _: _ES_ORDINALS[n - 1] + "o" if n <= len(_ES_ORDINALS) else None,
    ordinal_marks=r"\.?º",
    of="de",
    counted=cardinals.apocope,
)  # fmt: skip

# French


def _french_clock(hour: int, minute: int) -> str:
    said = cardinals.french(hour)
    hours = "heure" if hour <= 1 else "heures"
    said = f"{said}e" if said.endswith("un") else said
    return f"{said} {hours}{f' {cardinals.french(minute)}' if minute else ''}"


def _french_ordinal(number: int, _: str) -> str:
    if number == 1:
        return "premier"
    said = cardinals.french(number).removesuffix("e")
    return {"cinq": "cinquième", "neuf": "neuvième"}.get(said, f"{said.removesuffix('s')}ième")


FRENCH = Tongue(
    cardinal=cardinals.french,
    year=cardinals.french,
    groups=". ",
    point="virgule",
    dot="point",
    until="à",
    signs=MappingProxyType({"-": "moins", "−": "moins", "+": "plus"}),
    symbols=MappingProxyType({
        "&": "et", "+": "plus", "=": "égale", "@": "arobase", "%": "pour cent", "°": "degrés",
        "§": "paragraphe", "×": "fois", "÷": "divisé par", "±": "plus ou moins", "≈": "environ",
        "→": "vers", "#": "numéro", "€": "euros", "$": "dollars", "£": "livres", "/": "",
    }),
    currencies=MappingProxyType({
        "€": ("un euro", "euros"), "EUR": ("un euro", "euros"), "euros": ("un euro", "euros"),
        "$": ("un dollar", "dollars"), "£": ("une livre", "livres"),
    }),
    cents="",
    units=MappingProxyType({
        "%": ("un pour cent", "pour cent"), "km": ("un kilomètre", "kilomètres"),
        "m": ("un mètre", "mètres"), "cm": ("un centimètre", "centimètres"),
        "mm": ("un millimètre", "millimètres"), "kg": ("un kilo", "kilos"),
        "g": ("un gramme", "grammes"), "l": ("un litre", "litres"),
        "ml": ("un millilitre", "millilitres"), "min": ("une minute", "minutes"),
        "s": ("une seconde", "secondes"), "h": ("une heure", "heures"),
        "km/h": ("un kilomètre heure", "kilomètres heure"), "°C": ("un degré", "degrés"),
        "°": ("un degré", "degrés"), "Go": ("un gigaoctet", "gigaoctets"),
        "Mo": ("un mégaoctet", "mégaoctets"), "kW": ("un kilowatt", "kilowatts"),
        "m²": ("un mètre carré", "mètres carrés"),
    }),
    months=words("janvier février mars avril mai juin juillet août septembre octobre novembre "
                 "décembre"),
    short=MappingProxyType({
        "p. ex.": "par exemple", "c.-à-d.": "c'est-à-dire", "etc.": "et cetera",
        "M.": "monsieur", "MM.": "messieurs", "Mme": "madame", "Mmes": "mesdames",
        "Mlle": "mademoiselle", "Dr": "docteur", "env.": "environ", "n°": "numéro",
        "N°": "numéro", "tél.": "téléphone", "av. J.-C.": "avant Jésus-Christ",
        "apr. J.-C.": "après Jésus-Christ", "St": "saint", "Ste": "sainte", "bd": "boulevard",
    }),
    clock=_french_clock,
    clock_marks=r"\s?[h:]\s?",
    clock_words=r"\s?(?:h|heures)\b",
    day=lambda day, _: "premier" if day == 1 else cardinals.french(day),
    day_marks=r"(?:er)? ",
    ordinal=_french_ordinal,
    ordinal_marks=r"(?:er|re|ère|e|ème|ième)\b",
)  # fmt: skip

TONGUES: Mapping[str, Tongue] = MappingProxyType({"de": GERMAN, "es": SPANISH, "fr": FRENCH})

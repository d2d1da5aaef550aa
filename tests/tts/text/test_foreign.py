"""German, Spanish and French as they will be spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.text.cardinals import french, german, german_ordinal, spanish
from tts.text.normalize import normalize
from tts.text.segment import Segmenter


def said(text: str, language: str) -> str:
    tokens = normalize(text, language=language)
    assert "".join(token.text for token in tokens) == text
    return " ".join(token.spoken for token in tokens if token.spoken)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, ("null", "cero", "zéro")),
        (1, ("eins", "uno", "un")),
        (16, ("sechzehn", "dieciséis", "seize")),
        (21, ("einundzwanzig", "veintiuno", "vingt et un")),
        (71, ("einundsiebzig", "setenta y uno", "soixante et onze")),
        (80, ("achtzig", "ochenta", "quatre-vingts")),
        (91, ("einundneunzig", "noventa y uno", "quatre-vingt-onze")),
        (100, ("einhundert", "cien", "cent")),
        (201, ("zweihunderteins", "doscientos uno", "deux cent un")),
        (1_000, ("eintausend", "mil", "mille")),
        (21_000, ("einundzwanzigtausend", "veintiún mil", "vingt et un mille")),
        (80_000, ("achtzigtausend", "ochenta mil", "quatre-vingt mille")),
        (1_000_000, ("eine Million", "un millón", "un million")),
        (2_000_000_000, ("zwei Milliarden", "dos mil millones", "deux milliards")),
    ],
)
def test_numbers(number: int, words: tuple[str, str, str]) -> None:
    assert (german(number), spanish(number), french(number)) == words


def test_german_ordinals() -> None:
    stems = [german_ordinal(n) for n in (1, 2, 3, 7, 8, 19, 20, 21, 101)]
    expected = "erst zweit dritt siebt acht neunzehnt zwanzigst einundzwanzigst einhunderterst"
    assert stems == expected.split()


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("um 14:30", "um vierzehn Uhr dreißig"),
        ("um 1:05 Uhr, um 8 Uhr, 14.30 Uhr", "um ein Uhr fünf, um acht Uhr, vierzehn Uhr dreißig"),
        (
            "3,5 Prozent, 3,5\u202f%, 1 %",
            "drei Komma fünf Prozent, drei Komma fünf Prozent, ein Prozent",
        ),
        ("21", "einundzwanzig"),
        ("1.000.000 und 1,25", "eine Million und eins Komma zwei fünf"),
        ("5 €, 12,50 Euro, $2", "fünf Euro, zwölf Euro fünfzig, zwei Dollar"),
        (
            "-5 °C bei 120 km/h",
            "minus fünf Grad Celsius bei einhundertzwanzig Kilometer pro Stunde",
        ),
        ("Am 3. Oktober 1990.", "Am dritten Oktober neunzehnhundertneunzig."),
        ("der 3.10.2024", "der dritte Oktober zweitausendvierundzwanzig"),
        ("im 19. Jahrhundert", "im neunzehnten Jahrhundert"),
        ("Ich habe 3. Er auch.", "Ich habe drei. Er auch."),
        ("z. B. Dr. Ng usw.", "zum Beispiel Doktor Ng und so weiter."),
        ("d.h. ca. 10-12 Min.", "das heißt circa zehn bis zwölf Minuten."),
        ("- **Eins**\n- [Zwei](http://x.de)", "Eins. Zwei"),
        ("info@beispiel.de", "info ät beispiel Punkt de"),
        ("Tel. 030 1234567", "Telefon null drei null eins zwei drei vier fünf sechs sieben"),
        ("Version 3.5.1", "Version drei Punkt fünf Punkt eins"),
        ("Müßiggang, Straße!", "Müßiggang, Straße!"),
    ],
)
def test_german(text: str, spoken: str) -> None:
    assert said(text, "de") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("A las 14:30.", "A las catorce y treinta."),
        ("¿Es el 3,5 %?", "Es el tres coma cinco por ciento?"),
        (
            "21 euros, 31 km, 5,50 €",
            "veintiún euros, treinta y un kilómetros, cinco euros con cincuenta",
        ),
        ("el 3 de octubre de 2024", "el tres de octubre de dos mil veinticuatro"),
        ("EE. UU., p. ej., n.º 5, 2º", "Estados Unidos, por ejemplo, número cinco, segundo"),
    ],
)
def test_spanish(text: str, spoken: str) -> None:
    assert said(text, "es") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("À 14h30, à 21:00", "À quatorze heures trente, à vingt et une heures"),
        ("3,5 % de 1 000 000", "trois virgule cinq pour cent de un million"),
        ("le 1er mai, 2e étage", "le premier mai, deuxième étage"),
        ("M. Dupont, n° 80", "monsieur Dupont, numéro quatre-vingts"),
    ],
)
def test_french(text: str, spoken: str) -> None:
    assert said(text, "fr") == spoken


def test_a_segment_does_not_end_in_a_date() -> None:
    segmenter = Segmenter()
    text = "Das ist am 3. Oktober, also ca. 20 Tage vorher. Gut so."
    segments = [*segmenter.feed(text), *segmenter.finish()]
    assert "".join(segments) == text
    assert segments[0].startswith("Das ist am 3. Oktober,")
    assert segments[-1] == "Gut so."


def test_other_languages_keep_their_figures() -> None:
    assert said("# Alle 14:30\n**21** euro, 3,5 %", "it") == "Alle 14:30. 21 euro, 3,5 %"


@given(
    st.text(alphabet="0123456789.,:-/ %€hEuroUhZ.ä°'\n", max_size=40),
    st.sampled_from(["de", "es", "fr", "it"]),
)
def test_any_text_is_kept_whole(text: str, locale: str) -> None:
    said(text, locale)

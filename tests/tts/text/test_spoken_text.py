"""The texts of ``spoken_text.json`` and the words they are to be spoken as.

Those of kind "reported" come from people's bug reports; the others were written, before the rules
for them were, to cover each kind; those of kind "later" show what was mended after that.
"""

import json
import re
import unicodedata
from pathlib import Path

import pytest

from tts.text.normalize import normalize
from tts.text.unspoken import speech

CASES = json.loads((Path(__file__).parent / "spoken_text.json").read_text(encoding="utf-8"))


def bare(said: str) -> list[str]:
    """Its words in lower case, without marks and accents, letters of an acronym apart."""
    letters = "".join(c for c in unicodedata.normalize("NFD", said) if not unicodedata.combining(c))
    return re.sub(r"[.,;:!?]", " ", letters).lower().split()


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case['kind']}: {case['text']}") for case in CASES]
)
def test_a_text_is_spoken_as_wanted(case: dict[str, str]) -> None:
    assert bare(speech(case["text"])) == case["expected"].split()


@pytest.mark.parametrize(
    ("text", "american", "elsewhere"),
    [
        ("5/6/2025", "May sixth, twenty twenty five", "June fifth, twenty twenty five"),
        ("on 5/6", "on May sixth", "on June fifth"),
        ("31.12.2025", "December thirty first, twenty twenty five", None),
        ("on 12/25", "on December twenty fifth", None),
        ("5-6-2025", "May sixth, twenty twenty five", "June fifth, twenty twenty five"),
    ],
)
def test_the_order_of_day_and_month_is_the_locales(
    text: str, american: str, elsewhere: str | None
) -> None:
    def said(locale: str) -> str:
        return " ".join(token.spoken for token in normalize(text, locale))

    assert said("en-US") == american
    assert said("en-GB") == said("de-DE") == (elsewhere or american)


@pytest.mark.parametrize(
    ("text", "words"),
    [  # the words around a number decide, so these stay amounts
        ("The code has 1200 lines.", "twelve hundred lines"),
        ("I ordered 250 tickets.", "two hundred fifty tickets"),
        ("Call in 20 minutes.", "call in twenty minutes"),
        ("Call 3 people.", "call three people"),
        ("The number of people is 48213.", "forty eight thousand two hundred thirteen"),
        ("The account has $4,829.", "four thousand eight hundred twenty nine dollars"),
        ("It was 1990.", "nineteen ninety"),
        ("10/2=5", "ten divided by two equals five"),
        ("increase it by 1/2", "by one half"),
        ("between 1/2 and 3/4", "between one half and three quarters"),
        ("I said no. 5 left.", "no"),
        ("Section 3.2. Next", "three point two next"),
        ("As Henry I am well.", "as henry i am well"),
        ("wait 7 - 3 days", "seven minus three days"),
        ("the Malcolm X film", "malcolm x film"),
        ("Thanks Dr. Brown.", "thanks doctor brown"),
        ("He and/or she: 50% off-peak", "and or she fifty percent off peak"),
    ],
)
def test_what_looks_alike_and_is_not(text: str, words: str) -> None:
    assert words in " ".join(bare(speech(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"\(\frac{a+b}{2} \leq x^2\)", "a plus b over two is at most x squared"),
        (r"$\frac{1}{2}$", "one half"),
        (r"\sqrt{x} \times 3", "square root of x times three"),
        ("log₂(8) = 3", "log base two of eight equals three"),
        ("SO₄²⁻ and Na⁺", "s o four two minus and n a plus"),
        ("sin²θ", "sine squared theta"),
        ("10 m·s⁻¹", "ten meters per second"),
        ("3 × 10⁸ m/s", "three times ten to the eighth meters per second"),
    ],
)
def test_formulas(text: str, words: str) -> None:
    assert " ".join(bare(speech(text))) == words


@pytest.mark.parametrize(
    "text",
    [
        "Your PIN is: 4829.",
        "Your new verification code is 482913. Thanks.",
        "For your new booking the reference number is 482913.",
        "Well, then: your order number: 48213907.",
    ],
)
def test_a_code_is_not_cut_off_from_the_words_that_call_it_one(text: str) -> None:
    said = speech(text)
    assert "hundred" not in said
    assert "four eight two" in said

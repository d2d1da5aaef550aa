import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.text.numbers import cardinal, decade, digits, number, ordinal, year

SMALL = {
    w: n
    for n, w in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
}
SMALL |= {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15}
SMALL |= {"sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20}
SMALL |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80}
SMALL |= {"ninety": 90}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES |= {"quadrillion": 10**15}


def read(words: str) -> int:
    """The number that was said: the inverse of `cardinal`."""
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in SCALES:
            total, group = total + group * SCALES[word], 0
        else:
            group += SMALL[word]
    return total + group


@given(st.integers(0, 10**18 - 1))
def test_a_cardinal_can_be_read_back(n: int) -> None:
    assert read(cardinal(n)) == n


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "zero"),
        (-7, "minus seven"),
        (100, "one hundred"),
        (1_000_001, "one million one"),
        (10**18, "one" + " zero" * 18),
    ],
)
def test_cardinal(n: int, words: str) -> None:
    assert cardinal(n) == words


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (1, "first"),
        (3, "third"),
        (12, "twelfth"),
        (20, "twentieth"),
        (22, "twenty second"),
        (40, "fortieth"),
        (100, "one hundredth"),
    ],
)
def test_ordinal(n: int, words: str) -> None:
    assert ordinal(n) == words


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (1066, "ten sixty six"),
        (1900, "nineteen hundred"),
        (1905, "nineteen oh five"),
        (2000, "two thousand"),
        (2007, "two thousand seven"),
        (2026, "twenty twenty six"),
        (800, "eight hundred"),
    ],
)
def test_year(n: int, words: str) -> None:
    assert year(n) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,000", "one thousand"),
        ("-1,000.50", "minus one thousand point five zero"),
        ("−3", "minus three"),
        ("+4", "plus four"),
        ("007", "zero zero seven"),
        (".5", "zero point five"),
        ("0.25", "zero point two five"),
    ],
)
def test_number(text: str, words: str) -> None:
    assert number(text) == words


def test_number_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        number("12a")


def test_digits_and_decades() -> None:
    assert digits("4-07") == "four zero seven"
    assert decade(1990) == "nineteen nineties"
    assert decade(80) == "eighties"
    assert decade(2000) == "two thousands"

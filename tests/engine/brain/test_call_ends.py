"""What goes round in circles is found, and what means something is left alone."""

import json

import pytest

from engine.brain.call_ends import CallEnds, loops

ITEM = '{"field": "price", "value": 1}, '


@pytest.mark.parametrize(
    "text",
    [
        "1234567890" * 5,
        "0" * 40,
        "the the " * 6,
        ITEM * 4,
        '{"query": "' + "ab" * 30,
    ],
)
def test_repetition_is_found_at_its_end(text: str) -> None:
    assert loops(text)
    assert not loops(text + "?")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1111222233334444" * 2,
        "00000000-0000-0000-0000-000000000000",
        "[" + "0, " * 9,
        ITEM * 3,
        "DE89370400440532013000",
        "ha ha ha ha ha",
        json.dumps([f"value number {n}" for n in range(9)]),
    ],
)
def test_what_means_something_is_none(text: str) -> None:
    assert not loops(text)


@pytest.mark.parametrize(
    ("text", "left", "closing"),
    [
        ('{"a": "bcd', 5, ""),  # words are not cut short because the limit is near
        ('{"a": "' + "no " * 20, 500, '"'),
        ('{"a": "' + "no " * 20 + "\\", 500, ""),  # a quote would be part of the text
        ('{"a": "b"', 500, ""),
        ('{"a": "b"', 5, "}]"),
        ('{"a": "' + "no " * 20 + '"', 500, "}]"),  # nothing else is begun
        ('{"a": 3.' + "3" * 50, 500, "}],"),
    ],
)
def test_what_closes_a_call(text: str, left: int, closing: str) -> None:
    ends = CallEnds()
    for letter in text:
        ends.feed(letter)
    assert ends.closing(left) == closing

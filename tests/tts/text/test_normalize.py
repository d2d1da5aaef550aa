import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.text.normalize import Token, normalize

PIECES = ["Dr. ", "$3.50", "1,000", "10:30 pm", "Nov 22, 2026", "**", "`", "\n- ", "http://a.io/b",
          "a@b.com", "5 km", " ", "3-4", "1/2", "😀", "U.S.", "—", "...", "word", "NASA", "[x](y)",
          "```", "-", "°C", "'90s", "1. ", "+1 555", "é", "日本"]  # fmt: skip


def spoken(text: str) -> str:
    return " ".join(token.spoken for token in normalize(text) if token.spoken)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_tokens_joined_are_the_text(text: str) -> None:
    tokens = normalize(text)
    assert "".join(token.text for token in tokens) == text
    assert all(token.text for token in tokens)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_speech_has_no_figures_or_symbols(text: str) -> None:
    for character in spoken(text):
        assert character.isalpha() or character in " ',.;:!?", character


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        # numbers
        ("1,000 and 3.14", "one thousand and three point one four"),
        ("-5 or −5", "minus five or minus five"),
        ("1st, 22nd, 1,000th", "first, twenty second, one thousandth"),
        ("1/2, 3/4, 2 1/2", "one half, three quarters, two and one half"),
        ("½ cup, 1½ cups", "one half cup, one and one half cups"),
        ("5-10 and 10–15", "five to ten and ten to fifteen"),
        ("24/7", "twenty four seven"),
        ("in 1984 and 2007", "in nineteen eighty four and two thousand seven"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("agent 007", "agent zero zero seven"),
        ("v3.11.2", "version three point eleven point two"),
        ("16:9", "sixteen to nine"),
        # sums
        ("2 + 2 = 4", "two plus two equals four"),
        ("7 - 3", "seven minus three"),
        ("3*4=12", "three times four equals twelve"),
        ("10/2=5", "ten divided by two equals five"),
        # dates and times
        ("2026-11-22", "November twenty second, twenty twenty six"),
        ("11/22/2026", "November twenty second, twenty twenty six"),
        ("22/11/26", "November twenty second, twenty twenty six"),
        ("Nov 22", "November twenty second"),
        ("Sept. 3rd, 2001", "September third, two thousand one"),
        ("22 November 2026", "twenty second of November twenty twenty six"),
        ("May 2026", "May twenty twenty six"),
        ("you may 5 times", "you may five times"),
        ("10:30 pm", "ten thirty P.M"),
        ("at 3:00 p.m.", "at three P.M."),
        ("7am", "seven A.M"),
        ("10:05", "ten oh five"),
        ("9:00", "nine o'clock"),
        ("14:00", "fourteen hundred"),
        # money
        ("$3.50", "three dollars and fifty cents"),
        ("$1, €20", "one dollar, twenty euros"),
        ("$0.99", "ninety nine cents"),
        ("£1.2 million", "one point two million pounds"),
        ("$5-10", "five to ten dollars"),
        ("$5k", "five thousand dollars"),
        ("20 € or 5 USD", "twenty euros or five dollars"),
        ("-$5", "minus five dollars"),
        # units
        ("5 km, 1 kg", "five kilometers, one kilogram"),
        ("20°C", "twenty degrees Celsius"),
        ("1°F", "one degree Fahrenheit"),
        ("60 mph", "sixty miles per hour"),
        ("50%", "fifty percent"),
        ("6 ft", "six feet"),
        ("5-10 km/h", "five to ten kilometers per hour"),
        ("3x faster", "three times faster"),
        ("1000 sq ft.", "one thousand square feet."),
        # telephone
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("(555) 123-4567", "five five five, one two three, four five six seven"),
        ("555-0199", "five five five, zero one nine nine"),
        # abbreviations, acronyms
        ("Dr. Smith vs. Mr. Jones", "Doctor Smith versus Mister Jones"),
        ("e.g. this, etc.", "for example this, et cetera."),
        ("St. John on Main St.", "Saint John on Main Street."),
        ("No. 5. No.", "number five. No."),
        ("the USA and FBI", "the U.S.A and F.B.I"),
        ("NASA's GPUs", "Nasa's G.P.Us"),
        ("in the U.S.", "in the U.S."),
        ("the U.S. is", "the U.S is"),
        ("World War II", "World War two"),
        ("Wi-Fi and Node.js", "wifi and Node dot js"),
        ("THIS IS LOUD", "This Is Loud"),
        # symbols, addresses
        ("salt & pepper", "salt and pepper"),
        ("me@example.com", "me at example dot com"),
        ("https://www.example.com/a-b?x=1.", "example dot com slash a dash b."),
        # markdown
        ("**bold** _it_ `code_x`", "bold it code x"),
        ("[a link](http://x.y/z), ok", "a link, ok"),
        ("# Title\n\n- one\n- two", "Title. one. two"),
        ("1. First\n2. Second", "one. First. two. Second"),
        ("```python\nx = 1\n```\nDone", "Done"),
        ("```python\nnever closed", ""),
        # punctuation, emoji
        ("Well... maybe — yes", "Well, maybe , yes"),
        ("Really?! Yes!!!", "Really? Yes!"),
        ("Fun 🎉🎉!", "Fun !"),
        ("😀", ""),
        ("don’t", "don't"),
        ("café, cafe\u0301s", "café, cafés"),
        ("5 m² ①", "five square meters"),
    ],
)
def test_speech(text: str, speech: str) -> None:
    assert spoken(text) == speech


def test_a_quantity_is_one_token() -> None:
    assert normalize("On Nov 22, 2026, at 10:30 pm.") == [
        Token("On ", "On"),
        Token("Nov 22, 2026, ", "November twenty second, twenty twenty six,"),
        Token("at ", "at"),
        Token("10:30 pm.", "ten thirty P.M."),
    ]

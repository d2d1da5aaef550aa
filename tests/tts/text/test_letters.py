import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts.text.letters import fold, latin, say_other_script
from tts.text.normalize import normalize
from tts.text.unspoken import named_script, speech, stand_in

SCRIPTS = list("ЖжßłØﬁａ日かハ한אشअไ😀🏽🇺²₃½Ⅳ٣€…\u0301\u200dʃΩµ")


@given(st.text())
def test_folding_keeps_every_character_in_its_place(text: str) -> None:
    assert len(fold(text)) == len(text)


@given(st.text(st.one_of(st.characters(), st.sampled_from(SCRIPTS))))
def test_spoken_slices_joined_are_the_text_in_any_script(text: str) -> None:
    tokens = normalize(text)
    assert "".join(token.text for token in tokens) == text
    for token in tokens:
        assert all(c.isalpha() or c in " ',.;:!?" for c in token.spoken)


@given(st.text())
@settings(deadline=None)  # the first emoji reads a table
def test_what_is_spoken_is_latin(text: str) -> None:
    for character in speech(text):
        if character.isalpha():
            assert unicodedata.normalize("NFD", character)[0].isascii()


@given(st.text(min_size=1))
@settings(deadline=None)
def test_nothing_but_space_is_without_words(text: str) -> None:
    assert bool(speech(text)) == bool(text.strip())


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("Łódź", "Lódź"),
        ("Ørsted", "Orsted"),
        ("ŁÓDŹ", "LÓDŹ"),
        ("Straße", "Strasse"),
        ("Þór", "Thór"),
        ("ðæđœı", "daedoei"),
        ("ﬃ", "ffi"),
        ("Щука", "Shchuka"),
        ("Ελευθερία", "Eleftheria"),
        ("Բարև", "Barev"),
        ("გამარჯობა", "gamarjoba"),
        ("don't", "don't"),
        ("x²", "x"),
        ("猫", ""),
    ],
)
def test_latin(word: str, written: str) -> None:
    assert latin(word) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("你好", "text in Chinese"),
        ("日本語の本", "text in Japanese"),
        ("ありがとう", "arigatou"),
        ("감사합니다", "gamsahabnida"),
        ("감사합니다" * 6, "text in Korean"),
        ("שלום", "text in Hebrew"),
        ("مرحبا بالعالم", "text in Arabic"),
        ("नमस्ते", "text in Hindi"),
        ("ꙮ", ""),
    ],
)
def test_other_scripts_are_named(text: str, said: str) -> None:
    assert say_other_script(text) == (said or "text in Cyrillic")
    assert named_script(f"{text}!") == (said if said.startswith("text in") else "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The word 猫 means cat.", "The word , text in Chinese, means cat."),
        ("Hello 世界!", "Hello , text in Chinese!"),
        ("Ask Łukasz in Москва.", "Ask Lukasz in Moskva."),
        ("٣ apples", "three apples"),
        ("Ｆｕｌｌ ｗｉｄｔｈ！", "Full width!"),
        ("co\u00adop\u200bera\u2060te", "cooperate"),
    ],
)
def test_scripts_within_a_text(text: str, said: str) -> None:
    assert " ".join(token.spoken for token in normalize(text)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("😀", "grinning face"),
        ("👍🏽🎉🎉", "thumbs up, party popper"),
        ("🇺🇸", "United States"),
        ("❤️", "red heart"),
        ("```python\nx = 1\n```", "code in Python"),
        ("```\nx = 1", "some code"),
        ("...", "dot dot dot"),
        ("?!", "question mark, exclamation mark"),
        ("†‡", "dagger, double dagger"),
        ("\x00", "a sign without a name"),
        (" \n", ""),
    ],
)
def test_stand_in(text: str, said: str) -> None:
    assert stand_in(text) == said

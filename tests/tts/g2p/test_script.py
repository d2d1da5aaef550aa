"""Letters for Kokoro and its kin, and where a long script is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.g2p.kokoro import to_kokoro
from tts.g2p.script import cut, read_script


@pytest.mark.parametrize(
    ("ipa", "letters"),
    [
        ("tʃˈɜːtʃ", "ʧˈɜɹʧ"),
        ("dʒˈʌdʒ", "ʤˈʌʤ"),
        ("hˈɜːɹi", "hˈɜɹi"),
        ("bˈɛɾɚ", "bˈɛTəɹ"),
        ("bˈʌʔn̩", "bˈʌtn"),
        ("ɐbˈaʊt ɐ dˈeɪ, ɐn ˈoʊld bˈɔɪ", "əbˈWt ɐ dˈA, ɐn ˈOld bˈY"),
        ("kˈæpəɾəl", "kˈæpəTᵊl"),
        ("aɪ", "I"),
    ],
)
def test_sounds_become_letters(ipa: str, letters: str) -> None:
    assert to_kokoro(ipa) == letters


def test_each_word_is_over_before_its_mark() -> None:
    script = read_script("ab, cd.", lambda spoken: list(spoken), "en-US", set("abcd,. "))
    assert script.letters == "ab, cd."
    assert script.ends == (2, 6)
    assert (script.pause_ms, script.left_out) == (280, 0)


@given(st.text(alphabet="ab ,.", max_size=80), st.integers(5, 20))
def test_runs_are_short_enough_and_joined_are_the_letters(letters: str, most: int) -> None:
    runs = cut(letters, most)
    assert [stop for _, stop in runs[:-1]] == [start for start, _ in runs[1:]]
    assert (runs[0][0], runs[-1][1]) == (0, len(letters))
    for start, stop in runs:
        assert len(letters[start:stop].rstrip(",. ")) <= most


def test_a_run_is_cut_after_a_mark_else_after_a_word() -> None:
    assert cut("aaa, bbb ccc", 10) == [(0, 5), (5, 12)]
    assert cut("aaa bbb ccc", 9) == [(0, 8), (8, 11)]
    assert cut("aaaaaaaa", 5) == [(0, 5), (5, 8)]

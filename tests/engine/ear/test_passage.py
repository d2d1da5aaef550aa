"""Words and their times, from tokens and alignments."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from duplex.audio.files import read_sound
from engine.ear.passage import TimedWord, Wish, timed, words_of_tokens
from engine.ear.whisper import WhisperEar

DATA = Path(__file__).parents[1] / "data"
BYTES = {0: b" Gr", 1: b"\xc3", 2: b"\xbc", 3: b"n", 4: b".", 5: b" ja"}


def text_of(tokens: Sequence[int]) -> str:
    return b"".join(BYTES[token] for token in tokens).decode(errors="replace")


def test_a_character_of_two_tokens_stays_whole() -> None:
    assert words_of_tokens([0, 1, 2, 3, 4, 5], text_of, "de") == [(" Grün.", 5), (" ja", 1)]


def test_languages_without_spaces_have_a_word_a_character() -> None:
    characters = "你好。"
    words = words_of_tokens(range(3), lambda some: "".join(characters[i] for i in some), "zh")
    assert words == [("你", 1), ("好。", 2)]


def test_a_word_ends_where_the_next_begins() -> None:
    alignments = [(0, 5), (0, 6), (1, 10), (2, 25), (3, 60)]
    assert timed([(" one", 2), (" two", 1)], alignments, 1.1) == (
        TimedWord("one", 0.1, 0.5),
        TimedWord("two", 0.5, 1.1),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whisper-tiny.en", "whisper-base"])
def test_words_are_where_they_are_said(models: Callable[[str], Path], name: str) -> None:
    """The same question after two seconds of silence: each word is two seconds later."""
    ear = WhisperEar(models(name))
    pcm, _ = read_sound(DATA / "question_capital.wav")
    early = ear.hear_passage(pcm, Wish("en", with_words=True))
    late = ear.hear_passage(
        np.concatenate([np.zeros(32_000, np.float32), pcm]), Wish("en", with_words=True)
    )
    assert early.text == ear.transcribe(pcm) == " ".join(word.text for word in early.words)
    assert [word.text for word in late.words] == [word.text for word in early.words]
    shifts = [b.end_s - a.end_s for a, b in zip(early.words, late.words, strict=True)][:-1]
    assert np.abs(np.array(shifts) - 2.0).max() < 0.25


@pytest.mark.slow
def test_german_is_written_as_it_is_said_and_in_english(models: Callable[[str], Path]) -> None:
    """A sentence of nvidia-riva/python-clients (MIT), about where a term for a region is from."""
    ear = WhisperEar(models("whisper-base"))
    pcm, rate = read_sound(DATA / "statement_de.flac")
    assert rate == 16_000
    said = ear.hear_passage(pcm, Wish("de")).text
    in_english = ear.hear_passage(pcm, Wish(in_english=True))
    assert "den deutschen Begriff" in said
    assert "region" in in_english.text.lower()
    assert " the " in in_english.text
    assert in_english.language == "de"
    assert ear.translates
    assert not WhisperEar(models("whisper-tiny.en")).translates

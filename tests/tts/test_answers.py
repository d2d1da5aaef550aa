"""Whole answers through the real segmenter: none is silent, and each maps back to its text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duplex.testing.voice import ScriptedVoice
from tts.piper.voice import PiperVoice
from tts.text.segment import Segmenter
from tts.types import AudioChunk, TextVoice

PIECES = ["😀", "👍🏽", "猫", "你好。", "Hello. ", "```py\nx\n```\n", "...", "—", "\n", " ", "²",
          "1. ", "Łódź ", "Привет! ", "שלום ", "🇺🇸", "*", "[1]", "→", "한국어 "]  # fmt: skip


def spell(spoken: Sequence[str]) -> list[str]:
    """Letters as phonemes, those of the alphabet only."""
    return ["".join(c for c in text.lower() if c in "abcdefghijklmnopqrstuvwxyz,. ")
            for text in spoken]  # fmt: skip


@pytest.fixture(scope="module")
def piper(tiny_voice_dir: Path) -> PiperVoice:
    return PiperVoice(tiny_voice_dir, spell)


def answer(voice: TextVoice, text: str) -> list[AudioChunk]:
    utterance, segmenter = voice.open(), Segmenter()  # type: ignore[attr-defined]
    clauses = [*segmenter.feed(text), *segmenter.finish()]
    return [c for clause in clauses for c in utterance.feed(clause)] + list(utterance.finish())


def text_of(chunks: Sequence[AudioChunk]) -> str:
    return "".join(word.text for chunk in chunks for word in chunk.words)


def length_of(chunks: Sequence[AudioChunk]) -> int:
    return sum(len(chunk.samples) for chunk in chunks)


def check(voice: TextVoice, text: str) -> None:
    chunks = answer(voice, text)
    assert text_of(chunks) == text
    assert (length_of(chunks) > 0) == bool(text.strip())
    ends = [word.end_sample for chunk in chunks for word in chunk.words]
    assert ends == sorted(ends)
    assert all(end <= length_of(chunks) for end in ends)


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=6).map("".join)))
@settings(deadline=None)
def test_no_answer_is_silent(text: str) -> None:
    check(ScriptedVoice(), text)


@given(st.one_of(st.text(max_size=12), st.lists(st.sampled_from(PIECES), max_size=4).map("".join)))
@settings(max_examples=40, deadline=None)
def test_no_answer_of_the_real_voice_is_silent(piper: PiperVoice, text: str) -> None:
    check(piper, text)


@pytest.mark.parametrize(
    "text", ["😀", "🎉🎉", "```\nx\n```", "...", "你好，世界。", "Привет", "Łódź"]
)
def test_names_keep_their_letters_in_the_text(piper: PiperVoice, text: str) -> None:
    check(piper, text)
    check(ScriptedVoice(), text)


def test_emoji_beside_words_are_not_said(piper: PiperVoice) -> None:
    assert length_of(answer(piper, "Well done! 🎉")) == length_of(answer(piper, "Well done! "))


def test_a_script_is_named_once_for_sentences_in_a_row(piper: PiperVoice) -> None:
    once = length_of(answer(piper, "你好。\n"))
    assert length_of(answer(piper, "你好。\n世界。\n今天。\n")) == once
    assert length_of(answer(piper, "你好。\nWell.\n今天。\n")) > 2 * once


def test_two_phrases_that_can_be_read_are_both_read(piper: PiperVoice) -> None:
    one = length_of(answer(piper, "감사합니다.\n"))
    assert length_of(answer(piper, "감사합니다.\n감사합니다.\n")) > 1.5 * one


def test_a_stand_in_is_sound_without_words(piper: PiperVoice) -> None:
    *_, last = answer(piper, "😀")
    assert np.any(last.samples)
    assert last.words == ()

"""How a caller sounds, of voices whose pitch, level and pace are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ear.manner import Manner, Measured, measure

RATE = 16_000
TEXT = "this is a sentence of usual length"  # 28 letters


def voice(start_hz: float, end_hz: float | None = None, seconds: float = 2.0) -> np.ndarray:
    """Harmonics with a little noise, in syllables of a fifth of a second."""
    count = round(seconds * RATE)
    hz = np.geomspace(start_hz, end_hz or start_hz, count)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 6))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 5 * np.arange(count) / RATE)
    noise = np.random.default_rng(0).normal(0, 0.002, count)
    return (0.1 * sound * syllables + noise).astype(np.float32)


def faded(samples: np.ndarray, start_db: float, end_db: float) -> np.ndarray:
    return samples * 10 ** (np.linspace(start_db, end_db, len(samples)) / 20).astype(np.float32)


def said(*turns: np.ndarray, text: str = TEXT) -> str:
    """What is told of the last of these turns of one caller."""
    manner, note = Manner(), None
    for samples in turns:
        manner.begin_turn()
        note = manner.note(measure(samples).saying(text))
    return "" if note is None else note.text


@pytest.mark.parametrize("hz", [95.0, 140.0, 210.0, 320.0])
def test_pitch_is_measured(hz: float) -> None:
    pitch = measure(voice(hz)).pitch
    assert pitch is not None
    assert 2 ** (pitch / 12) == pytest.approx(hz, rel=0.02)


def test_an_ordinary_sentence_is_not_worth_a_word() -> None:
    assert said(voice(150, 135)) == ""
    assert said(faded(voice(150, 140), 0, -5)) == ""
    assert said(voice(150), voice(155), faded(voice(148), -2, -2)) == ""


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.concatenate([voice(150), voice(150, 270, 0.7)]), "rises at the end"),
        (np.concatenate([voice(200), voice(200, 100, 0.8)]), "falls at the end"),
        (faded(voice(150), -20, 0), "gets louder"),
        (faded(voice(150), 0, -25), "gets softer"),
        (
            np.concatenate([voice(120), np.zeros(RATE // 2, np.float32), voice(210)]),
            "two people speak",
        ),
    ],
)
def test_what_happens_within_a_turn_is_told(samples: np.ndarray, words: str) -> None:
    assert words in said(samples)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (voice(190), "higher than usual"),
        (voice(120), "lower than usual"),
        (voice(260), "another person's"),
        (faded(voice(150), -12, -12), "softer than usual"),
        (faded(voice(150), 12, 12), "louder than usual"),
        (voice(150, seconds=3.2), "slower than usual"),
    ],
)
def test_a_turn_is_compared_with_the_caller_s_own(last: np.ndarray, words: str) -> None:
    assert words in said(voice(150), voice(150), last)
    assert words not in said(last)  # by itself it says nothing
    assert words not in said(last, last, last)


@pytest.mark.parametrize(("letters", "words"), [(60, "fast"), (22, ""), (30, "")])
def test_a_pace_that_nobody_has_is_told_at_once(letters: int, words: str) -> None:
    text = "".join("abcde"[n % 5] for n in range(letters))
    assert (f"spoken {words}" if words else "") in said(voice(150), text=text)
    assert bool(said(voice(150), text=text)) == bool(words)


def test_a_turn_that_goes_on_counts_once_for_the_usual() -> None:
    manner = Manner()
    for _ in range(9):  # pauses of one turn
        manner.note(measure(voice(150)))
    assert manner.note(measure(voice(190))) is None  # still the first turn
    manner.begin_turn()
    assert manner.note(measure(voice(150))) is not None  # lower than the turn before


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 40_000),
    st.sampled_from(["silence", "noise", "step", "nan", "voice"]),
)
def test_any_sound_can_be_measured(length: int, kind: str) -> None:
    samples = {
        "silence": np.zeros(length),
        "noise": np.random.default_rng(length).normal(0, 0.1, length),
        "step": np.ones(length),
        "nan": np.full(length, np.nan),
        "voice": voice(150, seconds=length / RATE),
    }[kind].astype(np.float32)
    found = measure(samples)
    if kind in ("silence", "nan"):
        assert found == Measured()
    assert said(samples) is not None


def test_noise_has_no_pitch() -> None:
    assert (
        measure(np.random.default_rng(1).normal(0, 0.1, 3 * RATE).astype(np.float32)).pitch is None
    )


def test_only_the_end_of_a_long_turn_is_measured() -> None:
    found = measure(np.concatenate([voice(150, seconds=20), voice(150, 270, 0.7)]))
    assert found.speech_s is None
    assert found.saying(TEXT).letters_per_s is None
    assert found.end_bend > 3

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.piper import voice as piper
from tts.piper.voice import FIRST_FRAMES, FRAME_SAMPLES, MAX_FRAMES, PiperVoice
from tts.types import AudioChunk

PAUSE_SAMPLES = 22050 * 280 // 1000
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen."


def spell(spoken: Sequence[str]) -> list[str]:
    """Letters as phonemes: enough for a voice that says nothing in particular."""
    return [
        "".join(c for c in text.lower() if c in "abcdefghijklmnopqrstuvwxyz,. ") for text in spoken
    ]


@pytest.fixture(scope="module")
def voice(tiny_voice_dir: Path) -> PiperVoice:
    return PiperVoice(tiny_voice_dir, spell)


def joined(chunks: Sequence[AudioChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def spoken_text(chunks: Sequence[AudioChunk]) -> str:
    return "".join(word.text for chunk in chunks for word in chunk.words)


def test_streamed_equals_whole(voice: PiperVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = list(voice.synthesize(LONG))
    monkeypatch.setattr(piper, "FIRST_FRAMES", 10_000)
    whole = list(voice.synthesize(LONG))
    assert len(streamed) > 4
    assert len(whole) == 1
    np.testing.assert_allclose(joined(streamed), joined(whole), atol=1e-5)


@given(frames=st.integers(1, 300), data=st.data())
def test_any_length_is_rendered_as_in_one_run(
    voice: PiperVoice, frames: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, frames - 1))
    prior = np.random.default_rng(frames).standard_normal((1, 4, frames), np.float32)
    pieces = list(voice._render(prior, start))
    whole = voice._audio(voice._latent(prior))[start * FRAME_SAMPLES :]
    np.testing.assert_allclose(np.concatenate([p for p, _ in pieces]), whole, atol=1e-5)
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]


def test_chunks_start_short_and_grow(voice: PiperVoice) -> None:
    sizes = [len(audio) // FRAME_SAMPLES for audio, _ in voice._render(np.ones((1, 4, 400), "f4"))]
    assert sizes[0] == FIRST_FRAMES
    assert all(b <= 2 * a for a, b in pairwise(sizes))
    assert max(sizes) == MAX_FRAMES


def test_words_end_where_their_phonemes_do(voice: PiperVoice) -> None:
    chunks = list(voice.synthesize("abc de f"))
    (abc, de, _) = (word for chunk in chunks for word in chunk.words)
    # ^_ a_b_c_ then " _d_e_", two frames a symbol; what was trimmed in front shifts both
    assert de.end_sample - abc.end_sample == 6 * 2 * FRAME_SAMPLES
    assert 0 < abc.end_sample <= (6 * 2 + 3) * FRAME_SAMPLES


@pytest.mark.parametrize(
    "text", ["Abc.", "abc, def ghi.", "  abc\n", "😀 abc 😀", "a-b $3.50!", LONG]
)
def test_words_give_the_text_back_in_order(voice: PiperVoice, text: str) -> None:
    chunks = list(voice.synthesize(text))
    assert spoken_text(chunks) == text
    ends = [word.end_sample for chunk in chunks for word in chunk.words]
    assert ends == sorted(ends)
    done = 0
    for chunk in chunks:
        start, done = done, done + len(chunk.samples)
        assert all(start < w.end_sample <= done or w.end_sample == 0 for w in chunk.words)


@pytest.mark.parametrize("text", ["", "😀", "...", "\n\n", "```\nx = 1\n```"])
def test_what_cannot_be_said_is_accounted_for_without_audio(voice: PiperVoice, text: str) -> None:
    (chunk,) = voice.synthesize(text)
    assert chunk.samples.shape == (0,)
    assert chunk.samples.dtype == np.float32
    assert spoken_text([chunk]) == text
    assert all(word.end_sample == 0 for word in chunk.words)


def test_same_text_same_audio_other_seed_other_audio(tiny_voice_dir: Path) -> None:
    first, again, other = (
        joined(list(PiperVoice(tiny_voice_dir, spell, seed=seed).synthesize("abc.")))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first[:1000], other[:1000])


def test_reads_dates_as_its_locale_does(tiny_voice_dir: Path) -> None:
    american, british, spelt = (
        joined(list(PiperVoice(tiny_voice_dir, spell, locale=locale).synthesize(text)))
        for locale, text in (("en-US", "on 5/6"), ("en-GB", "on 5/6"), ("en-GB", "on June fifth"))
    )
    np.testing.assert_array_equal(british, spelt)
    assert len(american) != len(british)


def test_speed_scales_length(voice: PiperVoice) -> None:
    plain = len(joined(list(voice.synthesize("abcdefgh abcdefgh"))))
    slow = len(joined(list(voice.synthesize("abcdefgh abcdefgh", 0.5))))
    assert slow == pytest.approx(plain * 1.5, rel=0.1)  # ceil(1.5 * 2) frames for ceil(1.5)


@pytest.mark.parametrize("speed", [0.0, -1.0, 0.2, 4.1, float("nan")])
def test_refuses_a_senseless_speed_at_once(voice: PiperVoice, speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        voice.synthesize("abc", speed)


def test_pauses_as_the_punctuation_asks(voice: PiperVoice) -> None:
    def silence(text: str) -> int:
        audio = joined(list(voice.synthesize(text)))
        return len(audio) - int(np.flatnonzero(audio)[-1]) - 1

    assert silence("abc.") >= PAUSE_SAMPLES > silence("abc,") > silence("abc") > 0
    assert silence('"abc."') >= PAUSE_SAMPLES


def test_fades_in_and_out(voice: PiperVoice) -> None:
    audio = joined(list(voice.synthesize("abc.")))
    sound = audio[: np.flatnonzero(audio)[-1] + 1]
    assert abs(sound[0]) < 0.02
    assert abs(sound[-1]) < 0.02


def test_can_be_left_after_any_chunk(voice: PiperVoice) -> None:
    stream = voice.synthesize(LONG)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert next(stream, None) is None

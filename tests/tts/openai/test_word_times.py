"""Estimated word times, and PCM in pieces."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.errors import VoiceError
from tts.openai.pcm import PcmReader
from tts.openai.word_times import Pace, WordTimes
from tts.types import SpokenWord

TEXT = "  It is half past nine, in Oslo. 東京です。"


@given(
    st.text(alphabet="abc, .\n東é", max_size=40),
    st.lists(st.integers(0, 30_000), max_size=10),
)
def test_words_add_up_to_the_text_and_end_in_order_within_the_sound(
    text: str, pieces: list[int]
) -> None:
    times = WordTimes(text, Pace(1.0))
    words: list[SpokenWord] = []
    made = 0
    for samples in pieces:
        made += samples
        came = times.feed(samples)
        assert all(word.end_sample <= made for word in came)
        words += came
    words += times.finish()
    assert "".join(word.text for word in words) == text
    ends = [word.end_sample for word in words]
    assert ends == sorted(ends)
    assert all(end <= made for end in ends)
    assert all(word.is_estimated for word in words)
    assert ends[-1] == made


def test_the_pace_is_learnt_from_the_segments_before() -> None:
    pace = Pace(1.0)
    for _ in range(2):
        times = WordTimes("one two three four", pace)
        early = [times.feed(2400) for _ in range(10)]  # 1600 samples a letter, and then 1600 * 0.94
        times.finish()
    assert pace.samples_per_letter == pytest.approx(24_000 / 15)
    first = next(number for number, words in enumerate(early) if words)
    assert early[first][0].text == "one "
    assert first in (1, 2)


def wav(rate_hz: int = 24_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(np.arange(1000, dtype="<i2").tobytes())
    return file.getvalue()


@given(st.booleans(), st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_samples_do_not_depend_on_how_bytes_are_cut(has_header: bool, cuts: list[int]) -> None:
    data = wav() if has_header else np.arange(1000, dtype="<i2").tobytes()
    reader, made, at = PcmReader(), [], 0
    for cut in [*cuts, len(data)]:
        made.append(reader.feed(data[at : at + cut]))
        at += cut
    assert (np.concatenate(made) * 32768).tolist() == list(range(1000))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"ID3\x04 and so on", "MP3"),
        (b"\xff\xfb\x90\x64", "MP3"),
        (b"OggS\x00", "Ogg"),
        (wav(22_050), "22050 Hz"),
        (wav(24_000, 2), "2 channels"),
        (b"RIFF" + b"x" * 5000, "without sound"),
    ],
)
def test_what_is_no_such_pcm_is_refused(data: bytes, error: str) -> None:
    with pytest.raises(VoiceError, match=error):
        PcmReader().feed(data)

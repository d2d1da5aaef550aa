"""The sound of a turn in pieces."""

import base64
import io
import wave

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.brain.clips import Clip, ClippedSound, TurnClips


def heard(sound: ClippedSound) -> NDArray[np.int16]:
    """What an endpoint hears."""
    pieces = []
    for clip in sound.clips:
        with wave.open(io.BytesIO(base64.b64decode(clip.wav))) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            assert file.getnframes() == clip.samples
            pieces.append(np.frombuffer(file.readframes(clip.samples), "<i2"))
    return np.concatenate([np.empty(0, np.int16), *pieces])


@given(st.lists(st.integers(0, 20_000), max_size=12), st.integers(0, 2**32 - 1))
def test_the_pieces_are_what_was_said(lengths: list[int], seed: int) -> None:
    said = np.random.default_rng(seed).integers(-32768, 32768, sum(lengths), np.int16)
    clips = TurnClips(1.0)
    closed: tuple[object, ...] = ()
    for piece in np.split(said, np.cumsum(lengths)[:-1]):
        grew = clips.append(piece.astype(np.float32) / np.float32(32768))
        now = clips.closed.clips
        assert grew == (len(now) > len(closed))
        assert now[: len(closed)] == closed  # a closed piece does not change
        closed = now
    assert clips.whole.clips[: len(closed)] == closed
    assert all(clip.samples <= 24_000 for clip in clips.whole.clips)
    np.testing.assert_array_equal(heard(clips.whole), said)


def test_pieces_are_cut_where_it_is_quiet() -> None:
    said = np.full(60_000, 0.5, np.float32)
    said[29_000:33_000] = 0.0
    clips = TurnClips(3.0)
    assert clips.append(said)
    assert 29_000 < clips.closed.samples < 33_000


def test_what_is_too_loud_is_as_loud_as_can_be() -> None:
    loud = ClippedSound((Clip(np.array([1.5, 1.0, -1.5], np.float32)),))
    assert heard(loud).tolist() == [32767, 32767, -32768]


def test_a_forgotten_sound_is_gone() -> None:
    sound = ClippedSound((Clip(np.zeros(160, np.float32)),))
    sound.forget()
    assert (sound.clips, sound.samples) == ((), 0)

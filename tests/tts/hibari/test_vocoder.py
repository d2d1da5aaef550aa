"""The vocoder: what a frame says is what sounds, and pieces joined are the whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts.hibari.vocoder import (
    BINS,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    Frames,
    Vocoder,
    pulses,
)

NOTHING = -30.0  # a log magnitude that nobody hears


def frames(
    count: int, *, harmonic: float = NOTHING, noise: float = NOTHING, pitch: float = 0.0
) -> Frames:
    shape = (BINS, count)
    return Frames(
        harmonic=np.full(shape, harmonic, np.float32),
        rotation=np.zeros(shape, np.float32),
        noise=np.full(shape, noise, np.float32),
        rest=np.full(shape, NOTHING, np.float32),
        phase=np.zeros(shape, np.float32),
        pitch=np.full(count, pitch, np.float32),
    )


def test_a_unit_filter_gives_the_pulses_back() -> None:
    one = frames(60, harmonic=np.log(FRAME_SAMPLES), pitch=150.0)
    sound = Vocoder().open(one).render(0, 60)
    inner = slice(3 * FRAME_SAMPLES, -3 * FRAME_SAMPLES)
    np.testing.assert_allclose(sound[inner], pulses(one.pitch)[inner], atol=2e-2)


def test_the_pulses_are_the_sum_of_the_harmonics() -> None:
    hz, count = 100.0, 4
    train = pulses(np.full(count, hz, np.float32))
    turns = np.arange(1, count * FRAME_SAMPLES + 1) * hz / SAMPLE_RATE
    harmonics = np.arange(1, 111)[:, None]
    np.testing.assert_allclose(train, np.cos(2 * np.pi * harmonics * turns).sum(axis=0), atol=0.05)


@pytest.mark.parametrize("pitch", [0.0, -1.0, 39.0])
def test_what_is_no_voice_has_no_pulses(pitch: float) -> None:
    assert not pulses(np.full(5, pitch, np.float32)).any()


@given(st.lists(st.integers(1, 39), min_size=1, max_size=6, unique=True), st.integers(0, 99))
def test_pieces_joined_are_the_whole(cuts: list[int], seed: int) -> None:
    drawn = np.random.default_rng(seed)
    shape = (BINS, 40)
    a, b, c, d, e = (drawn.standard_normal(shape, np.float32) - 1 for _ in range(5))
    any_frames = Frames(a, b, c, d, e, drawn.uniform(0, 300, 40).astype(np.float32))
    rendering = Vocoder(seed).open(any_frames)
    bounds = [0, *sorted(cuts), 40]
    pieces = [rendering.render(a, b) for a, b in itertools.pairwise(bounds)]
    np.testing.assert_allclose(np.concatenate(pieces), rendering.render(0, 40), atol=1e-5)


def test_the_noise_is_the_same_each_time_and_another_with_another_seed() -> None:
    hissing = frames(20, noise=0.0)
    first, again, other = (Vocoder(seed).open(hissing).render(0, 20) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01

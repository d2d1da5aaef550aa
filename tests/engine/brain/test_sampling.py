import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.brain.sampling import sample
from engine.types import GenerationOptions

logits = arrays(np.float32, 12, elements=st.floats(-30, 30, width=32))


def options(**values: float) -> GenerationOptions:
    return GenerationOptions(**{"repetition_penalty": 1.0, **values})  # type: ignore[arg-type]


@given(logits, st.integers(0, 9))
def test_greedy_takes_the_best(scores: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    assert sample(scores, options(), (), random) == scores.argmax()
    assert sample(scores, options(temperature=1.0, top_p=1e-6), (), random) in np.flatnonzero(
        scores == scores.max()
    )


@given(logits, st.floats(0.05, 1), st.floats(0.2, 2), st.integers(0, 99))
def test_a_sample_is_in_the_nucleus(
    scores: np.ndarray, top_p: float, temperature: float, seed: int
) -> None:
    token = sample(
        scores, options(temperature=temperature, top_p=top_p), (), np.random.default_rng(seed)
    )
    shares = np.exp((scores - scores.max()).astype(np.float64) / temperature)
    shares /= shares.sum()
    assert shares[shares > shares[token]].sum() < top_p + 1e-6


def test_shares_are_those_of_the_softmax() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    random = np.random.default_rng(1)
    draws = [sample(scores, options(temperature=1.0), (), random) for _ in range(4000)]
    assert np.bincount(draws, minlength=4) / 4000 == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    cut = [sample(scores, options(temperature=1.0, top_p=0.7), (), random) for _ in range(4000)]
    assert np.bincount(cut, minlength=4) / 4000 == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)


def test_the_repetition_penalty_lowers_either_sign_and_leaves_the_input_alone() -> None:
    random = np.random.default_rng(0)
    scores = np.array([2.0, 1.9, 1.0], np.float32)
    assert sample(scores, options(repetition_penalty=1.1), {0}, random) == 1
    assert sample(scores, options(repetition_penalty=1.1), {0, 1}, random) == 0
    below = np.array([-2.0, -2.1, -9.0], np.float32)
    assert sample(below, options(repetition_penalty=1.1), {0}, random) == 1
    assert scores.tolist() == [2.0, np.float32(1.9), 1.0]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"repetition_penalty": 0.0}]
)
def test_bad_options(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        sample(np.zeros(3, np.float32), options(**wrong), (), np.random.default_rng(0))

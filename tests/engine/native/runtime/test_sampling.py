"""Choosing tokens for all rows of a step at once, against a plain loop over each row."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.native.runtime.sampling import NO_TOKEN, Chooser, Sampling, choose

pytestmark = pytest.mark.torch

VOCAB = 40


def penalised(row: torch.Tensor, seen: list[int], penalty: float) -> torch.Tensor:
    row = row.clone()
    for token in set(seen):
        row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    return row


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, VOCAB - 1), max_size=12),
            st.sampled_from([1.0, 1.1, 2.0, 0.5]),
            st.lists(st.integers(0, VOCAB - 1), max_size=3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 1000),
)
def test_greedy_rows_do_not_disturb_each_other(
    states: list[tuple[list[int], float, list[int]]], seed: int
) -> None:
    logits = torch.randn(len(states), VOCAB, generator=torch.Generator().manual_seed(seed))
    expected = []
    for row, (seen, penalty, forbidden) in zip(logits, states, strict=True):
        row = penalised(row, seen, penalty)
        row[forbidden] = -torch.inf
        expected.append(int(row.argmax()))
    rows = [Chooser(Sampling(0.0, 1.0, penalty), seen, bad) for seen, penalty, bad in states]
    assert choose(logits.clone(), rows, torch.Generator()) == expected


def test_draws_follow_temperature_and_nucleus_and_mix_with_greedy_rows() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.1])
    logits = probabilities.log().repeat(3, 1)
    rows = [
        Chooser(Sampling(1.0), ()),
        Chooser(Sampling(1.0, top_p=0.7), ()),
        Chooser(Sampling(0.0), ()),
    ]
    generator = torch.Generator().manual_seed(0)
    draws = [choose(logits.clone(), rows, generator) for _ in range(4000)]
    free, nucleus, greedy = (Counter(row) for row in zip(*draws, strict=True))
    for token, probability in enumerate(probabilities.tolist()):
        assert free[token] / 4000 == pytest.approx(probability, abs=0.03)
    assert set(nucleus) == {0, 1}
    assert nucleus[0] / 4000 == pytest.approx(2 / 3, abs=0.03)
    assert set(greedy) == {0}


@pytest.mark.parametrize(
    "options", [{"temperature": -1}, {"top_p": 0}, {"top_p": 2}, {"repetition_penalty": 0}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampling(**options)


def test_a_mask_is_for_its_own_row() -> None:
    import numpy as np

    logits = torch.arange(12.0).repeat(3, 1)
    allowed = np.array([0b100100], np.uint8)  # tokens 2 and 5; those past the mask are not allowed
    greedy = Sampling(temperature=0)
    rows = [Chooser(greedy, ()), Chooser(greedy, (), (), allowed), Chooser(greedy, ())]
    assert choose(logits, rows, torch.Generator()) == [11, 5, 11]


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_no_numbers_has_no_token_and_others_have_theirs(
    broken: float, temperature: float
) -> None:
    logits = torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(3))
    seen = [1, 2]
    rows = [Chooser(Sampling(temperature, 0.9, 1.3), seen)] * 3
    whole = choose(logits.clone(), rows, torch.Generator().manual_seed(0))
    assert NO_TOKEN not in whole
    logits[1, slice(None) if broken == -torch.inf else 7] = broken
    tokens = choose(logits, rows, torch.Generator().manual_seed(0))
    assert tokens == [whole[0], NO_TOKEN, whole[2]]

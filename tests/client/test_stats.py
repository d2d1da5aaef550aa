"""Percentiles, ratios and shares with their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.bench.stats import (
    bootstrap_interval,
    paired_ratio,
    share_interval,
    summarise,
)


def test_known_percentiles():
    summary = summarise([None, *map(float, range(101)), None])
    assert summary is not None
    assert summary.n == 101
    ordered = (summary.low, summary.p50, summary.p95, summary.p99, summary.high)
    assert ordered == (0, 50, 95, 99, 100)
    assert [summary.at(percentile) for percentile in (50, 95, 99)] == [50, 95, 99]
    assert summary.mean == 50
    assert summary.sd == pytest.approx(np.std(np.arange(101), ddof=1))


def test_nothing_has_no_summary():
    assert summarise([]) is None
    assert summarise([None]) is None
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval(np.zeros(0), 50)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_order_of_the_statistics(values):
    summary = summarise(values)
    assert summary is not None
    inside = [summary.low, summary.p50, summary.p95, summary.p99, summary.high]
    assert inside == sorted(inside)
    assert summary.low <= summary.p50_low <= summary.p50_high <= summary.high
    assert summary.p50_low <= summary.p95_low <= summary.p95_high <= summary.high
    assert inside[1:4] == [float(np.percentile(values, q)) for q in (50, 95, 99)]


def test_the_interval_narrows_with_the_count_and_holds_the_truth():
    draw = np.random.default_rng(1)
    widths = []
    for count in (20, 2000):
        low, high = bootstrap_interval(draw.normal(400, 50, count), 50)
        assert low < 400 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """95 % of the intervals of the median of 40 values, within what 100 repetitions can tell."""
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        low, high = bootstrap_interval(draw.exponential(1.0, 40), 50)
        held += low <= np.log(2) <= high
    assert 88 <= held <= 100


def test_one_value_is_every_percentile():
    summary = summarise([7.0])
    assert summary is not None
    assert summary.p50 == summary.p95 == summary.p50_low == summary.p50_high == 7
    assert summary.sd == 0


@pytest.mark.parametrize(
    ("count", "unsupported"),
    [(2, ("p50", "p95", "p99")), (19, ("p95", "p99")), (20, ("p99",)), (99, ("p99",)), (100, ())],
)
def test_a_percentile_needs_a_count_that_bears_it(count, unsupported):
    summary = summarise(map(float, range(count)))
    assert summary is not None
    assert summary.unsupported == unsupported


def test_the_same_seed_is_the_same_interval():
    values = np.random.default_rng(3).normal(0, 1, 30)
    assert bootstrap_interval(values, 95) == bootstrap_interval(values, 95)
    assert bootstrap_interval(values, 95) != bootstrap_interval(values, 95, seed=1)


def test_a_ratio_of_pairs():
    draw = np.random.default_rng(4)
    shared = draw.exponential(300, 60)  # what both sides of a pair met: it must not blur the ratio
    pairs = [(2 * (400 + noise), 400 + noise) for noise in shared]
    ratio = paired_ratio(pairs, 50)
    assert ratio is not None
    assert ratio.n == 60
    assert ratio.value == pytest.approx(2)
    assert (ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(2))
    apart = paired_ratio(list(zip(400 + shared, 400 + draw.permutation(shared), strict=True)), 50)
    assert apart is not None
    assert apart.low < 1 < apart.high
    assert apart.high - apart.low > 0.1


def test_no_ratio_to_nothing():
    assert paired_ratio([], 50) is None
    assert paired_ratio([(1.0, 0.0), (2.0, 0.0)], 50) is None


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 100, 0.0, 0.0370), (3, 100, 0.0103, 0.0845), (10, 10, 0.7225, 1.0)],
)
def test_wilsons_interval(part, whole, low, high):
    """Known values, as of statsmodels' proportion_confint(method="wilson")."""
    interval = share_interval(part, whole)
    assert interval == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert share_interval(0, 0) is None

"""Percentiles, ratios and shares with their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from client.bench.stats import (
    bootstrap_interval,
    exact_interval,
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
    assert summary.p95_low is None or summary.low <= summary.p95_low <= summary.p95
    assert summary.p95_high is None or summary.p95 <= summary.p95_high <= summary.high
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


@pytest.mark.parametrize(
    ("count", "percentile", "high"),
    [
        *((1, 95, None), (20, 95, None), (58, 95, None), (59, 95, 59), (72, 95, 72)),
        *((200, 95, 197), (5000, 95, 4781), (298, 99, None), (299, 99, 299)),
    ],
)
def test_exact_bounds_are_values_that_were_seen(count, percentile, high):
    """As near as values can be that hold the percentile often enough."""
    found = exact_interval(np.arange(1.0, count + 1), percentile)
    assert found[1] == high
    low = int(found[0])  # type: ignore[arg-type]

    def covered(low):
        below = stats.binom(count, percentile / 100).cdf
        return below((high or count + 1) - 1) - below(low - 1)

    assert covered(low) >= 0.95 - 1e-9
    assert covered(low + 1) < 0.95


@pytest.mark.parametrize("count", [10, 20, 60, 100])
def test_the_interval_of_the_95th_percentile_holds_the_truth(count):
    draw, held = np.random.default_rng(5), 0
    for _ in range(300):
        low, high = exact_interval(draw.exponential(1.0, count), 95)
        truth = -np.log(0.05)
        held += (low is None or low <= truth) and (high is None or truth <= high)
    assert held >= 0.93 * 300


def test_a_ratio_of_high_percentiles_needs_pairs():
    pairs = [(2.0 * value, 1.0 * value) for value in range(1, 100)]
    few, enough = paired_ratio(pairs[:58], 95), paired_ratio(pairs, 95)
    assert (few.value, few.n, few.interval) == (pytest.approx(2), 58, None)
    assert enough.interval == (pytest.approx(2), pytest.approx(2))


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


@given(st.lists(st.floats(1.0, 1e4), min_size=1, max_size=30), st.sampled_from([50, 95]))
def test_the_bootstrap_is_the_percentile_bootstrap(values, percentile):
    values = np.array(values)
    picks = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    resampled = np.percentile(values[picks], percentile, axis=1)
    expected = np.percentile(resampled, [2.5, 97.5])
    assert bootstrap_interval(values, percentile) == pytest.approx(tuple(expected))


def test_a_ratio_of_pairs():
    draw = np.random.default_rng(4)
    shared = draw.exponential(300, 60)  # what both sides of a pair met: it must not blur the ratio
    pairs = [(2 * (400 + noise), 400 + noise) for noise in shared]
    ratio = paired_ratio(pairs, 50)
    assert ratio is not None
    assert ratio.n == 60
    assert ratio.value == pytest.approx(2)
    assert ratio.interval == (pytest.approx(2), pytest.approx(2))
    apart = paired_ratio(list(zip(400 + shared, 400 + draw.permutation(shared), strict=True)), 50)
    assert apart is not None
    low, high = apart.interval  # type: ignore[misc]
    assert low < 1 < high
    assert high - low > 0.1


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

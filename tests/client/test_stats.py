"""Percentiles and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.bench.stats import bootstrap_interval, summarise


def test_known_percentiles():
    summary = summarise([None, *map(float, range(101)), None])
    assert summary is not None
    assert summary.n == 101
    assert (summary.low, summary.p50, summary.p95, summary.p99, summary.high) == (
        0,
        50,
        95,
        99,
        100,
    )
    assert summary.mean == 50


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


def test_the_interval_narrows_with_the_count_and_holds_the_truth():
    draw = np.random.default_rng(1)
    widths = []
    for count in (20, 2000):
        low, high = bootstrap_interval(draw.normal(400, 50, count), 50)
        assert low < 400 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_one_value_is_every_percentile():
    summary = summarise([7.0])
    assert summary is not None
    assert summary.p50 == summary.p95 == summary.p50_low == summary.p50_high == 7

"""Counts and histograms as Prometheus reads them, and what is recent."""

import pytest

from duplex.config import LimitsConfig
from duplex.metrics import Metrics, TurnMarks, percentile
from duplex.server.load import Load


def test_marks_are_milliseconds_after_the_speech_and_the_first_time_counts() -> None:
    now_s = 10.0
    marks = TurnMarks(lambda: now_s, speech_end_s=9.5)
    marks.reach("ear")
    now_s = 11.0
    marks.reach("ear")
    marks.reach("pause")
    assert list(marks.as_ms().items()) == [("pause", 1500.0), ("ear", 500.0)]
    with pytest.raises(ValueError, match="unknown stage"):
        marks.reach("lunch")


def test_the_page() -> None:
    metrics = Metrics()
    metrics.count("calls_total")
    metrics.count("calls_total", 2)
    metrics.count("refused_total", reason="full")
    metrics.observe("delay_seconds", 0.05, stage="ear")
    metrics.observe("delay_seconds", 0.06, stage="ear")
    metrics.observe("delay_seconds", 99.0, stage="ear")
    lines = metrics.render({"open": 3}).splitlines()
    assert lines[:2] == ["# TYPE open gauge", "open 3"]
    assert "calls_total 3" in lines
    assert 'refused_total{reason="full"} 1' in lines
    assert 'delay_seconds_bucket{stage="ear",le="0.05"} 1' in lines
    assert 'delay_seconds_bucket{stage="ear",le="0.1"} 2' in lines
    assert 'delay_seconds_bucket{stage="ear",le="10.0"} 2' in lines
    assert 'delay_seconds_bucket{stage="ear",le="+Inf"} 3' in lines
    assert 'delay_seconds_sum{stage="ear"} 99.11' in lines
    assert 'delay_seconds_count{stage="ear"} 3' in lines


def test_large_counts_are_exact() -> None:
    metrics = Metrics()
    metrics.count("bytes_total", 123_456_789_012)
    assert "bytes_total 123456789012" in metrics.render({})


def test_percentile() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1], 0.95) == 1
    assert percentile(range(100), 0.95) == 95


def test_few_or_old_turns_say_nothing() -> None:
    metrics = Metrics()
    for _ in range(4):
        metrics.turn("completed", {"ear": 3000}, now_s=100)
    assert metrics.recent_p95_s("ear", 100) is None
    metrics.turn("completed", {"ear": 3000}, now_s=100)
    assert metrics.recent_p95_s("ear", 100) == 3
    assert metrics.recent_p95_s("ear", 161) is None


def test_load_refuses_by_what_it_measured() -> None:
    metrics = Metrics()
    load = Load(LimitsConfig(refuse_lag_ms=100, refuse_stage="ear", refuse_stage_ms=500), metrics)
    assert load.refusal(0) is None
    load.note_lag(0.05)
    assert load.refusal(0) is None
    for _ in range(5):
        metrics.turn("completed", {"ear": 600}, now_s=0)
    assert "'ear' after 600 ms" in (load.refusal(0) or "")
    for _ in range(10):
        load.note_lag(0.2)
    assert "200 ms late" in (load.refusal(0) or "")


def test_load_that_is_told_not_to_refuses_nothing() -> None:
    metrics = Metrics()
    load = Load(LimitsConfig(refuse_lag_ms=0, refuse_stage_ms=0), metrics)
    load.note_lag(100)
    for _ in range(5):
        metrics.turn("completed", {"ear": 1e6}, now_s=0)
    assert load.refusal(0) is None

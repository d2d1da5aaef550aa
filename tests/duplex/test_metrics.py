"""Counts and histograms as Prometheus reads them, and what is recent."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from duplex.config import LimitsConfig
from duplex.metrics import Metrics, TurnMarks, percentile
from duplex.server.load import Load
from tests._support.metrics_page import samples


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
    metrics.count("duplex_calls_total")
    metrics.count("duplex_calls_total", 2)
    metrics.count("duplex_refused_total", reason="full")
    metrics.observe("duplex_stage_seconds", 0.05, stage="ear")
    metrics.observe("duplex_stage_seconds", 0.06, stage="ear")
    metrics.observe("duplex_stage_seconds", 99.0, stage="ear")
    page = metrics.render({"duplex_calls_open": 3})
    assert page.splitlines()[1:3] == ["# TYPE duplex_calls_open gauge", "duplex_calls_open 3.0"]
    counted = samples(page)
    assert counted["duplex_calls_open"] == 3
    assert counted["duplex_calls_total"] == 3
    assert counted['duplex_refused_total{reason="full"}'] == 1
    assert counted['duplex_stage_seconds_bucket{le="0.05",stage="ear"}'] == 1
    assert counted['duplex_stage_seconds_bucket{le="0.1",stage="ear"}'] == 2
    assert counted['duplex_stage_seconds_bucket{le="10.0",stage="ear"}'] == 2
    assert counted['duplex_stage_seconds_bucket{le="+Inf",stage="ear"}'] == 3
    assert counted['duplex_stage_seconds_sum{stage="ear"}'] == pytest.approx(99.11)
    assert counted['duplex_stage_seconds_count{stage="ear"}'] == 3


def test_the_page_has_these_names_each_with_its_type_and_what_it_means() -> None:
    page = Metrics().render({"duplex_tasks": 1})
    families = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(page)
    }
    assert {name: kind for name, (kind, _) in families.items()} == {
        "duplex_tasks": "gauge",
        "duplex_calls": "counter",  # the parser leaves out _total
        "duplex_calls_ended": "counter",
        "duplex_refused": "counter",
        "duplex_dropped": "counter",
        "duplex_store_failures": "counter",
        "duplex_recordings": "counter",
        "duplex_recordings_deleted": "counter",
        "duplex_webhooks": "counter",
        "duplex_received_bytes": "counter",
        "duplex_sent_bytes": "counter",
        "duplex_phone_calls": "counter",
        "duplex_responses": "counter",
        "duplex_interruptions": "counter",
        "duplex_reopened_turns": "counter",
        "duplex_transcripts": "counter",
        "duplex_stage_seconds": "histogram",
        "duplex_event_loop_lag_seconds": "histogram",
    }
    assert all(documentation for _, documentation in families.values())
    assert "_created" not in page


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("duplex_lunches_total", {}),
        ("duplex_calls_total", {"reason": "full"}),
        ("duplex_refused_total", {}),
        ("duplex_refused_total", {"said": "full"}),
    ],
)
def test_a_name_or_a_label_that_is_not_in_the_table_is_refused(
    name: str, labels: dict[str, str]
) -> None:
    with pytest.raises((KeyError, ValueError)):
        Metrics().count(name, 1, **labels)


def test_two_servers_of_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.count("duplex_calls_total")
    assert samples(one.render({}))["duplex_calls_total"] == 1
    assert samples(other.render({}))["duplex_calls_total"] == 0


def test_large_counts_are_exact() -> None:
    metrics = Metrics()
    metrics.count("duplex_received_bytes_total", 123_456_789_012)
    assert samples(metrics.render({}))["duplex_received_bytes_total"] == 123456789012


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

"""Named figures, conditions on them, and what fails a gate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.bench.compare import compare, pairs
from client.bench.machine import this_machine
from client.bench.metrics import (
    MEASURING,
    METRICS,
    check,
    failed,
    figures,
    parse_condition,
    same_questions,
    spreads,
)
from client.bench.result import BenchCall, BenchResult, BenchTurn, Group
from client.bench.stats import share_interval, summarise
from client.bench.word_errors import WordErrors
from client.caller.turns import TurnResult

TURN = TurnResult(
    question_id="q",
    question="what is it",
    transcript="what is it",
    answer="a dog",
    speech_start_ms=0.0,
    speech_end_ms=1000.0,
    speech_ms=1000.0,
    v2v_ms=500.0,
    committed_ms=None,
    created_ms=None,
    first_delta_ms=None,
    marks={},
    counts={},
    cut_offs=0,
    interrupts=False,
    interrupted=False,
    barge_in_ms=None,
    answer_cut=False,
    answer_ms=800.0,
    underruns=0,
    status="completed",
    errors=(),
    backchannel=False,
    resume_gap_ms=None,
    answer_samples=np.zeros(0, np.float32),
)


def turn(question_id="q", errors=None, **changes):
    return BenchTurn(replace(TURN, question_id=question_id, **changes), 0.0, errors)


def group(scenario, *turns, callers=1):
    return Group(scenario, callers, (BenchCall(tuple(turns)),))


def result(*groups, **changes):
    found = BenchResult(
        condition="one",
        made_at="",
        command="",
        commit=None,
        machine=this_machine(),
        models={},
        session={},
        groups=groups,
        settings={},
    )
    return replace(found, **changes)


def test_a_condition_is_read():
    condition = parse_condition(" v2v_p50_ms >= 600.5")
    assert (condition.metric, condition.comparison, condition.limit) == ("v2v_p50_ms", ">=", 600.5)
    assert condition.words == "below 600.5"


@pytest.mark.parametrize("text", ["v2v_p50_ms", "v2v_p50_ms=6", "v2v_p50_ms>x", "> 6", ""])
def test_what_is_no_condition_is_told(text):
    with pytest.raises(ValueError, match="is no condition"):
        parse_condition(text)


def test_an_unknown_metric_is_told_with_those_there_are():
    with pytest.raises(ValueError, match="no metric v2v_ms; there are v2v_p50_ms, "):
        parse_condition("v2v_ms>6")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("v2v_p50_ms>500", True),
        ("v2v_p50_ms>=500", False),
        ("v2v_p50_ms<500", True),
        ("v2v_p50_ms<=500", False),
        ("phone_added_ms>150", None),
    ],
)
def test_conditions_are_held_against_the_figures(text, met):
    measured = figures(result(group("short", turn())))
    (one,) = check([parse_condition(text)], measured, required=True)
    assert one.met is met
    assert failed([one]) is (met is not True)  # what was not measured fails a gate
    assert not failed([replace(one, required=False)])


def test_measuring_error_has_its_metrics():
    from client.bench.result import MeasuringError

    error = MeasuringError(summarise([1.0, 2.0, 3.0]), None, (1.0, 2.0, 3.0), ())  # type: ignore[arg-type]
    measured = figures(result(), error)
    assert measured == {"measuring_bias_ms": 2.0, "measuring_p95_ms": pytest.approx(2.9)}


def test_the_phone_is_compared_over_the_same_questions():
    clean = group(
        "short",
        turn("a", WordErrors(1, 10), v2v_ms=400.0),
        turn("b", WordErrors(0, 10), v2v_ms=420.0),
        turn("c", WordErrors(9, 10), v2v_ms=9000.0),  # not asked over the phone
    )
    phone = group(
        "phone",
        turn("a", WordErrors(1, 10), v2v_ms=500.0),
        turn("b", WordErrors(2, 10), v2v_ms=560.0),
    )
    found = figures(result(clean, phone))
    assert found["phone_added_ms"] == 530 - 410
    assert found["phone_wer_ratio"] == pytest.approx(3)
    one, other = same_questions(clean, phone)
    assert [t.turn.question_id for t in one.turns] == [t.turn.question_id for t in other.turns]


@pytest.mark.parametrize(("wrong", "ratio"), [(0, 1.0), (1, 2.0)])
def test_no_error_in_the_clean_still_gives_a_ratio(wrong, ratio):
    clean = group("short", turn("a", WordErrors(0, 10)))
    phone = group("phone", turn("a", WordErrors(wrong, 10)))
    assert figures(result(clean, phone))["phone_wer_ratio"] == pytest.approx(ratio)


def test_load_is_told_by_the_most_calls_and_by_four():
    groups = [group("short", turn(v2v_ms=400.0))]
    for callers, delay in ((2, 500.0), (4, 600.0), (8, 1000.0)):
        groups.append(group("concurrent", turn(v2v_ms=delay), callers=callers))
    found = figures(result(*groups))
    assert found["concurrent_v2v_p50_ms"] == 1000
    assert (found["concurrent_factor"], found["concurrent4_factor"]) == (2.5, 1.5)


def test_of_backchannels_only_these_count():
    into = {"interrupts": True, "barge_in_ms": 200.0}
    found = figures(
        result(
            group(
                "backchannels",
                turn("gone", backchannel=True, interrupted=True, **into),
                turn("back", backchannel=True, interrupted=True, resume_gap_ms=300.0, **into),
                turn("on", backchannel=True, **into),
                turn("late", backchannel=True, v2v_ms=None),
                turn("question", interrupted=True, **into),
            )
        )
    )
    assert found["false_stop_rate"] == pytest.approx(1 / 3)
    assert found["false_pause_rate"] == pytest.approx(2 / 3)
    assert found["resume_gap_p50_ms"] == 300


def test_an_interruption_that_the_answer_outlives_is_missed():
    into = {"interrupts": True, "barge_in_ms": 200.0}
    found = figures(
        result(
            group(
                "interruptions",
                turn("stopped", interrupted=True, **into),
                turn("back", interrupted=True, resume_gap_ms=100.0, **into),
                turn("on", **into),
                turn("first"),
            )
        )
    )
    assert found["missed_stop_rate"] == pytest.approx(2 / 3)
    assert found["stop_p50_ms"] == 200


def test_an_answer_that_ended_by_itself_is_shown_apart():
    into = {"interrupts": True, "barge_in_ms": 200.0}
    found = group(
        "interruptions",
        turn("stopped", interrupted=True, **into),
        turn("over", ended_by_itself=True, **into),
    )
    assert figures(result(found))["missed_stop_rate"] == 0
    assert len(found.ended_by_themselves) == 1


@pytest.mark.parametrize(
    ("count", "stopped", "met", "sure"),
    [
        (10, 0, True, False),
        (200, 0, True, True),
        (200, 4, True, False),
        (10, 1, False, False),
    ],
)
def test_a_share_is_only_surely_met_where_its_interval_is(count, stopped, met, sure):
    into = {"interrupts": True, "barge_in_ms": 200.0, "backchannel": True}
    turns = [turn(interrupted=index < stopped, **into) for index in range(count)]
    run = result(group("backchannels", *turns))
    goal = parse_condition("false_stop_rate>=0.03")
    (one,) = check([goal], figures(run), spreads(run), required=False)
    assert (one.met, one.sure, one.n) == (met, sure, count)
    assert one.interval == share_interval(stopped, count)


@pytest.mark.parametrize(("count", "sure"), [(20, False), (59, True)])
def test_a_percentile_is_only_surely_met_where_its_bound_is_known(count, sure):
    run = result(group("short", *(turn(v2v_ms=400.0 + index) for index in range(count))))
    goals = [parse_condition("v2v_p95_ms>900"), parse_condition("v2v_p95_ms<100")]
    over, under = check(goals, figures(run), spreads(run), required=False)
    assert (over.met, over.sure, over.n) == (True, sure, count)
    assert (under.met, under.sure) == (True, True)  # the lower bound is known sooner
    (single,) = check([parse_condition("ready_s>8")], {"ready_s": 3.0}, required=False)
    assert (single.met, single.sure, single.n) == (True, None, None)


def test_noise_alone_must_not_stop_an_answer():
    found = figures(
        result(group("noise", turn(), turn(answer_cut=True), turn(), turn(v2v_ms=None)))
    )
    assert found["noise_stop_rate"] == pytest.approx(1 / 3)
    assert found["noise_v2v_p50_ms"] == 500


def test_pairs_are_of_the_same_utterance():
    one = group("short", turn("a", v2v_ms=1.0), turn("b", v2v_ms=None), turn("c", v2v_ms=3.0))
    other = group("short", turn("a", v2v_ms=2.0), turn("b", v2v_ms=4.0), turn("c", v2v_ms=6.0))
    assert pairs(one, other, lambda t: t.turn.v2v_ms) == [(1, 2), (3, 6)]
    found = compare(result(one), result(other, condition="two"))
    median = next(row for row in found if row.figure == "voice-to-voice p50, ms")
    assert (median.first, median.second) == (2, 4)
    assert (median.ratio.value, median.ratio.n) == (0.5, 2)
    unanswered = next(row for row in found if row.figure == "unanswered")
    assert (unanswered.first, unanswered.second) == (pytest.approx(1 / 3), 0)
    assert compare(result(one), result()) == []


def test_every_metric_is_in_the_handbook():
    text = (Path(__file__).parents[3] / "docs" / "bench.md").read_text("utf-8")
    missing = [name for name in [*METRICS, *MEASURING] if f"`{name}`" not in text]
    assert missing == []

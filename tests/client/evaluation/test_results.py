"""Counts, intervals and pairs."""

import json
from pathlib import Path

import pytest

from client.bench.machine import Machine
from client.bench.metrics import check, read_condition
from client.evaluation.about import About, Published
from client.evaluation.items import Record, write_records
from client.evaluation.paired import paired
from client.evaluation.report import read_run, write_comparison, write_report, write_run
from client.evaluation.results import (
    Result,
    Run,
    compare_runs,
    metrics,
    scored,
    spreads,
)
from client.evaluation.runner import ANSWERS

ABOUT = About(
    "sums", "Sums <1>", "made up", "none", "the number", (Published("model", "98.7", "report"),)
)
MACHINE = Machine("cpu", 2, None, "Linux", "CPython 3.11")
RUN = Run("a table", "2026-11-28", "duplex eval sums", "abc", MACHINE, 0, None)


def record(number: int, condition: str, answer: str, **more: object) -> Record:
    category = "even" if number % 2 == 0 else "odd"
    gold = {"answer": number}
    fields = {"answer": answer, "chance": 0.25, "done_ms": 100.0 * number, **more}
    return Record(f"q-{number}", condition, category, ["?"], "number", gold, **fields)  # type: ignore[arg-type]


RECORDS = [
    record(1, "sound", "1"),
    record(1, "text", "1"),
    record(2, "sound", "3", thought="two, or <three>"),
    record(2, "text", "2"),
    record(3, "sound", "none"),
    record(3, "text", "3"),
    record(4, "sound", "4", error="lost"),
    record(4, "text", "4", is_cut=True),
]


def result(records: list[Record] = RECORDS) -> Result:
    return Result(ABOUT, RUN, scored(records))


def test_shares_are_counted_by_condition_and_category() -> None:
    sound = result().figures("sound")
    assert (sound.n, sound.right, sound.accuracy) == (4, 1.0, 0.25)
    assert (sound.invalid, sound.errors, sound.cut) == (1, 1, 0)  # an error is wrong, too
    assert sound.chance == 0.25
    assert sound.latency_ms == 250.0
    odd = result().figures("text", "odd")
    assert (odd.n, odd.right) == (2, 2.0)


def test_the_interval_is_wilsons() -> None:
    # Wilson 1927, of 1 in 4: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n)
    low, high = result().figures("sound").interval or (0, 0)
    assert (low, high) == (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))


def test_what_the_ear_heard_counts_and_is_held_against_the_answer() -> None:
    records = [
        record(1, "sound", "it is 1", speech_heard="it is one"),
        record(2, "sound", "it is 2", speech_heard="it was 3"),
    ]
    part = result(records).figures("sound")
    assert part.right == 1.0
    assert part.measures["speech_wer"] == pytest.approx(2 / 6)


def test_two_ways_of_asking_are_compared_question_by_question() -> None:
    whole = result().comparisons[0]
    assert (whole.first, whole.second, whole.category) == ("sound", "text", "")
    pair = whole.paired
    assert (pair.n, pair.difference, pair.only_first, pair.only_second) == (4, 0.75, 0, 3)
    assert pair.p == pytest.approx(0.25)  # 2 * 0.5^3
    assert (pair.low, pair.high) == (pytest.approx(0.0, abs=0.04), 1.0)


def test_mcnemars_test_is_exact() -> None:
    pairs = [(1.0, 0.0)] * 9 + [(0.0, 1.0)] + [(1.0, 1.0)] * 30
    found = paired(pairs)
    assert found is not None
    assert found.p == pytest.approx(2 * 11 / 2**10)
    assert (found.only_first, found.only_second) == (9, 1)
    # (1 - 9) / 42 -+ 1.96 sqrt(11 - 64 / 42) / 42
    assert (found.low, found.high) == (
        pytest.approx(-0.3341, abs=1e-4),
        pytest.approx(-0.0468, abs=1e-4),
    )
    same = paired([(1.0, 1.0)] * 5)
    assert same is not None
    assert same.p == 1.0
    assert -0.4 < same.low < 0 < same.high < 0.4  # five pairs are not many
    assert paired([]) is None


def test_scores_in_between_have_a_bootstrap_interval_and_no_test() -> None:
    gold = {"start_s": 0, "end_s": 10}
    records = [
        Record(f"q-{n}", "sound", "q", ["?"], "spans", gold, answer=f"00:00-00:{n:02}")
        for n in (5, 10, 20)
    ]
    part = result(records).figures("sound")
    assert part.accuracy == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert part.interval is not None
    assert part.interval[0] == pytest.approx(0.5)
    assert part.measures["r_at_0.7"] == pytest.approx(1 / 3)
    pairs = paired([(0.5, 0.7), (0.5, 0.5)])
    assert pairs is not None
    assert pairs.p is None


def test_limits_hold_the_first_condition_and_fail_where_nothing_was_measured() -> None:
    conditions = [
        read_condition(text, "accuracy<0.5")
        for text in ("accuracy<0.5", "text_accuracy<0.5", "odd_accuracy<0.5", "humour<1")
    ]
    checks = check(conditions, metrics(result()), spreads(result()), required=True)
    assert [one.met for one in checks] == [False, True, True, None]
    assert checks[1].sure is True
    assert checks[2].sure is False  # one of two


def test_a_run_is_read_and_scored_again(tmp_path: Path) -> None:
    write_run(ABOUT, RUN, tmp_path)
    write_records(tmp_path / ANSWERS, RECORDS)
    again = read_run(tmp_path)
    assert again == result()
    data, page = write_report(again, tmp_path)
    written = json.loads(data.read_text())
    assert written["metrics"]["accuracy"] == 0.25
    assert [row["n"] for row in written["table"]] == [4, 2, 2, 4, 2, 2]
    assert written["answers"][2]["score"] == 0.0
    shown = page.read_text()
    for words in ("Sums &lt;1&gt;", "98.7", "two, or &lt;three&gt;", "4.6 to 69.9", "lost"):
        assert words in shown
    assert "<three>" not in shown


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        read_run(tmp_path)
    write_run(ABOUT, RUN, tmp_path)
    with pytest.raises(ValueError, match="holds no answers"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"run\.json"):
        read_run(tmp_path)


def test_two_runs_are_compared(tmp_path: Path) -> None:
    better = [record(n, "sound", str(n)) for n in range(1, 5)]
    found = compare_runs(result(), result(better))
    assert [one.category for one in found] == ["", "odd", "even"]
    assert found[0].paired.difference == 0.75
    data, page = write_comparison(result(), result(better), found, tmp_path)
    assert json.loads(data.read_text())["compared"][0]["paired"]["only_second"] == 3
    assert "+75.0" in page.read_text()
    other = Result(About("other", "", "", "", ""), RUN, scored(better))
    with pytest.raises(ValueError, match="different sets"):
        compare_runs(result(), other)
    with pytest.raises(ValueError, match="no question in common"):
        compare_runs(result(), result([record(9, "sound", "9")]))

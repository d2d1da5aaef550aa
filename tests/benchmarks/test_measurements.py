"""The pages of measurements say what their JSON says, and what it does not say."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measurements import conversation, machines
from benchmarks.measurements.__main__ import RESULTS, ROOT, changes, load
from benchmarks.measurements.figures import LATEST, figures
from benchmarks.measurements.tables import source, table


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    return load(ROOT / RESULTS)


def test_a_cell_may_hold_a_bar() -> None:
    assert table(["a", "b"], [["1|2", ""]]) == ["| a | b |", "|---|---|", "| 1\\|2 |  |"]


def test_what_a_result_does_not_say_is_said_to_be_missing() -> None:
    told = "\n".join(source("x.json", {"commit": "0123456789abcdef+"}))
    assert "commit: `0123456789ab` with changes" in told
    assert "machine: not recorded" in told
    assert "date: not recorded" in told


def test_the_newest_report_comes_first(results: dict[str, dict[str, Any]]) -> None:
    report = results[LATEST]
    later = copy.deepcopy(report)
    later["results"][0]["made_at"] = "2099-01-01T00:00:00+00:00"
    page = conversation.page({"old": report, "new": later})
    assert [line for line in page if line.startswith("## ")] == ["## new", "## old"]


def test_two_servers_are_compared(results: dict[str, dict[str, Any]]) -> None:
    report = copy.deepcopy(results[LATEST])
    report["results"] = [
        {**report["results"][0], "condition": name} for name in ("before", "after")
    ]
    report["compared"] = [
        {
            "scenario": "short",
            "figure": "voice-to-voice p50, ms",
            "first": 500.0,
            "second": 525.0,
            "ratio": {"n": 12, "value": 1.05, "interval": [0.98, 1.1]},
        },
        {
            "scenario": "short",
            "figure": "cut off",
            "first": 0.0,
            "second": 0.05,
            "ratio": None,
        },
    ]
    page = conversation.page({"run": report})
    assert "| scenario | figure | before | after | second over first | pairs |" in page
    row = "| short | voice-to-voice p50, ms | 500 | 525 | 1.05 x (0.98 to 1.10) | 12 |"
    assert row in page
    assert "| short | cut off | 0 | 0.05 | – |  |" in page


def test_without_a_json_nothing_is_said_of_kernels(results: dict[str, dict[str, Any]]) -> None:
    both = results["delay_curve_cpu.json"], results["encoder_error.json"]
    page = machines.native(*both, compiled=None)
    assert "## Kernels, compiled" not in page


def test_a_figure_is_that_of_its_result(results: dict[str, dict[str, Any]]) -> None:
    changed = copy.deepcopy(results)
    changed[LATEST]["results"][0]["metrics"]["v2v_p50_ms"] = 123.4
    assert figures(changed)["v2v-p50"] == "123 ms"


def test_a_changed_result_makes_pages_stale(tmp_path: Path) -> None:
    for path in sorted((ROOT / RESULTS).rglob("*.json")):
        copied = tmp_path / path.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    (tmp_path / "README.md").write_text("<!-- figure: soak-calls -->?<!-- /figure -->\n")
    for path, text in changes(tmp_path).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert changes(tmp_path) == {}
    soak = tmp_path / RESULTS / "soak.json"
    soak.write_text(json.dumps({**json.loads(soak.read_text()), "calls": 7}))
    stale = {path.relative_to(tmp_path).as_posix() for path in changes(tmp_path)}
    assert stale == {"README.md", "docs/measurements/server.md"}

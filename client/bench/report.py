"""Writes a benchmark's result: JSON with every turn, and a page to look at."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.bench.metrics import MEASURING, figures, from_few
from client.bench.page import render
from client.bench.result import BenchCall, BenchResult, BenchTurn, Group, MeasuringError, Report
from client.bench.stats import Summary

FORMAT = 3  # raised when a field changes its meaning; docs/bench.md describes it


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write ``bench.json`` and ``bench.html``; returns their paths.

    Raises:
        ValueError: there is no result.
        OSError: they cannot be written.
    """
    if not report.results:
        raise ValueError("there is no result to report")
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "bench.json", folder / "bench.html"
    data.write_text(
        json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
    )
    page.write_text(render(report), "utf-8")
    return data, page


def as_json(report: Report) -> dict[str, Any]:
    """Everything but the audio, with the summaries a reader wants first."""
    whole: dict[str, Any] = rounded(
        {
            "format": FORMAT,
            "measuring_error": _measuring(report.measuring),
            "checks": [asdict(one) for one in report.checks],
            "compared": [asdict(one) for one in report.compared],
            "results": [_result(result) for result in report.results],
        }
    )
    return whole


def _measuring(error: MeasuringError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "metrics": {name: of(error) for name, (_, of) in MEASURING.items()},
        "v2v_ms": _summary(error.v2v),
        "stop_ms": _summary(error.stop),
        "v2v_errors_ms": list(error.v2v_errors),
        "stop_errors_ms": list(error.stop_errors),
    }


def _result(result: BenchResult) -> dict[str, Any]:
    names = ("condition", "made_at", "command", "commit", "models", "session", "settings")
    return {name: getattr(result, name) for name in names} | {
        "machine": asdict(result.machine),
        "ready_s": result.ready_s,
        "idle_mib": result.idle_mib,
        "aborted": result.aborted,
        "metrics": figures(result),
        "metrics_from_few": from_few(result),
        "answer_errors": _optional(result.answer_errors),
        "groups": [_group(group) for group in result.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    marks = list(dict.fromkeys(name for turn in group.turns for name in turn.turn.marks))
    return {
        "scenario": group.scenario,
        "callers": group.callers,
        "turns": len(group.turns),
        "unanswered": group.unanswered,
        "cut_offs": group.cut_offs,
        "refused": group.refused,
        "lost": group.lost,
        "said_into_answers": len(group.said_into_answers),
        "stopped": len(group.stopped),
        "ended_by_themselves": len(group.ended_by_themselves),
        "peak_mib": group.peak_mib,
        "v2v_ms": _summary(group.v2v),
        "stop_ms": _summary(group.stop),
        "resume_gap_ms": _summary(group.resume_gap),
        "question_errors": _optional(group.question_errors),
        "marks_ms": {name: _summary(group.mark(name)) for name in marks},
        "calls": [_call(call) for call in group.calls],
    }


def _call(call: BenchCall) -> dict[str, Any]:
    return {
        "refused": call.refused,
        "lost": call.lost,
        "late_ms": call.late_ms,
        "errors": list(call.errors),
        "turns": [_turn(turn) for turn in call.turns],
    }


def _turn(scored: BenchTurn) -> dict[str, Any]:
    names = [name for name in scored.turn.__slots__ if name != "answer_samples"]
    return {name: getattr(scored.turn, name) for name in names} | {
        "longest_pause_ms": scored.longest_pause_ms,
        "question_errors": _optional(scored.question_errors),
        "answer_heard": scored.answer_heard,
        "answer_errors": _optional(scored.answer_errors),
    }


def _summary(summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    return asdict(summary) | {"unsupported": list(summary.unsupported)}


def _optional(value: Any) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def rounded(value: Any) -> Any:
    """Floats to the microsecond: more digits say nothing. NaN and infinity have no JSON."""
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value

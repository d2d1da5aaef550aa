"""Writes a benchmark's result: JSON with every turn, and a page to look at."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.bench.page import render
from client.bench.result import BenchCall, BenchResult, BenchTurn, Group, outcomes

FORMAT = 1  # raised when a field changes its meaning


def write_report(results: BenchResult | Sequence[BenchResult], folder: Path) -> tuple[Path, Path]:
    """Write ``bench.json`` and ``bench.html``; several results are compared on one page.

    Returns the two paths.

    Raises:
        ValueError: there is no result.
        OSError: they cannot be written.
    """
    several = [results] if isinstance(results, BenchResult) else list(results)
    if not several:
        raise ValueError("there is no result to report")
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "bench.json", folder / "bench.html"
    table = {"format": FORMAT, "results": [as_json(result) for result in several]}
    data.write_text(
        json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
    )
    page.write_text(render(several), "utf-8")
    return data, page


def as_json(result: BenchResult) -> dict[str, Any]:
    """Everything but the audio, with the summaries a reader wants first."""
    table = {
        name: getattr(result, name)
        for name in ("condition", "made_at", "command", "commit", "models", "session")
    }
    whole: dict[str, Any] = _rounded(
        table
        | {
            "machine": asdict(result.machine),
            "ready_s": result.ready_s,
            "idle_mib": result.idle_mib,
            "goals": [asdict(outcome) for outcome in outcomes(result)],
            "question_errors": _optional(result.question_errors),
            "answer_errors": _optional(result.answer_errors),
            "groups": [_group(group) for group in result.groups],
        }
    )
    return whole


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
        "peak_mib": group.peak_mib,
        "v2v_ms": _optional(group.v2v),
        "marks_ms": {name: _optional(group.mark(name)) for name in marks},
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


def _optional(value: Any) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def _rounded(value: Any) -> Any:
    """Floats to the microsecond: more digits say nothing. NaN and infinity have no JSON."""
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value

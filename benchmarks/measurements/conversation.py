"""The page of `duplex bench`: one section for each report in benchmarks/results/*/bench.json."""

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.measurements.tables import (
    NOT_MEASURED,
    ms,
    pair_ms,
    percent,
    share,
    source,
    table,
)

Record = dict[str, Any]
STAGES = {
    "pause": "pause seen",
    "ear": "words",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_audio": "first audio made",
    "endpoint": "turn over",
    "released": "released",
}
_OUT = re.compile(r" --out \S+")  # where the report went does not matter
SCENARIOS = {"single": "short", "barge-in": "interruptions"}  # names in reports of format 1


def page(reports: dict[str, Record]) -> list[str]:
    """The page, from reports by their folder's name."""
    lines = [
        "# Conversation",
        "",
        "Reports of [`duplex bench`](../bench.md), newest first. It speaks to a server in real "
        "time and measures at the client, from sound. *Voice-to-voice* is from the caller's last "
        "speech sample to the first audible sample of the answer. Percentiles are p50 / p95.",
    ]
    newest = sorted(reports, key=lambda name: str(reports[name]["results"][0]["made_at"]))
    for name in reversed(newest):
        lines += ["", f"## {name}", *_report(name, reports[name])]
    return lines


def _report(name: str, report: Record) -> list[str]:
    results = report["results"]
    first = results[0]
    models = first.get("models") or {}
    lines = source(
        f"{name}/bench.json",
        first,
        models=", ".join(f"{part} {model}" for part, model in models.items()),
        command=f"`{_OUT.sub('', first['command'])}`",
    )
    lines += _goals(report)
    for result in results:
        lines += ["", f"### {name}: {result['condition']}", ""]
        lines += _scenarios(result)
        lines += _stages(result)
        lines += _words(result)
    lines += _prefill(results)
    lines += _compared(report)
    error = report.get("measuring_error")
    if error:
        summary = error["v2v_ms"]
        lines += [
            "",
            f"The bench's own error in this run: {summary['p50']:+.1f} ms (median of "
            f"{summary['n']} clicks at known delays, sd {summary['sd']:.1f}).",
        ]
    return lines


def _goals(report: Record) -> list[str]:
    """Goals, as either format has them."""
    rows = [
        [goal["name"], goal["goal"], goal["measured"], goal["count"], _met(goal)]
        for goal in report["results"][0].get("goals", [])
        if goal["met"] is not None
    ]
    for check in report.get("checks", []):
        if check["measured"] is not None:
            count = str(check["n"]) if check["n"] is not None else ""
            measured = f"{check['measured']:.4g}"
            rows.append([f"`{check['metric']}`", check["limit"], measured, count, _met(check)])
    if not rows:
        return []
    return table(["goal", "limit", "measured", "of", ""], rows)


def _met(goal: Record) -> str:
    if not goal["met"]:
        return "**missed**"
    return "met" if goal.get("sure", True) is not False else "met, too few to be sure"


def _scenarios(result: Record) -> list[str]:
    alone = next((g for g in result["groups"] if _scenario(g) == "short"), None)
    rows = []
    for group in result["groups"]:
        v2v = group["v2v_ms"] or {}
        turns = [turn for call in group["calls"] for turn in call["turns"]]
        dry = sum(turn["underruns"] > 0 for turn in turns)
        over = NOT_MEASURED
        if alone and v2v and _scenario(group) == "concurrent":
            over = f"{v2v['p50'] / alone['v2v_ms']['p50']:.2f} x"
        rows.append(
            [
                f"{_scenario(group)}",
                str(group["callers"]),
                str(group["turns"]),
                pair_ms(v2v.get("p50"), v2v.get("p95")),
                over,
                str(group["cut_offs"]),
                str(dry),
                f"{group['peak_mib']:.0f} MiB" if group["peak_mib"] else NOT_MEASURED,
            ]
        )
    lines = table(
        [
            "scenario",
            "callers",
            "turns",
            "voice-to-voice",
            "over one call",
            "cut-offs",
            "answers with a gap",
            "memory, peak",
        ],
        rows,
    )
    return lines + _into_answers(result)


def _into_answers(result: Record) -> list[str]:
    """What was said into answers, and what became of them."""
    rows = []
    for group in result["groups"]:
        said = group.get("said_into_answers", 0)
        if not said:
            continue
        stop, gap = group["stop_ms"] or {}, group["resume_gap_ms"] or {}
        rows.append(
            [
                _scenario(group),
                share(group["stopped"], said),
                pair_ms(stop.get("p50"), stop.get("p95")),
                share(gap.get("n", 0), said),
                ms(gap.get("p50")),
            ]
        )
    if not rows:
        return []
    head = [
        "said into an answer",
        "stopped for good",
        "until silence",
        "paused and resumed",
        "gap, p50",
    ]
    return ["", *table(head, rows)]


def _stages(result: Record) -> list[str]:
    rows = []
    for group in result["groups"]:
        marks = group["marks_ms"]
        if _scenario(group) in ("short", "phone") and marks:
            cells = [_scenario(group)]
            for stage in STAGES:
                summary = marks.get(stage) or {}
                cells.append(pair_ms(summary.get("p50"), summary.get("p95")).removesuffix(" ms"))
            rows.append(cells)
    if not rows:
        return []
    told = "Where the time goes: ms after the last speech sample as the server sees it."
    return ["", told, "", *table(["scenario", *STAGES.values()], rows)]


def _words(result: Record) -> list[str]:
    lines = []
    for key, name in (
        ("question_errors", "Words of the questions that the ear misheard"),
        ("answer_errors", "Words of the answers that a recogniser misheard in their sound"),
    ):
        errors = result.get(key)
        if errors and errors["words"]:
            rate = percent(errors["edits"] / errors["words"])
            lines.append(f"{name}: {rate} ({errors['edits']} edits, {errors['words']} words).")
    for group in result["groups"]:
        errors = group.get("question_errors")
        if errors and errors["words"]:
            rate = percent(errors["edits"] / errors["words"])
            lines.append(
                f"Questions misheard in `{_scenario(group)}`: {rate} of {errors['words']}."
            )
    started = result.get("ready_s")
    if started is not None:
        lines.append(f"Ready after {started:.1f} s.")
    return ["", *(f"- {line}" for line in lines)] if lines else []


def _prefill(results: Sequence[Record]) -> list[str]:
    """The delay from the words to the first token, with incremental prefill and without."""
    off = next((r for r in results if r["condition"] == "without incremental prefill"), None)
    if off is None:
        return []
    lines = [
        "",
        "What incremental prefill is worth: delay from the words to the first token, turn by turn.",
    ]
    for scenario in ("long", "history"):
        turns = {r["condition"]: _turns(r, scenario) for r in (results[0], off)}
        first = next(iter(turns.values()))
        if scenario == "long":
            head = [f"{turn['speech_ms'] / 1000:.1f} s turn" for turn in first]
        else:
            head = [f"turn {index + 1} of a call" for index in range(len(first))]
        rows = [[name, *map(_words_to_token, of)] for name, of in turns.items()]
        lines += ["", *table(["", *head], rows)]
    return lines


def _turns(result: Record, scenario: str) -> list[Record]:
    return [
        turn
        for group in result["groups"]
        if _scenario(group) == scenario
        for call in group["calls"]
        for turn in call["turns"]
    ]


def _words_to_token(turn: Record) -> str:
    marks = turn["marks"]
    if "first_token" not in marks or "ear" not in marks:
        return NOT_MEASURED
    return ms(marks["first_token"] - marks["ear"])


def _compared(report: Record) -> list[str]:
    compared = report.get("compared")
    if not compared:
        return []
    rows = []
    for row in compared:
        ratio = row["ratio"] or {}
        interval = ratio.get("interval")
        span = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        rows.append(
            [
                row["scenario"],
                row["figure"],
                _plain(row["first"]),
                _plain(row["second"]),
                f"{ratio['value']:.2f} x{span}" if ratio.get("value") is not None else NOT_MEASURED,
                str(ratio.get("n", "")),
            ]
        )
    names = [result["condition"] for result in report["results"][:2]]
    head = ["scenario", "figure", *names, "second over first", "pairs"]
    return ["", "Two servers, call by call in turn:", "", *table(head, rows)]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("value", value.get("p50"))
    return NOT_MEASURED if value is None else f"{value:.4g}"


def _scenario(group: Record) -> str:
    name: str = group["scenario"]
    return SCENARIOS.get(name, name)

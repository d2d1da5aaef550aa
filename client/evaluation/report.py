"""Writes a run's result: JSON with every answer and its score, and a page to look at."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from client.bench.report import rounded
from client.evaluation.about import About
from client.evaluation.items import Record, read_records
from client.evaluation.page import render, render_comparison
from client.evaluation.results import Comparison, Figures, Result, Run, metrics, scored
from client.evaluation.runner import ANSWERS
from client.evaluation.score import Score

RUN = "run.json"
FORMAT = 1  # raised when a field changes its meaning; docs/evaluation.md describes it
RESULT, PAGE = "eval.json", "eval.html"
COMPARED, COMPARED_PAGE = "compared.json", "compared.html"


class Kept(msgspec.Struct, frozen=True):
    """What a run was of, beside its answers."""

    about: About
    run: Run


def begin_run(about: About, run: Run, folder: Path) -> None:
    """Write ``run.json`` for a run that begins, or goes on.

    Raises:
        ValueError: the folder holds another one, whose answers are not to be taken for these.
        OSError: it cannot be written.
    """
    if (folder / RUN).exists():
        kept = _kept(folder)
        before = (kept.about.name, kept.run.target, kept.run.models, kept.run.speech)
        if before != (about.name, run.target, run.models, run.speech):
            told = f"{kept.about.name} of {kept.run.target}"
            raise ValueError(f"{folder} holds another run, {told}: choose another --out")
    write_run(about, run, folder)


def write_run(about: About, run: Run, folder: Path) -> None:
    """Write ``run.json``, with which the answers can be scored again.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(Kept(about, run)), indent=1)
    (folder / RUN).write_bytes(text + b"\n")


def read_run(folder: Path) -> Result:
    """Score the answers in a folder again.

    Raises:
        ValueError: there is no run in it, or it is not what it should be.
        OSError: a file cannot be read.
    """
    if not (folder / RUN).exists():
        raise ValueError(f"{folder} holds no run: there is no {RUN}")
    kept = _kept(folder)
    records = read_records(folder / ANSWERS)
    if not records:
        raise ValueError(f"{folder} holds no answers")
    return Result(kept.about, kept.run, scored(records))


def _kept(folder: Path) -> Kept:
    try:
        return msgspec.json.decode((folder / RUN).read_bytes(), type=Kept)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{folder / RUN}: {error}") from error


def write_report(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write ``eval.json`` and ``eval.html``; returns their paths.

    Raises:
        OSError: they cannot be written.
    """
    return _write(folder, RESULT, as_json(result), PAGE, render(result))


def write_comparison(
    first: Result, second: Result, found: Sequence[Comparison], folder: Path
) -> tuple[Path, Path]:
    """Write ``compared.json`` and ``compared.html``; returns their paths.

    Raises:
        OSError: they cannot be written.
    """
    data = {
        "format": FORMAT,
        "set": first.about.name,
        "runs": [_run(first), _run(second)],
        "compared": [asdict(one) for one in found],
    }
    page = render_comparison(first, second, found)
    return _write(folder, COMPARED, data, COMPARED_PAGE, page)


def as_json(result: Result) -> dict[str, Any]:
    """Everything, the summaries first."""
    return {
        "format": FORMAT,
        "set": asdict(result.about),
        "run": _run(result),
        "metrics": metrics(result),
        "checks": [asdict(one) for one in result.checks],
        "table": [
            {"condition": condition, "category": category or "", **_figures(part)}
            for condition in result.conditions
            for category in (None, *result.categories)
            if (part := result.figures(condition, category)).n
        ],
        "compared": [asdict(one) for one in result.comparisons],
        "answers": [_answer(record, score) for record, score in result.scored],
    }


def _run(result: Result) -> dict[str, Any]:
    return asdict(result.run)


def _figures(part: Figures) -> dict[str, Any]:
    return asdict(part) | {"unscored": part.unscored}


def _answer(record: Record, score: Score) -> dict[str, Any]:
    return structs.asdict(record) | {
        "score": score.value,
        "picked": score.picked,
        "is_invalid": score.is_invalid,
        "measures": dict(score.measures),
    }


def _write(
    folder: Path, name: str, data: dict[str, Any], page_name: str, page: str
) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written, shown = folder / name, folder / page_name
    text = json.dumps(rounded(data), indent=1, ensure_ascii=False, allow_nan=False)
    written.write_text(text + "\n", "utf-8")
    shown.write_text(page, "utf-8")
    return written, shown

"""All runs in a folder as one JSON file and one HTML page: the claims, their curves, how it was
made."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from client.bench import tables
from client.bench.page import document, tile
from client.bench.plots import Axis, Series, scatter
from client.bench.sections import section
from training.mgrd import claims
from training.mgrd.claims import Claim, Runs
from training.mgrd.config import CRITERIA, SCALES

NAME = "MGRD's ingredients on synthetic sounds"
SUBSTITUTIONS = (
    "GRPO stands in place of PPO: its advantage is the reward less its group's mean, and no critic "
    "estimates it.",
    "There is no text to reason about: cold start, distillation and reinforcement learning have "
    "questions about sounds only.",
    "Half of the cold start's answers have thoughts, a tenth in the report: a share has to be able "
    "to fall.",
    "Seeds are of weights and draws; the questions are the same for all.",
)
PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "ctranslate2",
    "numpy",
)
CURVES = {"thinks": "share of thoughts that are not empty", "correct": "share of right answers"}
SMOOTHED = 10  # steps
COLOURS = ("series1", "series2", "soft")
_FOLDER = re.compile(r"(?P<scale>[A-Z]+)-(?P<seed>\d+)")


def write_report(folder: Path) -> Path:
    """Judge what is in ``folder``; writes ``mgrd.json`` and ``mgrd.html`` there, and returns the
    page's path.

    Raises:
        ValueError: there is no run in it.
    """
    found = read_runs(folder)
    if not found:
        raise ValueError(f"{folder} has no run")
    result = {
        "name": NAME,
        "criteria": asdict(CRITERIA),
        "substitutions": SUBSTITUTIONS,
        "versions": {name: version(name) for name in PACKAGES if find_spec(name)},
        "scales": {name: _scale(name, runs) for name, runs in found.items()},
    }
    (folder / "mgrd.json").write_text(json.dumps(result, indent=1))
    page = folder / "mgrd.html"
    page.write_text(render(result), encoding="utf-8")
    return page


def read_runs(folder: Path) -> dict[str, Runs]:
    """The figures of every stage, by scale, seed and the stage's whole name."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/*.json")):
        named = _FOLDER.fullmatch(path.parent.name)
        if named is not None and named["scale"] in SCALES:
            seeds = found.setdefault(named["scale"], {})
            seeds.setdefault(int(named["seed"]), {})[path.stem] = json.loads(path.read_text())
    return dict(found)


def _scale(name: str, runs: Runs) -> dict[str, Any]:
    return {
        "config": asdict(SCALES[name]),
        "parameters": next(
            (stage["parameters"] for stages in runs.values() for stage in stages.values()
             if "parameters" in stage), None,
        ),
        "claims": [asdict(claim) for claim in claims.judge(runs)],
        "tests": {
            seed: {
                stage: {k: v for k, v in figures["test"].items() if k not in ("right", "examples")}
                for stage, figures in sorted(stages.items())
                if "test" in figures
            }
            for seed, stages in sorted(runs.items())
        },
        "curves": {
            stage: {seed: s[stage]["curve"] for seed, s in runs.items() if stage in s}
            for stage in sorted(
                {n for stages in runs.values() for n, f in stages.items() if "curve" in f}
            )
        },
        "histograms": {
            seed: {stage: f["histogram"] for stage, f in stages.items() if "histogram" in f}
            for seed, stages in sorted(runs.items())
        },
    }  # fmt: skip


def render(result: dict[str, Any]) -> str:
    """The page."""
    body = []
    for name, scale in result["scales"].items():
        made = [Claim(**claim) for claim in scale["claims"]]
        body += [
            section(f"Claims at scale {name}", _claims(made)),
            section("With and without the format reward", _arms(scale, _reward_arms())),
            section("Which prompts are learnt from", _arms(scale, dict(claims.ARMS.items()))),
            section("Test of every stage", _tests(scale)),
            section("Settings", _settings(scale["config"])),
        ]
    body.append(section("Criteria, fixed before the runs", _settings(result["criteria"])))
    told = "".join(f"<li>{escape(words)}</li>" for words in result["substitutions"])
    body.append(section("What stands in place of what", f"<ul>{told}</ul>"))
    body.append(section("Made with", _settings(result["versions"])))
    tiles = [
        tile(claim["name"], claim["verdict"], name)
        for name, scale in result["scales"].items()
        for claim in scale["claims"]
    ]
    sizes = ", ".join(
        f"{scale['parameters'] / 1e6:.1f} million trained parameters"
        for scale in result["scales"].values()
        if scale["parameters"]
    )
    header = (
        f"<header><h1>{escape(result['name'])}</h1><p>{escape(sizes)}</p></header>"
        f'<ul class="tiles">{"".join(tiles)}</ul>'
    )
    return document(result["name"], header + "".join(body))


def _claims(made: Sequence[Claim]) -> str:
    rows = [
        [escape(claim.name), escape(claim.title), f"<b>{claim.verdict}</b>", escape(claim.why)]
        for claim in made
    ]
    return tables.table(("", "claim", "verdict", "why"), rows, "left")


def _reward_arms() -> dict[str, str]:
    return {"0.8 correct + 0.2 thinks": claims.WITH_FORMAT, "correct alone": claims.WITHOUT}


def _arms(scale: dict[str, Any], arms: dict[str, str]) -> str:
    """A curve for each arm and seed, one figure a measure."""
    drawn = ""
    for key, words in CURVES.items():
        series = [
            Series(f"{arm}, seed {seed}", _smooth(curve, key), colour, joined=True, radius=1.5)
            for (arm, name), colour in zip(arms.items(), COLOURS, strict=False)
            for seed, curve in scale["curves"].get(name, {}).items()
        ]
        if series:
            steps = max(x for one in series for x, _ in one.points)
            drawn += f"<h3>{escape(words)}</h3>"
            label = f"steps of reinforcement learning; {words}, %, mean of {SMOOTHED} steps"
            drawn += scatter(series, Axis(0, steps, "steps"), Axis(0, 100, "%"), label)
    return drawn


def _smooth(curve: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    values = [step[key] for step in curve]
    return [
        (float(end), 100 * float(np.mean(values[max(end - SMOOTHED, 0) : end])))
        for end in range(1, len(values) + 1)
    ]


def _tests(scale: dict[str, Any]) -> str:
    head = ("stage", "seed", "accuracy", "chance", "thoughts", "words", "groundedness", "denials")
    rows = []
    for seed, stages in scale["tests"].items():
        for stage, test in stages.items():
            ground = test["groundedness"]
            rows.append(
                [
                    escape(stage),
                    str(seed),
                    *(f"{test[key]:.3f}" for key in ("accuracy", "chance", "thinks")),
                    f"{test['median_thought_words']:g}",
                    tables.NONE if ground is None else f"{ground:.3f}",
                    f"{test['denials']:.3f}",
                ]
            )
    return tables.table(head, sorted(rows), "first")


def _settings(values: dict[str, Any]) -> str:
    rows = [[escape(key), escape(str(value))] for key, value in values.items()]
    return tables.table(("", ""), rows, "first")

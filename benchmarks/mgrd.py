"""The table and the figure of docs/training.md, from a report of `training.mgrd`::

python -m benchmarks.mgrd DIR/mgrd.json   # keep it as benchmarks/results/mgrd/, and write the page
python -m benchmarks.mgrd                 # write the page again
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.figures import BLUE, GREEN, ORANGE, figure, svg
from training.mgrd import claims

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mgrd"
PAGE = ROOT / "docs" / "training.md"
FIGURE = ROOT / "benchmarks" / "results" / "mgrd.svg"
SMOOTHED = 10  # steps
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)


def main() -> int:
    """Keep, draw, write."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = RESULTS / "mgrd.json"
    if len(sys.argv) > 1:
        shutil.copy(sys.argv[1], kept)
    result = json.loads(kept.read_text())
    (scale,) = (part for part in result["scales"].values() if part["curves"])
    FIGURE.write_text(drawing(scale))
    written = _RESULTS.sub(lambda _: section(result), PAGE.read_text())
    PAGE.write_text(written)
    print(f"wrote {PAGE.relative_to(ROOT)} and {FIGURE.relative_to(ROOT)}")
    return 0


def section(result: dict[str, Any]) -> str:
    """The page's section on what came of it."""
    lines = ["## What came of it", ""]
    for name, scale in result["scales"].items():
        seeds = len(scale["tests"])
        words = f"Scale {name}, {seeds} seed{'s' if seeds > 1 else ''}"
        lines += [f"{words}. Intervals are 95 %, over seeds and questions.", ""]
        lines += ["| claim | verdict | why |", "|---|---|---|"]
        lines += [
            f"| {claim['name']}: {claim['title']} | **{claim['verdict']}** | {claim['why']} |"
            for claim in scale["claims"]
        ]
        lines += ["", *_stages(scale), ""]
    lines += [
        f"![Thoughts over the steps of reinforcement learning](../{FIGURE.relative_to(ROOT)})",
        "",
    ]
    return "\n".join(lines)


def _stages(scale: dict[str, Any]) -> list[str]:
    """What the test of each stage says, the mean of its seeds."""
    tests: dict[str, list[dict[str, Any]]] = {}
    for stages in scale["tests"].values():
        for stage, test in stages.items():
            tests.setdefault(stage, []).append(test)
    lines = [
        "| stage | seeds | accuracy (chance) | thoughts | words | groundedness |",
        "|---|---|---|---|---|---|",
    ]
    for stage, found in sorted(tests.items()):
        right, chance, thinks, words = (
            float(np.mean([test[key] for test in found]))
            for key in ("accuracy", "chance", "thinks", "median_thought_words")
        )
        known = [test["groundedness"] for test in found if test["groundedness"] is not None]
        ground = f"{np.mean(known):.2f}" if known else "–"
        lines.append(
            f"| `{stage}` | {len(found)} | {right:.3f} ({chance:.3f}) | {thinks:.2f} | {words:.1f} "
            f"| {ground} |"
        )
    return lines


def drawing(scale: dict[str, Any]) -> str:
    """Share of thoughts and of right answers over the steps, a line each seed."""
    drawn, (thinks, correct) = figure(2, width_in=9)
    arms = {
        claims.WITH_FORMAT: ("0.8 correct + 0.2 thinks", BLUE),
        claims.WITHOUT: ("correct alone", ORANGE),
        claims.ARMS["0"]: ("failed prompts only", GREEN),
    }
    for stage, (label, colour) in arms.items():
        for at, curve in enumerate(scale["curves"].get(stage, {}).values()):
            if stage != claims.ARMS["0"]:
                _line(thinks, curve, "thinks", colour, label if at == 0 else None)
            _line(correct, curve, "correct", colour, label if at == 0 else None)
    thinks.set_ylabel("share of answers")
    thinks.set_title("with a thought")
    correct.set_title("right")
    for axes in (thinks, correct):
        axes.set_ylim(0, 1)
        axes.set_xlabel("step of reinforcement learning")
        axes.legend(loc="lower left")
    return svg(drawn)


def _line(axes: Axes, curve: list[dict[str, float]], key: str, colour: str, label: Any) -> None:
    values = [step[key] for step in curve]
    ends = range(1, len(values) + 1)
    means = [float(np.mean(values[max(end - SMOOTHED, 0) : end])) for end in ends]
    axes.plot(list(ends), means, color=colour, label=label, linewidth=1.5)


if __name__ == "__main__":
    sys.exit(main())

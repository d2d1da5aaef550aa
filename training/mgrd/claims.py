"""Which of the report's claims hold here, by criteria that were fixed before (`config.Criteria`).

Figures in, verdicts out. ``Runs`` is the figures of every stage by seed and by the stage's whole
name, as `stages` keeps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.mgrd.config import CRITERIA, LENGTHS, Criteria
from training.mgrd.tasks import OPEN_KINDS

Verdict = Literal["reproduced", "not reproduced", "not decided"]
Stage = Mapping[str, Any]
Runs = Mapping[int, Mapping[str, Stage]]

RESAMPLES = 2000
COLD = "sounds-grounded"
WITH_FORMAT, WITHOUT = f"{COLD}.rl-correct+format-3-6", f"{COLD}.rl-correct-3-6"
ARMS = {
    "3-6": WITH_FORMAT,
    "0": f"{COLD}.rl-correct+format-0",
    "all": f"{COLD}.rl-correct+format-all",
}
TAUGHT = {
    kind: f"claims-{kind}.rl-correct+format-all" for kind in ("grounded", "surrogate", "none")
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A verdict with what it rests on."""

    name: str
    title: str
    verdict: Verdict
    why: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and questions with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def judge(runs: Runs, criteria: Criteria = CRITERIA) -> list[Claim]:
    """All claims."""
    return [make(runs, criteria) for make in (_c1, _c2, _c3, _c4, _c5)]


def spread(by_seed: Sequence[Sequence[float]], random_seed: int = 0) -> Spread:
    """The mean of all values, seeds alike; seeds are resampled, and within each its values."""
    rows: list[NDArray[np.float64]] = [np.asarray(values, np.float64) for values in by_seed]
    random = np.random.default_rng(random_seed)
    means = []
    for _ in range(RESAMPLES):
        drawn = [rows[at] for at in random.integers(len(rows), size=len(rows))]
        means.append(np.mean([r[random.integers(len(r), size=len(r))].mean() for r in drawn]))
    low, high = np.percentile(means, [2.5, 97.5])
    return Spread(float(np.mean([row.mean() for row in rows])), float(low), float(high))


def final_share(stage: Stage, key: str = "thinks") -> float:
    """A figure of reinforcement learning, over the last tenth of its steps."""
    values = [step[key] for step in stage["curve"]]
    return float(np.mean(values[-max(len(values) // 10, 1) :]))


def _with_all(runs: Runs, *names: str) -> dict[int, list[Stage]]:
    """The stages of these names, of the seeds that have all."""
    found = {
        seed: [stages[n] for n in names if n in stages] for seed, stages in sorted(runs.items())
    }
    return {seed: stages for seed, stages in found.items() if len(stages) == len(names)}


def _few(seeds: int, criteria: Criteria) -> str:
    return f"{seeds} of {criteria.seeds} seeds were run" if seeds < criteria.seeds else ""


def _by_difference(found: Spread, needed: float) -> Verdict:
    if found.mean >= needed and found.low > 0:
        return "reproduced"
    return "not reproduced" if found.high < needed else "not decided"


def _right(stage: Stage, kinds: Sequence[str]) -> dict[str, int]:
    """Whether each test question of these kinds is right; an id begins with its kind."""
    return {k: v for k, v in stage["test"]["right"].items() if k.split("-")[0] in kinds}


def _differences(first: Stage, second: Stage, kinds: Sequence[str]) -> list[float]:
    one, other = _right(first, kinds), _right(second, kinds)
    return [float(one[id_] - other[id_]) for id_ in sorted(one)]


def _accuracy(stage: Stage, kinds: Sequence[str]) -> float:
    return float(np.mean(list(_right(stage, kinds).values())))


def _c1(runs: Runs, criteria: Criteria) -> Claim:
    title = "The format reward keeps thoughts alive"
    found = _with_all(runs, WITH_FORMAT, WITHOUT)
    shares = {s: (final_share(a), final_share(b)) for s, (a, b) in found.items()}
    figures: dict[str, Any] = {
        "share_with": {seed: share for seed, (share, _) in shares.items()},
        "share_without": {seed: share for seed, (_, share) in shares.items()},
        "accuracy_with": {s: a["test"]["accuracy"] for s, (a, _) in found.items()},
        "accuracy_without": {s: b["test"]["accuracy"] for s, (_, b) in found.items()},
    }
    if few := _few(len(found), criteria):
        return Claim("C1", title, "not decided", few, figures)
    differences = {seed: a - b for seed, (a, b) in shares.items()}
    gains = spread([_differences(a, b, _kinds(a)) for a, b in found.values()])
    figures["accuracy_difference"] = _plain(gains)
    held = all(value >= criteria.c1_share_difference for value in differences.values())
    listed = ", ".join(f"{value:+.2f}" for value in differences.values())
    why = (
        f"difference of the final shares of thoughts by seed: {listed}; at least "
        f"{criteria.c1_share_difference:g} in every seed was needed. Accuracy with less without: "
        f"{gains}"
    )
    return Claim("C1", title, "reproduced" if held else "not reproduced", why, figures)


def _kinds(stage: Stage) -> list[str]:
    return list(stage["test"]["by_kind"])


def _c2(runs: Runs, criteria: Criteria) -> Claim:
    title = "Prompts with 3 to 6 right answers of 8 teach more than those that always failed"
    found = _with_all(runs, ARMS["3-6"], ARMS["0"])
    figures: dict[str, Any] = {
        arm: {
            seed: {
                "accuracy": _accuracy(stages[name], OPEN_KINDS),
                "useless_groups": float(
                    np.mean([s["useless_groups"] for s in stages[name]["curve"]])
                ),
                "prompts": stages[name]["prompts"],
            }
            for seed, stages in sorted(runs.items())
            if name in stages
        }
        for arm, name in ARMS.items()
    }
    figures["before"] = {
        seed: _accuracy(stages[COLD], OPEN_KINDS) for seed, stages in runs.items() if COLD in stages
    }
    if few := _few(len(found), criteria):
        return Claim("C2", title, "not decided", few, figures)
    gain = spread([_differences(a, b, OPEN_KINDS) for a, b in found.values()])
    figures["difference"] = _plain(gain)
    why = f"accuracy, 3-6 less failed-only: {gain}; {criteria.c2_difference:g} was needed"
    return Claim("C2", title, _by_difference(gain, criteria.c2_difference), why, figures)


def _c3(runs: Runs, criteria: Criteria) -> Claim:
    title = "Grounded thoughts beat surrogate ones, and only they gain by length"
    found = _with_all(runs, TAUGHT["grounded"], TAUGHT["surrogate"])
    figures: dict[str, Any] = {
        kind: {
            seed: {
                "conflict": stages[name]["test"]["by_kind"]["conflict"],
                "agreement": stages[name]["test"]["by_kind"]["agreement"],
                "groundedness": stages[name]["test"]["groundedness"],
                "by_length": {k: float(np.mean(v)) for k, v in stages[name]["by_length"].items()},
            }
            for seed, stages in sorted(runs.items())
            if name in stages
        }
        for kind, name in TAUGHT.items()
    }
    if few := _few(len(found), criteria):
        return Claim("C3", title, "not decided", few, figures)
    gain = spread([_differences(a, b, ("conflict",)) for a, b in found.values()])
    slopes = [float(np.mean([_slope(pair[at]) for pair in found.values()])) for at in (0, 1)]
    figures |= {"difference": _plain(gain), "slope_per_token": slopes}
    verdict = _by_difference(gain, criteria.c3_difference)
    if verdict == "reproduced" and not (slopes[0] > 0 >= slopes[1]):
        verdict = "not reproduced"
    why = (
        f"accuracy on conflict items, grounded less surrogate: {gain}; {criteria.c3_difference:g} "
        f"was needed. Slope of accuracy a token of thought: grounded {slopes[0]:+.4f} (above 0 was "
        f"needed), surrogate {slopes[1]:+.4f} (not above 0)"
    )
    return Claim("C3", title, verdict, why, figures)


def _slope(stage: Stage) -> float:
    means = [np.mean(stage["by_length"][str(n)]) for n in LENGTHS]
    return round(float(np.polyfit(LENGTHS, means, 1)[0]), 6)  # a flat line is flat


def _c4(runs: Runs, criteria: Criteria) -> Claim:
    title = "Rounds of distillation and reinforcement learning help"
    names: list[str] = []
    for number in (1, 2, 3):
        before = names[-1] if names else COLD
        names.append(f"{before}.distil{number}.rl-correct+format-3-6")
    rounds = max(
        (n for n in (3, 2) if len(_with_all(runs, *names[:n])) >= criteria.seeds), default=0
    )
    figures: dict[str, Any] = {
        f"round{at}": {
            seed: {k: stages[name]["test"][k] for k in ("accuracy", "groundedness", "thinks")}
            for seed, stages in sorted(runs.items())
            if name in stages
        }
        for at, name in enumerate(names, start=1)
    }
    if not rounds:
        return Claim("C4", title, "not decided", "two rounds and more of too few seeds", figures)
    found = list(_with_all(runs, *names[:rounds]).values())
    steps = [
        spread([_differences(s[at], s[at - 1], _kinds(s[at])) for s in found])
        for at in range(1, rounds)
    ]
    whole = spread([_differences(s[-1], s[0], _kinds(s[0])) for s in found])
    ground = [float(np.mean([s[at]["test"]["groundedness"] or 0 for s in found])) for at in (0, -1)]
    held = all(step.high >= 0 for step in steps) and whole.low > 0 and ground[1] > ground[0]
    why = (
        f"accuracy, last less first of {rounds} rounds: {whole}; groundedness {ground[0]:.3f} to "
        f"{ground[1]:.3f}; none of both may fall, and accuracy has to rise beyond its interval"
    )
    return Claim("C4", title, "reproduced" if held else "not reproduced", why, figures)


def _c5(runs: Runs, criteria: Criteria) -> Claim:
    title = "A filter and preferences stop the model from denying that it hears"
    parts = ("", ".filtered", ".filtered.preferred")
    rate_names = [f"{COLD}{part}.denials" for part in parts]
    stage_names = [f"{COLD}{part}" for part in parts]
    found = _with_all(runs, *rate_names, *stage_names)
    rates = {s: [r["denied"] / r["drawn"] for r in stages[:3]] for s, stages in found.items()}
    accuracies = {s: [r["test"]["accuracy"] for r in stages[3:]] for s, stages in found.items()}
    figures: dict[str, Any] = {"rates": rates, "accuracies": accuracies}
    if few := _few(len(found), criteria):
        return Claim("C5", title, "not decided", few, figures)
    cold, filtered, preferred = np.mean(list(rates.values()), axis=0)
    changes = [_differences(s[5], s[4], _kinds(s[4])) for s in found.values()]
    change = spread(changes)
    figures["accuracy_change"] = _plain(change)
    checks = {
        f"the filter: {cold:.4f} to {filtered:.4f}": filtered <= criteria.c5_filter_ratio * cold,
        f"preferences: to {preferred:.4f}": preferred < criteria.c5_rate,
        f"accuracy by preferences: {change}": abs(change.mean) <= criteria.c5_accuracy_change,
    }
    why = "; ".join(f"{words} ({'met' if met else 'not met'})" for words, met in checks.items())
    return Claim(
        "C5", title, "reproduced" if all(checks.values()) else "not reproduced", why, figures
    )


def _plain(found: Spread) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}

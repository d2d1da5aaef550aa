"""Trains and cross-validates a judge of a turn's end on recordings of people: a study.

    python -m benchmarks.turn_taking.train_endpointing --data DIR

A logistic regression over `duplex.turns.end_judge.NAMES`, and three tables from its score to a
silence. A table is what cuts the fewest pauses at a mean delay, found by dynamic programming over
bins of the scores that were given to clips of other speakers. Printed is what nested
cross-validation gives: neither regression nor table has seen the clips that it is measured on.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_taking.corpus import Clip, Pause, cache_dir, clips
from benchmarks.turn_taking.end_judge import NAMES, Curve, EndJudge, features
from benchmarks.turn_taking.policies import default_listener, judged, score

MEAN_MS: dict[Curve, int] = {"quick": 330, "usual": 440, "patient": 690}  # of delay, of each curve
WAITS_MS = np.arange(192, 1601, 32)
FOLDS = 5
BINS = 12
PENALTY = 12.0
Array = NDArray[np.float64]
Rows = list[tuple[Clip, Pause]]


def rows_of(heard: Sequence[Clip]) -> Rows:
    """The pauses that are learned from."""
    return [(clip, p) for clip in heard if clip.kind != "noise" for p in clip.pauses]


def fit(rows: Rows) -> tuple[Array, Array, Array, float]:
    """Mean, scale, weight and bias of a logistic regression with an L2 penalty, by Newton's method.
    A pause counts for more if it is long: short ones are not cut whatever the score."""
    inputs = np.stack([features(p.words, judged(p)) for _, p in rows])
    ends = np.array([p.silence_ms is None for _, p in rows], float)
    shares = np.array([min(1.0, max(0.1, ((p.silence_ms or 800) - 150) / 300)) for _, p in rows])
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 0.05)
    x = np.column_stack([(inputs - mean) / scale, np.ones(len(inputs))])
    ridge = np.diag([*np.full(len(NAMES), PENALTY), 0.0])
    weight = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ weight, -30, 30)))
        slope = x.T @ (shares * (p - ends)) + ridge @ weight
        curve = (x * (shares * p * (1 - p))[:, None]).T @ x + ridge
        weight -= np.linalg.solve(curve, slope)
    return mean, scale, weight[:-1], float(weight[-1])


def scores(rows: Rows, model: tuple[Array, Array, Array, float]) -> Array:
    """Log odds of an end."""
    mean, scale, weight, bias = model
    inputs = np.stack([features(p.words, judged(p)) for _, p in rows])
    return (inputs - mean) / scale @ weight + bias


def folds(rows: Rows, group: Callable[[Clip], str]) -> list[NDArray[np.bool_]]:
    """Which rows each fold holds back; a group is in one fold, and the folds are of like size."""
    names = [group(clip) for clip, _ in rows]
    sizes = {name: names.count(name) for name in sorted(set(names))}
    filled = [0] * FOLDS
    fold_of = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold_of[name] = int(np.argmin(filled))
        filled[fold_of[name]] += sizes[name]
    return [np.array([fold_of[name] == fold for name in names]) for fold in range(FOLDS)]


def held_back(rows: Rows, group: Callable[[Clip], str]) -> Array:
    """The score of each row from a regression that has not seen its group."""
    found = np.zeros(len(rows))
    for out in folds(rows, group):
        if out.any():
            seen = [row for row, is_out in zip(rows, out, strict=True) if not is_out]
            unseen = [row for row, is_out in zip(rows, out, strict=True) if is_out]
            found[out] = scores(unseen, fit(seen))
    return found


def table(rows: Rows, given: Array, mean_ms: float) -> tuple[Array, Array]:
    """Scores and waits, falling, with the fewest pauses cut at a mean delay of ``mean_ms``."""
    edges = np.quantile(given, np.linspace(0, 1, BINS + 1)[1:-1])
    at = np.searchsorted(edges, given)
    centres = np.array([np.median(given[at == number]) for number in range(BINS)])
    silence = np.array([np.nan if p.silence_ms is None else p.silence_ms for _, p in rows])
    lags = np.array([p.lag_ms or 0.0 for _, p in rows])
    ends = np.isnan(silence)
    cuts = np.array([[(silence[at == b] >= w).sum() for w in WAITS_MS] for b in range(BINS)])
    count = np.array([ends[at == b].sum() for b in range(BINS)])
    low, high = 1e-6, 1.0  # cuts that a millisecond of one end is worth
    best = np.full(BINS, WAITS_MS[-1])
    for _ in range(40):
        price = np.sqrt(low * high)
        waits = WAITS_MS[_falling(cuts + price * count[:, None] * WAITS_MS)]
        delay = (np.interp(given[ends], centres, waits) + lags[ends]).mean()
        if delay <= mean_ms:
            best, high = waits, price
        else:
            low = price
    return centres, best.astype(float)


def _falling(cost: Array) -> NDArray[np.int64]:
    """For each row a column, falling from row to row, of the smallest total ``cost``."""
    best, chosen = cost[0], []
    for row in cost[1:]:
        # From column j the next may be any i <= j: the smallest of best[i:].
        running = np.minimum.accumulate(best[::-1])[::-1]
        origin = np.array([i + int(np.argmin(best[i:])) for i in range(len(best))])
        chosen.append(origin)
        best = running + row
    columns = [int(np.argmin(best))]
    for origin in reversed(chosen):
        columns.append(int(origin[columns[-1]]))
    return np.array(columns[::-1])


def trained(rows: Rows, group: Callable[[Clip], str]) -> dict[str, list[float]]:
    """The weights of an `EndJudge`."""
    given = held_back(rows, group)
    mean, scale, weight, bias = fit(rows)
    tables = {name: table(rows, given, ms) for name, ms in MEAN_MS.items()}
    centres = tables["usual"][0]
    named: dict[str, Any] = {
        "mean": mean,
        "scale": scale,
        "weight": weight,
        "bias": [bias],
        "scores": centres,
    }
    named |= {f"{name}_ms": waits for name, (_, waits) in tables.items()}
    return {name: [round(float(value), 5) for value in values] for name, values in named.items()}


def cross_validated(heard: Sequence[Clip], group: Callable[[Clip], str]) -> dict[str, object]:
    """What judges score on groups that neither their regression nor their table has seen."""
    rows = rows_of(heard)
    judges: dict[str, EndJudge] = {}
    for out in folds(rows, group):
        if out.any():
            seen = [row for row, is_out in zip(rows, out, strict=True) if not is_out]
            judge = EndJudge(trained(seen, group))
            judges |= {
                clip.file: judge for (clip, _), is_out in zip(rows, out, strict=True) if is_out
            }
    return {
        name: score(
            heard,
            lambda p, clip, name=name: judges[clip.file].wait_ms(p.words, judged(p), name),  # type: ignore[misc]
        )
        for name in MEAN_MS
    }


def separation(rows: Rows, given: Array) -> float:
    """The area under the ROC curve: how often an end scores above a pause of 300 ms or more."""
    silence = [p.silence_ms for _, p in rows]
    ends = given[[s is None for s in silence]]
    inner = given[[s is not None and s >= 300 for s in silence]]
    return float((ends[:, None] > inner).mean() + 0.5 * (ends[:, None] == inner).mean())


def by_speaker(clip: Clip) -> str:
    """A speaker of one source."""
    return f"{clip.source}/{clip.speaker}"


def by_source(clip: Clip) -> str:
    """Where the clip is from."""
    return clip.source


def main() -> None:
    """Run the training from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--out", type=Path, help="where to write the weights")
    arguments = parser.parse_args()
    heard = list(clips(arguments.data, default_listener(), arguments.cache))
    rows = rows_of(heard)
    for name, group in (("speakers", by_speaker), ("sources", by_source)):
        print(name, "auc", round(separation(rows, held_back(rows, group)), 3))
        for curve, found in cross_validated(heard, group).items():
            print(name, curve, json.dumps(found))
    if arguments.out:
        written = json.dumps(trained(rows, by_speaker), indent=1) + "\n"
        arguments.out.write_text(written, "utf-8")


if __name__ == "__main__":
    main()

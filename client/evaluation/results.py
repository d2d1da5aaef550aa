"""What a run found: shares with their intervals, by condition and category, and their pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from client.bench.machine import Machine
from client.bench.metrics import Spread
from client.bench.result import Check
from client.bench.stats import share_interval
from client.bench.word_errors import wer
from client.evaluation.about import About
from client.evaluation.items import Record
from client.evaluation.paired import Paired, paired
from client.evaluation.score import NOT_SCORED, Score
from client.evaluation.scorers import mean, score

Scored = tuple[Record, Score]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of the table: ``n`` asked, of which ``scored`` have a score. An error is wrong."""

    n: int
    scored: int
    right: float  # the sum of the scores
    accuracy: float | None
    interval: tuple[float, float] | None
    invalid: int
    cut: int  # answers that ran into the target's limit
    errors: int
    chance: float | None
    latency_ms: float | None  # median, to the end of the answer
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def unscored(self) -> int:
        """Those that nothing could score."""
        return self.n - self.scored


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two conditions of one run, or one condition of two runs."""

    first: str
    second: str
    category: str  # empty: all
    paired: Paired


@dataclass(frozen=True, slots=True)
class Run:
    """How answers were got."""

    target: str
    made_at: str
    command: str
    commit: str | None
    machine: Machine
    seed: int
    limit: int | None
    models: Mapping[str, str] = field(default_factory=dict)
    judge: str | None = None
    speech: bool = False  # the answers were spoken
    ear: str | None = None  # what wrote down the spoken answers
    notes: tuple[str, ...] = ()  # of the data


@dataclass(frozen=True, slots=True)
class Result:
    """A whole report. The first condition is what the set is about."""

    about: About
    run: Run
    scored: tuple[Scored, ...]
    checks: tuple[Check, ...] = ()

    @property
    def conditions(self) -> list[str]:
        """In the order of the records."""
        return list(dict.fromkeys(record.condition for record, _ in self.scored))

    @property
    def categories(self) -> list[str]:
        """In the order of the records."""
        return list(dict.fromkeys(record.category for record, _ in self.scored))

    def part(self, condition: str, category: str | None = None) -> list[Scored]:
        """The records of one condition, and of one category if it is given."""
        return [
            (record, score)
            for record, score in self.scored
            if record.condition == condition and category in (None, record.category)
        ]

    def figures(self, condition: str, category: str | None = None) -> Figures:
        """A line of the table."""
        return figures(self.part(condition, category))

    @property
    def comparisons(self) -> list[Comparison]:
        """The first condition against each other one, in all and by category."""
        first, *others = self.conditions
        found = []
        for other in others:
            for category in (None, *self.categories):
                one = compare(self.part(first, category), self.part(other, category))
                if one is not None:
                    found.append(Comparison(first, other, category or "", one))
        return found


def scored(records: Sequence[Record]) -> tuple[Scored, ...]:
    """Apply each record's own rule. Where there is no answer, that is wrong.

    Raises:
        ValueError: a record names no rule that there is.
    """
    return tuple((record, _score(record)) for record in records)


def _score(record: Record) -> Score:
    if record.error is not None:
        return Score(0.0)
    if "judge" in record.gold:
        return (
            NOT_SCORED
            if record.judged is None
            else score(record.scorer, record.judged, record.gold)
        )
    return score(record.scorer, record.scored_text, record.gold)


def figures(part: Sequence[Scored]) -> Figures:
    """Count a part of a run."""
    scores = [score for _, score in part]
    values = [score.value for score in scores if score.value is not None]
    chances = [record.chance for record, _ in part if record.chance is not None]
    times = [record.done_ms for record, _ in part if record.done_ms is not None]
    names = dict.fromkeys(name for score in scores for name in score.measures)
    means = {
        name: mean(score.measures[name] for score in scores if name in score.measures) or 0.0
        for name in names
    }
    if {"rating", "human"} <= means.keys():
        means |= _correlation([score.measures for score in scores if "human" in score.measures])
    heard = [(r.answer, r.speech_heard) for r, _ in part if r.speech_heard is not None]
    if any(answer.strip() for answer, _ in heard):  # how far the ear that listens can be trusted
        means["speech_wer"] = wer(heard).rate
    return Figures(
        n=len(part),
        scored=len(values),
        right=sum(values),
        accuracy=mean(values),
        interval=interval(values),
        invalid=sum(score.is_invalid for score in scores),
        cut=sum(record.is_cut for record, _ in part),
        errors=sum(record.error is not None for record, _ in part),
        chance=mean(chances) if len(chances) == len(part) else None,
        latency_ms=float(np.median(times)) if times else None,
        measures=means,
    )


def _correlation(rated: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Pearson's and Spearman's, of what a target rated and what people did."""
    from scipy.stats import pearsonr, spearmanr

    ours, theirs = ([one[name] for one in rated] for name in ("rating", "human"))
    if min(len(set(ours)), len(set(theirs))) < 2:  # not defined
        return {}
    return {
        "pearson": float(pearsonr(ours, theirs).statistic),
        "spearman": float(spearmanr(ours, theirs).statistic),
    }


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 %: Wilson's of right and wrong, the bootstrap's of scores in between."""
    if not values:
        return None
    if set(values) <= {0.0, 1.0}:
        return share_interval(int(sum(values)), len(values))
    array = np.array(values)
    drawn = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(array[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def compare(first: Sequence[Scored], second: Sequence[Scored]) -> Paired | None:
    """The questions that are scored in both."""
    other = {record.id: score.value for record, score in second}
    pairs = [
        (score.value, value)
        for record, score in first
        if score.value is not None and (value := other.get(record.id)) is not None
    ]
    return paired(pairs)


def compare_runs(first: Result, second: Result) -> list[Comparison]:
    """Two runs of one set, condition by condition, in all and by category.

    Raises:
        ValueError: they are of different sets, or have no question in common.
    """
    if first.about.name != second.about.name:
        raise ValueError(f"{first.about.name} and {second.about.name} are different sets")
    found = []
    for condition in first.conditions:
        for category in (None, *first.categories):
            one = compare(first.part(condition, category), second.part(condition, category))
            if one is not None:
                found.append(Comparison(condition, condition, category or "", one))
    if not found:
        raise ValueError("the two runs have no question in common")
    return found


def metrics(result: Result) -> dict[str, float]:
    """The figures that `--fail-if` knows, those that were measured."""
    found: dict[str, float | None] = {}
    for condition in result.conditions:
        part = result.figures(condition)
        prefix = "" if condition == result.conditions[0] else f"{condition}_"
        found |= {
            f"{prefix}accuracy": part.accuracy,
            f"{prefix}error_rate": part.errors / part.n,
            f"{prefix}invalid_rate": part.invalid / part.n,
            f"{prefix}cut_rate": part.cut / part.n,
            f"{prefix}latency_p50_ms": part.latency_ms,
            **{f"{prefix}{name.replace('.', '')}": v for name, v in part.measures.items()},
        }
    for category in result.categories:
        found[f"{category}_accuracy"] = result.figures(result.conditions[0], category).accuracy
    return {name: value for name, value in found.items() if value is not None}


def spreads(result: Result) -> dict[str, Spread]:
    """How sure the accuracies are."""
    parts = {"": result.figures(result.conditions[0])}
    parts |= {f"{name}_": result.figures(name) for name in result.conditions[1:]}
    for category in result.categories:
        parts[f"{category}_"] = result.figures(result.conditions[0], category)
    return {
        f"{prefix}accuracy": (part.scored, part.interval)
        for prefix, part in parts.items()
        if part.interval is not None
    }

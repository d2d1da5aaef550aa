"""The figures that have a name: what `--fail-if` and the goals speak of."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from client.bench.result import BenchResult, Check, Group, MeasuringError
from client.bench.stats import Summary, share_interval

CONDITION = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*")
FAILS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}
OPPOSITE = {">": "at most", ">=": "below", "<": "at least", "<=": "above"}


Spread = tuple[int, tuple[float | None, float | None]]  # a count and a 95 % interval


@dataclass(frozen=True, slots=True)
class Metric:
    """A named figure of a run; ``of`` gives None where it was not measured. Of a percentile,
    ``summary`` tells what it is from; of percentiles and shares, ``spread`` how sure they are."""

    meaning: str
    of: Callable[[BenchResult], float | None]
    summary: Callable[[BenchResult], Summary | None] = lambda _: None
    percentile: int = 50
    spread: Callable[[BenchResult], Spread | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure and what it must not be."""

    metric: str
    comparison: str
    limit: float

    @property
    def words(self) -> str:
        """What is asked for."""
        return f"{OPPOSITE[self.comparison]} {self.limit:g}"

    def met_by(self, value: float) -> bool:
        """Whether the figure may have this value."""
        return not FAILS[self.comparison](value, self.limit)


def parse_condition(text: str) -> Condition:
    """Read ``v2v_p50_ms>600``.

    Raises:
        ValueError: it is no condition, or speaks of no metric there is.
    """
    condition = read_condition(text, "v2v_p50_ms>600")
    if condition.metric not in METRICS and condition.metric not in MEASURING:
        known = ", ".join([*METRICS, *MEASURING])
        raise ValueError(f"there is no metric {condition.metric}; there are {known}")
    return condition


def read_condition(text: str, example: str) -> Condition:
    """Read a condition on any figure.

    Raises:
        ValueError: it is none such as ``example``.
    """
    found = CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no condition such as {example}")
    name, comparison, limit = found.groups()
    return Condition(name, comparison, float(limit))


def figures(result: BenchResult, measuring: MeasuringError | None = None) -> dict[str, float]:
    """All metrics that were measured."""
    found = {name: metric.of(result) for name, metric in METRICS.items()}
    if measuring is not None:
        found |= {name: metric(measuring) for name, (_, metric) in MEASURING.items()}
    return {name: value for name, value in found.items() if value is not None}


def from_few(result: BenchResult) -> dict[str, int]:
    """The percentiles that their count does not bear, and that count."""
    found = {}
    for name, metric in METRICS.items():
        summary = metric.summary(result)
        if summary is not None and not summary.supports(metric.percentile):
            found[name] = summary.n
    return found


def spreads(result: BenchResult) -> dict[str, Spread]:
    """How sure the percentiles and shares are that were measured."""
    found = {name: metric.spread(result) for name, metric in METRICS.items()}
    return {name: spread for name, spread in found.items() if spread is not None}


def check(
    conditions: Sequence[Condition],
    measured: Mapping[str, float],
    spread: Mapping[str, Spread] | None = None,
    *,
    required: bool,
) -> list[Check]:
    """Hold the figures against the conditions. What was not measured is neither met nor missed,
    but fails where it is ``required``: a gate that measures nothing must not pass."""
    checks = []
    for condition in conditions:
        value = measured.get(condition.metric)
        met = None if value is None else condition.met_by(value)
        n, interval, sure = None, None, None
        if spread and condition.metric in spread:
            n, interval = spread[condition.metric]
            worst = interval[1 if condition.comparison in (">", ">=") else 0]
            sure = worst is not None and condition.met_by(worst)
        words = condition.words
        checks.append(Check(condition.metric, words, value, met, required, n, interval, sure))
    return checks


def failed(checks: Sequence[Check]) -> bool:
    """Whether a required one was not met."""
    return any(one.required and not one.met for one in checks)


def same_questions(first: Group, second: Group) -> tuple[Group, Group]:
    """Both groups' word errors are to be of the same questions."""
    common = {t.turn.question_id for t in first.asked} & {t.turn.question_id for t in second.asked}
    return _only(first, common), _only(second, common)


def _only(group: Group, ids: set[str]) -> Group:
    calls = [
        replace(call, turns=tuple(t for t in call.turns if t.turn.question_id in ids))
        for call in group.calls
    ]
    return replace(group, calls=tuple(calls))


def _percentile(
    meaning: str, scenario: str, percentile: int, summary_of: Callable[[Group], Summary | None]
) -> Metric:
    def summary(result: BenchResult) -> Summary | None:
        group = result.group(scenario)
        return summary_of(group) if group else None

    def of(result: BenchResult) -> float | None:
        found = summary(result)
        return None if found is None else found.at(percentile)

    def spread(result: BenchResult) -> Spread | None:
        found = summary(result)
        return None if found is None else (found.n, found.interval(percentile))

    return Metric(meaning, of, summary, percentile, spread)


def _share(
    meaning: str, scenario: str, part: Callable[[Group], int], whole: Callable[[Group], int]
) -> Metric:
    def of(result: BenchResult) -> float | None:
        group = result.group(scenario)
        return part(group) / whole(group) if group and whole(group) else None

    def spread(result: BenchResult) -> Spread | None:
        group = result.group(scenario)
        if group is None or not whole(group):
            return None
        interval = share_interval(min(part(group), whole(group)), whole(group))
        return (whole(group), interval) if interval else None

    return Metric(meaning, of, spread=spread)


def _wer(scenario: str) -> Callable[[BenchResult], float | None]:
    def of(result: BenchResult) -> float | None:
        group = result.group(scenario)
        found = group.question_errors if group else None
        return found.rate if found else None

    return of


def added_ms(scenario: str) -> Callable[[BenchResult], float | None]:
    """The median delay over that of the same questions in the clean."""

    def of(result: BenchResult) -> float | None:
        group, clean = result.group(scenario), result.group("short")
        if group is None or clean is None:
            return None
        one, other = (found.v2v for found in same_questions(group, clean))
        return one.p50 - other.p50 if one and other else None

    return of


def wer_ratio(scenario: str) -> Callable[[BenchResult], float | None]:
    """The questions' word error rate over that of the same questions in the clean; where none
    was wrong there, as if half a word had been."""

    def of(result: BenchResult) -> float | None:
        group, clean = result.group(scenario), result.group("short")
        if group is None or clean is None:
            return None
        one, other = (found.question_errors for found in same_questions(group, clean))
        if one is None or other is None or not one.words or not other.words:
            return None
        if one.edits == other.edits == 0:
            return 1.0
        return one.rate / (max(other.edits, 0.5) / other.words)

    return of


def load_factor(result: BenchResult, callers: int | None = None) -> float | None:
    """The median of the most concurrent calls over that of a single one."""
    several = [group for group in result.groups if group.scenario == "concurrent"]
    group = max(several, key=lambda g: g.callers, default=None)
    if callers is not None:
        group = result.group("concurrent", callers)
    single = result.group("short")
    many, one = group.v2v if group else None, single.v2v if single else None
    return many.p50 / one.p50 if many and one and one.p50 > 0 else None


def _load_p50(result: BenchResult) -> float | None:
    several = [group for group in result.groups if group.scenario == "concurrent"]
    group = max(several, key=lambda g: g.callers, default=None)
    return group.v2v.p50 if group and group.v2v else None


def _answer_wer(result: BenchResult) -> float | None:
    return result.answer_errors.rate if result.answer_errors else None


def _resident(result: BenchResult) -> float | None:
    group = result.group("short")
    return group.peak_mib if group else None


def _underruns(result: BenchResult) -> float | None:
    turns = result.turns
    return float(sum(turn.turn.underruns for turn in turns)) if turns else None


def _v2v(scenario: str, words: str, prefix: str) -> dict[str, Metric]:
    meaning = f"voice-to-voice, {words}"
    return {
        f"{prefix}v2v_p{p}_ms": _percentile(meaning, scenario, p, lambda group: group.v2v)
        for p in (50, 95, 99)
    }


METRICS: dict[str, Metric] = {
    **_v2v("short", "short questions", ""),
    "unanswered_rate": _share(
        "short questions without an answer", "short", lambda g: g.unanswered, lambda g: len(g.asked)
    ),
    "cut_off_rate": _share(
        "short questions cut off", "short", lambda g: g.cut_offs, lambda g: len(g.turns)
    ),
    "question_wer": Metric("the server's transcripts of short questions", _wer("short")),
    "answer_wer": Metric("the answers' audio against their text, all scenarios", _answer_wer),
    "underruns": Metric("gaps within answers, all scenarios", _underruns),
    **_v2v("long", "long questions", "long_"),
    "pause_cut_off_rate": _share(
        "questions with inner pauses cut off",
        "pauses",
        lambda g: g.cut_offs,
        lambda g: len(g.turns),
    ),
    **{
        f"stop_p{p}_ms": _percentile(
            "from an interruption's onset to the answer's silence",
            "interruptions",
            p,
            lambda group: group.stop,
        )
        for p in (50, 95, 99)
    },
    "missed_stop_rate": _share(
        "interruptions that did not stop the answer",
        "interruptions",
        lambda g: len(g.said_into_answers) - len(g.stopped),
        lambda g: len(g.said_into_answers),
    ),
    "false_stop_rate": _share(
        "answers that a backchannel stopped for good",
        "backchannels",
        lambda g: len(g.stopped),
        lambda g: len(g.said_into_answers),
    ),
    "false_pause_rate": _share(
        "answers that a backchannel stopped, whether they went on or not",
        "backchannels",
        lambda g: sum(t.turn.interrupted for t in g.said_into_answers),
        lambda g: len(g.said_into_answers),
    ),
    "resume_gap_p50_ms": _percentile(
        "silence in answers that a backchannel stopped and that went on",
        "backchannels",
        50,
        lambda group: group.resume_gap,
    ),
    **_v2v("noise", "background noise", "noise_"),
    "noise_stop_rate": _share(
        "answers that stopped under noise though nobody spoke",
        "noise",
        lambda g: sum(t.turn.answer_cut for t in g.asked),
        lambda g: len(g.asked) - g.unanswered,
    ),
    "noise_wer": Metric("the server's transcripts under noise", _wer("noise")),
    **_v2v("phone", "over the telephone line", "phone_"),
    "phone_added_ms": Metric(
        "median over the telephone line, less the same questions in the clean", added_ms("phone")
    ),
    "phone_wer": Metric("the server's transcripts over the telephone line", _wer("phone")),
    "phone_wer_ratio": Metric("that, over the same questions in the clean", wer_ratio("phone")),
    "concurrent_v2v_p50_ms": Metric("voice-to-voice, the most calls at a time", _load_p50),
    "concurrent_factor": Metric("that, over one call's", load_factor),
    "concurrent4_factor": Metric(
        "four calls at a time over one call's", lambda r: load_factor(r, 4)
    ),
    "lost_calls": Metric(
        "calls that failed", lambda r: float(sum(g.lost for g in r.groups)) if r.groups else None
    ),
    "refused_calls": Metric(
        "calls that were not taken",
        lambda r: float(sum(g.refused for g in r.groups)) if r.groups else None,
    ),
    "client_late_ms": Metric(
        "the bench's own lateness, highest: more than a packet's 20 ms is a busy machine",
        lambda r: max((call.late_ms for g in r.groups for call in g.calls), default=None),
    ),
    "ready_s": Metric("from starting the server to its being ready", lambda r: r.ready_s),
    "resident_mib": Metric("the server's memory with one call, highest", _resident),
}

MEASURING: dict[str, tuple[str, Callable[[MeasuringError], float]]] = {
    "measuring_bias_ms": ("what the bench adds to a known delay, median", lambda m: m.v2v.p50),
    "measuring_p95_ms": ("what the bench adds to a known delay, p95", lambda m: m.v2v.p95),
}

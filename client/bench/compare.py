"""Two servers side by side: what was measured turn by turn of both, as ratios with intervals."""

from collections.abc import Callable

import numpy as np

from client.bench.result import BenchResult, BenchTurn, Compared, Group
from client.bench.stats import paired_ratio

Value = Callable[[BenchTurn], float | None]


def compare(first: BenchResult, second: BenchResult) -> list[Compared]:
    """The figures of both, scenario by scenario, where both were measured."""
    compared = []
    for one in first.groups:
        other = second.group(one.scenario, one.callers)
        if other is None:
            continue
        name = one.scenario if one.callers == 1 else f"{one.callers} {one.scenario}"
        compared += _delays(name, "voice-to-voice", one, other, lambda t: t.turn.v2v_ms)
        if one.scenario == "interruptions":
            compared += _delays(name, "stop", one, other, _stop)
        compared += _rates(name, one, other)
    return compared


def pairs(one: Group, other: Group, value: Value) -> list[tuple[float, float]]:
    """The values of the same utterances in the same calls; where either has none, no pair."""
    found = []
    for first_call, second_call in zip(one.calls, other.calls, strict=False):
        for first, second in zip(first_call.turns, second_call.turns, strict=False):
            a, b = value(first), value(second)
            if a is not None and b is not None:
                found.append((a, b))
    return found


def _delays(name: str, what: str, one: Group, other: Group, value: Value) -> list[Compared]:
    both = pairs(one, other, value)
    found = []
    for percentile in (50, 95):
        ratio = paired_ratio(both, percentile)
        if ratio is not None:
            first, second = np.percentile(np.array(both), percentile, axis=0)
            figure = f"{what} p{percentile}, ms"
            found.append(Compared(name, figure, float(first), float(second), ratio))
    return found


def _rates(name: str, one: Group, other: Group) -> list[Compared]:
    found: list[Compared] = []
    for figure, of in (
        ("word error rate", _wer),
        ("unanswered", lambda g: g.unanswered / len(g.asked) if g.asked else None),
        ("cut off", lambda g: g.cut_offs / len(g.turns) if g.turns else None),
        ("stopped for good", _stopped),
    ):
        first, second = of(one), of(other)
        if first is not None and second is not None:
            found.append(Compared(name, figure, first, second, None))
    return found


def _wer(group: Group) -> float | None:
    return group.question_errors.rate if group.question_errors else None


def _stopped(group: Group) -> float | None:
    into = group.said_into_answers
    return len(group.stopped) / len(into) if into else None


def _stop(turn: BenchTurn) -> float | None:
    gone = turn.turn.interrupted and turn.turn.resume_gap_ms is None
    return turn.turn.barge_in_ms if gone else None

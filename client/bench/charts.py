"""Figures of several runs or of whole calls: distributions, ratios, events, lanes."""

import math
from collections.abc import Sequence

from client.bench.plots import Axis, axis_of, dot, empty, figure, legend, vertical_grid
from client.bench.result import BenchCall, BenchTurn, Compared
from client.bench.stats import Ratio
from client.drawing import svg

LANE = 26.0


def ecdf(curves: Sequence[tuple[str, Sequence[float], str]], label: str) -> str:
    """For each value, the share of turns that had it or less: label, values, colour."""
    curves = [curve for curve in curves if curve[1]]
    if not curves:
        return empty("no turn was answered")
    axis = axis_of([value for _, values, _ in curves for value in values], "ms", None)
    axis = Axis(max(0.0, axis.low), axis.high)
    height = 190.0
    drawn = vertical_grid(axis, height)
    for share in (0.0, 0.5, 0.95):
        y = height * (1 - share)
        drawn.append(svg.line("0", y, "100%", y, "grid"))
        drawn.append(svg.text("0", y + 4, f"{100 * share:.0f} %", "tick shift-left", "end"))
    for name, values, css in curves:
        ordered = sorted(values)
        steps = [(value, (index + 1) / len(ordered)) for index, value in enumerate(ordered)]
        before = 0.0
        for (value, share), following in zip(steps, [*steps[1:], None], strict=True):
            x, y = axis.x(value), height * (1 - share)
            drawn.append(svg.line(x, height * (1 - before), x, y, f"join l-{css}"))
            if following is not None:
                drawn.append(svg.line(x, y, axis.x(following[0]), y, f"join l-{css}"))
            tip = f"{name}: {100 * share:.0f} % at {value:.0f} ms or sooner"
            drawn.append(dot(x, y, 3, f"f-{css}", tip))
            before = share
    key = legend([(f"{name} ({len(values)})", css) for name, values, css in curves])
    return key + figure(drawn, height, label)


def ratios(compared: Sequence[Compared], first: str, second: str) -> str:
    """Each ratio with its interval on one logarithmic axis; the line is 1."""
    rows = [one for one in compared if one.ratio is not None]
    if not rows:
        return empty("nothing was measured of both")
    bounds = [b for one in rows if one.ratio for b in (*_reach(one.ratio), 1.0)]
    least, most = math.log2(min(bounds)) - 0.1, math.log2(max(bounds)) + 0.1
    axis = Axis(least, most)
    height = 30.0 * len(rows)
    drawn = []
    for tick in _ratio_ticks(least, most):
        x = axis.x(math.log2(tick))
        drawn.append(svg.line(x, 0, x, height, "mark" if tick == 1 else "grid"))
        drawn.append(svg.text(x, height + 15, f"{tick:g}x", "tick", "middle"))
    for row, one in enumerate(rows):
        ratio = one.ratio
        assert ratio is not None  # filtered above
        y = 30.0 * row + 20
        low, high = _reach(ratio)
        sure = "soft" if ratio.interval is None or low <= 1 <= high else "series1"
        words = f"{one.scenario}: {one.figure}"
        tip = f"{words}: {ratio.value:.2f} ({ratio.words})"
        drawn.append(svg.text("0", y - 8, words, "tick"))
        ends = (axis.x(math.log2(bound)) for bound in _reach(ratio))
        drawn.append(svg.line(next(ends), y, next(ends), y, f"join l-{sure}"))
        drawn.append(dot(axis.x(math.log2(ratio.value)), y, 4.5, f"f-{sure}", tip))
    label = f"{first} over {second}: left of the line {first} is faster; grey: may be chance"
    return figure(drawn, height, label)


def _reach(ratio: Ratio) -> tuple[float, float]:
    return ratio.interval or (ratio.value, ratio.value)


def events(turns: Sequence[BenchTurn]) -> str:
    """What was said into answers, each when the answer fell silent; what did not stop it, at the
    right edge of its row."""
    into = [turn for turn in turns if turn.turn.barge_in_ms is not None]
    if not into:
        return empty("nothing was said into an answer that could be heard")
    rows = (
        ("stopped for good", "series1", _stopped_ms),
        ("stopped and went on", "series3", _resumed_ms),
        ("went on", "series4", _unbroken_ms),
    )
    axis = axis_of([turn.turn.barge_in_ms or 0.0 for turn in into], "ms")
    height = 34.0 * len(rows)
    drawn = vertical_grid(axis, height)
    for row, (label, css, of) in enumerate(rows):
        found = [(turn, at) for turn in into if (at := of(turn)) is not None]
        y = 34.0 * row + 24
        drawn.append(svg.text("0", y - 12, f"{label}: {len(found)}", "tick"))
        for turn, at in found:
            gap = turn.turn.resume_gap_ms
            more = f", on after {gap:.0f} ms" if gap is not None else ""
            tip = f"{turn.turn.question_id}: {at:.0f} ms{more}"
            drawn.append(dot(axis.x(at), y, 4.5, f"f-{css}", tip))
    label = "from the onset of what was said to the last that was heard, in milliseconds"
    return figure(drawn, height, label)


def lanes(call: BenchCall) -> str:
    """A call from its beginning: who could be heard when, and how long the waits were."""
    if call.lanes is None:
        return empty("nothing was kept of it")
    step = call.lanes.step_ms
    axis = Axis(0.0, max(len(call.lanes.said) * step / 1000, 1.0), "s")
    height = 2 * LANE + 14
    drawn = vertical_grid(axis, height)
    for scored in call.turns:
        turn = scored.turn
        if turn.v2v_ms is not None and turn.v2v_ms > 0:
            start = turn.speech_end_ms / 1000
            width = svg.percent(axis.at(start + turn.v2v_ms / 1000) - axis.at(start))
            tip = f"{turn.question_id}: {turn.v2v_ms:.0f} ms"
            drawn.append(svg.rect(axis.x(start), 0, width, height, "gap", tip))
    for row, (side, css) in enumerate(
        ((call.lanes.said, "caller"), (call.lanes.heard, "assistant"))
    ):
        middle = 4 + (row + 0.5) * (LANE + 6)
        peak = max([*side, 0.05])
        for start, end, level in _runs(side):
            half = max(1.0, LANE / 2 * level / peak)
            width = svg.percent(axis.at(end * step / 1000) - axis.at(start * step / 1000))
            x = axis.x(start * step / 1000)
            drawn.append(svg.rect(x, middle - half, width, 2 * half, f"f-{css}", css))
    return figure(drawn, height, "seconds; the shaded waits are from question to answer")


def _runs(side: Sequence[float], silent: float = 0.01) -> list[tuple[int, int, float]]:
    """Audible steps, three to a bar: a page need not hold a call's every moment."""
    bars = []
    for start in range(0, len(side), 3):
        part = side[start : start + 3]
        if max(part) >= silent:
            bars.append((start, start + len(part), max(part)))
    return bars


def _ratio_ticks(low: float, high: float) -> list[float]:
    spans = (0.1, 0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0, 4.0, 10.0)
    inside = [tick for tick in spans if low <= math.log2(tick) <= high]
    kept: list[float] = [1.0]
    for tick in inside:
        if all(abs(math.log2(tick / other)) > (high - low) / 12 for other in kept):
            kept.append(tick)
    return sorted(kept)


def _stopped_ms(turn: BenchTurn) -> float | None:
    gone = turn.turn.interrupted and turn.turn.resume_gap_ms is None
    return turn.turn.barge_in_ms if gone else None


def _resumed_ms(turn: BenchTurn) -> float | None:
    return turn.turn.barge_in_ms if turn.turn.resume_gap_ms is not None else None


def _unbroken_ms(turn: BenchTurn) -> float | None:
    return None if turn.turn.interrupted else turn.turn.barge_in_ms

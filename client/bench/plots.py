"""The report's figures. Widths are percentages and text has its own size, so that a figure fits
a phone without becoming unreadable; all colours are the page's."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from client.bench.result import BenchTurn, Group
from client.caller.stages import stages
from client.drawing import svg

ROW = 26
BAR = 8


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from ``low`` to ``high``, as fractions of a length."""

    low: float
    high: float
    unit: str = "ms"

    def at(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def x(self, value: float) -> str:
        """Where a value lies across the figure."""
        return svg.percent(self.at(value))

    def ticks(self, about: int = 5) -> list[float]:
        """Round values along it."""
        return svg.nice_ticks(self.low, self.high, about)


@dataclass(frozen=True, slots=True)
class Series:
    """Points to be drawn in one colour; joined by lines if ``joined``."""

    label: str
    points: Sequence[tuple[float, float]]
    css: str
    joined: bool = False
    radius: float = 3.5
    faint: bool = False


def axis_of(values: Sequence[float], unit: str, low: float | None = 0.0) -> Axis:
    """An axis that holds all values with some room, from ``low`` if it is given."""
    least = min(values) if low is None else min([low, *values])
    most = max(values)
    room = max((most - least) * 0.06, 1e-6 if most > least else 1.0)
    return Axis(least if low is not None else least - room, most + room, unit)


def waterfall(turns: Sequence[BenchTurn]) -> str:
    """One row a turn: the endpoint's bar above, the work's stages below, a dot where the answer
    is heard."""
    rows = [(turn, stages(turn.turn)) for turn in turns]
    ends = [span.end_ms for _, spans in rows for span in spans]
    if not ends:
        return empty("no turn was answered")
    axis = axis_of(ends, "ms")
    height = ROW * len(rows)
    drawn = vertical_grid(axis, height)
    for index, (turn, spans) in enumerate(rows):
        y = index * ROW + 4
        drawn.append(svg.text("0", y + 13, str(index + 1), "tick shift-left", "end"))
        for span in spans:
            beside = span.name == "endpoint"
            width = max(axis.at(span.end_ms) - axis.at(span.start_ms), 0.0025)
            tip = f"{index + 1} {turn.turn.question_id}: {span.label} at {span.end_ms:.0f} ms"
            drawn.append(
                svg.rect(
                    axis.x(span.start_ms),
                    y if beside else y + BAR + 1,
                    svg.percent(width),
                    BAR,
                    f"f-stage-{span.name}",
                    tip,
                )
            )
        if turn.turn.v2v_ms is not None:
            tip = f"{turn.turn.question_id}: heard after {turn.turn.v2v_ms:.0f} ms"
            drawn.append(dot(axis.x(turn.turn.v2v_ms), y + BAR + 1 + BAR / 2, 4.5, "f-ink", tip))
    names = list(dict.fromkeys(span.name for _, spans in rows for span in spans))
    labels = {span.name: span.label for _, spans in rows for span in spans}
    key = legend([(labels[name], f"stage-{name}") for name in names])
    return key + figure(drawn, height, "milliseconds after the caller's last speech sample")


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], bin_ms: float) -> str:
    """How often each delay occurred; ``marks`` are labelled lines, the values a row of dots."""
    if not values:
        return empty("no turn was answered")
    first, last = min(values) // bin_ms, max(values) // bin_ms
    axis = Axis(max(0.0, first - 1) * bin_ms, (last + 2) * bin_ms)  # whole bins, one to spare
    counts: dict[int, int] = {}
    for value in values:
        counts[int(value // bin_ms)] = counts.get(int(value // bin_ms), 0) + 1
    most, height = max(counts.values()), 150.0
    drawn = vertical_grid(axis, height)
    for index, count in sorted(counts.items()):
        start, end = index * bin_ms, (index + 1) * bin_ms
        bar = (height - 46) * count / most
        tip = f"{start:.0f} to {end:.0f} ms: {count}"
        left = max(axis.at(start), 0.0)
        width = svg.percent(max(min(axis.at(end), 1.0) - left - 0.003, 0.002))  # a thin gap
        drawn.append(
            svg.rect(svg.percent(left), height - 16 - bar, width, bar, "f-series1 half", tip)
        )
    drawn += [dot(axis.x(v), height - 7, 3, "f-series1", f"{v:.0f} ms") for v in values]
    for row, (label, value) in enumerate(marks):
        drawn.append(svg.line(axis.x(value), 12 + 13 * row, axis.x(value), height, "mark"))
        anchor = "end" if axis.at(value) > 0.6 else "start"
        shift = "nudge-left" if anchor == "end" else "nudge-right"
        words = f"{label} {value:.0f} ms"
        drawn.append(svg.text(axis.x(value), 12 + 13 * row, words, f"tick {shift}", anchor))
    return figure(drawn, height, "voice-to-voice in milliseconds")


def scatter(series: Sequence[Series], x: Axis, y: Axis, x_label: str, height: float = 220) -> str:
    """Points and lines over two axes."""
    drawn = vertical_grid(x, height)

    def down(value: float) -> float:
        return height * (1 - y.at(value))

    for tick in y.ticks():
        drawn.append(svg.line("0", down(tick), "100%", down(tick), "grid"))
        label = f"{tick:g}" + (" %" if y.unit == "%" else "")
        drawn.append(svg.text("0", down(tick) + 4, label, "tick shift-left", "end"))
    for one in series:
        faint = " faint" if one.faint else ""
        if one.joined:
            ordered = sorted(one.points)
            for (xa, ya), (xb, yb) in pairwise(ordered):
                drawn.append(svg.line(x.x(xa), down(ya), x.x(xb), down(yb), f"join l-{one.css}"))
        for px, py in one.points:
            tip = f"{one.label}: {px:g} {x.unit}, {py:.0f} {y.unit}"
            drawn.append(dot(x.x(px), down(py), one.radius, f"f-{one.css}{faint}", tip))
    named = {one.label: one.css for one in series if not one.faint}
    key = legend(list(named.items())) if len(named) > 1 else ""
    return key + figure(drawn, height, x_label)


def load_curve(groups: Sequence[Group]) -> str:
    """Delay against the number of calls that are held at the same time."""
    medians, slow, single = [], [], []
    for group in groups:
        summary = group.v2v
        if summary is not None:
            medians.append((float(group.callers), summary.p50))
            slow.append((float(group.callers), summary.p95))
            delays = [turn.turn.v2v_ms for turn in group.turns]
            single += [(float(group.callers), delay) for delay in delays if delay is not None]
    if not medians:
        return empty("no turn was answered")
    y = axis_of([delay for _, delay in single], "ms")
    x = Axis(0.0, max(callers for callers, _ in medians) + 0.5, "calls")
    series = [
        Series("one turn", single, "soft", radius=2.5, faint=True),
        Series("p95", slow, "series2", joined=True, radius=5),
        Series("p50", medians, "series1", joined=True, radius=5),
    ]
    return scatter(series, x, y, "calls at the same time; voice-to-voice in ms upwards")


def pause_strip(turns: Sequence[BenchTurn]) -> str:
    """Each utterance at the length of its longest inner pause: answered too early, or not."""
    if not turns:
        return empty("no utterance with a pause was said")
    x = axis_of([turn.longest_pause_ms for turn in turns], "ms")
    rows = (("waited for the end", False, "series1"), ("cut off", True, "bad"))
    height = 74.0
    drawn = vertical_grid(x, height)
    for row, (label, cut, css) in enumerate(rows):
        y = 22.0 + 36 * row
        drawn.append(svg.text("0", y - 9, label, "tick"))
        for turn in turns:
            if (turn.turn.cut_offs > 0) == cut:
                tip = f"{turn.turn.question_id}: {turn.longest_pause_ms:.0f} ms"
                drawn.append(dot(x.x(turn.longest_pause_ms), y, 5, f"f-{css}", tip))
    return figure(drawn, height, "longest pause within the utterance in milliseconds")


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Coloured squares with their names; colours are names of the page's properties."""
    items = "".join(
        f'<li><i style="background:var(--{css})"></i>{escape(label)}</li>' for label, css in entries
    )
    return f'<ul class="key">{items}</ul>'


def figure(drawn: Sequence[str], height: float, label: str) -> str:
    """Put shapes on a responsive drawing with a caption for its horizontal axis."""
    return (
        f'<div class="plot"><svg width="100%" height="{height + 20:.0f}" role="img" '
        f'aria-label="{escape(label)}">{"".join(drawn)}</svg>'
        f'<p class="axis">{escape(label)}</p></div>'
    )


def empty(words: str) -> str:
    """Stands where there is nothing to draw."""
    return f'<p class="none">{escape(words)}</p>'


def vertical_grid(axis: Axis, height: float) -> list[str]:
    """Lines at the round values, with their numbers below."""
    drawn = []
    for tick in axis.ticks():
        drawn.append(svg.line(axis.x(tick), 0, axis.x(tick), height, "grid"))
        drawn.append(svg.text(axis.x(tick), height + 15, f"{tick:g}", "tick", "middle"))
    return drawn


def dot(x: str, y: float, radius: float, css: str, tip: str) -> str:
    """A point; ``tip`` shows on hover and is read out."""
    return (
        f'<circle cx="{x}" cy="{svg.number(y)}" r="{svg.number(radius)}" class="{css}">'
        f"<title>{escape(tip)}</title></circle>"
    )

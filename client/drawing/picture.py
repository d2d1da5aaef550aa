"""A call as a picture: who spoke when, and each turn's delay taken apart. One SVG, no scripts."""

import numpy as np
from numpy.typing import NDArray

from client.caller.caller import CallResult
from client.caller.stages import Stage, stages
from client.caller.turns import TurnResult
from client.drawing import svg
from client.realtime import SAMPLE_RATE_HZ

WIDTH = 1000.0
LEFT, RIGHT = 104.0, 976.0  # the time axis
PLOT = RIGHT - LEFT
LANE = 46.0
ROW = 19.0
BEFORE_MS = 600.0  # of speech shown before its end
AFTER_MS = 350.0  # shown after the answer is heard
BLOCKS = " ▁▂▃▄▅▆▇█"


def call_svg(result: CallResult) -> str:
    """Draw the whole call with one lane a side, and below it each turn enlarged."""
    seconds = len(result.heard) / SAMPLE_RATE_HZ
    body = [svg.text(24, 34, _headline(result, seconds), "title")]
    y = 64.0
    body += _overview(result, seconds, y)
    y += 2 * LANE + 56
    for index, turn in enumerate(result.turns):
        drawn, height = _turn(result, turn, index, y)
        body += drawn
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {y:.0f}" '
        f'width="{WIDTH:.0f}" height="{y:.0f}" role="img">\n<style>{_css()}</style>\n'
        f'<rect width="100%" height="100%" class="f-page"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def text_timeline(result: CallResult, columns: int = 72) -> str:
    """The same two lanes for a terminal, one character per ``columns``-th of the call."""
    lanes = []
    for name, samples in (("you", result.said), ("assistant", result.heard)):
        levels = svg.envelope(samples, columns)
        peak = float(levels.max()) or 1.0
        marks = "".join(
            BLOCKS[int(np.ceil((len(BLOCKS) - 1) * level / peak))] if level > 0.01 else " "
            for level in levels
        )
        lanes.append(f"{name:>9} |{marks}|")
    seconds = f"{len(result.heard) / SAMPLE_RATE_HZ:.1f} s"
    return "\n".join([*lanes, f"{'':>9} 0{seconds:>{columns}}"])


def _headline(result: CallResult, seconds: float) -> str:
    delays = [f"{turn.v2v_ms:.0f}" for turn in result.turns if turn.v2v_ms is not None]
    turns = "1 turn" if len(result.turns) == 1 else f"{len(result.turns)} turns"
    told = f" · voice-to-voice {', '.join(delays)} ms" if delays else ""
    return f"{turns} in {seconds:.1f} s{told}"


def _overview(result: CallResult, seconds: float, y: float) -> list[str]:
    def x(at_s: float) -> float:
        return LEFT + PLOT * at_s / max(seconds, 1e-3)

    drawn = []
    for tick in svg.nice_ticks(0, max(seconds, 0.1), 8):
        drawn.append(svg.line(x(tick), y, x(tick), y + 2 * LANE, "grid"))
        drawn.append(svg.text(x(tick), y + 2 * LANE + 18, f"{tick:g} s", "small", "middle"))
    for turn in result.turns:
        if turn.v2v_ms is not None:
            start_s = turn.speech_end_ms / 1000
            width = x(start_s + turn.v2v_ms / 1000) - x(start_s)
            tip = f"voice-to-voice {turn.v2v_ms:.0f} ms"
            drawn.append(svg.rect(x(start_s), y - 6, width, 2 * LANE + 12, "gap", tip))
    for lane, (name, samples) in enumerate(_lanes(result)):
        middle = y + LANE * (lane + 0.5)
        drawn.append(svg.text(LEFT - 12, middle + 4, name, "who", "end"))
        drawn.append(_wave(samples, LEFT, PLOT, middle, f"f-{name}"))
    return drawn


def _turn(result: CallResult, turn: TurnResult, index: int, y: float) -> tuple[list[str], float]:
    spans = stages(turn)
    after = max((span.end_ms for span in spans), default=0.0) + AFTER_MS

    def x(at_ms: float) -> float:
        return LEFT + PLOT * (at_ms + BEFORE_MS) / (BEFORE_MS + after)

    drawn = [svg.line(24, y, RIGHT, y, "grid"), svg.text(24, y + 24, f"turn {index + 1}", "head")]
    drawn += _words(turn, y)
    top = y + 56
    height = 2 * LANE + ROW * len(spans) + 8
    for tick in svg.nice_ticks(-BEFORE_MS, after, 8):
        drawn.append(svg.line(x(tick), top, x(tick), top + height, "grid"))
        drawn.append(svg.text(x(tick), top + height + 16, f"{tick:g} ms", "small", "middle"))
    drawn.append(svg.line(x(0), top, x(0), top + height, "zero"))
    zero = turn.speech_end_ms
    for lane, (name, samples) in enumerate(_lanes(result)):
        middle = top + LANE * (lane + 0.5)
        drawn.append(svg.text(LEFT - 12, middle + 4, name, "who", "end"))
        part = _between(samples, zero - BEFORE_MS, zero + after)
        drawn.append(_wave(part, LEFT, PLOT, middle, f"f-{name}"))
    for row, span in enumerate(spans):
        drawn += _bar(span, x(span.start_ms), x(span.end_ms), top + 2 * LANE + 4 + ROW * row)
    return drawn, 56 + height + 44


def _words(turn: TurnResult, y: float) -> list[str]:
    caller = _shorten(turn.transcript or turn.question or "(nothing understood)")
    answer = _shorten(turn.answer or "(no answer)")
    return [
        svg.text(LEFT, y + 24, f"“{caller}”", "words f-caller"),
        svg.text(LEFT, y + 44, f"“{answer}”", "words f-assistant"),
    ]


def _bar(span: Stage, x1: float, x2: float, y: float) -> list[str]:
    label = f"{span.label} {span.end_ms:.0f}"
    tip = f"{span.label}: {span.start_ms:.0f} to {span.end_ms:.0f} ms"
    left = x2 + 8 + 7 * len(label) > WIDTH
    at, anchor = (x1 - 6, "end") if left else (x2 + 6, "start")
    return [
        svg.rect(x1, y + 3, max(x2 - x1, 2), ROW - 6, f"f-stage-{span.name}", tip),
        svg.text(at, y + 14, label, "small", anchor),
    ]


def _lanes(result: CallResult) -> list[tuple[str, NDArray[np.float32]]]:
    return [("caller", result.said), ("assistant", result.heard)]


def _wave(samples: NDArray[np.float32], x: float, width: float, middle: float, css: str) -> str:
    levels = svg.envelope(samples, int(width))
    peak = float(levels.max()) if len(levels) else 0.0
    scale = (LANE / 2 - 4) / peak if peak > 0.01 else 0.0
    return svg.waveform(levels * scale + 0.5, x, width, middle, css)


def _between(samples: NDArray[np.float32], from_ms: float, to_ms: float) -> NDArray[np.float32]:
    start, end = (round(at * SAMPLE_RATE_HZ / 1000) for at in (from_ms, to_ms))
    part = np.zeros(end - start, dtype=np.float32)
    inside = samples[max(start, 0) : max(end, 0)]
    part[max(-start, 0) : max(-start, 0) + len(inside)] = inside
    return part


def _shorten(words: str, limit: int = 118) -> str:
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def _css() -> str:
    return svg.colour_css() + (
        "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--ink)}"
        ".title{font-size:18px;font-weight:600}.head{font-size:14px;font-weight:600}"
        ".small{font-size:11px;fill:var(--soft)}.who{fill:var(--soft)}.words{font-size:13px}"
        ".f-caller{fill:var(--caller)}.f-assistant{fill:var(--assistant)}"
        ".grid{stroke:var(--line)}.zero{stroke:var(--ink);stroke-dasharray:3 3}"
        ".gap{fill:var(--stage-released);opacity:.28}"
    )

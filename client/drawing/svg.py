"""The few drawing helpers that the pictures share. Colours are CSS classes, light and dark."""

import math
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

STAGE_COLOURS = {  # stage: (light, dark)
    "endpoint": ("#8a94a6", "#8792a5"),
    "pause": ("#c3cad6", "#525c6e"),
    "ear": ("#0b84c6", "#4cb3ea"),
    "prefill": ("#0f9d94", "#3cc9bf"),
    "first_token": ("#7353d6", "#a48bf5"),
    "first_clause": ("#b4569f", "#dd8bcb"),
    "first_audio": ("#d9663b", "#f0936c"),
    "released": ("#c99a1c", "#e3bd4e"),
    "heard": ("#3d9a50", "#6cc880"),
    "committed": ("#8a94a6", "#8792a5"),
    "created": ("#7353d6", "#a48bf5"),
    "first_delta": ("#d9663b", "#f0936c"),
}
_LIGHT = {
    "ink": "#1c2430",
    "soft": "#5b6675",
    "line": "#dfe4ea",
    "page": "#ffffff",
    "card": "#f6f8fa",
    "caller": "#0b84c6",
    "assistant": "#3d9a50",
    "bad": "#c93a3a",
    "series1": "#0b84c6",
    "series2": "#d9663b",
    "series3": "#7353d6",
    "series4": "#0f9d94",
}
_DARK = {
    "ink": "#e7ebf0",
    "soft": "#9aa6b5",
    "line": "#323b47",
    "page": "#12161c",
    "card": "#1a2029",
    "caller": "#4cb3ea",
    "assistant": "#6cc880",
    "bad": "#f07b7b",
    "series1": "#4cb3ea",
    "series2": "#f0936c",
    "series3": "#a48bf5",
    "series4": "#3cc9bf",
}
SERIES = ("series1", "series2", "series3", "series4")


def colour_css() -> str:
    """Custom properties for both schemes, and one fill and stroke class per name."""
    light = _LIGHT | {f"stage-{name}": pair[0] for name, pair in STAGE_COLOURS.items()}
    dark = _DARK | {f"stage-{name}": pair[1] for name, pair in STAGE_COLOURS.items()}
    rules = [
        ":root{color-scheme:light dark;" + _properties(light) + "}",
        "@media (prefers-color-scheme:dark){:root{" + _properties(dark) + "}}",
        *(f".f-{name}{{fill:var(--{name})}}.l-{name}{{stroke:var(--{name})}}" for name in light),
    ]
    return "\n".join(rules)


def _properties(values: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in values.items())


def rect(x: str | float, y: float, width: str | float, height: float, css: str, tip: str) -> str:
    """A bar; ``tip`` shows on hover and is read out."""
    return (
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" '
        f'height="{number(height)}" rx="2" class="{css}"><title>{escape(tip)}</title></rect>'
    )


def line(
    x1: str | float, y1: str | float, x2: str | float, y2: str | float, css: str, extra: str = ""
) -> str:
    """A straight line."""
    return (
        f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" '
        f'class="{css}" {extra}/>'
    )


def text(x: str | float, y: str | float, words: str, css: str = "", anchor: str = "start") -> str:
    """A line of text; it is escaped."""
    return (
        f'<text x="{number(x)}" y="{number(y)}" class="{css}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def number(value: str | float) -> str:
    """A coordinate; strings (percentages) pass."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def percent(value: float) -> str:
    """A fraction of the width."""
    return f"{100 * value:.3f}%"


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many of them.

    Raises:
        ValueError: ``high`` is not above ``low``.
    """
    if not high > low:
        raise ValueError(f"no room for ticks between {low} and {high}")
    raw = (high - low) / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * unit for unit in (1, 2, 5, 10) if scale * unit >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def envelope(samples: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """The largest magnitude in each of ``columns`` equal parts."""
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    magnitude = np.abs(samples)
    return np.array(
        [magnitude[a:b].max() if b > a else 0.0 for a, b in pairwise(edges)],
        dtype=np.float32,
    )


def waveform(levels: NDArray[np.float32], x: float, width: float, middle: float, css: str) -> str:
    """A mirrored envelope, one column of it per level; levels in units of the drawing."""
    at = x + (np.arange(len(levels)) + 0.5) * width / len(levels)
    upper = " ".join(f"{a:.1f},{middle - v:.1f}" for a, v in zip(at, levels, strict=True))
    lower = " ".join(
        f"{a:.1f},{middle + v:.1f}" for a, v in zip(at[::-1], levels[::-1], strict=True)
    )
    return f'<polygon points="{upper} {lower}" class="{css}"/>'

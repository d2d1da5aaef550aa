"""The figures of the studies in this folder: one style, and SVG files that can be compared.

A plot function opens a figure with `figure`, draws with matplotlib, and returns `svg` of it. The
same figures give the same bytes, so that a new measurement shows as a change and nothing else does.
"""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0b84c6", "#d9663b", "#3a8a4a", "#7353d6", "#8a94a6"
STYLE: dict[str, Any] = {
    "axes.edgecolor": "#5b6472",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#dfe4ea",
    "legend.frameon": False,
    "svg.fonttype": "none",  # words stay words, in the reader's own font
    "svg.hashsalt": "duplex",  # or each file has ids of its own
}
HEIGHT_IN = 4.2
mpl.rcParams.update(STYLE)  # type: ignore[arg-type]


def figure(panels: int = 1, width_in: float = 7.5) -> tuple[Figure, list[Axes]]:
    """A figure of some panels side by side, which share the scale upwards."""
    drawn = Figure(figsize=(width_in, HEIGHT_IN))
    axes = drawn.subplots(1, panels, sharey=True, squeeze=False)
    return drawn, list(axes[0])


def svg(drawn: Figure) -> str:
    """The figure as an SVG document."""
    out = io.StringIO()
    drawn.savefig(out, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

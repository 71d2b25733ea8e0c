"""How figures look: restrained, colour-blind safe, the same bytes from the same numbers."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]

COLORS = ("#0072b2", "#d55e00", "#009e73", "#a8418a", "#8a6d00", "#3b8ea5", "#7f5539", "#5b5f97")
"""The page's colours on a light ground (Okabe and Ito's, darkened where they are pale)."""

SOURCE_COLOR = "#667080"
"""The source domain is grey: it is what the others are compared with."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Colour alone never tells two lines apart."""

SEQUENTIAL = "viridis"
DIVERGING = "PuOr"

MISSING = (
    "matplotlib is not installed, so the figures are left out: pip install 'cdfss-bench[diagnose]'"
)

DPI = 150

_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667080",
    "axes.labelcolor": "#1b1f24",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.grid": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#667080",
    "ytick.color": "#667080",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.hashsalt": "cdfss-bench",
    "svg.fonttype": "path",
    "image.interpolation": "nearest",
}


def can_draw() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def rendered(draw: Draw) -> tuple[bytes, bytes]:
    """A figure as PNG and as SVG, without a date and with fixed ids.

    Args:
        draw: fills an empty figure (7 x 4 inches, constrained layout); it may resize it.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), io.BytesIO() as png, io.BytesIO() as svg:
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(7, 4), layout="constrained")
        draw(figure)
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        return png.getvalue(), svg.getvalue()


def color_of(index: int) -> str:
    """The colour of series `index`; they recur after eight."""
    return COLORS[index % len(COLORS)]


def marker_of(index: int) -> str:
    """The marker of series `index`."""
    return MARKERS[index % len(MARKERS)]

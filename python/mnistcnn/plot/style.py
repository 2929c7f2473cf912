"""Colours, font sizes and figures shared by all plots."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour-blind safe palette of Okabe and Ito, without black: visible on light and dark backgrounds.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
GOOD, BAD, NEUTRAL = PALETTE[0], PALETTE[1], PALETTE[6]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # distinguish lines without colour
HEAT = "inferno"  # perceptually uniform and colour-blind safe
_NON_INTERACTIVE = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}  # backends without windows or notebook cells
_SETTINGS: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Apply the style of the package's plots, and restore the user's settings afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure; width and height are in inches.

    The figure is registered with pyplot only if the backend can display it. Call this outside of `plot_style`: the
    first figure of a notebook changes settings that must not be restored.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mnistcnn.plot.figure import NotebookFigure

    if _pyplot_displays():
        from matplotlib import pyplot as plt

        return plt.figure(FigureClass=NotebookFigure, figsize=(width, height), layout="constrained")
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def panel(ax: Axes | None, width: float, height: float) -> Iterator[tuple[Axes, Figure | Axes]]:
    """Yield (axes to draw into, value to return): ``ax`` twice, or the axes of a new figure and the figure."""
    figure = new_figure(width, height) if ax is None else None
    with plot_style():
        if figure is not None:
            yield figure.add_subplot(), figure
        elif ax is not None:
            yield ax, ax


def tidy(ax: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Remove the top and right spines, and draw a grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, alpha=0.3, linewidth=0.6)


def colours(count: int) -> list[str]:
    """Return ``count`` colours of the palette, which repeats after the seventh."""
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def markers(count: int) -> list[str]:
    """Return ``count`` markers. When the colours repeat, the order of the markers is shifted by one."""
    return [MARKERS[(index + index // len(PALETTE)) % len(MARKERS)] for index in range(count)]


def text_colour_on(colour: Sequence[float]) -> str:
    """Return "black" or "white", the one with more contrast to a colour (red, green, blue in 0 to 1)."""
    red, green, blue = (float(each) for each in colour[:3])
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def _pyplot_displays() -> bool:
    """Return whether the pyplot backend can display figures, in windows or notebook cells."""
    if _ipython_shell() is None and "matplotlib.pyplot" not in sys.modules:
        return False
    import matplotlib as mpl
    from matplotlib import pyplot as _  # noqa: F401  in a notebook the import selects the inline backend

    return mpl.get_backend().lower() not in _NON_INTERACTIVE


def _ipython_shell() -> Any:
    """Return the running IPython shell of a terminal or notebook, or None."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()

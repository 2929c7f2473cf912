"""What all pictures share: colours, sizes, and figures that appear once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that colour-blind people tell apart (Okabe and Ito), without black: they show on white and on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
GOOD, BAD, NEUTRAL = PALETTE[0], PALETTE[1], PALETTE[6]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # so that lines differ without colours too
HEAT = "inferno"  # even in lightness, and safe for the colour-blind
_DRAWS_ONLY = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}  # backends without windows or cells
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
def house_style() -> Iterator[None]:
    """The style while something is drawn; the user's own settings are as before afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Pyplot knows it only where somebody could see it.

    To be called outside of `house_style`: a notebook's first figure changes settings that must outlive it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mnistcnn.plot.figure import HouseFigure

    if _pyplot_shows():
        from matplotlib import pyplot as plt

        return plt.figure(FigureClass=HouseFigure, figsize=(width, height), layout="constrained")
    figure = HouseFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def panel(ax: Axes | None, width: float, height: float) -> Iterator[tuple[Axes, Figure | Axes]]:
    """Where to draw, and what to return for it: the given axes, or those of a new figure."""
    figure = new_figure(width, height) if ax is None else None
    with house_style():
        if figure is not None:
            yield figure.add_subplot(), figure
        elif ax is not None:
            yield ax, ax


def tidy(ax: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """No box around the data, and a grid that stays behind it."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, alpha=0.3, linewidth=0.6)


def colours(count: int) -> list[str]:
    """So many colours; they come again after the seventh."""
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def markers(count: int) -> list[str]:
    """So many markers."""
    return [MARKERS[index % len(MARKERS)] for index in range(count)]


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever is easier to read on a colour (red, green, blue in 0 to 1)."""
    red, green, blue = (float(each) for each in colour[:3])
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def _pyplot_shows() -> bool:
    """Whether pyplot has windows or cells to show a figure in."""
    if _shell() is None and "matplotlib.pyplot" not in sys.modules:
        return False
    import matplotlib as mpl
    from matplotlib import pyplot as _  # noqa: F401  in a notebook this sets up the cells

    return mpl.get_backend().lower() not in _DRAWS_ONLY


def _shell() -> Any:
    """IPython's shell, in a terminal or a notebook; None elsewhere."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()

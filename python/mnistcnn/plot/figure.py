"""Figure class for notebooks. The only module of the package that imports matplotlib at import time."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Figure that a notebook displays exactly once, in the order of the calls.

    A notebook displays the last value of a cell, and then all open pyplot figures. A figure that is displayed as a
    value therefore first displays the open figures before it, and is closed in pyplot.
    """

    def _ipython_display_(self) -> None:
        from matplotlib import pyplot as plt

        if "inline" in mpl.get_backend():
            self._display_earlier()
            plt.close(self)
        raise NotImplementedError("no display of its own: IPython uses its other formats")

    def _display_earlier(self) -> None:
        """Display the open figures of this class that were created before this one, which closes them."""
        from IPython.display import display
        from matplotlib._pylab_helpers import Gcf

        figures = [manager.canvas.figure for manager in Gcf.get_all_fig_managers()]
        for figure in figures[: figures.index(self)] if self in figures else figures:
            if isinstance(figure, NotebookFigure):
                display(figure)  # type: ignore[no-untyped-call]

    def _repr_png_(self) -> bytes | None:
        """Return the figure as PNG for notebooks whose matplotlib backend is not inline."""
        if "inline" in mpl.get_backend():
            return None
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()

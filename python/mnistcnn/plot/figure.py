"""Figure class for notebooks. The only module of the package that imports matplotlib at import time."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Figure that a notebook displays exactly once.

    A notebook displays the last value of a cell, and then all open pyplot figures. A figure that is displayed as a
    value is therefore closed in pyplot first.
    """

    def _ipython_display_(self) -> None:
        from matplotlib import pyplot as plt

        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError("no display of its own: IPython uses its other formats")

    def _repr_png_(self) -> bytes | None:
        """Return the figure as PNG for notebooks whose matplotlib backend is not inline."""
        if "inline" in mpl.get_backend():
            return None
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()

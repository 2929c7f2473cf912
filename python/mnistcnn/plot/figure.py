"""The figure that a notebook shows once. The only module that imports matplotlib when it is imported."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure


class HouseFigure(Figure):
    """A figure that shows itself once in a notebook.

    Notebooks show a cell's last value, and at the end of the cell everything that pyplot knows of. A figure that is
    shown as a value is therefore taken from pyplot first.
    """

    def _ipython_display_(self) -> None:
        from matplotlib import pyplot as plt

        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError("IPython goes on with its usual formats")

    def _repr_png_(self) -> bytes | None:
        """For notebooks in which matplotlib was told to use no cells."""
        if "inline" in mpl.get_backend():
            return None
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()

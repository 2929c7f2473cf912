"""Curves that are redrawn while a model trains."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.progress import in_notebook
from mnistcnn.plot.histories import CURVES_SIZE, curves
from mnistcnn.training.history import EpochRecord, History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mnistcnn.training.trainer import Trainer

_MAX_SHARE = 0.1  # of the time that drawing may take


class LiveCurves:
    """Callback that draws the loss and accuracy curves below a notebook's cell and redraws them during training.

    It draws `mnistcnn.plot.curves` after the first epoch and at the end, and after the epochs in between as long as
    drawing takes less than 10 % of the time. Outside of notebooks it only collects the records.

    Attributes
    ----------
    records
        The `EpochRecord` of each epoch so far.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> live = mnistcnn.plot.LiveCurves()
    >>> model = mnistcnn.create_model("budget_model3")
    >>> history = mnistcnn.train(model, data, epochs=2, callbacks=[live], progress=False)
    >>> len(live.records)
    2
    """

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []
        self._display: Any = None
        self._earliest = 0.0  # when the next drawing is allowed, by time.monotonic
        self._drawn = 0  # number of records in the latest drawing

    def on_train_start(self, trainer: Trainer) -> None:
        """Take over the epochs before a resumed run; a run from the start gets a new figure."""
        self.records = list(trainer.history.epochs)
        if not self.records:
            self._display = None

    def on_epoch(self, record: EpochRecord) -> None:
        """Add an epoch and redraw."""
        self.records.append(record)
        if self._display is None or time.monotonic() >= self._earliest:
            self._draw()

    def on_train_end(self, history: History) -> None:
        """Draw the epochs that were not drawn yet."""
        if self.records and self._drawn < len(self.records):
            self._draw()

    def figure(self) -> Figure:
        """Return a figure with the curves so far."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=CURVES_SIZE, layout="constrained")  # unknown to pyplot, which would show it again
        return curves(History(epochs=self.records), figure=figure)

    def _draw(self) -> None:
        if not in_notebook():
            return
        from IPython.display import Image, display

        begin = time.monotonic()
        png = io.BytesIO()
        self.figure().savefig(png, format="png", dpi=100)
        image = Image(data=png.getvalue(), format="png")  # type: ignore[no-untyped-call]
        if self._display is None:
            self._display = display(image, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._display.update(image)
        end = time.monotonic()
        self._earliest, self._drawn = end + (end - begin) / _MAX_SHARE, len(self.records)

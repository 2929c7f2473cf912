"""Pictures. Every function takes data, draws with matplotlib, and returns the figure; none shows it by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.history import History

# Colours that colour-blind people tell apart (Okabe and Ito), dark enough on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def curves(history: History | Sequence[History], *, figure: Figure | None = None) -> Figure:
    """Loss and accuracy of the training set (above) and of the validation set (below), epoch by epoch.

    Parameters
    ----------
    history
        One history, or several to compare.
    figure
        Draw into this figure instead of a new one.

    Examples
    --------
    >>> import mnistcnn
    >>> record = mnistcnn.EpochRecord(1, 0.3, 0.9, 0.1, 0.97, 0.01, 1.0)
    >>> figure = mnistcnn.plot.curves(mnistcnn.History(epochs=[record]))
    >>> [ax.get_title() for ax in figure.axes]
    ['Training loss', 'Training accuracy', 'Validation loss', 'Validation accuracy']
    """
    from mnistcnn.history import History

    histories = [history] if isinstance(history, History) else list(history)
    if not histories or any(len(each) == 0 for each in histories):
        raise ValueError("there is nothing to draw: a history has no epochs")
    if figure is None:
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    _panel(panels[0, 0], histories, "train_loss", "Training loss", 1)
    _panel(panels[0, 1], histories, "train_accuracy", "Training accuracy", 100)
    _panel(panels[1, 0], histories, "validation_loss", "Validation loss", 1)
    _panel(panels[1, 1], histories, "validation_accuracy", "Validation accuracy", 100)
    for ax in panels[1]:
        ax.set_xlabel("epoch")
    if len(histories) > 1:
        panels[0, 1].legend(frameon=False, fontsize="small")
    return figure


def _panel(ax: Axes, histories: Sequence[History], column: str, title: str, factor: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for index, history in enumerate(histories):
        values = factor * history.column(column)
        epochs = history.column("epoch")
        colour = _COLOURS[index % len(_COLOURS)]
        ax.plot(
            epochs,
            values,
            color=colour,
            marker="o",
            markersize=3.5,
            label=f"{history.model}, seed {history.seed}",
        )
        if len(histories) == 1 and np.isfinite(values[-1]):
            _note_last(ax, float(epochs[-1]), float(values[-1]), "{:.4f}" if factor == 1 else "{:.2f} %", colour)
    ax.set_title(title)
    ax.set_ylabel("loss" if factor == 1 else "accuracy (%)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if not any(np.isfinite(history.column(column)).any() for history in histories):
        ax.text(0.5, 0.5, "no validation set", transform=ax.transAxes, ha="center", va="center", color="0.4")
        ax.set_yticks([])


def _note_last(ax: Axes, epoch: float, value: float, form: str, colour: str) -> None:
    """Writes the last value where the curve ends."""
    ax.annotate(
        form.format(value),
        (epoch, value),
        xytext=(-4, 7 if "%" not in form else -12),
        textcoords="offset points",
        ha="right",
        color=colour,
        fontsize="small",
        fontweight="bold",
    )

"""Plot of loss and accuracy per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnistcnn.plot.style import colours, markers, new_figure, plot_style, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.training.history import History

Histories: TypeAlias = "History | Sequence[History] | Mapping[str, History | Sequence[History]]"
_MIN_BAND_RUNS = 3  # runs of one name, from which their mean and standard deviation are drawn by default


def curves(
    history: Histories,
    *,
    figure: Figure | None = None,
    axes: Sequence[Axes] | np.ndarray[Any, Any] | None = None,
    band: bool | None = None,
    evaluated: str = "Validation",
) -> Figure:
    """Plot loss and accuracy per epoch, of the training set (first row) and of the validation set (second row).

    A new figure has no second row if no run has a validation set.

    Parameters
    ----------
    history
        `History`, list of histories to compare, or mapping of names to histories. The result of
        `mnistcnn.run_trials` is accepted in place of a list of histories.
    figure
        Figure to draw into. Default: None, a new figure.
    axes
        Four axes to draw into: training loss, training accuracy, validation loss, validation accuracy. Default: None,
        axes of ``figure``.
    band
        If True, draw runs of the same name as their mean with a band of one standard deviation on both sides; if
        False, draw each run. Default: None, True for three or more runs of a name.
    evaluated
        Name of the second data set in the titles: "Test" if the test set was evaluated after each epoch.

    Returns
    -------
    Figure
        Figure that was drawn into.

    Examples
    --------
    >>> import mnistcnn
    >>> record = mnistcnn.callbacks.EpochRecord(1, 0.3, 0.9, 0.1, 0.97, 0.01, 1.0)
    >>> figure = mnistcnn.plot.curves(mnistcnn.History(epochs=[record]))
    >>> [ax.get_title() for ax in figure.axes]
    ['Training loss', 'Training accuracy', 'Validation loss', 'Validation accuracy']
    """
    lines = _lines(history, band)
    rows = 2 if _validated(lines) else 1
    if figure is None and axes is None:
        figure = new_figure(9, 3 * rows)
    with plot_style():
        panels = _panels(figure, axes, rows)
        for index, (ax, column, what) in enumerate(zip(panels, _COLUMNS, ("loss", "accuracy") * 2, strict=False)):
            name = "Training" if index < 2 else evaluated
            _panel(ax, lines, column, f"{name} {what}", f"no {evaluated.lower()} set")
        for ax in panels[-2:]:
            ax.set_xlabel("epoch")
        drawn: Figure = panels[0].figure  # type: ignore[assignment]
        named = len(lines) > 1 or len(lines[0].runs) > 1  # a band needs a legend
        if named and axes is None:
            drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(len(lines), 3))
        elif named:
            panels[1].legend(loc="lower right", fontsize="small")
    return drawn


_COLUMNS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class _Line:
    """Line in each panel: one run, or the mean of several runs."""

    label: str
    runs: tuple[History, ...]
    alone: bool  # whether it is the only line of the plot

    def epochs(self) -> np.ndarray[Any, Any]:
        return np.arange(1, min(map(len, self.runs)) + 1)

    def values(self, column: str) -> np.ndarray[Any, Any]:
        """Return the values as f64 [runs, epochs], accuracies in per cent."""
        count = len(self.epochs())
        factor = 100 if "accuracy" in column else 1
        return factor * np.stack([run.column(column)[:count] for run in self.runs])


def _lines(history: Any, band: bool | None) -> list[_Line]:
    groups = _groups(history)
    runs = [run for _, group in groups for run in group]
    if not runs or any(len(run) == 0 for run in runs):
        raise ValueError("there is nothing to draw: a history has no epochs")
    lines: list[_Line] = []
    for name, group in groups:
        together = len(group) >= _MIN_BAND_RUNS if band is None else band and len(group) > 1
        if together:
            lines.append(_Line(f"{name}, mean ± sd of {len(group)}", group, alone=len(groups) == 1))
        else:
            named = isinstance(history, Mapping) and len(group) == 1
            lines += [
                _Line(name if named else f"{name}, seed {run.seed}", (run,), alone=len(runs) == 1) for run in group
            ]
    return lines


def _groups(history: Any) -> list[tuple[str, tuple[History, ...]]]:
    """Return the runs grouped by name."""
    if isinstance(history, Mapping):
        return [(name, _flatten_runs(each)) for name, each in history.items()]
    groups: dict[str, tuple[History, ...]] = {}
    several = isinstance(history, Sequence) and not isinstance(history, str)
    for each in history if several else [history]:
        for run in _flatten_runs(each):  # the title differs between recipes of one network
            name = each.setting.title if hasattr(each, "setting") else run.model
            groups[name] = (*groups.get(name, ()), run)
    return list(groups.items())


def _flatten_runs(history: Any) -> tuple[History, ...]:
    from mnistcnn.training.history import History

    if isinstance(history, History):
        return (history,)
    if hasattr(history, "histories"):
        return tuple(history.histories)
    if not isinstance(history, Sequence):
        raise TypeError(f"history must be a History, a list or a mapping of histories, got {type(history).__name__}")
    return tuple(run for each in history for run in _flatten_runs(each))


def _validated(lines: Sequence[_Line]) -> bool:
    return any(np.isfinite(line.values("validation_loss")).any() for line in lines)


def _panels(figure: Figure | None, axes: Any, rows: int) -> list[Axes]:
    if axes is not None:
        panels = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(panels) != 4:
            raise ValueError(f"axes must be four axes, got {len(panels)}")
        return panels
    assert figure is not None
    return list(figure.subplots(rows, 2, sharex=True).ravel())


def _panel(ax: Axes, lines: Sequence[_Line], column: str, title: str, absent: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for line, colour, marker in zip(lines, colours(len(lines)), markers(len(lines)), strict=True):
        values, epochs = line.values(column), line.epochs()
        mean = values.mean(axis=0)
        ax.plot(epochs, mean, color=colour, marker=marker if len(epochs) <= 40 else "", label=line.label)
        if len(values) > 1:
            deviation = values.std(axis=0, ddof=1)
            ax.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
        if line.alone and np.isfinite(mean[-1]):
            form = "{:.4f}" if "loss" in column else "{:.2f} %"
            _annotate_last(ax, epochs, mean, form, colour)
    ax.set_title(title)
    ax.set_ylabel("loss" if "loss" in column else "accuracy (%)")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    tidy(ax)
    if not any(np.isfinite(line.values(column)).any() for line in lines):
        ax.text(0.5, 0.5, absent, transform=ax.transAxes, ha="center", va="center", color="0.5")
        ax.set_yticks([])


def _annotate_last(ax: Axes, epochs: Any, values: Any, form: str, colour: str) -> None:
    """Annotate the last value at the end of the curve: above a rising curve, below a falling one."""
    before = values[-4:-1][np.isfinite(values[-4:-1])]
    above = before.size == 0 or before.mean() <= values[-1]
    ax.margins(y=0.15)
    ax.annotate(
        form.format(values[-1]),
        (float(epochs[-1]), float(values[-1])),
        xytext=(0, 8 if above else -15),
        textcoords="offset points",
        ha="right" if len(epochs) > 1 else "center",
        color=colour,
        fontsize="small",
        fontweight="bold",
    )

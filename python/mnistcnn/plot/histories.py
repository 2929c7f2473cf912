"""Plot of loss and accuracy per epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnistcnn.plot.experiments import wrapped_titles
from mnistcnn.plot.style import NEUTRAL, colours, markers, new_figure, plot_style, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.training.history import History

Histories: TypeAlias = "History | Sequence[History] | Mapping[str, History | Sequence[History]]"
CURVES_SIZE = (9, 3.6)  # inches
_MIN_BAND_RUNS = 3  # runs of one name, from which their mean and standard deviation are drawn by default


def curves(
    history: Histories,
    *,
    figure: Figure | None = None,
    axes: Sequence[Axes] | np.ndarray[Any, Any] | None = None,
    band: bool | None = None,
    evaluated: str = "Validation",
) -> Figure:
    """Plot loss and accuracy per epoch, with training (dashed) and validation on the same axes.

    A growing gap between the two curves shows overfitting. The legend of a single run contains the values of its last
    epoch. The first epoch is outside of the axes if it would use more than half of their height; a triangle at the edge
    marks it.

    Parameters
    ----------
    history
        `History`, list of histories to compare, or mapping of names to histories. The result of
        `mnistcnn.run_trials` is accepted in place of a list of histories. Results in a list are named by their
        network, and by the differences of their recipe from other results of this network.
    figure
        Figure to draw into. Default: None, a new figure.
    axes
        Two axes to draw into: loss and accuracy. Default: None, axes of ``figure``.
    band
        If True, draw runs of the same name as their mean with a band of one standard deviation on both sides; if
        False, draw each run. Default: None, True for three or more runs of a name.
    evaluated
        Name of the second data set in the legend: "Test" if the test set was evaluated after each epoch.

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
    ['Loss', 'Accuracy']
    >>> [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    ['Training 90.00 %', 'Validation 97.00 %']
    """
    lines = _lines(history, band)
    if figure is None and axes is None:
        figure = new_figure(*CURVES_SIZE)
    with plot_style():
        panels = _panels(figure, axes)
        for ax, metric in zip(panels, ("loss", "accuracy"), strict=True):
            _panel(ax, lines, metric, evaluated)
        if len(lines) > 1:
            _add_legend_of_runs(panels, lines, evaluated, outside=axes is None)
    drawn: Figure = panels[0].figure  # type: ignore[assignment]
    return drawn


@dataclass(frozen=True)
class _Line:
    """One run, or the mean of several runs."""

    label: str
    runs: tuple[History, ...]

    def epochs(self) -> np.ndarray[Any, Any]:
        return np.arange(1, min(map(len, self.runs)) + 1)

    def values(self, column: str) -> np.ndarray[Any, Any]:
        """Return the values as f64 [runs, epochs], accuracies in per cent."""
        count = len(self.epochs())
        factor = 100 if "accuracy" in column else 1
        return factor * np.stack([run.column(column)[:count] for run in self.runs])

    @property
    def validated(self) -> bool:
        """Whether a run has a validation set."""
        return bool(np.isfinite(self.values("validation_loss")).any())


def _lines(history: Any, band: bool | None) -> list[_Line]:
    groups = _groups(history)
    runs = [run for _, group in groups for run in group]
    if not runs or any(len(run) == 0 for run in runs):
        raise ValueError("there is nothing to draw: a history has no epochs")
    lines: list[_Line] = []
    for name, group in groups:
        together = len(group) >= _MIN_BAND_RUNS if band is None else band and len(group) > 1
        if together:
            lines.append(_Line(f"{name}, mean ± sd of {len(group)}", group))
        elif isinstance(history, Mapping) and len(group) == 1:
            lines.append(_Line(name, group))
        else:
            lines += [_Line(label, (run,)) for label, run in zip(_labels(name, group), group, strict=True)]
    return lines


def _labels(name: str, runs: Sequence[History]) -> list[str]:
    """Return a label for each run. Runs of the same training seed, such as its default, are numbered."""
    labels = [f"{name}, training seed {run.seed}" for run in runs]
    return [
        f"{label}, run {number}" if labels.count(label) > 1 else label for number, label in enumerate(labels, start=1)
    ]


def _groups(history: Any) -> list[tuple[str, tuple[History, ...]]]:
    """Return the runs grouped by name."""
    if isinstance(history, Mapping):
        return [(name, _flatten_runs(each)) for name, each in history.items()]
    groups: dict[str, tuple[History, ...]] = {}
    several = isinstance(history, Sequence) and not isinstance(history, str)
    items = history if several else [history]
    titles = iter(wrapped_titles(each for each in items if hasattr(each, "setting")))
    for each in items:
        title = next(titles) if hasattr(each, "setting") else None
        for run in _flatten_runs(each):
            name = title or run.model
            groups[name] = (*groups.get(name, ()), run)
    return list(groups.items())


def _flatten_runs(history: Any) -> tuple[History, ...]:
    from mnistcnn.training.history import History

    if isinstance(history, History):
        return (history,)
    if hasattr(history, "histories"):
        return tuple(history.histories)
    is_path = isinstance(history, str | os.PathLike)
    if is_path or not isinstance(history, Sequence):
        hint = "; read a file with mnistcnn.History.from_json" if is_path else ""
        hint = "; pass its history: model.history" if hasattr(history, "history") else hint
        kind = type(history).__name__
        raise TypeError(f"history must be a History, a list or a mapping of histories, got {kind}{hint}")
    return tuple(run for each in history for run in _flatten_runs(each))


def _panels(figure: Figure | None, axes: Any) -> list[Axes]:
    if axes is not None:
        panels = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(panels) != 2:
            raise ValueError(f"axes must be two axes, for loss and accuracy, got {len(panels)}")
        return panels
    assert figure is not None
    return list(figure.subplots(1, 2, sharex=True))


def _panel(ax: Axes, lines: Sequence[_Line], metric: str, evaluated: str) -> None:
    from matplotlib.ticker import MaxNLocator

    validated = any(line.validated for line in lines)
    if len(lines) == 1:
        _draw_one(ax, lines[0], metric, evaluated)
    else:
        for line, *look in zip(lines, colours(len(lines)), markers(len(lines)), strict=True):
            _curve(ax, line, f"train_{metric}", "" if line.validated else line.label, look, dashed=validated)
            if line.validated:
                _curve(ax, line, f"validation_{metric}", line.label, look)
    ax.set_title(metric.capitalize() if validated else f"Training {metric}")
    ax.set_ylabel("loss" if metric == "loss" else "accuracy (%)")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    tidy(ax)
    _fit_to_later_epochs(ax)


def _draw_one(ax: Axes, line: _Line, metric: str, evaluated: str) -> None:
    """Draw the only line of a plot: colours distinguish training and validation, the legend states the last values."""
    columns = {"Training": f"train_{metric}"} | ({evaluated: f"validation_{metric}"} if line.validated else {})
    for (name, column), *look in zip(columns.items(), colours(len(columns)), markers(len(columns)), strict=True):
        last = line.values(column)[:, -1].mean()
        label = f"{name} {last:.4f}" if metric == "loss" else f"{name} {last:.2f} %"
        _curve(ax, line, column, label, look, dashed=line.validated and name == "Training")
    ax.legend(loc="best", title=line.label if len(line.runs) > 1 else None, alignment="left")


def _curve(ax: Axes, line: _Line, column: str, label: str, look: Sequence[str], *, dashed: bool = False) -> None:
    """Draw the mean over the runs, and a band of one standard deviation; ``look`` is a colour and a marker."""
    values, epochs = line.values(column), line.epochs()
    mean, (colour, marker) = values.mean(axis=0), look
    ax.plot(
        epochs,
        mean,
        color=colour,
        marker=marker if len(epochs) <= 40 else "",
        linestyle="--" if dashed else "-",
        label=label or "_",  # matplotlib leaves labels with an underscore out of the legend
    )
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        ax.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)


def _fit_to_later_epochs(ax: Axes) -> None:
    """Leave the first epoch outside of the axes if it would use more than half of their height; mark it at the edge.

    The training values of the first epoch are means over a network that learns quickly. Beside them the difference
    between training and validation at the end would be too small to see.
    """
    from matplotlib.collections import PolyCollection

    bands = [path.vertices for each in ax.collections if isinstance(each, PolyCollection) for path in each.get_paths()]
    points = np.concatenate([*(line.get_xydata() for line in ax.lines), *bands])  # [points, 2]
    points = points[np.isfinite(points).all(axis=1)]
    later = points[points[:, 0] > 1, 1]
    if points.max(axis=0, initial=0)[0] < 4 or np.ptp(later) == 0 or np.ptp(later) > np.ptp(points[:, 1]) / 2:
        return
    margin = 0.1 * np.ptp(later)
    low, high = float(later.min() - margin), float(later.max() + margin)
    ax.set_ylim(low, high)
    for line in ax.lines:
        epoch, value = np.asarray(line.get_xydata())[0]
        if value < low or value > high:
            edge, marker = (low, "v") if value < low else (high, "^")
            ax.scatter(epoch, edge, marker=marker, color=line.get_color(), clip_on=False, zorder=3)


def _add_legend_of_runs(panels: Sequence[Axes], lines: Sequence[_Line], evaluated: str, *, outside: bool) -> None:
    """Add a legend of the runs by colour, and of training and validation by line style."""
    from matplotlib.lines import Line2D

    runs = panels[0].get_legend_handles_labels()
    validated = any(line.validated for line in lines)
    solid, dashed = Line2D([], [], color=NEUTRAL), Line2D([], [], color=NEUTRAL, linestyle="--")
    kinds = {"Training": dashed, evaluated: solid} if validated else {}
    figure = panels[0].figure
    if outside and figure.get_layout_engine() is not None:  # other figures have no space for it
        handles, labels = [*runs[0], *kinds.values()], [*runs[1], *kinds]
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
        return
    inside: Any = {"loc": "best", "fontsize": "small", "frameon": True, "framealpha": 0.7}
    panels[0].legend(*runs, **inside)
    if validated:
        panels[1].legend(kinds.values(), kinds, **inside)

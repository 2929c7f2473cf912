"""Plots of several runs: accuracies per seed, accuracy against size, loss against learning rate."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnistcnn.plot.style import BAD, GOOD, NEUTRAL, colours, panel, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.study.trials import Trials
    from mnistcnn.training.lr_finder import LRFinder

_LINE = 40  # characters of a line of a title

Runs: TypeAlias = "Trials | Sequence[Trials] | Mapping[str, Trials | Sequence[float]]"


def trials(runs: Runs, *, target: float | None = None, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot the accuracy of each trial as a dot, with the mean and its 95 % confidence interval.

    Parameters
    ----------
    runs
        Result of `mnistcnn.run_trials`, or a list of results, or a mapping of names to results or to lists of
        accuracies in [0, 1]. Each result becomes a row. Results in a list are named by their network, and by the
        differences of their recipe from other results of this network.
    target
        Accuracy in [0, 1] to mark with a dashed line, for example 0.994. Default: None, no line.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.trials({"plain": [0.990, 0.991, 0.992], "with norm": [0.993, 0.9935, 0.994]})
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['plain', 'with norm']
    """
    rows = _rows(runs)
    target = _checked_target(target)
    longest = max(len(line) for name, *_ in rows for line in name.split("\n"))
    with panel(ax, 6 + 0.08 * max(0, longest - 22), 0.9 + 0.55 * len(rows)) as (axes, drawn):
        for place, ((_, values, mean, interval), colour) in enumerate(zip(rows, colours(len(rows)), strict=True)):
            spread = 0.16 * ((np.arange(len(values)) * 0.618 + 0.5) % 1 - 0.5)  # separates dots of equal accuracy
            axes.scatter(100 * values, place - 0.16 + spread, s=22, color=colour, alpha=0.65, linewidths=0)
            axes.plot([100 * each for each in interval], [place + 0.16] * 2, color=colour, linewidth=2.5)
            axes.plot([100 * mean], [place + 0.16], color=colour, marker="D", markersize=6)
            axes.annotate(
                f"{100 * mean:.2f}",
                (100 * mean, place + 0.16),
                xytext=(0, -7),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )
        if target is not None:
            axes.axvline(100 * target, color=NEUTRAL, linestyle="--", linewidth=1.2, label=f"target {100 * target:g} %")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0)
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.06)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.set_xlabel("accuracy (%); lines: 95 % intervals of the means")
        tidy(axes, grid="x")
        axes.tick_params(axis="y", length=0)
        if title:
            axes.set_title(title)
    return drawn


def parameters_against_accuracy(
    networks: Mapping[str, Trials | tuple[int, float | Sequence[float]]] | Sequence[Trials],
    *,
    target: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot accuracy against number of parameters, one point per network.

    A network with several accuracies is drawn at their mean, with a line from the minimum to the maximum.

    Parameters
    ----------
    networks
        List of results of `mnistcnn.run_trials`, or a mapping of names to results or to pairs
        ``(parameters, accuracy)``. The accuracy is one number in [0, 1] or a list of them.
    target
        Accuracy in [0, 1] to mark with a dashed line. Default: None, no line.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.parameters_against_accuracy({"small": (4_500, 0.985), "large": (9**6, [0.99, 0.992])})
    >>> figure.axes[0].get_xscale()
    'log'
    """
    points = _points(networks)
    target = _checked_target(target)
    with panel(ax, 6, 4) as (axes, drawn):
        places = []
        for name, parameters, values in points:
            mean = float(values.mean())
            if len(values) > 1:
                axes.plot([parameters] * 2, [values.min(), values.max()], color=GOOD, alpha=0.4, linewidth=4)
            axes.plot([parameters], [mean], marker="o", color=GOOD, markersize=6)
            places.append((name, float(parameters), mean))
        if target is not None:
            axes.axhline(100 * target, color=NEUTRAL, linestyle="--", linewidth=1.2, label=f"target {100 * target:g} %")
            axes.legend(loc="lower right")
        axes.set_xscale("log")
        _use_short_labels(axes)
        axes.margins(x=0.18, y=0.14)
        axes.set_xlabel("parameters")
        axes.set_ylabel("accuracy (%)")
        axes.ticklabel_format(axis="y", useOffset=False)
        tidy(axes)
        _label_points(axes, places)
        if title:
            axes.set_title(title)
    return drawn


def lr_finder(result: LRFinder, *, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot the loss against the learning rate of a range test, and mark the suggested rate.

    Parameters
    ----------
    result
        Result of `mnistcnn.find_lr`.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:640]
    >>> result = mnistcnn.find_lr(mnistcnn.create_model("budget_model3"), data, steps=10, batch_size=32)
    >>> figure = mnistcnn.plot.lr_finder(result)
    >>> figure.axes[0].get_xlabel()
    'learning rate'
    """
    rates, losses = np.asarray(result.learning_rates, dtype=float), np.asarray(result.losses, dtype=float)
    known = np.isfinite(losses)
    if not known.any():
        raise ValueError("there is nothing to draw: result.losses has no finite value")
    with panel(ax, 5.5, 3.6) as (axes, drawn):
        axes.plot(rates[known], losses[known], color=GOOD)
        axes.set_xscale("log")
        low = float(losses[known].min())
        start = float(np.median(losses[known][: max(1, known.sum() // 10)]))
        axes.set_ylim(low - 0.08 * (start - low + 1e-9), start + 0.6 * (start - low + 1e-9))
        if result.suggestion is not None:
            rate = float(result.suggestion)
            axes.axvline(rate, color=BAD, linestyle="--", linewidth=1.4)
            axes.annotate(
                f"suggestion {rate:.2g}",
                (rate, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(-5, 0),
                textcoords="offset points",
                ha="right",
                va="top",
                color=BAD,
                fontweight="bold",
            )
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        tidy(axes)
        if title:
            axes.set_title(title)
    return drawn


def _checked_target(target: float | None) -> float | None:
    from mnistcnn.study.trials import checked_target

    return None if target is None else checked_target(target)


def _use_short_labels(ax: Axes) -> None:
    """Label the ticks of the x axis like 5k instead of 5 x 10^3, and minor ticks if there are few major ones."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    class MinorFormatter(LogFormatter):
        def __call__(self, value: float, place: int | None = None) -> str:
            return _short(value) if super().__call__(value, place) else ""

    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    ax.xaxis.set_minor_formatter(MinorFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def _short(value: float) -> str:
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _points(networks: Any) -> list[tuple[str, int, np.ndarray[Any, Any]]]:
    """Return name, number of parameters and accuracies in per cent of each network."""
    named: Iterable[tuple[str, Any]] = networks.items() if isinstance(networks, Mapping) else _named(networks)
    points = []
    for name, each in named:
        size, accuracies = (each.setting.parameters, each.accuracies) if hasattr(each, "setting") else each
        points.append((str(name), size, 100 * _fractions(np.atleast_1d(np.asarray(accuracies, dtype=float)), name)))
    if not points:
        raise ValueError("there is nothing to draw: networks is empty")
    return points


_Row = tuple[str, np.ndarray[Any, Any], float, tuple[float, float]]


def _rows(runs: Any) -> list[_Row]:
    """Return name, accuracies, mean and 95 % interval of the mean of each row."""
    if isinstance(runs, Mapping):
        rows = [(str(name), *_statistics(values, name)) for name, values in runs.items()]
    else:
        found = [runs] if hasattr(runs, "accuracies") else list(runs)
        rows = [(name, *_statistics(each, name)) for name, each in _named(found)]
    if not rows:
        raise ValueError("there is nothing to draw: runs is empty")
    return rows


def _named(results: Iterable[Trials]) -> list[tuple[str, Trials]]:
    results = list(results)
    for each in results:
        if not hasattr(each, "setting"):
            raise TypeError(
                f"a result must be one of mnistcnn.run_trials, got {type(each).__name__}; to plot accuracies, pass a "
                "mapping of names to lists"
            )
    return list(zip(wrapped_titles(results), results, strict=True))


def wrapped_titles(results: Iterable[Trials]) -> list[str]:
    """Return a title for each result, which names the differences between recipes of one network, in short lines."""
    from mnistcnn.study.recipe_words import distinct_titles

    titles = distinct_titles(each.setting for each in results)
    return [textwrap.fill(each, _LINE, break_long_words=False, break_on_hyphens=False) for each in titles]


def _statistics(values: Any, name: object) -> tuple[np.ndarray[Any, Any], float, tuple[float, float]]:
    if hasattr(values, "accuracies"):
        low, high = values.interval
        return np.asarray(values.accuracies, dtype=float), float(values.mean), (float(low), float(high))
    from mnistcnn.study.student_t import interval_of

    accuracies = _fractions(np.asarray(values, dtype=float), name)
    mean = float(accuracies.mean())
    return accuracies, mean, interval_of(tuple(accuracies.tolist())) if len(accuracies) > 1 else (mean, mean)


def _fractions(accuracies: np.ndarray[Any, Any], name: object) -> np.ndarray[Any, Any]:
    """Return the accuracies of an entry. Raise ValueError unless they are fractions, at least one."""
    if accuracies.ndim != 1 or not len(accuracies) or not ((accuracies >= 0) & (accuracies <= 1)).all():
        shown = np.array2string(accuracies, threshold=6)
        raise ValueError(f"the accuracies of {name!r} must be a list of at least one number from 0 to 1, got {shown}")
    return accuracies


def _label_points(ax: Axes, places: Sequence[tuple[str, float, float]]) -> None:
    """Label each point, at the first position where the label overlaps no other label or point and stays inside."""
    figure = ax.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # computes the layout
    frame = ax.get_window_extent()
    taken: list[Any] = []
    points = [ax.transData.transform((x, y)) for _, x, y in places]
    for name, x, y in sorted(places, key=lambda place: -place[2]):
        text = None
        for dx, dy, ha, va in _SIDES:
            if text is not None:
                text.remove()
            text = ax.annotate(name, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=8)
            box = text.get_window_extent()
            free = not any(box.overlaps(other) for other in taken) and not any(box.contains(*each) for each in points)
            if free and frame.x0 < box.x0 and box.x1 < frame.x1:
                break
        taken.append(box)


_SIDES = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (6, 8, "left", "bottom"),
    (6, -8, "left", "top"),
    (-6, 8, "right", "bottom"),
    (-6, -8, "right", "top"),
    (0, 18, "center", "bottom"),
    (0, -18, "center", "top"),
)

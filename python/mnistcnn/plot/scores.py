"""Plots of a test result: confusion matrix, scores per class and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.tables import percent
from mnistcnn.plot.style import BAD, GOOD, MARKERS, NEUTRAL, PALETTE, panel, text_colour_on, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.evaluation.results import TestResult

_MAX_NUMBERED_CLASSES = 26  # largest number of classes whose cells are numbered


def confusion(result: TestResult, *, normalize: bool = False, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot the confusion matrix: rows are true classes, columns are predicted classes.

    The colour scale covers only the mistakes, so that few mistakes are visible next to many correct predictions.

    Parameters
    ----------
    result
        Result of `mnistcnn.test`.
    normalize
        If True, show per cent of each row instead of numbers of images.
    title
        Title of the plot. Default: number of mistakes and of images.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    >>> mnistcnn.plot.confusion(result).axes[0].get_xlabel()
    'predicted'
    """
    import matplotlib as mpl

    check_result(result)
    counts = result.confusion.astype(float)
    shown = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) if normalize else counts
    number = len(counts)
    wrong = np.where(np.eye(number, dtype=bool), np.nan, shown)
    strongest = max(float(np.nanmax(wrong)) if number > 1 else 0.0, 1e-9)
    cmap = mpl.colormaps["Oranges"].with_extremes(bad="0.93", under="white")
    side = min(max(3.2, 0.48 * number + 1), 12)
    with panel(ax, side + 0.3, side) as (axes, drawn):
        axes.imshow(wrong, cmap=cmap, vmin=1e-12, vmax=strongest)
        if number <= _MAX_NUMBERED_CLASSES:
            size = _number_size(axes, drawn, side, number)
            for row, column in np.ndindex(*shown.shape):
                colour = (0.93,) * 3 if row == column else cmap(float(wrong[row, column]) / strongest)
                text = _cell(float(shown[row, column]), normalize)
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=text_colour_on(colour))
        _label_classes(axes, result.classes, _number_size(axes, drawn, side, number))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title or f"{result.count - result.correct:,} mistakes in {result.count:,}")
    return drawn


def per_class(result: TestResult, *, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot precision, recall and F1 score of each class, in per cent.

    The scores are points, not bars, because the axis does not start at zero.

    Parameters
    ----------
    result
        Result of `mnistcnn.test`.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    >>> mnistcnn.plot.per_class(result).axes[0].get_xticks().tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    check_result(result)
    scores = result.per_class
    places = np.arange(len(scores))
    columns = {
        name: 100 * np.array([getattr(score, name) for score in scores]) for name in ("precision", "recall", "f1")
    }
    lowest = min((float(np.nanmin(each)) for each in columns.values() if np.isfinite(each).any()), default=0.0)
    floor = max(0.0, lowest - 0.25 * max(100 - lowest, 0.4))
    with panel(ax, max(4.5, 0.6 * len(scores) + 1.5), 3.4) as (axes, drawn):
        for index, (name, values) in enumerate(columns.items()):
            label = "F1" if name == "f1" else name
            style: dict[str, Any] = {"color": PALETTE[index], "marker": MARKERS[index], "linestyle": ""}
            axes.plot(places + 0.2 * (index - 1), values, markersize=6, label=label, **style)
        for place in places:
            axes.axvspan(place - 0.38, place + 0.38, color=NEUTRAL, alpha=0.08, linewidth=0)
        axes.set_ylim(floor, 100 + 0.04 * (100 - floor))
        axes.set_xticks(places, [score.name for score in scores], **_label_rotation(result.classes))
        axes.set_ylabel("%")
        tidy(axes, grid="y")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        if title:
            axes.set_title(title, pad=24)
    return drawn


def reliability(result: TestResult, *, bins: int = 10, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot a reliability diagram: accuracy against confidence, with the expected calibration error (ECE).

    Each bar is the accuracy of the predictions in one confidence bin; their number is above it. A mark shows the mean
    confidence of the bin. The bars of a perfectly calibrated network end at the dashed line.

    Parameters
    ----------
    result
        Result of `mnistcnn.test`.
    bins
        Number of confidence bins.
    title
        Title of the plot. Default: ECE and number of predictions.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    >>> mnistcnn.plot.reliability(result).axes[0].get_xlabel()
    'confidence (%)'
    """
    check_result(result)
    calibration = result.calibration(bins)
    edges = 100 * np.asarray(calibration.edges)
    widths = np.diff(edges)
    with panel(ax, 4.6, 4.3) as (axes, drawn):
        for left, width, accuracy, confidence, count in zip(
            edges[:-1], widths, calibration.accuracies, calibration.confidences, calibration.counts, strict=True
        ):
            if not count:
                continue
            axes.bar(left, 100 * accuracy, width * 0.94, align="edge", color=GOOD, alpha=0.85)
            axes.plot([left, left + width * 0.94], [100 * confidence] * 2, color=BAD, linewidth=2)
            axes.annotate(
                _short(count),
                (left + width * 0.47, 100 * max(accuracy, confidence)),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
            )
        axes.plot([0, 100], [0, 100], color=NEUTRAL, linestyle="--", linewidth=1.2)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 112)
        axes.set_yticks(range(0, 101, 20))
        axes.set_xlabel("confidence (%)")
        axes.set_ylabel("accuracy (%)")
        tidy(axes)
        axes.legend(handles=_reliability_legend(), loc="upper left")
        axes.set_title(title or f"ECE {percent(calibration.expected_error)}, {result.count:,} predictions")
    return drawn


def check_result(result: object) -> None:
    """Raise TypeError unless the argument is a test result."""
    from mnistcnn.evaluation.results import TestResult

    if not isinstance(result, TestResult):
        raise TypeError(f"result must be a TestResult of mnistcnn.test(model, test_set), got {type(result).__name__}")


def _reliability_legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [Patch(color=GOOD, alpha=0.85, label="accuracy"), Line2D([], [], color=BAD, label="mean confidence")]


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count >= 1000 else str(count)


def _cell(value: float, normalize: bool) -> str:
    if value == 0:
        return "·"
    return f"{value:.1f}" if normalize else f"{value:.0f}"


def _number_size(ax: Any, drawn: Any, side: float, number: int) -> float:
    if drawn is ax:
        side = ax.get_window_extent().width / ax.figure.dpi
    return float(np.clip(18 * side / (number + 2), 4, 9))


def _label_classes(ax: Axes, classes: tuple[str, ...], size: float) -> None:
    places = np.arange(len(classes))
    ax.set_xticks(places, classes, fontsize=size, **_label_rotation(classes))
    ax.set_yticks(places, classes, fontsize=size)


def _label_rotation(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return text properties that rotate tick labels if a class name has more than three characters."""
    long = max(map(len, classes)) > 3
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}

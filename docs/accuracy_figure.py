"""Draw the measured accuracies of the published networks from the log of ``benchmarks/accuracy.py``.

    python docs/accuracy_figure.py           # write docs/pictures/accuracy.png and docs/pictures/frontier.png
    python docs/accuracy_figure.py --check   # fail if a figure is older than the log

The PNG files store the SHA-256 of the values that they show.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import accuracy

PICTURES = ROOT / "docs" / "pictures"
BLUE, DARK_BLUE, RED = "#3b6ea5", "#1c3f66", "#c44e52"
TICKS = (90, 96, 97, 98, 98.5, 99, 99.2, 99.4, 99.6)  # in percent


class Published(NamedTuple):
    """Result of one run, reported by others."""

    parameters: int
    accuracy: float  # from 0 to 1
    text: str  # "" for an author of the zoo


# Networks that are not in the zoo
SMALLEST = (
    Published(697, 0.990, "697, 200 epochs"),
    Published(3_762, 0.9952, "3,762"),
    Published(4_392, 0.9946, "4,392"),
)


class Point(NamedTuple):
    """Mean accuracy of a recipe, with its 95 % confidence interval."""

    name: str
    parameters: int
    mean: float
    half_width: float


def frontier() -> tuple[list[Point], list[Published]]:
    """Return the networks of the zoo with at least three seeds and a mean of 98.5 %, and the results of others."""
    points, reported = [], list(SMALLEST)
    for name, trials in accuracy.logged().items():
        about, parameters = accuracy.published(name)[1].about, trials.setting.parameters
        if parameters >= 100_000:
            continue
        if about and about.accuracy and about.accuracy >= 98.5:
            reported.append(Published(parameters, about.accuracy / 100, ""))
        if len(trials.accuracies) >= 3 and trials.mean >= 0.985:
            low, high = trials.interval
            points.append(Point(name, parameters, trials.mean, (high - low) / 2))
    return sorted(points, key=lambda each: each.parameters), reported


def shown() -> dict[str, tuple[tuple[float, ...], float | None]]:
    """Return the accuracies of all seeds and the accuracy that the author reports, by row; from 0 to 1."""
    values = {}
    for name, trials in accuracy.logged().items():
        about = accuracy.published(name)[1].about
        reported = about.accuracy / 100 if about and about.accuracy else None
        values[name] = (tuple(sorted(trials.accuracies)), reported)
    return {name: values[name] for name in accuracy.RECIPES if name in values}


def digest(values: Any) -> str:
    """Return the SHA-256 of the values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def figure(values: dict[str, tuple[tuple[float, ...], float | None]]) -> Any:
    """Return the figure: one dot per seed, a bar at the mean, and a cross at the author's value.

    The axis is logarithmic in the error rate, so that differences near 99.4 % are as visible as those near 98 %.
    """
    drawn, axes = plt.subplots(figsize=(8, 0.9 + 0.34 * len(values)), layout="constrained")
    for place, (accuracies, reported) in enumerate(values.values()):
        errors = [100 * (1 - each) for each in accuracies]
        axes.scatter(errors, [place] * len(errors), s=20, color=BLUE, alpha=0.5, linewidths=0, zorder=3)
        mean = sum(errors) / len(errors)
        axes.plot([mean, mean], [place - 0.3, place + 0.3], color=DARK_BLUE, linewidth=2, zorder=4)
        if reported is not None:
            axes.plot([100 * (1 - reported)], [place], marker="x", color=RED, markersize=7, mew=2, zorder=5)
    labels = [
        axes.scatter([], [], s=20, color=BLUE, alpha=0.5, linewidths=0, label="one seed"),
        *axes.plot([], [], color=DARK_BLUE, marker="|", markersize=9, mew=2, linestyle="", label="mean"),
        *axes.plot([], [], color=RED, marker="x", mew=2, linestyle="", label="author, one run"),
    ]
    axes.legend(handles=labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    error_axis(axes, axes.xaxis, TICKS)
    axes.set_xlabel("test accuracy after the last epoch (%)")
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    axes.grid(axis="y", color="#f2f2f2")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return drawn


def error_axis(axes: Any, axis: Any, ticks: tuple[float, ...]) -> None:
    """Make an axis of error rates in percent logarithmic, with accuracies as labels that rise to the right or top."""
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_inverted(True)
    axis.set_ticks([100 - tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def frontier_figure(values: tuple[list[Point], list[Published]]) -> Any:
    """Return the figure: the mean accuracy of each recipe over the number of parameters, and single runs of others."""
    points, reported = values
    drawn, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    errors = [100 * (1 - each.mean) for each in points]
    half_widths = [100 * each.half_width for each in points]
    sizes = [each.parameters for each in points]
    axes.errorbar(sizes, errors, half_widths, fmt="none", ecolor=BLUE, alpha=0.6, capsize=2, zorder=3)
    axes.scatter(sizes, errors, s=26, color=BLUE, zorder=4, label="mean of our seeds, 95 % interval")
    others = [each.parameters for each in reported], [100 * (1 - each.accuracy) for each in reported]
    axes.scatter(*others, s=40, facecolors="none", edgecolors=RED, zorder=3, label="published, one run")
    for each, error in zip(points, errors, strict=True):
        if each.name.startswith("record"):
            place = (each.parameters, error)
            axes.annotate(
                each.name, place, (-8, -4), textcoords="offset points", ha="right", color=DARK_BLUE, weight="bold"
            )
    for other in reported:
        place = (other.parameters, 100 * (1 - other.accuracy))
        axes.annotate(other.text, place, (7, -3), textcoords="offset points", color=RED, fontsize=8)
    axes.set_xscale("log")
    ticks = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)
    axes.set_xticks(ticks, [f"{each:,}" for each in ticks])
    axes.set_xlim(400, 90_000)
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    error_axis(axes, axes.yaxis, (98.5, 98.8, 99, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7))
    axes.set_xlabel("parameters")
    axes.set_ylabel("test accuracy after the last epoch (%)")
    axes.legend(loc="lower left", frameon=False)
    axes.grid(color="#e6e6e6")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


# Name of each picture: the function that returns its values, and the one that draws them
FIGURES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "accuracy": (shown, figure),
    "frontier": (frontier, frontier_figure),
}


def stored_digest(name: str) -> str | None:
    """Return the SHA-256 that a PNG file stores."""
    from PIL import Image

    path = PICTURES / f"{name}.png"
    if not path.exists():
        return None
    with Image.open(path) as image:
        return str(image.info.get("Description"))


def main() -> None:
    """Draw the figures, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a figure is outdated")
    check = parser.parse_args().check
    for name, (values_of, draw) in FIGURES.items():
        values = values_of()
        if check and stored_digest(name) != digest(values):
            sys.exit(f"{name}.png is outdated; run python docs/accuracy_figure.py")
        if not check:
            path = PICTURES / f"{name}.png"
            draw(values).savefig(path, dpi=100, facecolor="white", metadata={"Description": digest(values)})


if __name__ == "__main__":
    main()

"""Draw the measured accuracies of the published networks from the log of ``benchmarks/accuracy.py``.

    python docs/accuracy_figure.py           # write docs/pictures/accuracy.png
    python docs/accuracy_figure.py --check   # fail if the figure is older than the log

The PNG file stores the SHA-256 of the values that it shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import accuracy

FIGURE = ROOT / "docs" / "pictures" / "accuracy.png"
TICKS = (90, 96, 97, 98, 98.5, 99, 99.2, 99.4, 99.6)  # in percent


def shown() -> dict[str, tuple[tuple[float, ...], float | None]]:
    """Return the accuracies of all seeds and the accuracy that the author reports, by row; from 0 to 1."""
    values = {}
    for name, trials in accuracy.logged().items():
        about = accuracy.published(name)[1].about
        reported = about.accuracy / 100 if about and about.accuracy else None
        values[name] = (tuple(sorted(trials.accuracies)), reported)
    return {name: values[name] for name in accuracy.RECIPES if name in values}


def digest(values: dict[str, Any]) -> str:
    """Return the SHA-256 of the values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def figure(values: dict[str, tuple[tuple[float, ...], float | None]]) -> Any:
    """Return the figure: one dot per seed, a bar at the mean, and a cross at the author's value.

    The axis is logarithmic in the error rate, so that differences near 99.4 % are as visible as those near 98 %.
    """
    drawn, axes = plt.subplots(figsize=(8, 0.9 + 0.34 * len(values)), layout="constrained")
    for place, (accuracies, reported) in enumerate(values.values()):
        errors = [100 * (1 - each) for each in accuracies]
        axes.scatter(errors, [place] * len(errors), s=20, color="#3b6ea5", alpha=0.5, linewidths=0, zorder=3)
        mean = sum(errors) / len(errors)
        axes.plot([mean, mean], [place - 0.3, place + 0.3], color="#1c3f66", linewidth=2, zorder=4)
        if reported is not None:
            axes.plot([100 * (1 - reported)], [place], marker="x", color="#c44e52", markersize=7, mew=2, zorder=5)
    labels = [
        axes.scatter([], [], s=20, color="#3b6ea5", alpha=0.5, linewidths=0, label="one seed"),
        *axes.plot([], [], color="#1c3f66", marker="|", markersize=9, mew=2, linestyle="", label="mean"),
        *axes.plot([], [], color="#c44e52", marker="x", mew=2, linestyle="", label="author, one run"),
    ]
    axes.legend(handles=labels, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks([100 - tick for tick in TICKS], [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlabel("test accuracy after the last epoch (%)")
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    axes.grid(axis="y", color="#f2f2f2")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return drawn


def stored_digest() -> str | None:
    """Return the SHA-256 that the PNG file stores."""
    from PIL import Image

    if not FIGURE.exists():
        return None
    with Image.open(FIGURE) as image:
        return str(image.info.get("Description"))


def main() -> None:
    """Draw the figure, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the figure is outdated")
    check, values = parser.parse_args().check, shown()
    if check:
        current = stored_digest() == digest(values)
        sys.exit(0 if current else f"{FIGURE} is outdated; run python docs/accuracy_figure.py")
    figure(values).savefig(FIGURE, dpi=100, facecolor="white", metadata={"Description": digest(values)})


if __name__ == "__main__":
    main()

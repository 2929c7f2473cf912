"""The picture of a profile: what each layer reaches, below what the machine allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.profile import LayerTime, Limits, Profile

# Marker, colour and label of each pass; colours that colour-blind people tell apart (Okabe and Ito).
_PASSES = {
    "forward": ("o", "#0072B2", "forward"),
    "backward": ("s", "#D55E00", "gradients of inputs"),
    "weights": ("^", "#009E73", "gradients of weights"),
}
_CLOSE = 1.06  # layers whose intensities differ by less share a label


def draw(profile: Profile, figure: Figure | None = None) -> Figure:
    """Operations per second over operations per byte, of every layer that multiplies."""
    rows = [row for row in profile.rows if row.forward.flops]
    if not rows:
        raise ValueError(f"model '{profile.model}' has no convolution and no linear layer: there is nothing to draw")
    if figure is None:
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=(9, 5.5), layout="constrained")
    ax = figure.add_subplot()
    _draw_roofs(ax, profile.limits, [row.intensity for row in rows])
    _draw_points(ax, rows)
    _draw_labels(ax, rows)
    threads = f"{profile.threads} thread{'s' if profile.threads > 1 else ''}"
    drawn = 100 * sum(row.share for row in rows)
    ax.set_title(
        f"{profile.model}, batch {profile.batch_size}, {profile.instruction_set}, {threads}; "
        f"shown are {drawn:.0f} % of a step's time"
    )
    return figure


def _draw_roofs(ax: Axes, limits: Limits, intensities: Sequence[float]) -> None:
    ridge = limits.gflops / limits.memory_gigabytes
    span = np.array([min(*intensities, 1.0) / 2, max(*intensities, ridge) * 2])
    ax.loglog(span, [limits.gflops] * 2, color="black")
    ax.annotate(
        f"multiply-adds, {limits.gflops:.0f} GFLOP/s",
        (span[0], limits.gflops),
        xytext=(4, 3),
        textcoords="offset points",
        fontsize="small",
    )
    for name, rate, style in (("cache", limits.cache_gigabytes, "--"), ("memory", limits.memory_gigabytes, ":")):
        ax.plot([span[0], limits.gflops / rate], [span[0] * rate, limits.gflops], color="black", linestyle=style)
        ax.annotate(
            f"{name}, {rate:.0f} GB/s",
            (span[0], span[0] * rate),
            xytext=(14, 2),
            textcoords="offset points",
            fontsize="small",
        )
    ax.set_xlim(*span)
    ax.set_ylim(top=2 * limits.gflops)
    ax.set_xlabel("operations per byte of inputs, outputs and weights")
    ax.set_ylabel("GFLOP/s")
    ax.grid(alpha=0.3, which="both")
    ax.spines[["top", "right"]].set_visible(False)


def _draw_points(ax: Axes, rows: Sequence[LayerTime]) -> None:
    for key, (marker, colour, label) in _PASSES.items():
        points = [(row.intensity, getattr(row, key).gflops) for row in rows if getattr(row, key).gflops is not None]
        if points:
            ax.scatter(*zip(*points, strict=True), marker=marker, color=colour, label=label, zorder=3, alpha=0.8)
    ax.legend(frameon=False, loc="lower right", fontsize="small")


def _draw_labels(ax: Axes, rows: Sequence[LayerTime]) -> None:
    """Names below the points, those of neighbours together."""
    groups: list[list[LayerTime]] = []
    for row in sorted(rows, key=lambda each: each.intensity):
        if groups and row.intensity < _CLOSE * groups[-1][0].intensity:
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups:
        rates = [part.gflops for row in group for part in (row.forward, row.backward, row.weights)]
        ax.annotate(
            ", ".join(row.name for row in group),
            (group[0].intensity, min(rate for rate in rates if rate is not None)),
            xytext=(0, -6),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            fontsize="x-small",
        )

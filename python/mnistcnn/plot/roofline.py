"""Roofline plot of a profile: throughput of each layer and limits of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mnistcnn._internal.tables import counted
from mnistcnn.plot.style import MARKERS, PALETTE, panel, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.profile import LayerTime, Limits, Profile

# Marker, colour and label of each pass.
_PASSES = {
    "forward": (MARKERS[0], PALETTE[0], "forward"),
    "backward": (MARKERS[1], PALETTE[1], "gradients of inputs"),
    "weights": (MARKERS[2], PALETTE[2], "gradients of weights"),
}
_CLOSE = 1.06  # layers whose intensities differ by less share a label


def roofline(profile: Profile, *, title: str = "", ax: Axes | None = None) -> Figure | Axes:
    """Plot the roofline of a profile: operations per second against operations per byte of each layer.

    Layers without multiply-accumulates are omitted; the default title gives the fraction of the time that is shown.
    Multiplications by padding zeros are counted, but the engine skips most of them: a point can lie above the limit.

    Parameters
    ----------
    profile
        The result of `mnistcnn.profile.profile`.
    title
        Title of the plot. Default: model, batch size, instruction set, threads and fraction of the time that is shown.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> report = mnistcnn.profile.profile(mnistcnn.create_model("budget_model3"), batch_size=32, seconds=0.05)
    >>> figure = mnistcnn.plot.roofline(report)
    >>> figure.axes[0].get_ylabel()
    'GFLOP/s'
    """
    rows = [row for row in profile.rows if row.forward.flops]
    if not rows:
        raise ValueError(f"there is nothing to draw: model '{profile.model}' has no convolution and no linear layer")
    with panel(ax, 9, 5.5) as (axes, drawn):
        _draw_roofs(axes, profile.limits, [row.intensity for row in rows])
        _draw_points(axes, rows)
        _draw_labels(axes, rows)
        axes.set_title(title or _title(profile, rows))
    return drawn


def _title(profile: Profile, rows: Sequence[LayerTime]) -> str:
    threads = counted(profile.threads, "thread")
    shown = 100 * sum(row.share for row in rows)
    return (
        f"{profile.model}, batch {profile.batch_size}, {profile.instruction_set}, {threads}; "
        f"{shown:.0f} % of the step time shown"
    )


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
    tidy(ax)


def _draw_points(ax: Axes, rows: Sequence[LayerTime]) -> None:
    for key, (marker, colour, label) in _PASSES.items():
        points = [(row.intensity, getattr(row, key).gflops) for row in rows if getattr(row, key).gflops is not None]
        if points:
            ax.scatter(*zip(*points, strict=True), marker=marker, color=colour, label=label, zorder=3, alpha=0.8)
    ax.legend(frameon=False, loc="lower right", fontsize="small")


def _draw_labels(ax: Axes, rows: Sequence[LayerTime]) -> None:
    """Label the layers below their points, with one label for layers of similar intensity."""
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

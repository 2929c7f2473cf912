"""Commands ``mnistcnn bench`` and ``mnistcnn profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import FIGURE_SUFFIXES, JsonOption, ModelOrFile, check_writable, load_or_create, networks
from mnistcnn.cli.output import print_json, print_message, print_table, save_figure


def bench(
    pattern: Annotated[str, typer.Argument(help="Networks to measure, for example 'session7*'.")] = "*",
    threads: Annotated[int, typer.Option(min=1, help="Number of threads of each engine and of PyTorch.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Number of measurements; the fastest is reported.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Measure seconds per training epoch on this machine. Compares both engines with PyTorch.

    Trains a few batches of 128 images and scales the time to an epoch of 60,000 images. Close other programs first.
    """
    from mnistcnn.profile.epoch_times import IMPLEMENTATIONS
    from mnistcnn.profile.epoch_times import bench as measure

    found = []
    for times in measure(networks(pattern), threads=threads, repeats=repeats):
        seconds = ", ".join(f"{key} {_format_seconds(getattr(times, key))}" for key in IMPLEMENTATIONS)
        print_message(f"{times.network}: {seconds} s")
        found.append(times)
    if as_json:
        print_json([times.to_dict() for times in found])
        return
    rows = [
        [
            times.network,
            f"{times.parameters:,}",
            *(_format_seconds(getattr(times, key)) for key in IMPLEMENTATIONS),
            "-" if times.ratio is None else f"{times.ratio:.1f}x",
        ]
        for times in found
    ]
    print_table(["model", "parameters", "lanes (s)", "aten (s)", "PyTorch (s)", "PyTorch / lanes"], rows, left=1)


def _format_seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def profile(
    model: ModelOrFile = "session7_net",
    batch_size: Annotated[int, typer.Option(min=1, help="Number of images per step.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Number of threads of the engine.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.05, help="Duration of the measurement in seconds.")] = 1.0,
    plot: Annotated[Path | None, typer.Option(help="Write a roofline plot to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Profile a training step. Prints the time of each layer."""
    from mnistcnn.plot import roofline
    from mnistcnn.profile import profile as measure

    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    report = measure(load_or_create(model), batch_size=batch_size, threads=threads, seconds=seconds)
    if plot is not None:
        save_figure(roofline(report), plot)
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)

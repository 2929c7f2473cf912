"""Commands ``mnistcnn bench`` and ``mnistcnn profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.options import FIGURE_SUFFIXES, JsonOption, ModelOrFile, check_writable, load_or_create, networks
from mnistcnn.cli.output import print_json, print_message, print_result, print_table, save_figure

if TYPE_CHECKING:
    from mnistcnn.profile import EpochTimes


def bench(
    pattern: Annotated[str, typer.Argument(help="Networks to measure, for example 'session7*'.")] = "*",
    threads: Annotated[int, typer.Option(min=1, help="Number of threads of each engine and of PyTorch.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Number of measurements; the fastest is reported.")] = 3,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Measure torch.compile too, which takes minutes and needs a C++ compiler.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure seconds per training epoch on this machine. Compares both engines with PyTorch.

    PyTorch is measured in float32 and under autocast to bfloat16, each with contiguous and with channels_last tensors.
    Trains a few batches of 128 images and scales the time to an epoch of 60,000 images. Close other programs first.
    """
    from mnistcnn.profile.epoch_times import COMPILED_MODES, ENGINES, TORCH_MODES
    from mnistcnn.profile.epoch_times import bench as measure

    implementations = (*ENGINES, *TORCH_MODES, *(COMPILED_MODES if compiled else ()))
    found = []
    for times in measure(networks(pattern), implementations=implementations, threads=threads, repeats=repeats):
        seconds = ", ".join(f"{key} {value:.2f}" for key, value in times.seconds.items())
        print_message(f"{times.network}: {seconds} s")
        found.append(times)
    if as_json:
        print_json([times.to_dict() for times in found])
        return
    head = ["model", "parameters", "lanes (s)", "aten (s)", "fastest PyTorch (s)", "its mode", "PyTorch / lanes"]
    print_table(head, [_bench_row(times) for times in found], left=1)


def _bench_row(times: EpochTimes) -> list[str]:
    mode = times.fastest_torch or "torch"
    return [
        times.network,
        f"{times.parameters:,}",
        *(_format_seconds(times.seconds.get(key)) for key in ("lanes", "aten", mode)),
        mode.removeprefix("torch").strip() or "eager",
        "-" if times.ratio is None else f"{times.ratio:.1f}x",
    ]


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
    print_result(report, as_json=as_json)
    if plot is not None:
        save_figure(roofline(report), plot)

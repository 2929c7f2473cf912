"""``mnistcnn bench`` and ``profile``: how fast this machine is, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import PICTURES, JsonOption, ModelOrFile, check_target, named_model
from mnistcnn.cli.output import print_json, print_table, save_picture, say


def bench(
    pattern: Annotated[str, typer.Argument(help="Which networks, for example 'session7*'.")] = "*",
    threads: Annotated[int, typer.Option(min=1, help="Of every engine, and of PyTorch.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="How often each is measured; the fastest counts.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Measure seconds per training epoch on this machine. An epoch is 60,000 images; PyTorch is measured beside us.

    Each is measured over some batches of 128, and scaled. Close other programs first.
    """
    import mnistcnn
    from mnistcnn.profile.epoch_times import WAYS
    from mnistcnn.profile.epoch_times import bench as measured

    names = mnistcnn.list_models(pattern)
    if not names:
        raise ValueError(f"no model fits {pattern!r}; there are: {', '.join(mnistcnn.list_models())}")
    found = []
    for times in measured(names, threads=threads, repeats=repeats):
        say(f"{times.network}: {', '.join(f'{way} {_shown(getattr(times, way))}' for way in WAYS)} s")
        found.append(times)
    if as_json:
        print_json([times.to_dict() for times in found])
        return
    rows = [
        [
            times.network,
            f"{times.parameters:,}",
            *(_shown(getattr(times, way)) for way in WAYS),
            "-" if times.ratio is None else f"{times.ratio:.1f}x",
        ]
        for times in found
    ]
    print_table(["model", "parameters", "lanes (s)", "aten (s)", "PyTorch (s)", "PyTorch / lanes"], rows, left=1)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def profile(
    model: ModelOrFile = "session7_net",
    batch_size: Annotated[int, typer.Option(min=1, help="Images of a step.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the engine.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.05, help="How long to measure.")] = 1.0,
    plot: Annotated[Path | None, typer.Option(help="Also draw the roofline into this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where the time of a training step goes, layer by layer."""
    from mnistcnn.plot import roofline
    from mnistcnn.profile import profile as measured

    check_target(plot, option="--plot", endings=PICTURES)
    made = measured(named_model(model), batch_size=batch_size, threads=threads, seconds=seconds)
    if plot is not None:
        save_picture(roofline(made), plot)
    if as_json:
        print_json(made.to_dict())
    else:
        print(made)

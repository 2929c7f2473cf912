"""``mnistcnn lr-find``: which learning rate to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import (
    PICTURES,
    Data,
    DataOption,
    EngineOption,
    ImagesOption,
    JsonOption,
    ModelArgument,
    SeedOption,
    ThreadsOption,
    check_engine,
    check_network,
    check_target,
    load,
    network_for,
)
from mnistcnn.cli.output import print_json, save_picture
from mnistcnn.cli.recipes import BatchOption, MomentumOption, RecipeOption, chosen_recipe


def lr_find(
    model: ModelArgument = "session7_net",
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    recipe: RecipeOption = None,
    batch_size: BatchOption = None,
    momentum: MomentumOption = None,
    start: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-5,
    end: Annotated[float, typer.Option(help="The last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(min=10, help="How many batches are trained.")] = 100,
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw loss against learning rate into this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the learning rate to begin with. A short training, in which the rate grows from step to step.

    Nothing is saved; the test ends early when the loss has blown up.
    """
    import mnistcnn

    check_network(model)  # before any download
    check_target(plot, option="--plot", endings=PICTURES)
    check_engine(engine)
    made = chosen_recipe(model, recipe, batch_size=batch_size, momentum=momentum, seed=seed)
    train_set, _ = load(data, images)
    network = network_for(model, train_set, seed)
    found = mnistcnn.find_lr(
        network, train_set, made, start=start, end=end, steps=steps, engine=engine, threads=threads, progress=True
    )
    if plot is not None:
        save_picture(mnistcnn.plot.lr_finder(found), plot)
    rates, losses = found.learning_rates.tolist(), found.losses.tolist()
    if as_json:
        told = {"model": network.name, "data": train_set.name, "suggestion": found.suggestion}
        print_json({**told, "learning_rates": rates, "losses": losses, "smoothed": found.smoothed.tolist()})
    elif found.suggestion is None:
        print(f"no learning rate from {rates[0]:.2g} to {rates[-1]:.2g} makes the loss fall; try more --steps")
    else:
        print(f"suggested learning rate {found.suggestion:.2g} ({len(rates)} steps, {rates[0]:.2g} to {rates[-1]:.2g})")
        recipe_words = f" --recipe {recipe}" if recipe else ""
        print(f"try: mnistcnn train {model}{recipe_words} --lr {found.suggestion:.2g}")

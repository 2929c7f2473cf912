"""Command ``mnistcnn lr-find``: learning rate range test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mnistcnn.cli.options import (
    FIGURE_SUFFIXES,
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
    check_writable,
    create_network,
    load,
)
from mnistcnn.cli.output import print_json, save_figure
from mnistcnn.cli.recipes import (
    AugmentOption,
    BatchOption,
    MomentumOption,
    OptimizerOption,
    RecipeChanges,
    RecipeOption,
    recipe_from_options,
)


def lr_find(
    model: ModelArgument = "session7_net",
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    recipe: RecipeOption = None,
    batch_size: BatchOption = None,
    momentum: MomentumOption = None,
    optimizer: OptimizerOption = None,
    augment: AugmentOption = None,
    start: Annotated[float, typer.Option(help="Learning rate of the first step.")] = 1e-5,
    end: Annotated[float, typer.Option(help="Learning rate of the last step.")] = 10.0,
    steps: Annotated[int, typer.Option(min=10, help="Number of steps; each trains on one batch.")] = 100,
    seed: SeedOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of loss against learning rate to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest an initial learning rate. Runs a range test: a short training with an increasing learning rate.

    No model is saved. The test stops early when the loss diverges.
    """
    import mnistcnn

    check_network(model)  # before any download
    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    check_engine(engine)
    changes = RecipeChanges(batch_size=batch_size, momentum=momentum, optimizer=optimizer, augment=augment)
    run_recipe = recipe_from_options(model, recipe, changes, seed=seed)
    train_set, _ = load(data, images)
    network = create_network(model, train_set, run_recipe.seed)
    found = mnistcnn.find_lr(
        network, train_set, run_recipe, start=start, end=end, steps=steps, engine=engine, threads=threads, progress=True
    )
    rates, losses = found.learning_rates.tolist(), found.losses.tolist()
    if as_json:
        report = {"model": network.name, "data": train_set.name, "suggestion": found.suggestion}
        print_json({**report, "learning_rates": rates, "losses": losses, "smoothed": found.smoothed.tolist()})
    elif found.suggestion is None:
        print(
            f"the loss does not decrease at any learning rate from {rates[0]:.2g} to {rates[-1]:.2g}; "
            "try another --start, --end or --batch-size"
        )
    else:
        print(f"suggested learning rate {found.suggestion:.2g} ({len(rates)} steps, {rates[0]:.2g} to {rates[-1]:.2g})")
        given = {"--data": None if data is Data.auto else data.value, "--images": images, "--recipe": recipe}
        given |= {"--batch-size": batch_size, "--momentum": momentum, "--optimizer": optimizer, "--seed": seed}
        options = [(name, value) for name, value in given.items() if value is not None]
        options += [*(("--augment", text) for text in augment or ()), ("--lr", f"{found.suggestion:.2g}")]
        print("try: mnistcnn train", model, *(f"{name} {shlex.quote(str(value))}" for name, value in options))
    if plot is not None:
        save_figure(mnistcnn.plot.lr_finder(found), plot)

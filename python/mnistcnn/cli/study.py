"""``mnistcnn trials``, ``sweep`` and ``experiments``: many runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli import interruption
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
)
from mnistcnn.cli.output import print_json, save_picture, say
from mnistcnn.cli.recipes import (
    BatchOption,
    EpochsOption,
    LrOption,
    MomentumOption,
    RecipeOption,
    ValidationOption,
    checked_part,
    chosen_recipe,
    validation_part,
)

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe

LogOption = Annotated[Path, typer.Option(help="The experiment log.")]
_LOG = Path("experiments.jsonl")


def trials(
    model: ModelArgument = "session7_net",
    recipe: RecipeOption = "published",
    seeds: Annotated[int, typer.Option(min=1, help="How many runs, with the seeds 0, 1, ...")] = 10,
    data: DataOption = Data.auto,
    validation: ValidationOption = None,
    images: ImagesOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    lr: LrOption = None,
    momentum: MomentumOption = None,
    target: Annotated[float | None, typer.Option(min=0, max=100, help="Count the runs that reach so many %.")] = None,
    engine: EngineOption = "auto",
    log: LogOption = _LOG,
    plot: Annotated[Path | None, typer.Option(help="Also draw the runs into this file (PNG, SVG, PDF).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network with several seeds side by side. Tells mean, deviation and interval of the test accuracy.

    Every run is added to the experiment log. Ctrl-C keeps the runs that are complete.
    """
    import mnistcnn

    check_network(model)
    check_target(plot, option="--plot", endings=PICTURES)
    check_engine(engine)
    made = chosen_recipe(model, recipe, epochs=epochs, batch_size=batch_size, lr=lr, momentum=momentum)
    train_set, test_set = load(data, images)
    say(f"{model}: {seeds} x {made.epochs} epochs on {len(train_set):,} images of {train_set.name}")
    before = _size(log)
    found = mnistcnn.run_trials(
        model,
        train_set,
        test_set,
        made,
        seeds,
        log=log,
        validation=validation_part(made, validation),
        engine=engine,
        target=None if target is None else target / 100,
    )
    if plot is not None and found.accuracies:
        save_picture(mnistcnn.plot.trials(found, target=None if target is None else target / 100), plot)
    if as_json:
        print_json(json.loads(found.to_json()))
    else:
        print(found)
        if _size(log) > before:  # else a warning has told why not
            say(f"kept in {log}; see: mnistcnn experiments{'' if log == _LOG else f' {log}'}")
    if found.unfinished:
        raise typer.Exit(interruption.status())


def sweep(
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            help="A recipe's field and its choices: batch_size=32,64,128 or optimizer.lr=0.001..0.1 or "
            "optimizer.lr=0.001..0.1:log. May be repeated.",
        ),
    ],
    model: ModelArgument = "session7_net",
    recipe: RecipeOption = None,
    tries: Annotated[int, typer.Option("--trials", min=1, help="How many recipes to try in all.")] = 20,
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    epochs: EpochsOption = None,
    validation: Annotated[
        float, typer.Option(callback=checked_part, help="The part of the training set to judge by.")
    ] = 0.1,
    storage: Annotated[Path | None, typer.Option(help="Keep the search in this file, and go on with it.")] = None,
    seed: SeedOption = 0,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    save: Annotated[Path | None, typer.Option(help="Write the best recipe into this JSON file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search for the best recipe on a part of the training set. The test set takes no part.

    The best recipe, saved with --save, is one for `mnistcnn train --recipe FILE`. Ctrl-C keeps what is finished.
    """
    import mnistcnn

    check_network(model)
    check_target(save)
    check_target(storage)
    check_engine(engine)
    space = dict(_choices(each) for each in vary)
    made = chosen_recipe(model, recipe, epochs=epochs)
    train_set, _ = load(data, images)
    found = mnistcnn.sweep(
        model,
        train_set,
        space,
        recipe=made,
        trials=tries,
        validation=validation,
        storage=None if storage is None else f"sqlite:///{storage.absolute()}",
        seed=seed,
        engine=engine,
        threads=threads,
    )
    if save is not None:
        _save_recipe(found.best_recipe, save)
    if as_json:
        print_json(json.loads(found.to_json()))
    else:
        print(found)
    if found.unfinished:
        raise typer.Exit(interruption.status())


def experiments(
    log: Annotated[Path, typer.Argument(help="The experiment log.")] = _LOG,
    as_json: JsonOption = False,
) -> None:
    """Show every experiment of a log. One line each: network, parameters, epochs, seeds, mean and deviation."""
    import mnistcnn

    found = mnistcnn.experiments(log)
    if as_json:
        print_json(found.to_dicts())
    else:
        print(found)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _choices(text: str) -> tuple[str, Any]:
    """A field and what it may be, as `mnistcnn.sweep` takes it."""
    name, equals, choices = text.partition("=")
    if not (name and equals and choices):
        raise typer.BadParameter(f"{text!r} is not of the form FIELD=CHOICES, such as batch_size=32,64,128")
    low, dots, rest = choices.partition("..")
    if not dots:
        return name, [_value(each) for each in choices.split(",")]
    high, _, kind = rest.partition(":")
    ends = _value(low), _value(high)
    if not all(isinstance(end, int | float) for end in ends) or kind not in ("", "log"):
        raise typer.BadParameter(f"{text!r} is no range; write FIELD=LOW..HIGH or FIELD=LOW..HIGH:log")
    return name, (*ends, "log") if kind else ends


def _value(text: str) -> Any:
    """A number, true, false or null as in JSON, else a word."""
    try:
        return json.loads(text.strip().lower() if text.strip() in ("True", "False") else text)
    except ValueError:
        return text.strip()


def _save_recipe(recipe: Recipe, path: Path) -> None:
    recipe.to_json(path)
    say(f"best recipe written to {path}")

"""Commands ``mnistcnn trials``, ``mnistcnn sweep`` and ``mnistcnn experiments``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli import interruption
from mnistcnn.cli.options import (
    FIGURE_SUFFIXES,
    Data,
    DataOption,
    EngineOption,
    ImagesOption,
    JsonOption,
    ModelArgument,
    ThreadsOption,
    check_distinct,
    check_engine,
    check_network,
    check_percentage,
    check_writable,
    load,
)
from mnistcnn.cli.output import print_json, print_message, print_result, save_figure
from mnistcnn.cli.recipes import (
    NO_CHANGES,
    RecipeChanges,
    RecipeOption,
    ValidationOption,
    check_fraction,
    recipe_from_options,
    validation_fraction,
    with_recipe_options,
)

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe

_LOG = Path("experiments.jsonl")
_SPACE = re.compile(r"^space\['[^']*'\]: ")  # names the argument of `mnistcnn.sweep`


@with_recipe_options
def trials(
    model: ModelArgument = "session7_net",
    recipe: RecipeOption = "published",
    seeds: Annotated[int, typer.Option(min=1, help="Number of trials, with the seeds 0, 1, ...")] = 10,
    data: DataOption = Data.auto,
    validation: ValidationOption = None,
    images: ImagesOption = None,
    changes: RecipeChanges = NO_CHANGES,
    target: Annotated[
        float | None,
        typer.Option(min=0, max=100, callback=check_percentage, help="Accuracy in %; count the trials that reach it."),
    ] = None,
    engine: EngineOption = "auto",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Run the K-th of N shards of the seeds, to divide a study between machines, for example 3/10.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            help=f"Experiment log, to which the trials are appended. Default: {_LOG}, or with --shard "
            "runs/MODEL-shard-K-of-N.jsonl."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a plot of the accuracies to this file (PNG, SVG, PDF).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network with several seeds in parallel. Prints the mean and spread of the test accuracy.

    Each trial is added to the experiment log. Ctrl-C keeps the complete trials. `mnistcnn experiments 'runs/*.jsonl'`
    merges the logs of shards.
    """
    import mnistcnn
    from mnistcnn.study.log import check_log

    check_network(model)
    part = None if shard is None else _parse_shard(shard)
    count = seeds if part is None else _seed_count(part, seeds)
    check_writable(plot, option="--plot", endings=FIGURE_SUFFIXES)
    check_engine(engine)
    run_recipe = recipe_from_options(model, recipe, changes)
    log = _default_log(model, part) if log is None else log
    check_writable(log, option="--log", replaced=False)
    check_log(log)
    check_distinct({"--log": log, "--plot": plot})
    train_set, test_set = load(data, images)
    print_message(f"{model}: {count} x {run_recipe.epochs} epochs on {len(train_set):,} images of {train_set.name}")
    before = _file_size(log)
    found = mnistcnn.run_trials(
        model,
        train_set,
        test_set,
        run_recipe,
        seeds,
        shard=part,
        log=log,
        validation=validation_fraction(run_recipe, validation),
        engine=engine,
        target=None if target is None else target / 100,
    )
    print_result(found, as_json=as_json)
    if plot is not None and found.accuracies:
        save_figure(mnistcnn.plot.trials(found, target=None if target is None else target / 100), plot)
    if _file_size(log) > before:  # otherwise a warning gave the reason
        print_message(f"trials added to {log}; to list them: mnistcnn experiments{'' if log == _LOG else f' {log}'}")
    if found.unfinished:
        raise typer.Exit(interruption.exit_code())


@with_recipe_options
def sweep(
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            help="Field of the recipe and its values: batch_size=32,64,128 or optimizer.lr=0.001..0.1 or "
            "optimizer.lr=0.001..0.1:log. Can be repeated.",
        ),
    ],
    model: ModelArgument = "session7_net",
    recipe: RecipeOption = "published",
    tries: Annotated[int, typer.Option("--trials", min=1, help="Number of recipes to try.")] = 20,
    data: DataOption = Data.auto,
    images: ImagesOption = None,
    changes: RecipeChanges = NO_CHANGES,
    validation: Annotated[
        float,
        typer.Option(callback=check_fraction, help="Fraction of the training set to hold out as a validation set."),
    ] = 0.1,
    storage: Annotated[
        Path | None, typer.Option(help="SQLite file in which the search is stored and from which it is resumed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search and of every trial.")] = 0,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    save: Annotated[Path | None, typer.Option(help="Write the best recipe to this JSON file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search for the best recipe. Recipes are compared on a validation set; the test set is not used.

    Pass the file written by --save to `mnistcnn train --recipe FILE`. Ctrl-C keeps the complete trials.
    """
    import mnistcnn

    check_network(model)
    check_writable(save, option="--save")
    check_writable(storage, option="--storage")
    check_distinct({"--storage": storage, "--save": save})
    check_engine(engine)
    run_recipe = recipe_from_options(model, recipe, changes)
    space = _search_space(vary, run_recipe)
    train_set, _ = load(data, images)
    found = mnistcnn.sweep(
        model,
        train_set,
        space,
        recipe=run_recipe,
        trials=tries,
        validation=validation,
        storage=None if storage is None else f"sqlite:///{storage.absolute()}",
        seed=seed,
        engine=engine,
        threads=threads,
    )
    print_result(found, as_json=as_json)
    if save is not None:
        _save_recipe(found.best_recipe, save)
    if found.unfinished:
        raise typer.Exit(interruption.exit_code())


def experiments(
    logs: Annotated[
        list[Path] | None, typer.Argument(help=f"Experiment logs, or patterns such as 'runs/*.jsonl'. Default: {_LOG}.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the experiments of one or more logs. Each line shows network, size, epochs, seeds and accuracy.

    Logs of shards are merged. Seeds that are missing are listed below the table; a seed in two logs is an error.
    """
    import mnistcnn

    if not logs and not _LOG.exists():
        raise FileNotFoundError(f"experiment log {_LOG} does not exist; `mnistcnn trials` writes one")
    found = mnistcnn.experiments(logs or _LOG)
    if as_json:
        print_json(found.to_dicts())
    else:
        print(found)


def _parse_shard(text: str) -> tuple[int, int]:
    """Parse the value of --shard. Raise typer.BadParameter unless it is K/N with K from 1 to N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= count:
        raise typer.BadParameter(
            f"it must be K/N with K from 1 to N, such as 3/10, got {text!r}", param_hint="'--shard'"
        )
    return part, count


def _seed_count(shard: tuple[int, int], seeds: int) -> int:
    """Return the number of seeds of a shard. Raise typer.BadParameter if it has none."""
    from mnistcnn.study.runner import seeds_of_shard

    try:
        return len(seeds_of_shard(list(range(seeds)), shard))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--shard'") from None


def _default_log(model: str, shard: tuple[int, int] | None) -> Path:
    """Return the default log. Create the directory of the logs of shards."""
    if shard is None:
        return _LOG
    folder = Path("runs")
    folder.mkdir(exist_ok=True)
    return folder / f"{model}-shard-{shard[0]}-of-{shard[1]}.jsonl"


def _file_size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _search_space(vary: list[str], recipe: Recipe) -> dict[str, Any]:
    """Return the search space of --vary. Raise typer.BadParameter unless the recipe accepts each value."""
    from mnistcnn.study.space import checked_space

    space = {}
    for text in vary:
        try:
            name, values = _parse_range(text)
            checked_space({name: values}, recipe)
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(f"{text}: {_SPACE.sub('', str(error))}", param_hint="'--vary'") from None
        space[name] = values
    return space


def _parse_range(text: str) -> tuple[str, Any]:
    """Parse a value of --vary into a field and its values, as `mnistcnn.sweep` expects them."""
    name, equals, choices = text.partition("=")
    if not (name and equals and choices):
        raise ValueError("it must have the form FIELD=VALUES, for example batch_size=32,64,128")
    low, dots, rest = choices.partition("..")
    if not dots:
        return name, [_parse_value(each) for each in choices.split(",")]
    high, _, kind = rest.partition(":")
    ends = _parse_value(low), _parse_value(high)
    numbers = all(isinstance(end, int | float) for end in ends) and kind in ("", "log")
    if not numbers or not ends[0] < ends[1] or (kind and ends[0] <= 0):
        raise ValueError("a range must be FIELD=LOW..HIGH with LOW < HIGH, or FIELD=LOW..HIGH:log with 0 < LOW < HIGH")
    return name, (*ends, "log") if kind else ends


def _parse_value(text: str) -> Any:
    """Parse a number, true, false or null as JSON; return any other text unchanged."""
    try:
        return json.loads(text.strip().lower() if text.strip() in ("True", "False") else text)
    except ValueError:
        return text.strip()


def _save_recipe(recipe: Recipe, path: Path) -> None:
    recipe.to_json(path)
    print_message(f"best recipe written to {path}")

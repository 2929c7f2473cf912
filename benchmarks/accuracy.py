"""Train the published networks with their recipes over many seeds; log every trial and print a table in Markdown.

    python benchmarks/accuracy.py --continue --budget 40m         # add the missing seeds for 40 minutes
    python benchmarks/accuracy.py --seconds                       # measure the time of each recipe, on an idle machine
    python benchmarks/accuracy.py --table                         # print the table of the stored log, train nothing
    python benchmarks/accuracy.py --log try.jsonl.gz --recipes budget_model3 --seeds 2 --epochs 1
    python benchmarks/accuracy.py --continue --recipes record_single --models trained   # save the models, too

Each trial evaluates on the test set once, after its last epoch. For the records, the log has the test accuracy after
each epoch too, because the course asks for the last three; nothing is selected by it. Trials run in parallel, one per
core. Recipes with the fewest trials are trained first. The log is compressed; ``mnistcnn.experiments`` reads it.
``python docs/tables.py`` and ``python docs/accuracy_figure.py`` make the tables and figures of the documentation from
it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from trial_log import fill, seconds_from

import mnistcnn
from mnistcnn._internal.tables import markdown_table
from mnistcnn.study.trials import spread
from mnistcnn.training.published_recipes import variants

LOG = Path(__file__).parent / "results" / "accuracy.jsonl.gz"
SECONDS = Path(__file__).parent / "results" / "seconds.json"
TIMED_IMAGES = 6_000  # images of the epochs that are timed; the time is extrapolated to the whole training set
RECIPES = [f"{name}/{variant}" if variant else name for name in mnistcnn.list_models() for variant in variants(name)]
SEEDS = {"era5_net": 5, "assignment7_model1": 2}  # these take hours; the others are trained with 10 seeds
FIRST_SEED = {"compact_net": 100}  # seeds that were not used to choose its widths; the others start at 0
RECORDS = [name for name in RECIPES if name.startswith("record")]  # tested after each epoch too, which selects nothing
HEAD = ["recipe", "parameters", "epochs", "training accuracy", "test accuracy, mean ± sd"]
HEAD += ["minimum", "seeds", "author reports", "seconds"]


def published(name: str) -> tuple[str, mnistcnn.Recipe]:
    """Return the network and the recipe of a row; ``name`` may include a variant: ``session7_net/rotation``."""
    model, _, variant = name.partition("/")
    return model, mnistcnn.recipe(model, variant or None)


def validation_of(recipe: mnistcnn.Recipe) -> float | None:
    """Return the fraction of the training set that a schedule monitors; None if none does."""
    return 0.1 if recipe.schedule is not None and recipe.schedule.monitors_validation else None


def logged(log: Path = LOG) -> dict[str, mnistcnn.Trials]:
    """Return the trials of the log by row; rows without trials are missing. The number of epochs is not compared."""
    found: dict[str, mnistcnn.Trials] = {}
    for trials in mnistcnn.experiments(log) if log.exists() else ():
        for name in RECIPES:
            model, recipe = published(name)
            if trials.setting.model == model and _settings(trials.recipe) == _settings(recipe):
                found[name] = trials
    return found


def _settings(recipe: mnistcnn.Recipe) -> dict[str, object]:
    return recipe.replace(seed=0, epochs=1, about=None).to_dict()


def logged_seconds(trials: mnistcnn.Trials) -> float:
    """Return the shortest training time of the trials, which other processes may have prolonged."""
    return min(history.seconds for history in trials.histories)


def measure_seconds(names: Sequence[str], data: str) -> None:
    """Train two epochs of each recipe on all cores, and store the seconds that a complete run would take."""
    train_set, _ = mnistcnn.load(data)
    found = json.loads(SECONDS.read_text("utf-8")) if SECONDS.exists() else {}
    for name in names:
        model, recipe = published(name)
        part = train_set[:TIMED_IMAGES]
        history = mnistcnn.train(
            mnistcnn.create_model(model), part, recipe, epochs=2, validation=validation_of(recipe), progress=False
        )
        epoch = min(record.seconds for record in history.epochs) * len(train_set) / len(part)
        found[name] = round(recipe.epochs * epoch, 1)
        print(f"{name}: {found[name]} s", flush=True)
    SECONDS.write_text(json.dumps({name: found[name] for name in RECIPES if name in found}, indent=1) + "\n", "utf-8")


def stored_seconds() -> dict[str, float]:
    """Return the seconds of a run by row, as `measure_seconds` stored them."""
    return json.loads(SECONDS.read_text("utf-8")) if SECONDS.exists() else {}


def row(name: str, trials: mnistcnn.Trials, seconds: float | None) -> list[str]:
    """Return the cells of a row of the table."""
    reported = published(name)[1].about
    author = f"{reported.accuracy:.2f} %" if reported and reported.accuracy else "-"
    return [
        name,
        f"{trials.setting.parameters:,}",
        str(trials.recipe.epochs),
        f"{100 * trials.train_accuracy:.2f} %",
        spread(trials.mean, trials.sd),
        f"{100 * trials.minimum:.2f} %",
        str(len(trials.accuracies)),
        author,
        "-" if seconds is None else f"{seconds:.0f}",
    ]


def table(found: dict[str, mnistcnn.Trials]) -> str:
    """Return the table of all rows that have trials."""
    seconds = stored_seconds()
    return markdown_table(HEAD, [row(name, found[name], seconds.get(name)) for name in RECIPES if name in found])


def missing(name: str, found: dict[str, mnistcnn.Trials], seeds: int | None) -> list[int]:
    """Return the seeds of a row that have no trial yet."""
    first = FIRST_SEED.get(name, 0)
    done = {trial.seed for trial in found[name]} if name in found else set()
    return [seed for seed in range(first, first + (seeds or SEEDS.get(name, 10))) if seed not in done]


def choose(
    names: Sequence[str], found: dict[str, mnistcnn.Trials], seeds: int | None, seconds_left: float
) -> tuple[str, list[int]] | None:
    """Return the row with the fewest trials whose next trials fit into the time left, and the seeds to train."""
    together = len(os.sched_getaffinity(0))
    fitting = [
        name
        for name in names
        if missing(name, found, seeds) and (name not in found or logged_seconds(found[name]) < seconds_left)
    ]
    if not fitting:
        return None
    name = min(fitting, key=lambda name: len(found[name]) if name in found else 0)
    return name, missing(name, found, seeds)[:together]


def model_file(folder: Path, name: str, seed: int) -> Path:
    """Return the file of a trained model in the folder of ``--models``."""
    return folder / f"{name.replace('/', '-')}-{seed}.safetensors"


def measure(options: argparse.Namespace) -> None:
    """Train the missing trials until none is left or the budget is spent."""
    if options.models is not None:
        options.models.mkdir(parents=True, exist_ok=True)
    train_set, test_set = (images[: options.images] for images in mnistcnn.load(options.data))

    def next_trials(log: Path, seconds_left: float) -> mnistcnn.Trials | None:
        chosen = choose(options.recipes, logged(log), options.seeds, seconds_left)
        if chosen is None:
            return None
        name, seeds = chosen
        model, recipe = published(name)
        recipe = recipe if options.epochs is None else recipe.replace(epochs=options.epochs)
        validation = test_set if name in RECORDS else validation_of(recipe)
        trials = mnistcnn.run_trials(
            model,
            train_set,
            test_set,
            recipe,
            seeds,
            validation=validation,
            keep_models=options.models is not None,
            log=log,
            progress=False,
        )
        for trial in trials.complete if options.models is not None else ():
            trial.model.save(model_file(options.models, name, trial.seed))
        return trials

    fill(options.log, options.budget, next_trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES, metavar="NETWORK[/VARIANT]")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: 10, fewer for the two largest networks")
    parser.add_argument("--budget", type=seconds_from, default=math.inf, help="start no trial that ends later: 40m")
    parser.add_argument("--continue", dest="resume", action="store_true", help="add trials to the log if it exists")
    parser.add_argument("--seconds", action="store_true", help="measure the time of each recipe instead")
    parser.add_argument("--table", action="store_true", help="print the table of the log and train nothing")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number, for a quick try")
    parser.add_argument("--images", type=int, help="train and test on this many images only, for a quick try")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="save the trained models in this folder")
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--log", type=Path, default=LOG, help="a .jsonl or .jsonl.gz file; default: %(default)s")
    options = parser.parse_args()
    if options.log == LOG and (options.images or options.epochs or options.data != "mnist"):
        parser.error("quick tries need a log of their own: pass --log FILE")
    if options.seconds:
        measure_seconds(options.recipes, options.data)
    elif not options.table:
        if options.log.exists() and not options.resume:
            parser.error(f"{options.log} exists; pass --continue to add trials, or --log FILE for another log")
        measure(options)
    print(table(logged(options.log)))


if __name__ == "__main__":
    main()

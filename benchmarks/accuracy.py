"""Measure the test accuracy of published recipes on MNIST over several seeds; print a table in Markdown.

    python benchmarks/accuracy.py              # session7_net, its variants and compact_net, 10 seeds each
    python benchmarks/accuracy.py --recipes budget_model3 era5_net --seeds 5

Each trial evaluates on the test set once, after its last epoch. Trials run in parallel, one per core. Each trial is
appended to the experiment log.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import mnistcnn

DEFAULT = ("session7_net", "session7_net/rotation", "session7_net/rotation_step", "compact_net")
FIRST_SEED = {"compact_net": 100}  # seeds that were not used to choose its widths; others start at 0
HEAD = """| recipe | parameters | epochs | mean ± sd | minimum | seeds | author reports |
|---|---|---|---|---|---|---|"""


def row(name: str, trials: mnistcnn.Trials, recipe: mnistcnn.Recipe) -> str:
    """Return a row of the table; ``name`` may include a variant: ``session7_net/rotation``."""
    parameters = mnistcnn.create_model(name.partition("/")[0]).parameter_count
    reported = recipe.about.accuracy if recipe.about else None
    author = "-" if reported is None else f"{reported:.2f} %"
    mean = f"{100 * trials.mean:.2f} ± {100 * trials.sd:.2f} %"
    minimum = f"{100 * trials.minimum:.2f} %"
    return f"| {name} | {parameters:,} | {recipe.epochs} | {mean} | {minimum} | {len(trials.accuracies)} | {author} |"


def table(
    names: Iterable[str],
    sets: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet],
    seeds: int,
    log: str | None,
    epochs: int | None = None,
) -> Iterable[str]:
    """Yield the lines of the table; each row when its trials have finished."""
    yield HEAD
    for name in names:
        model, _, variant = name.partition("/")
        recipe = mnistcnn.recipe(model, variant or None)
        recipe = recipe if epochs is None else recipe.replace(epochs=epochs)
        first = FIRST_SEED.get(name, 0)
        trials = mnistcnn.run_trials(model, *sets, recipe, range(first, first + seeds), log=log, progress=False)
        yield row(name, trials, recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=DEFAULT, metavar="NETWORK[/VARIANT]")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number, for a quick try")
    parser.add_argument("--images", type=int, help="train and test on this many images only, for a quick try")
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--log", default="experiments.jsonl")
    options = parser.parse_args()
    train_set, test_set = mnistcnn.load(options.data)
    sets = (train_set[: options.images], test_set[: options.images])
    for line in table(options.recipes, sets, options.seeds, options.log, options.epochs):
        print(line, flush=True)


if __name__ == "__main__":
    main()

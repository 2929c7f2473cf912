"""Test accuracy of published recipes on the real MNIST, over seeds, as a table in Markdown.

    python benchmarks/accuracy.py                                       # session7_net and its variants, 10 seeds
    python benchmarks/accuracy.py --recipes budget_model3 era5_net --seeds 5

The test set is looked at once per run, after the last epoch. The seeds are trained side by side, one per core; every
run is appended to the log.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import mnistcnn

DEFAULT = ("session7_net", "session7_net/rotation", "session7_net/rotation_step")
HEAD = """| recipe | parameters | epochs | mean ± sd | least | seeds | author reports |
|---|---|---|---|---|---|---|"""


def row(name: str, trials: mnistcnn.Trials, recipe: mnistcnn.Recipe) -> str:
    """One line of the table; ``name`` may end in a variant: ``session7_net/rotation``."""
    parameters = mnistcnn.create_model(name.partition("/")[0]).parameter_count
    reported = recipe.about.accuracy if recipe.about else None
    said = "-" if reported is None else f"{reported:.2f} %"
    mean = f"{100 * trials.mean:.2f} ± {100 * trials.sd:.2f} %"
    least = f"{100 * trials.minimum:.2f} %"
    return f"| {name} | {parameters:,} | {recipe.epochs} | {mean} | {least} | {len(trials.accuracies)} | {said} |"


def table(names: Iterable[str], sets: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet], seeds: int, log: str | None,
          epochs: int | None = None) -> Iterable[str]:  # fmt: skip
    """The lines, as they become known."""
    yield HEAD
    for name in names:
        model, _, variant = name.partition("/")
        recipe = mnistcnn.recipe(model, variant or None)
        recipe = recipe if epochs is None else recipe.replace(epochs=epochs)
        yield row(name, mnistcnn.run_trials(model, *sets, recipe, seeds, log=log, progress=False), recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=DEFAULT, metavar="NETWORK[/VARIANT]")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="other than the recipe's, to try it out")
    parser.add_argument("--images", type=int, help="train and test on so many only, to try it out")
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--log", default="experiments.jsonl")
    options = parser.parse_args()
    train_set, test_set = mnistcnn.load(options.data)
    sets = (train_set[: options.images], test_set[: options.images])
    for line in table(options.recipes, sets, options.seeds, options.log, options.epochs):
        print(line, flush=True)


if __name__ == "__main__":
    main()

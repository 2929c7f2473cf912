"""Train a published network and recipe on MNIST with ten seeds; print mean and standard deviation of the test accuracy.

    python benchmarks/ten_seeds.py
    python benchmarks/ten_seeds.py --model session7_net --variant rotation --seeds 3

Trials run in parallel, one per core. Each finished trial is appended to the experiment log, so that it is kept after an
interruption. The output includes the accuracy that the network's author reports.
"""

from __future__ import annotations

import argparse
import time

import mnistcnn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="session7_net", choices=mnistcnn.list_models())
    parser.add_argument("--variant", help="of the published recipe, or plain; default for session7_net: rotation_step")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number, for a quick try")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--target", type=float, default=0.994)
    parser.add_argument("--log", default="experiments.jsonl")
    options = parser.parse_args()
    variant = options.variant or ("rotation_step" if options.model == "session7_net" else None)
    recipe = mnistcnn.recipe(options.model, None if variant == "plain" else variant)
    recipe = recipe if options.epochs is None else recipe.replace(epochs=options.epochs)
    train_set, test_set = mnistcnn.load("mnist")
    begin = time.perf_counter()
    trials = mnistcnn.run_trials(
        options.model, train_set, test_set, recipe, options.seeds, target=options.target, log=options.log
    )
    print(recipe)
    print(trials)
    print(f"{len(trials)} trials in {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()

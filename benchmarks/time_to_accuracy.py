"""Measure the seconds until the mean test accuracy over seeds is 99.0 % and 99.4 %.

    python benchmarks/time_to_accuracy.py [--seeds 20] [--threads 2]

The networks ``fast_99`` and ``fast_99_4`` and their recipes were chosen on a validation part of the training set, with
other seeds. MNIST is in memory. The time includes the creation of the model, the training on all 60,000 images and one
test after the last step; one run before the first one is not timed. All runs count. p is the one-sided p-value of a
t-test: the probability of such a mean or a higher one if the true mean were the target.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

from timing import Watch, foreign_load_text, heading, markdown

import mnistcnn
from mnistcnn.study.student_t import two_sided_p

TARGETS = {"fast_99": 0.990, "fast_99_4": 0.994}


def run(name: str, train_set: mnistcnn.ImageSet, test_set: mnistcnn.ImageSet, seed: int, threads: int) -> list[float]:
    """Train with one seed; return the seconds and the test accuracy."""
    begin = time.perf_counter()
    model = mnistcnn.create_model(name, seed=seed)
    recipe = mnistcnn.recipe(name).replace(seed=seed)
    mnistcnn.train(model, train_set, recipe, threads=threads, progress=False)
    accuracy = mnistcnn.test(model, test_set, threads=threads).accuracy
    return [time.perf_counter() - begin, accuracy]


def p_value(accuracies: list[float], target: float) -> float:
    """Return the one-sided p-value of the mean against the target."""
    error = statistics.stdev(accuracies) / math.sqrt(len(accuracies))
    if error == 0:
        return 0.0 if accuracies[0] > target else 1.0
    t = (statistics.fmean(accuracies) - target) / error
    both = two_sided_p(t, len(accuracies) - 1)
    return both / 2 if t > 0 else 1 - both / 2


def main() -> None:
    """Print a table of all runs and one of the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds, from 0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"), help="digits: for a quick try")
    parser.add_argument("--images", type=int, help="train on this many images only, for a quick try")
    arguments = parser.parse_args()
    train_set, test_set = (images[: arguments.images] for images in mnistcnn.load(arguments.data))
    heading(f"Time to accuracy: {arguments.data}, {arguments.threads} threads")
    rows = []
    for name in arguments.networks:
        run(name, train_set[:2000], test_set[:2000], 0, arguments.threads)  # warm-up
        watch = Watch()
        runs = [run(name, train_set, test_set, seed, arguments.threads) for seed in range(arguments.seeds)]
        load = watch.foreign_load()
        print(f"\n## {name}\n")
        cells = [[str(seed), f"{each[0]:.2f}", f"{100 * each[1]:.2f} %"] for seed, each in enumerate(runs)]
        print(markdown(["seed", "seconds", "accuracy"], cells))
        print(f"\n{foreign_load_text(load)}")
        seconds, accuracies = [each[0] for each in runs], [each[1] for each in runs]
        mean, sd = statistics.fmean(accuracies), statistics.stdev(accuracies)
        rows.append(
            [
                name,
                f"{mnistcnn.create_model(name).parameter_count:,}",
                str(mnistcnn.recipe(name).epochs),
                f"{statistics.fmean(seconds):.2f}",
                f"{100 * mean:.3f} ± {100 * sd:.3f} %",
                f"{100 * TARGETS[name]:.1f} %",
                f"{p_value(accuracies, TARGETS[name]):.1e}",
                str(len(runs)),
            ]
        )
    print("\n## Means\n")
    head = ["network", "parameters", "epochs", "seconds, mean", "accuracy, mean ± sd", "target", "p", "seeds"]
    print(markdown(head, rows))


if __name__ == "__main__":
    main()

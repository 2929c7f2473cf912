"""Test ensembles of trained models of one network, and write their accuracies.

    python benchmarks/accuracy.py --continue --recipes record_single --models trained
    python benchmarks/ensemble.py trained --network record_single --size 3

The models of consecutive seeds form an ensemble: seeds 0 to 2, 3 to 5, and so on. All ensembles are tested once, and
nothing is selected. Seeds that do not fill an ensemble are left out. ``python docs/tables.py`` adds the result to the
page of the records.
"""

from __future__ import annotations

import argparse
import json
from itertools import count, takewhile
from pathlib import Path
from statistics import mean

from accuracy import FIRST_SEED, RECIPES, model_file

import mnistcnn

RESULT = Path(__file__).parent / "results" / "ensemble.json"


def groups(folder: Path, network: str, size: int) -> list[list[int]]:
    """Return the seeds of the models in the folder, up to the first missing one, in groups of ``size``."""
    first = FIRST_SEED.get(network, 0)
    seeds = list(takewhile(lambda seed: model_file(folder, network, seed).exists(), count(first)))
    return [seeds[begin : begin + size] for begin in range(0, len(seeds) - size + 1, size)]


def accuracies(folder: Path, network: str, seeds: list[list[int]], test_set: mnistcnn.ImageSet) -> list[float]:
    """Return the test accuracy of each ensemble."""
    return [
        mnistcnn.Ensemble([mnistcnn.load_model(model_file(folder, network, seed)) for seed in group])
        .test(test_set)
        .accuracy
        for group in seeds
    ]


def main() -> None:
    """Test the ensembles and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of accuracy.py's option --models")
    parser.add_argument("--network", default="record_single", choices=RECIPES, metavar="NETWORK")
    parser.add_argument("--size", type=int, default=3, help="models per ensemble; default: %(default)s")
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--output", type=Path, default=RESULT, help="default: %(default)s")
    options = parser.parse_args()
    seeds = groups(options.folder, options.network, options.size)
    if not seeds:
        first = model_file(options.folder, options.network, FIRST_SEED.get(options.network, 0))
        parser.error(f"there are fewer than {options.size} models; the first one is expected in {first}")
    found = accuracies(options.folder, options.network, seeds, mnistcnn.load(options.data)[1])
    result = {"network": options.network, "size": options.size, "seeds": seeds, "accuracies": found}
    options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"{len(found)} ensembles of {options.size}: mean {100 * mean(found):.2f} %, each {found}")


if __name__ == "__main__":
    main()

"""Search networks and recipes for the records, on a validation part of the training set.

    python benchmarks/records.py --budget 40m               # continue the search for 40 minutes
    python benchmarks/records.py --groups 8k --budget 40m   # of one record
    python benchmarks/records.py --table                    # print the table of the stored log, train nothing

The search never reads the test set. Every trial trains on 50,000 images of MNIST's training set and is evaluated on the
other 10,000, after its last epoch. All candidates are trained with two seeds; the best third of a group gets six, the
best three twelve. The seeds start at 1000. The chosen network and recipe become a published network, which
``accuracy.py`` trains on all 60,000 images, with seeds that the search did not use, and tests.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accuracy import seconds_from, store, working_copy

import mnistcnn
from mnistcnn.layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Residual, SiLU
from mnistcnn.optim import EMA, SGD, OneCycleLR
from mnistcnn.transforms import Affine

LOG = Path(__file__).parent / "results" / "records.jsonl.gz"
VALIDATION = 10_000  # images
FIRST_SEED = 1000
ROUNDS = ((2, 1.0), (6, 0.34), (12, 3))  # seeds, and the fraction or number of candidates that get them
GROUPS = {"small": 4_000, "8k": 8_000}  # largest number of parameters, exclusive
ACTIVATIONS = {"relu": ReLU, "silu": SiLU}
BASE = mnistcnn.Recipe(
    epochs=15,
    batch_size=32,
    optimizer=SGD(lr=0.01, momentum=0.9),
    schedule=OneCycleLR(0.05),
    augment=(Affine(7, translate=(0.08, 0.08), scale=(0.92, 1.08), interpolation="bilinear", p=0.5),),
    averaging=EMA(0.998),
)


@dataclass(frozen=True)
class Candidate:
    """A network of 3x3 convolutions with batch norm, and the changes of its recipe.

    ``widths`` lists the output channels of the convolutions, with "," where a 2x2 max pool follows: "8-8,12-12". A
    global average pool and a linear layer follow the last one. ``skips``: a convolution with as many inputs as outputs
    is added to its input.
    """

    name: str
    widths: str
    activation: str = "relu"
    skips: bool = False
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> mnistcnn.Recipe:
        """Return the recipe."""
        return BASE.replace(**self.changes)

    def model(self) -> mnistcnn.Model:
        """Return the network."""
        activation = ACTIVATIONS[self.activation]
        layers: list[Any] = []
        inputs = 1
        for stage, widths in enumerate(self.widths.split(",")):
            layers += [MaxPool2d(2)] if stage else []
            for outputs in map(int, widths.split("-")):
                block = [Conv2d(outputs, 3, padding=1, bias=False), BatchNorm2d(), activation()]
                layers += [Residual(block)] if self.skips and outputs == inputs else block
                inputs = outputs
        return mnistcnn.Model([*layers, AdaptiveAvgPool2d(1), Flatten(), Linear(10)], name=self.name)


def _rate(rate: float) -> dict[str, Any]:
    return {"schedule": OneCycleLR(rate)}


def _moved(degrees: float, shift: float, scale: float, p: float) -> dict[str, Any]:
    scales = (1 - scale, 1 + scale)
    return {"augment": (Affine(degrees, translate=(shift, shift), scale=scales, interpolation="bilinear", p=p),)}


def _decay(weight_decay: float) -> dict[str, Any]:
    return {"optimizer": SGD(lr=0.01, momentum=0.9, weight_decay=weight_decay, nesterov=True)}


COMPACT = "8-8-8,12-12-12,12-12"  # compact_net
CANDIDATES = {
    "8k": [
        Candidate("compact", COMPACT),
        Candidate("compact, rate 0.1", COMPACT, changes=_rate(0.1)),
        Candidate("compact, decay 5e-4, Nesterov", COMPACT, changes=_decay(5e-4)),
        Candidate("compact, decay 2e-4, rate 0.1", COMPACT, changes=_decay(2e-4) | _rate(0.1)),
        Candidate("compact, batch 64, rate 0.1", COMPACT, changes={"batch_size": 64} | _rate(0.1)),
        Candidate("compact, SiLU", COMPACT, "silu"),
        Candidate("compact, skips", COMPACT, skips=True),
        Candidate("compact, EMA 0.9995", COMPACT, changes={"averaging": EMA(0.9995)}),
        Candidate("compact, smoothing 0.05", COMPACT, changes={"label_smoothing": 0.05}),
        Candidate("compact, weaker augmentation", COMPACT, changes=_moved(5, 0.05, 0.05, 0.5)),
        Candidate("compact, stronger augmentation", COMPACT, changes=_moved(10, 0.1, 0.1, 0.7)),
        Candidate("wide at 28x28", "10-10-10-10,11-11-11,11"),
        Candidate("wide at 7x7", "6-6-6,10-10-10,16-16"),
        Candidate("deep", "7-7-7-7,10-10-10-10,10-10"),
        Candidate("deep, skips", "7-7-7-7,10-10-10-10,10-10", skips=True),
    ],
    "small": [
        Candidate("4-8-8", "4-4-4,8-8-8,8-8-8"),
        Candidate("4-8-8, skips", "4-4-4,8-8-8,8-8-8", skips=True),
        Candidate("4-8-8, SiLU", "4-4-4,8-8-8,8-8-8", "silu"),
        Candidate("4-8-8, rate 0.1", "4-4-4,8-8-8,8-8-8", changes=_rate(0.1)),
        Candidate("4-8-8, decay 1e-4, Nesterov", "4-4-4,8-8-8,8-8-8", changes=_decay(1e-4)),
        Candidate("4-8-8, weaker augmentation", "4-4-4,8-8-8,8-8-8", changes=_moved(5, 0.05, 0.05, 0.5)),
        Candidate("5-8", "5-5-5,8-8-8,8-8"),
        Candidate("6-8", "6-6-6,8-8,8-8"),
        Candidate("6-7", "6-6-6,7-7-7,7-7"),
        Candidate("5-6-10", "5-5-5,6-6-6,10-10"),
        Candidate("7 throughout", "7-7-7,7-7-7,7-7"),
        Candidate("6 throughout, deep", "6-6-6-6,6-6-6-6,6-6"),
    ],
}


def found(log: Path) -> dict[str, dict[str, mnistcnn.Trials]]:
    """Return the trials of the log by group and candidate."""
    logged = {}
    for trials in mnistcnn.experiments(log) if log.exists() else ():
        logged[trials.setting.model] = trials
    return {
        group: {each.name: logged[_title(group, each)] for each in candidates if _title(group, each) in logged}
        for group, candidates in CANDIDATES.items()
    }


def _title(group: str, candidate: Candidate) -> str:
    return f"{group}: {candidate.name}"


def wanted(group: str, done: dict[str, mnistcnn.Trials]) -> list[tuple[Candidate, list[int]]]:
    """Return the candidates whose seeds of the current round are missing, and those seeds."""
    ranked = CANDIDATES[group]
    for seeds, part in ROUNDS:
        count = math.ceil(part * len(CANDIDATES[group])) if part <= 1 else int(part)
        ranked = ranked[:count]
        needed = []
        for candidate in ranked:
            trained = {trial.seed for trial in done[candidate.name]} if candidate.name in done else set()
            missing = [seed for seed in range(FIRST_SEED, FIRST_SEED + seeds) if seed not in trained]
            if missing:
                needed.append((candidate, missing))
        if needed:
            return needed
        ranked = sorted(CANDIDATES[group], key=lambda each: done[each.name].mean, reverse=True)
    return []


def search(groups: Sequence[str], budget: float, log: Path) -> None:
    """Train the missing trials of the groups in turn until none is left or the budget is spent."""
    train_set, validation = mnistcnn.load("mnist")[0].split(VALIDATION, seed=0)
    deadline = time.monotonic() + budget
    together = len(os.sched_getaffinity(0))
    copy = working_copy(log)
    longest = 0.0
    while time.monotonic() + longest < deadline:
        state = found(copy)
        needed = [(group, *each) for group in groups for each in wanted(group, state[group])]
        if not needed:
            break
        group, candidate, seeds = needed[0]
        begin = time.monotonic()
        model = candidate.model()
        model.name = _title(group, candidate)
        if model.parameter_count >= GROUPS[group]:
            raise ValueError(f"{model.name} has {model.parameter_count:,} parameters; allowed: {GROUPS[group] - 1:,}")
        trials = mnistcnn.run_trials(
            model, train_set, validation, candidate.recipe, seeds[:together], log=copy, progress=False
        )
        longest = max(longest, time.monotonic() - begin)
        store(copy, log)
        if trials.unfinished:
            break
        print(f"{model.name}: {trials.headline()}", flush=True)
    if copy != log and copy.exists():
        copy.unlink()


def table(log: Path) -> str:
    """Return the table of all candidates, the best first in each group, and the cost of the search."""
    lines = [
        "| group | candidate | widths | parameters | seeds | validation accuracy, mean ± sd |",
        "|---|---|---|---|---|---|",
    ]
    runs, seconds = 0, 0.0
    for group, done in found(log).items():
        widths = {each.name: each.widths for each in CANDIDATES[group]}
        for name, trials in sorted(done.items(), key=lambda item: -item[1].mean):
            spread = "" if math.isnan(trials.sd) else f" ± {100 * trials.sd:.2f}"
            cells = [group, name, widths[name], f"{trials.setting.parameters:,}", str(len(trials))]
            lines.append(f"| {' | '.join([*cells, f'{100 * trials.mean:.2f}{spread} %'])} |")
            runs += len(trials)
            seconds += sum(history.seconds for history in trials.histories)
    return "\n".join([*lines, "", f"{runs} runs, {seconds / 3600:.1f} hours of one core"])


def main() -> None:
    """Search, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--budget", type=seconds_from, default=math.inf, help="start no trial that ends later: 40m")
    parser.add_argument("--table", action="store_true", help="print the table of the log and train nothing")
    parser.add_argument("--log", type=Path, default=LOG, help="a .jsonl or .jsonl.gz file; default: %(default)s")
    options = parser.parse_args()
    if not options.table:
        search(options.groups, options.budget, options.log)
    print(table(options.log))


if __name__ == "__main__":
    main()

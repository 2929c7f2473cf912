"""Search networks and recipes for the records, on a validation part of the training set.

    python benchmarks/records.py --budget 40m               # continue the search for 40 minutes
    python benchmarks/records.py --groups 8k --budget 40m   # of one record
    python benchmarks/records.py --table                    # print the table of the stored log, train nothing

The search never reads the test set. Every trial trains on 50,000 images of MNIST's training set and is evaluated on the
other 10,000, after its last epoch. All candidates are trained with two seeds, 1000 and 1001. The chosen networks and
recipes are the published networks ``record_small``, ``record_8k`` and ``record_single``, which ``accuracy.py`` trains
on all 60,000 images, with seeds that the search did not use, and tests.

The candidates of the group single have fewer than 100,000 parameters. ``record_single`` trains for about eight minutes
on two cores; the search trains its candidates for a little more than half of that.

The validation loss differs less between seeds than the accuracy, so candidates are ordered by it.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trial_log import fill, seconds_from

import mnistcnn
from mnistcnn._internal.tables import markdown_table
from mnistcnn.layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Residual, SiLU
from mnistcnn.losses import Distillation
from mnistcnn.optim import EMA, SGD, AdamW, Muon, OneCycleLR
from mnistcnn.transforms import Affine, ElasticDistortion

LOG = Path(__file__).parent / "results" / "records.jsonl.gz"
VALIDATION = 10_000  # images
SEEDS = (1000, 1001)
GROUPS = {"small": 4_000, "8k": 8_000, "single": 100_000}  # largest number of parameters, exclusive
ACTIVATIONS = {"relu": ReLU, "silu": SiLU}
BASE = mnistcnn.Recipe(
    epochs=15,
    batch_size=32,
    optimizer=SGD(lr=0.01, momentum=0.9),
    schedule=OneCycleLR(0.05),
    augment=(Affine(7, translate=(0.08, 0.08), scale=(0.92, 1.08), interpolation="bilinear", p=0.5),),
    averaging=EMA(0.998),
)
TEACHER = "12-12-12,24-24-24,32-32"  # widths of the teacher of the candidates with distillation; 32,462 parameters


@cache
def sets() -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    """Return the training part and the validation part of MNIST's training set."""
    return mnistcnn.load("mnist")[0].split(VALIDATION, seed=0)


@cache
def teacher() -> mnistcnn.Model:
    """Return a larger network, trained on the training part."""
    candidate = Candidate("teacher", TEACHER)
    model = candidate.model()
    mnistcnn.train(model, sets()[0], candidate.recipe, batch_size=64, seed=900)
    return model


@dataclass(frozen=True)
class Candidate:
    """A network of 3x3 convolutions with batch norm, and the changes of its recipe.

    Parameters
    ----------
    name
        Name in the log and in the table.
    widths
        Output channels of the convolutions, with "," where a 2x2 max pool follows: "8-8,12-12".
    activation
        Activation after each convolution.
    separable
        Whether each convolution but the first is depthwise-separable, and what is between its two convolutions:
        "norm" (batch norm), "none" or "activation" (batch norm and activation). "": full convolutions.
    skips
        Whether a convolution with as many inputs as outputs is added to its input.
    head
        Layers before the linear one: global average pooling ("pool"), a 2x2 max pool ("flatten"), or a depthwise
        convolution of the whole map ("depthwise").
    distilled
        Whether the loss includes the outputs of a teacher, with this weight.
    changes
        Fields of the recipe that differ from `BASE`.
    """

    name: str
    widths: str
    activation: str = "relu"
    separable: str = ""
    skips: bool = False
    head: str = "pool"
    distilled: float = 0.0
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> mnistcnn.Recipe:
        """Return the recipe."""
        loss = {"loss": Distillation(teacher(), weight=self.distilled)} if self.distilled else {}
        return BASE.replace(**self.changes, **loss)

    def model(self) -> mnistcnn.Model:
        """Return the network."""
        layers: list[Any] = []
        inputs = 1
        for stage, widths in enumerate(self.widths.split(",")):
            layers += [MaxPool2d(2)] if stage else []
            for outputs in map(int, widths.split("-")):
                block = self._block(inputs, outputs)
                layers += [Residual(block)] if self.skips and outputs == inputs else block
                inputs = outputs
        return mnistcnn.Model([*layers, *self._head(inputs), Flatten(), Linear(10)], name=self.name)

    def _block(self, inputs: int, outputs: int) -> list[Any]:
        last = [BatchNorm2d(), ACTIVATIONS[self.activation]()]
        if not self.separable or inputs == 1:
            return [Conv2d(outputs, 3, padding=1, bias=False), *last]
        between = {"norm": [BatchNorm2d()], "none": [], "activation": last}[self.separable]
        return [
            Conv2d(inputs, 3, padding=1, bias=False, groups=inputs),
            *between,
            Conv2d(outputs, 1, bias=False),
            *last,
        ]

    def _head(self, inputs: int) -> list[Any]:
        if self.head == "flatten":
            return [MaxPool2d(2)]
        if self.head == "depthwise":
            return [Conv2d(inputs, 7, groups=inputs, bias=False), BatchNorm2d(), ACTIVATIONS[self.activation]()]
        return [AdaptiveAvgPool2d(1)]


def _rate(rate: float) -> dict[str, Any]:
    return {"schedule": OneCycleLR(rate)}


def _adam(rate: float) -> dict[str, Any]:
    return {"optimizer": AdamW(lr=0.001, weight_decay=0.01), "schedule": OneCycleLR(rate)}


def _moved(degrees: float, shift: float, scale: float, p: float) -> dict[str, Any]:
    scales = (1 - scale, 1 + scale)
    return {"augment": (Affine(degrees, translate=(shift, shift), scale=scales, interpolation="bilinear", p=p),)}


def _separable(name: str, widths: str, changes: dict[str, Any], head: str = "pool") -> Candidate:
    return Candidate(name, widths, "silu", separable="norm", head=head, changes=changes)


COMPACT = "8-8-8,12-12-12,12-12"  # compact_net
FLAT = "8-8-8,11-11-11,11-11"
SMALL = "4-4-4,8-8-8,8-8-8"
WIDE = "16-20-24,28-28-28,32-32"
MIDDLE = "10-14-14,18-20-20,20-20"
TINY = "8-10-12,14-14-14,14-14"
LARGE = "16-16-16,32-32-32,48-48"
HALF = {"epochs": 24, "batch_size": 64} | _rate(0.1)  # about 14 s per epoch on two cores
STRONG = HALF | _moved(10, 0.1, 0.1, 1.0)
DECAY = {"optimizer": SGD(lr=0.01, momentum=0.9, weight_decay=5e-4)}
ELASTIC = {"augment": (ElasticDistortion(30, sigma=4, p=0.5), *STRONG["augment"])}
MUON = {"optimizer": Muon(lr=0.001, weight_decay=0.0, adam_lr=0.0002), "schedule": OneCycleLR(0.02)}
CANDIDATES = {
    "8k": [
        Candidate("compact", COMPACT),
        Candidate("distillation 0.9", COMPACT, distilled=0.9),
        Candidate("rate 0.1", COMPACT, changes=_rate(0.1)),
        Candidate("skips", COMPACT, skips=True),
        Candidate("rate 0.1, distillation 0.9", COMPACT, distilled=0.9, changes=_rate(0.1)),
        Candidate("rate 0.1, SiLU", COMPACT, "silu", changes=_rate(0.1)),
        Candidate("rate 0.1, AdamW 0.01", COMPACT, changes=_adam(0.01)),
        Candidate("rate 0.2", COMPACT, changes=_rate(0.2)),
        Candidate("rate 0.1, flatten", FLAT, head="flatten", changes=_rate(0.1)),
        Candidate("rate 0.1, depthwise head", "8-8-8,12-12,12-12", head="depthwise", changes=_rate(0.1)),
        Candidate("rate 0.1, 7x7", "6-6-6,10-10-10,16-16", changes=_rate(0.1)),
        Candidate("rate 0.1, affine always", COMPACT, changes=_rate(0.1) | _moved(10, 0.1, 0.1, 1.0)),
        Candidate("rate 0.1, SiLU, affine always", COMPACT, "silu", changes=_rate(0.1) | _moved(10, 0.1, 0.1, 1.0)),
        Candidate("rate 0.1, affine 7 always", COMPACT, changes=_rate(0.1) | _moved(7, 0.08, 0.08, 1.0)),
        Candidate(
            "rate 0.1, flatten, affine always", FLAT, head="flatten", changes=_rate(0.1) | _moved(10, 0.1, 0.1, 1.0)
        ),
        Candidate("AdamW 0.02", COMPACT, changes=_adam(0.02)),
        Candidate("rate 0.1, separable", WIDE, separable="norm", changes=_rate(0.1)),
        _separable("separable, rate 0.1, SiLU", WIDE, _rate(0.1)),
        _separable("separable, AdamW 0.02, SiLU", WIDE, _adam(0.02)),
    ],
    "small": [
        Candidate("rate 0.1", SMALL, changes=_rate(0.1)),
        Candidate("AdamW 0.01", SMALL, changes=_adam(0.01)),
        Candidate("AdamW 0.02", SMALL, changes=_adam(0.02)),
        Candidate("Muon 0.02", SMALL, changes=MUON),
        Candidate("AdamW 0.02, SiLU", SMALL, "silu", changes=_adam(0.02)),
        Candidate("AdamW 0.02, 5-8", "5-5-5,8-8-8,9-8", changes=_adam(0.02)),
        Candidate("AdamW 0.02, 6-8", "6-6-6,8-8-8,8-7", changes=_adam(0.02)),
        Candidate("AdamW 0.02, flatten", "4-4-4,8-8-8,8-7", head="flatten", changes=_adam(0.02)),
        Candidate("AdamW 0.02, separable", MIDDLE, separable="norm", changes=_adam(0.02)),
        Candidate("AdamW 0.02, weaker augmentation", SMALL, changes=_adam(0.02) | _moved(5, 0.05, 0.05, 0.5)),
        _separable("separable, AdamW 0.02, SiLU", MIDDLE, _adam(0.02)),
        _separable("separable, AdamW 0.02, SiLU, flatten", "10-12-12,16-16-16,14-12", _adam(0.02), head="flatten"),
        Candidate("separable plain, AdamW 0.02", "10-14-16,20-20-20,20-20", separable="none", changes=_adam(0.02)),
        _separable("separable, AdamW 0.02, SiLU, 2500", TINY, _adam(0.02)),
        _separable("separable, AdamW 0.02, SiLU, 3600", "10-14-14,18-18-18,18-18", _adam(0.02)),
        _separable("separable, AdamW 0.02, SiLU, 3000", "9-11-13,16-16-16,16-14", _adam(0.02)),
        _separable("separable, AdamW 0.02, SiLU, 2000", "7-9-10,12-12-12,12-12", _adam(0.02)),
    ],
    "single": [
        Candidate("affine sometimes", LARGE, changes=HALF),
        Candidate("affine always", LARGE, changes=STRONG),
        Candidate("affine always, weight decay", LARGE, changes=STRONG | DECAY),
        Candidate("affine always, elastic", LARGE, changes=STRONG | ELASTIC),
        Candidate("affine always, wide", "20-24,40-48,64-64", changes=STRONG),
    ],
}

# Network of the zoo: group and name of its candidate
CHOSEN = {
    "record_small": ("small", "separable, AdamW 0.02, SiLU, 3600"),
    "record_8k": ("8k", "separable, rate 0.1, SiLU"),
    "record_single": ("single", "affine always"),
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


def missing(group: str, done: dict[str, mnistcnn.Trials]) -> list[tuple[Candidate, list[int]]]:
    """Return the candidates without all seeds, and the seeds that they lack."""
    needed = []
    for candidate in CANDIDATES[group]:
        trained = {trial.seed for trial in done[candidate.name]} if candidate.name in done else set()
        if not trained.issuperset(SEEDS):
            needed.append((candidate, [seed for seed in SEEDS if seed not in trained]))
    return needed


def search(groups: Sequence[str], budget: float, log: Path) -> None:
    """Train the missing trials of the groups until none is left or the budget is spent."""
    train_set, validation = sets()
    longest = 0.0  # seconds

    def next_trials(copy: Path, seconds_left: float) -> mnistcnn.Trials | None:
        nonlocal longest
        state = found(copy)
        needed = [(group, *each) for group in groups for each in missing(group, state[group])]
        if not needed or longest > seconds_left:
            return None
        group, candidate, seeds = needed[0]
        model = candidate.model()
        model.name = _title(group, candidate)
        if model.parameter_count >= GROUPS[group]:
            raise ValueError(f"{model.name} has {model.parameter_count:,} parameters; allowed: {GROUPS[group] - 1:,}")
        begin = time.monotonic()
        seeds = seeds[: len(os.sched_getaffinity(0))]
        trials = mnistcnn.run_trials(model, train_set, validation, candidate.recipe, seeds, log=copy, progress=False)
        longest = max(longest, time.monotonic() - begin)
        return trials

    fill(log, budget, next_trials)


def table(log: Path) -> str:
    """Return the table of the candidates, ordered by validation loss in each group, and the cost of the search."""
    head = ["group", "candidate", "widths", "parameters", "seeds", "validation loss", "validation accuracy"]
    rows = []
    runs, seconds = 0, 0.0
    for group, done in found(log).items():
        widths = {each.name: each.widths for each in CANDIDATES[group]}
        for name, trials in sorted(done.items(), key=lambda item: _loss(item[1])):
            cells = [group, name, widths[name], f"{trials.setting.parameters:,}", str(len(trials))]
            cells += [f"{_loss(trials):.4f}", f"{100 * trials.mean:.2f} %"]
            rows.append(cells)
            runs += len(trials)
            seconds += sum(history.seconds for history in trials.histories)
    cost = f"The search took {runs} runs and {seconds / 3600:.1f} hours of one core."
    return f"{markdown_table(head, rows)}\n\n{cost}"


def _loss(trials: mnistcnn.Trials) -> float:
    losses = [trial.loss for trial in trials if trial.loss is not None]
    return sum(losses) / len(losses)


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

"""Which learning rate to begin with: one short training in which it grows from tiny to huge."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.checks import positive_number, whole_number
from mnistcnn._internal.native import core
from mnistcnn.convert.from_torch import as_model
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set
from mnistcnn.optim.schedules import Plan, Rates, Schedule
from mnistcnn.training.recipes import Recipe, complete
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model
    from mnistcnn.training.callbacks import StepRecord
    from mnistcnn.training.history import EpochRecord

Floats = np.ndarray[Any, np.dtype[np.float64]]
_BLOWN_UP = 4.0  # times the lowest smoothed loss: further on there is nothing to be seen
_MEMORY = 0.8  # how much less each older loss counts in the mean that is watched
_CAUTION = 3.0  # the suggestion stays so many times below the rate at which the loss is lowest
_WIDTH = 0.03  # of the bell that smooths the curve, as a part of all steps


@dataclass(frozen=True, eq=False, repr=False)
class LRFinder:
    """What `find_lr` has found: the loss at every learning rate, and the one to begin with."""

    learning_rates: Floats  # [steps made]
    losses: Floats  # [steps made], each the mean over its batch
    smoothed: Floats  # [steps made]
    suggestion: float | None  # where the loss falls most steeply, well below its lowest point; None if it never falls

    def __repr__(self) -> str:
        steps, last = len(self.learning_rates), self.learning_rates[-1]
        found = "no rate makes the loss fall" if self.suggestion is None else f"suggestion {self.suggestion:.2g}"
        return f"LRFinder: {found} ({steps} steps from {self.learning_rates[0]:.2g} to {last:.2g})"


def find_lr(
    model: Model | nn.Module,
    train_set: ImageSet,
    recipe: Recipe | None = None,
    *,
    start: float = 1e-5,
    end: float = 10.0,
    steps: int = 100,
    engine: str | None = None,
    threads: int | None = None,
    progress: bool = False,
    **changes: Any,
) -> LRFinder:
    """The learning-rate range test: trains a copy while the learning rate grows from step to step (Smith, 2017).

    The model itself stays as it is. The test ends when the loss has blown up.

    Parameters
    ----------
    model, train_set
        What shall be trained on what.
    recipe
        How; its learning rate, its schedule and its epochs have no say. Fields may be given by their names.
    start, end, steps
        The learning rate grows by the same factor in each of the steps.
    engine, threads, progress
        As in `mnistcnn.train`.
    **changes
        Fields of the recipe.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:2000]
    >>> found = mnistcnn.find_lr(mnistcnn.create_model("session7_net"), data, steps=40, batch_size=32)
    >>> float(found.learning_rates[0]), 1e-4 < found.suggestion < 10
    (1e-05, True)
    """
    model = as_model(model)
    start, end = positive_number("start", start), positive_number("end", end)
    steps = whole_number("steps", steps, least=10)
    if not start < end:
        raise ValueError(f"start must be below end, got start={start:g} and end={end:g}")
    recipe = complete(recipe, changes)
    check_set(model, train_set, "train_set", recipe.augment)
    plan_steps = -(-len(train_set) // recipe.batch_size)
    recipe = recipe.replace(schedule=_Ramp(start, end, steps), epochs=-(-steps // plan_steps), averaging=None)
    watcher = _Watcher(steps)
    try:
        options = {"engine": engine, "threads": threads, "progress": progress}
        train(copy.deepcopy(model), train_set, recipe, callbacks=[watcher], **options)  # type: ignore[arg-type]
    except (_Enough, core.DivergedError):
        pass
    return _result(np.array(watcher.rates), np.array(watcher.losses))


@dataclass(frozen=True, repr=False)
class _Ramp(Schedule):
    start: float
    end: float
    steps: int

    def rates(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """The same factor from each step to the next."""
        made = epoch * plan.steps
        exponents = np.arange(made, made + plan.steps) / (self.steps - 1)
        return Rates((self.start * (self.end / self.start) ** exponents.clip(max=1)).tolist())


class _Enough(Exception):  # noqa: N818
    """Nothing more is to be seen."""


class _Watcher:
    """Writes the losses down, and ends the test."""

    def __init__(self, steps: int) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._steps = steps
        self._lowest = float("inf")

    def on_step(self, record: StepRecord) -> None:
        """One more point of the curve."""
        self.rates.append(record.learning_rate)
        self.losses.append(record.loss)
        latest = _recent(self.losses)
        self._lowest = min(self._lowest, latest)
        if len(self.losses) >= self._steps or latest > _BLOWN_UP * self._lowest:
            raise _Enough


def _recent(losses: list[float]) -> float:
    """The mean of the past, the latest counting most."""
    weights = _MEMORY ** np.arange(len(losses))[::-1]
    return float(np.average(losses, weights=weights))


def _smoothed(losses: Floats) -> Floats:
    """The mean of each loss's surroundings on both sides, so that the curve is not moved towards larger rates."""
    places = np.arange(len(losses))
    weights = np.exp(-0.5 * ((places[:, None] - places) / (_WIDTH * len(losses))) ** 2)
    smoothed: Floats = weights @ losses / weights.sum(1)
    return smoothed


def _result(rates: Floats, losses: Floats) -> LRFinder:
    smoothed = _smoothed(losses)
    lowest = int(smoothed.argmin())
    suggestion = None
    if lowest > 1:
        slopes = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
        steepest = int(slopes.argmin())
        bold = min(rates[steepest], rates[lowest] / _CAUTION)
        suggestion = float(bold) if slopes[steepest] < 0 else None
    return LRFinder(rates, losses, smoothed, suggestion)

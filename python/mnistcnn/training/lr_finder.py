"""Learning rate finder: a short training with an exponentially growing learning rate."""

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
from mnistcnn.optim.schedules import Rates, Schedule, SchedulePlan
from mnistcnn.training.recipes import Recipe, recipe_with
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model
    from mnistcnn.training.callbacks import StepRecord
    from mnistcnn.training.history import EpochRecord

Floats = np.ndarray[Any, np.dtype[np.float64]]
_STOP_FACTOR = 4.0  # the test ends when the moving average exceeds its minimum by this factor
_DECAY = 0.8  # of the exponential moving average that ends the test
_MARGIN = 3.0  # the suggestion is at most the rate of the lowest loss divided by this
_WIDTH = 0.03  # standard deviation of the Gaussian that smooths the curve, as a fraction of all steps


@dataclass(frozen=True, eq=False, repr=False)
class LRFinder:
    """Result of `find_lr`: the loss at every learning rate, and a suggested learning rate.

    Attributes
    ----------
    learning_rates
        Learning rate of every step, float64 [steps].
    losses
        Mean loss of the batch of every step, float64 [steps].
    smoothed
        Smoothed losses, float64 [steps].
    suggestion
        Learning rate at which the smoothed loss decreases most steeply, but at most a third of the rate with the lowest
        loss; None if the loss never decreases, or has its minimum near the first rate.
    """

    learning_rates: Floats
    losses: Floats
    smoothed: Floats
    suggestion: float | None

    def __repr__(self) -> str:
        steps, last = len(self.learning_rates), self.learning_rates[-1]
        result = (
            "no suggestion, as the loss does not decrease"
            if self.suggestion is None
            else f"suggestion {self.suggestion:.2g}"
        )
        return f"LRFinder: {result} ({steps} steps from {self.learning_rates[0]:.2g} to {last:.2g})"


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
    """Run the learning rate range test (Smith, 2017): train a copy with a growing learning rate.

    The model is not changed. The test ends early if the loss diverges. Plot the result with `mnistcnn.plot.lr_finder`.

    Parameters
    ----------
    model
        Model or module to test. A copy of it is trained.
    train_set
        Training images and labels.
    recipe
        Settings of the training. Its learning rate, schedule, averaging and epochs are ignored. Default: ``Recipe()``.
    start
        Learning rate of the first step.
    end
        Learning rate of the last step. The rate grows by the same factor at each step.
    steps
        Number of training steps, at least 10.
    engine
        ``"lanes"``, ``"aten"`` or ``"auto"``. Default: ``model.engine``.
    threads
        Number of CPU threads. Default: ``model.threads``.
    progress
        Whether to show a progress bar in terminals and notebooks.
    **changes
        Fields of the recipe to override, such as ``batch_size=64``.

    Returns
    -------
    LRFinder
        Learning rates, losses and the suggested learning rate.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:1000]
    >>> result = mnistcnn.find_lr(mnistcnn.create_model("budget_model3"), data, steps=40, batch_size=32)
    >>> float(result.learning_rates[0]), 1e-4 < result.suggestion < 10
    (1e-05, True)
    """
    model = as_model(model)
    start, end = positive_number("start", start), positive_number("end", end)
    steps = whole_number("steps", steps, minimum=10)
    if not start < end:
        raise ValueError(f"start must be below end, got start={start:g} and end={end:g}")
    recipe = recipe_with(recipe, changes, find_lr)
    check_set(model, train_set, "train_set", recipe.augment)
    epoch_steps = -(-len(train_set) // recipe.batch_size)
    recipe = recipe.replace(schedule=_Growth(start, end, steps), epochs=-(-steps // epoch_steps), averaging=None)
    recorder = _LossRecorder(steps)
    try:
        options = {"engine": engine, "threads": threads, "progress": progress}
        train(copy.deepcopy(model), train_set, recipe, callbacks=[recorder], **options)  # type: ignore[arg-type]
    except _TestFinished:
        pass
    except core.DivergedError:
        if not recorder.losses:  # the first loss is not finite, at the lowest rate
            raise
    return _result(np.array(recorder.rates), np.array(recorder.losses))


@dataclass(frozen=True, repr=False)
class _Growth(Schedule):
    start: float
    end: float
    steps: int

    def rates(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        first_step = epoch * plan.steps
        exponents = np.arange(first_step, first_step + plan.steps) / (self.steps - 1)
        return Rates((self.start * (self.end / self.start) ** exponents.clip(max=1)).tolist())


class _TestFinished(Exception):  # noqa: N818
    """Raised by `_LossRecorder` to end the training."""


class _LossRecorder:
    """Callback that records rates and losses, and ends the test after all steps or when the loss diverges."""

    def __init__(self, steps: int) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._steps = steps
        self._lowest = float("inf")

    def on_step(self, record: StepRecord) -> None:
        self.rates.append(record.learning_rate)
        self.losses.append(record.loss)
        latest = _moving_average(self.losses)
        self._lowest = min(self._lowest, latest)
        if len(self.losses) >= self._steps or latest > _STOP_FACTOR * self._lowest:
            raise _TestFinished


def _moving_average(losses: list[float]) -> float:
    """Return the exponential moving average of the losses so far."""
    weights = _DECAY ** np.arange(len(losses))[::-1]
    return float(np.average(losses, weights=weights))


def _smoothed(losses: Floats) -> Floats:
    """Smooth the losses with a Gaussian. Unlike a moving average, it does not shift the curve towards larger rates."""
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
        rate = min(rates[steepest], rates[lowest] / _MARGIN)
        suggestion = float(rate) if slopes[steepest] < 0 and rate >= rates[0] else None
    return LRFinder(rates, losses, smoothed, suggestion)

"""Schedules of the learning rate and the momentum.

A schedule has no state. The rates of an epoch depend only on the plan of the run, the epoch and the records of earlier
epochs, so that a resumed run gets the same rates. The values are those of ``torch.optim.lr_scheduler``. The core
computes schedules with a closed form (``train/schedule.cpp``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mnistcnn._internal.checks import choice, finite_number, numbers, positive_number, whole_number
from mnistcnn._internal.plain_values import describe
from mnistcnn._internal.values import Value
from mnistcnn.optim.optimizers import Optimizer

if TYPE_CHECKING:
    from mnistcnn._internal.native import core
    from mnistcnn.training.history import EpochRecord

VALIDATION_METRICS = ("validation_accuracy", "validation_loss")  # metrics that may select the best epoch
MONITORS = (*VALIDATION_METRICS, "train_accuracy", "train_loss")


@dataclass(frozen=True)
class SchedulePlan:
    """Properties of a run that a schedule depends on.

    Parameters
    ----------
    learning_rate
        Learning rate of the optimizer.
    epochs
        Number of epochs of the run.
    steps
        Number of steps per epoch.
    momentum
        Momentum or beta1 of the optimizer. None: the optimizer has neither.
    """

    learning_rate: float
    epochs: int
    steps: int
    momentum: float | None = None

    def __post_init__(self) -> None:
        finite_number("learning_rate", self.learning_rate)
        whole_number("epochs", self.epochs)
        whole_number("steps", self.steps)
        if self.momentum is not None:
            finite_number("momentum", self.momentum)


class Rates(NamedTuple):
    """Learning rates and momenta of the steps of an epoch.

    Parameters
    ----------
    learning_rates
        Learning rate of each step.
    momenta
        Momentum of each step. None: the optimizer's own.
    """

    learning_rates: list[float]
    momenta: list[float] | None = None


@dataclass(frozen=True, repr=False)
class Schedule(Value, abstract=True):
    """Base class of the schedules.

    A subclass overrides `epoch_rate`, or `rates` if the steps of an epoch differ. Epochs are counted from 0.
    """

    @classmethod
    def _check_first(cls, value: object) -> None:
        if isinstance(value, Optimizer) or hasattr(value, "param_groups"):
            raise TypeError(f"{cls.__name__} takes no optimizer, since training passes it; leave it out")

    def epoch_rate(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate of an epoch. ``records`` are the records of the earlier epochs."""
        raise NotImplementedError(f"{type(self).__name__} must override epoch_rate or rates")

    def rates(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """Return the learning rate, and the momentum if it changes, of each step of an epoch."""
        return Rates([self.epoch_rate(plan, epoch, records)] * plan.steps)

    def check(self, plan: SchedulePlan) -> None:
        """Raise ValueError if the schedule does not support the run."""

    @property
    def monitors_validation(self) -> bool:
        """Whether the schedule monitors a metric of the validation set."""
        return (self.monitored or "").startswith("validation")

    @property
    def monitored(self) -> str | None:
        """Name of the field of `EpochRecord` that the schedule depends on, or None."""
        return None

    @property
    def depends_on_epochs(self) -> bool:
        """Whether the rates of an epoch depend on the total number of epochs."""
        return False


@dataclass(frozen=True, repr=False)
class _NativeSchedule(Schedule, abstract=True):
    """Schedule whose rates the core computes. They do not depend on the records."""

    def epoch_rate(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate at the beginning of an epoch."""
        return self._native().epoch_rate(_native_plan(plan), epoch)

    def check(self, plan: SchedulePlan) -> None:
        """Raise ValueError if the schedule does not support the run."""
        self._native().check(_native_plan(plan))

    def _native(self) -> core.Schedule:
        """Return the core's schedule. Fields of a user's subclass are left out."""
        from mnistcnn._internal.native import core

        kind = next(
            each for each in type(self).__mro__ if not {_NativeSchedule, _NativePerStep}.isdisjoint(each.__bases__)
        )
        return core.Schedule(kind.__name__, {each.name: getattr(self, each.name) for each in fields(kind)})


@dataclass(frozen=True, repr=False)
class _NativePerStep(_NativeSchedule, abstract=True):
    """Schedule whose rates the core computes for each step."""

    def rates(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """Return the learning rate, and the momentum if it changes, of each step of an epoch."""
        return Rates(*self._native().rates(_native_plan(plan), epoch))


@dataclass(frozen=True, repr=False)
class ConstantLR(_NativeSchedule):
    """Constant learning rate, multiplied by ``factor`` in the first ``total_iters`` epochs.

    Equivalent to ``torch.optim.lr_scheduler.ConstantLR``, with other defaults.

    Parameters
    ----------
    factor
        Factor of the learning rate in the first epochs.
    total_iters
        Number of epochs in which the factor applies. Default: 0, so that the learning rate is constant.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.ConstantLR(factor=0.5, total_iters=2)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.25, 0.25, 0.5, 0.5, 0.5]
    """

    factor: float = 1.0
    total_iters: int = 0

    def __post_init__(self) -> None:
        _numbers(self, "factor")
        _whole(self, "total_iters", minimum=0)


@dataclass(frozen=True, repr=False)
class StepLR(_NativeSchedule):
    """Learning rate that is multiplied by ``gamma`` every ``step_size`` epochs.

    Equivalent to ``torch.optim.lr_scheduler.StepLR``.

    Parameters
    ----------
    step_size
        Number of epochs between changes.
    gamma
        Factor of the learning rate.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.StepLR(2, 0.5)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _whole(self, "step_size")
        _numbers(self, "gamma")


@dataclass(frozen=True, repr=False)
class MultiStepLR(_NativeSchedule):
    """Learning rate that is multiplied by ``gamma`` after each of several epochs.

    Equivalent to ``torch.optim.lr_scheduler.MultiStepLR``.

    Parameters
    ----------
    milestones
        Numbers of epochs after which the learning rate changes.
    gamma
        Factor of the learning rate.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.MultiStepLR([2, 4], 0.5)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.milestones, str) or not isinstance(self.milestones, Iterable):
            raise TypeError(f"milestones must be a list of epochs, such as [6, 9], got {self.milestones!r}")
        milestones = tuple(whole_number("a milestone", each) for each in self.milestones)
        self._set("milestones", tuple(sorted(milestones)))
        _numbers(self, "gamma")


@dataclass(frozen=True, repr=False)
class ExponentialLR(_NativeSchedule):
    """Learning rate that is multiplied by ``gamma`` after every epoch.

    Equivalent to ``torch.optim.lr_scheduler.ExponentialLR``.

    Parameters
    ----------
    gamma
        Factor of the learning rate.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.ExponentialLR(0.5)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.5, 0.25, 0.125, 0.0625, 0.0312]
    """

    gamma: float

    def __post_init__(self) -> None:
        _numbers(self, "gamma")


@dataclass(frozen=True, repr=False)
class LambdaLR(Schedule):
    """Learning rate that is multiplied by a function of the epoch.

    Equivalent to ``torch.optim.lr_scheduler.LambdaLR``. It cannot be written as JSON.

    Parameters
    ----------
    function
        Function that takes the epoch, counted from 0, and returns a factor (``lr_lambda`` in PyTorch).

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.LambdaLR(lambda epoch: 1 / (1 + epoch))
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.5, 0.25, 0.1667, 0.125, 0.1]
    """

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function must be callable with the number of the epoch, got {self.function!r}")

    def epoch_rate(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate of an epoch."""
        return plan.learning_rate * finite_number(f"LambdaLR's factor in epoch {epoch}", self.function(epoch))

    def _compared(self, name: str) -> Any:
        """Return for the function its name and a digest of its first 100 factors: lambdas have the same name."""
        if name != "function":
            return super()._compared(name)
        factors: list[float] = []
        with suppress(Exception):  # the function may have values for fewer epochs
            factors.extend(float(self.function(epoch)) for epoch in range(100))
        return f"{describe(self.function)} ({hashlib.sha256(repr(factors).encode()).hexdigest()[:16]})"


@dataclass(frozen=True, repr=False)
class CosineAnnealing(_NativePerStep):
    """Cosine annealing from the learning rate to ``eta_min``, with an optional linear warm-up.

    Equivalent to ``torch.optim.lr_scheduler.CosineAnnealingLR`` if ``per_step`` is False and there is no warm-up.

    Parameters
    ----------
    t_max
        Number of epochs of the annealing (``T_max`` in PyTorch). Default: None, all epochs after the warm-up.
    eta_min
        Learning rate at the end of the annealing.
    warmup_epochs
        Number of epochs in which the learning rate rises linearly before the annealing.
    warmup_start
        Fraction of the learning rate at which the warm-up starts.
    per_step
        Whether to update the learning rate in every step instead of every epoch.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.CosineAnnealing(warmup_epochs=1, warmup_start=0.2)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.1, 0.5, 0.4268, 0.25, 0.0732]
    """

    t_max: int | None = None
    eta_min: float = 0.0
    warmup_epochs: int = 0
    warmup_start: float = 0.01
    per_step: bool = True

    def __post_init__(self) -> None:
        if self.t_max is not None:
            _whole(self, "t_max")
        _whole(self, "warmup_epochs", minimum=0)
        self._check_flags()
        _numbers(self, "eta_min")
        self._set("warmup_start", finite_number("warmup_start", self.warmup_start, maximum=1))

    @property
    def depends_on_epochs(self) -> bool:
        """True if ``t_max`` is None."""
        return self.t_max is None


@dataclass(frozen=True, repr=False)
class OneCycleLR(_NativePerStep):
    """1cycle schedule: raise the learning rate to ``max_lr``, then anneal it; update every step.

    The momentum, or beta1 of Adam-like optimizers, moves in the opposite direction. The optimizer's own learning rate
    is ignored: the schedule starts at ``max_lr / div_factor``. Equivalent to ``torch.optim.lr_scheduler.OneCycleLR``.

    Parameters
    ----------
    max_lr
        Peak learning rate.
    pct_start
        Fraction of the run in which the learning rate rises.
    anneal_strategy
        Shape of the curves: ``"cos"`` or ``"linear"``.
    cycle_momentum
        Whether to change the momentum too.
    base_momentum
        Momentum at the peak of the learning rate.
    max_momentum
        Momentum at the start and at the end of the run.
    div_factor
        Ratio of the peak learning rate to the initial one.
    final_div_factor
        Ratio of the initial learning rate to the final one.
    three_phase
        Whether to return to the initial learning rate, in as many steps as it rose, before annealing to the final one.

    Examples
    --------
    >>> import mnistcnn
    >>> plan = mnistcnn.optim.SchedulePlan(learning_rate=0.5, epochs=5, steps=1)
    >>> schedule = mnistcnn.optim.OneCycleLR(max_lr=0.5)
    >>> [round(schedule.epoch_rate(plan, epoch, []), 4) for epoch in range(5)]
    [0.02, 0.4752, 0.3056, 0.0941, 0.0]
    """

    max_lr: float
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self) -> None:
        self._check_flags()
        _numbers(self, "max_lr")
        choice("anneal_strategy", self.anneal_strategy, ("cos", "linear"))
        for name in ("pct_start", "base_momentum", "max_momentum"):
            self._set(name, finite_number(name, getattr(self, name), maximum=1))
        for name in ("div_factor", "final_div_factor"):
            self._set(name, positive_number(name, getattr(self, name)))

    @property
    def depends_on_epochs(self) -> bool:
        """True: the cycle spans the run."""
        return True


@dataclass(frozen=True, repr=False)
class ReduceLROnPlateau(Schedule):
    """Learning rate that is multiplied by ``factor`` when a metric has stopped improving.

    Equivalent to ``torch.optim.lr_scheduler.ReduceLROnPlateau``.

    Parameters
    ----------
    factor
        Factor of the learning rate, below 1.
    patience
        Number of consecutive epochs without improvement that are allowed; the next one reduces the learning rate.
    monitor
        Metric to monitor: ``"validation_accuracy"`` or ``"validation_loss"``, which require a validation set,
        ``"train_accuracy"`` or ``"train_loss"``.
    mode
        ``"max"`` if larger values are better, ``"min"`` if smaller ones are. Default: None, which selects ``"max"`` for
        accuracies and ``"min"`` for losses.
    threshold
        Minimum change that counts as an improvement.
    threshold_mode
        Unit of ``threshold``: relative to the best value (``"rel"``) or absolute (``"abs"``).
    cooldown
        Number of epochs after a reduction that are not counted.
    min_lr
        Lower bound of the learning rate.
    eps
        Minimum change of the learning rate; smaller reductions are skipped.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.ReduceLROnPlateau(patience=3, monitor="train_loss")
    ReduceLROnPlateau(patience=3, monitor='train_loss')
    """

    factor: float = 0.1
    patience: int = 10
    monitor: str = "validation_loss"
    mode: Literal["min", "max"] | None = None
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        choice("monitor", self.monitor, MONITORS)
        choice("threshold_mode", self.threshold_mode, ("rel", "abs"))
        choice("mode", self.mode, (None, "min", "max"))
        _numbers(self, "factor", "threshold", "min_lr", "eps")
        if not self.factor < 1:
            raise ValueError(f"factor must be below 1, got {self.factor}")
        _whole(self, "patience", minimum=0)
        _whole(self, "cooldown", minimum=0)

    @property
    def monitored(self) -> str:
        """Name of the monitored metric."""
        return self.monitor

    def epoch_rate(self, plan: SchedulePlan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate after the reductions so far."""
        rate, best = plan.learning_rate, -math.inf if self._more_is_better else math.inf
        bad = cooling = 0
        for record in records[:epoch]:
            value = getattr(record, self.monitor)
            if self._better(value, best):
                best, bad = value, 0
            else:
                bad += 1
            if cooling > 0:
                cooling, bad = cooling - 1, 0
            if bad > self.patience:
                lower = max(rate * self.factor, self.min_lr)
                rate = lower if rate - lower > self.eps else rate
                cooling, bad = self.cooldown, 0
        return rate

    @property
    def _more_is_better(self) -> bool:
        return (self.mode or best_of(self.monitor)) == "max"

    def _better(self, value: float, best: float) -> bool:
        more = self._more_is_better
        margin = self.threshold if more else -self.threshold
        bound = best * (1 + margin) if self.threshold_mode == "rel" else best + margin
        return value > bound if more else value < bound


def _native_plan(plan: SchedulePlan) -> core.SchedulePlan:
    from mnistcnn._internal.native import core

    return core.SchedulePlan(**asdict(plan))


def best_of(monitor: str) -> Literal["min", "max"]:
    """Return "max" if larger values of a metric are better, else "min"."""
    return "max" if monitor.endswith("accuracy") else "min"


def score(monitor: str, value: float) -> float:
    """Return the value, negated if smaller values of the metric are better."""
    return value if best_of(monitor) == "max" else -value


def checked_rates(schedule: Schedule, rates: object, steps: int) -> Rates:
    """Return the rates of an epoch as Python floats. Raise an error that names the schedule if they are not valid."""
    name = type(schedule).__name__
    if not isinstance(rates, Rates):
        raise TypeError(f"{name}.rates must return mnistcnn.optim.Rates, got {rates!r}")
    learning_rates = numbers(f"each learning rate of {name}", rates.learning_rates, minimum=0)
    momenta = None if rates.momenta is None else numbers(f"each momentum of {name}", rates.momenta, minimum=0)
    for what, values in (("learning_rates", learning_rates), ("momenta", momenta)):
        if values is not None and len(values) != steps:
            raise ValueError(f"{name}.rates must return one value per step in {what}, {steps}, got {len(values)}")
    return Rates(list(learning_rates), None if momenta is None else list(momenta))


def _whole(schedule: Schedule, name: str, *, minimum: int = 1) -> None:
    schedule._set(name, whole_number(name, getattr(schedule, name), minimum=minimum))


def _numbers(schedule: Schedule, *names: str) -> None:
    for name in names:
        schedule._set(name, finite_number(name, getattr(schedule, name)))

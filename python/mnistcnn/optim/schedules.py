"""Schedules as values: the learning rate, and the momentum, of every step.

A schedule holds no state. The rates of an epoch are a function of the plan of the run, of the number of the epoch and
of the records of the epochs before it, so that a resumed run continues exactly. The numbers are those of
``torch.optim.lr_scheduler``. Schedules in closed form are computed by the core (``train/schedule.cpp``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

from mnistcnn._internal.checks import choice, finite_number, whole_number
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core
    from mnistcnn.training.history import EpochRecord

JUDGES = ("validation_accuracy", "validation_loss")  # what may say which epoch is the best
MONITORS = (*JUDGES, "train_accuracy", "train_loss")


@dataclass(frozen=True)
class Plan:
    """What a schedule needs to know of a run."""

    learning_rate: float  # the optimizer's own
    epochs: int  # of the whole run
    steps: int  # of each epoch
    momentum: float | None = None  # the optimizer's own, or its beta1; None for one that has neither


class Rates(NamedTuple):
    """One number per step of an epoch."""

    learning_rates: list[float]
    momenta: list[float] | None = None  # None: the optimizer's own


@dataclass(frozen=True, repr=False)
class Schedule(Value, abstract=True):
    """The base of all schedules. One of your own overrides `epoch_rate`, or `rates` if the steps differ."""

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """The learning rate of an epoch, counted from 0; ``records`` are those of the epochs before it."""
        raise NotImplementedError(f"{type(self).__name__} has no epoch_rate")

    def rates(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """What every step of an epoch gets."""
        return Rates([self.epoch_rate(plan, epoch, records)] * plan.steps)

    def check(self, plan: Plan) -> None:
        """Refuses a run that this schedule can't plan."""

    @property
    def monitored(self) -> str | None:
        """The number of `EpochRecord` that it looks at."""
        return None

    @property
    def depends_on_epochs(self) -> bool:
        """Whether a longer run would have begun otherwise."""
        return False


@dataclass(frozen=True, repr=False)
class ConstantLR(Schedule):
    """The learning rate times ``factor`` for the first ``total_iters`` epochs; by default the learning rate as it is.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.recipe("assignment7_model8").replace(schedule=mnistcnn.optim.ConstantLR()).schedule
    ConstantLR()
    """

    factor: float = 1.0
    total_iters: int = 0

    def __post_init__(self) -> None:
        _numbers(self, "factor")
        _whole(self, "total_iters", least=0)

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """The same, but for the first epochs."""
        return _native(self, ConstantLR).epoch_rate(_native_plan(plan), epoch)


@dataclass(frozen=True, repr=False)
class StepLR(Schedule):
    """Times ``gamma`` after every ``step_size`` epochs.

    Examples
    --------
    >>> import mnistcnn
    >>> from mnistcnn.optim.schedules import Plan
    >>> plan = Plan(learning_rate=0.5, epochs=5, steps=1)
    >>> [mnistcnn.optim.StepLR(2, 0.5).epoch_rate(plan, epoch, []) for epoch in range(5)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _whole(self, "step_size")
        _numbers(self, "gamma")

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Lower after every few epochs."""
        return _native(self, StepLR).epoch_rate(_native_plan(plan), epoch)


@dataclass(frozen=True, repr=False)
class MultiStepLR(Schedule):
    """Times ``gamma`` after each of the ``milestones``, numbers of epochs."""

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.milestones, str) or not isinstance(self.milestones, Iterable):
            raise TypeError(f"milestones must be a list of epochs, such as [6, 9], got {self.milestones!r}")
        milestones = tuple(whole_number("a milestone", each) for each in self.milestones)
        object.__setattr__(self, "milestones", tuple(sorted(milestones)))
        _numbers(self, "gamma")

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Lower after each milestone."""
        return _native(self, MultiStepLR).epoch_rate(_native_plan(plan), epoch)


@dataclass(frozen=True, repr=False)
class ExponentialLR(Schedule):
    """Times ``gamma`` after every epoch."""

    gamma: float

    def __post_init__(self) -> None:
        _numbers(self, "gamma")

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Lower after every epoch."""
        return _native(self, ExponentialLR).epoch_rate(_native_plan(plan), epoch)


@dataclass(frozen=True, repr=False)
class LambdaLR(Schedule):
    """Times what a function of the epoch, counted from 0, gives. Being a function it can't be written as JSON.

    Examples
    --------
    >>> import mnistcnn
    >>> schedule = mnistcnn.optim.LambdaLR(lambda epoch: 1 / (1 + epoch))
    """

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"LambdaLR needs a function of the epoch, got {self.function!r}")

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """As the function says."""
        return plan.learning_rate * finite_number(f"LambdaLR's factor in epoch {epoch}", self.function(epoch))


@dataclass(frozen=True, repr=False)
class CosineAnnealing(Schedule):
    """Half a cosine from the learning rate down to ``eta_min``, with or without a warm-up before it.

    Parameters
    ----------
    t_max
        The epochs of the half cosine (``T_max`` in PyTorch); None: all that the warm-up leaves.
    eta_min
        The learning rate at its end.
    warmup_epochs
        The learning rate rises from ``warmup_start`` times itself in a straight line for so many epochs first.
    per_step
        Whether every step has a learning rate of its own, or every epoch.
    """

    t_max: int | None = None
    eta_min: float = 0.0
    warmup_epochs: int = 0
    warmup_start: float = 0.01
    per_step: bool = True

    def __post_init__(self) -> None:
        if self.t_max is not None:
            _whole(self, "t_max")
        _whole(self, "warmup_epochs", least=0)
        self._check_flags()
        _numbers(self, "eta_min")
        object.__setattr__(self, "warmup_start", finite_number("warmup_start", self.warmup_start, most=1))

    @property
    def depends_on_epochs(self) -> bool:
        """Only where the length of the cosine is left to the run."""
        return self.t_max is None

    def check(self, plan: Plan) -> None:
        """Raise ValueError if the warm-up leaves no epoch for the cosine."""
        _native(self, CosineAnnealing).check(_native_plan(plan))

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate at the beginning of the epoch."""
        return _native(self, CosineAnnealing).epoch_rate(_native_plan(plan), epoch)

    def rates(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """Return one learning rate per step, or the same for all."""
        return Rates(*_native(self, CosineAnnealing).rates(_native_plan(plan), epoch))


@dataclass(frozen=True, repr=False)
class OneCycleLR(Schedule):
    """Up to ``max_lr`` and far down again in one run, the momentum the other way round; one value per step.

    The optimizer's own learning rate is not used: the cycle begins at ``max_lr / div_factor``. For Adam and its family
    it is beta1 that cycles.
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
        _numbers(self, "max_lr", "div_factor", "final_div_factor")
        choice("anneal_strategy", self.anneal_strategy, ("cos", "linear"))
        for name in ("pct_start", "base_momentum", "max_momentum"):
            object.__setattr__(self, name, finite_number(name, getattr(self, name), most=1))
        for name in ("div_factor", "final_div_factor"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be above 0, got 0")

    @property
    def depends_on_epochs(self) -> bool:
        """One cycle is one run."""
        return True

    def check(self, plan: Plan) -> None:
        """Raise ValueError if the optimizer has no momentum to cycle, or the run has fewer than 2 steps."""
        _native(self, OneCycleLR).check(_native_plan(plan))

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """Return the learning rate of the first step of the epoch."""
        return _native(self, OneCycleLR).epoch_rate(_native_plan(plan), epoch)

    def rates(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> Rates:
        """Return one learning rate and one momentum per step."""
        return Rates(*_native(self, OneCycleLR).rates(_native_plan(plan), epoch))


@dataclass(frozen=True, repr=False)
class ReduceLROnPlateau(Schedule):
    """Times ``factor`` when a number has not become better for more than ``patience`` epochs.

    Parameters
    ----------
    monitor
        "validation_accuracy" or "validation_loss", which need a validation set; "train_accuracy" or "train_loss".
    mode
        "max" if more is better, "min" if less is; None: as the monitored number means it.
    threshold, threshold_mode
        How much better counts: a part of the best ("rel"), or so much ("abs").
    cooldown
        Epochs after a reduction in which nothing is counted.
    min_lr, eps
        The learning rate never falls below ``min_lr``, and a change smaller than ``eps`` is not made.
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
        _whole(self, "patience", least=0)
        _whole(self, "cooldown", least=0)

    @property
    def monitored(self) -> str:
        """What it looks at."""
        return self.monitor

    def epoch_rate(self, plan: Plan, epoch: int, records: Sequence[EpochRecord]) -> float:
        """What is left after the plateaus so far."""
        rate, best = plan.learning_rate, None
        bad = cooling = 0
        for record in records[:epoch]:
            value = getattr(record, self.monitor)
            if best is None or self._better(value, best):
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

    def _better(self, value: float, best: float) -> bool:
        more = (self.mode or best_of(self.monitor)) == "max"
        margin = self.threshold if more else -self.threshold
        bound = best * (1 + margin) if self.threshold_mode == "rel" else best + margin
        return value > bound if more else value < bound


def _native(schedule: Schedule, kind: type[Schedule]) -> core.Schedule:
    """Return the schedule of the core; a subclass of ``kind`` may have fields that the core does not know."""
    from mnistcnn._internal.native import core

    return core.Schedule(kind.__name__, {each.name: getattr(schedule, each.name) for each in fields(kind)})


def _native_plan(plan: Plan) -> core.SchedulePlan:
    from mnistcnn._internal.native import core

    return core.SchedulePlan(**asdict(plan))


def best_of(monitor: str) -> Literal["min", "max"]:
    """Whether more or less of a number is better."""
    return "max" if monitor.endswith("accuracy") else "min"


def merit(monitor: str, value: float) -> float:
    """A number of an epoch with such a sign that more is better."""
    return value if best_of(monitor) == "max" else -value


def _whole(schedule: Schedule, name: str, *, least: int = 1) -> None:
    object.__setattr__(schedule, name, whole_number(name, getattr(schedule, name), least=least))


def _numbers(schedule: Schedule, *names: str) -> None:
    for name in names:
        object.__setattr__(schedule, name, finite_number(name, getattr(schedule, name)))

"""What may listen to a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mnistcnn._internal.checks import whole_number

if TYPE_CHECKING:
    from mnistcnn.training.history import EpochRecord, History
    from mnistcnn.training.trainer import Trainer

EVENTS = ("on_train_start", "on_step", "on_epoch", "on_train_end")


@dataclass(frozen=True)
class StepRecord:
    """One step: a batch, and the change of the weights after it."""

    epoch: int  # counted from 1
    step: int  # of the whole run, counted from 1
    loss: float  # the mean over its batch
    learning_rate: float


class Callback(Protocol):
    """What a callback may have; every method may be left out, but not all of them.

    An exception from any of them ends the training and comes out unchanged.
    """

    every: int = 1  # on_step is called after every so many steps; 0: never

    def on_train_start(self, trainer: Trainer) -> None:
        """Before the first epoch. ``trainer.stop()`` asks to stop, now or at any time later."""

    def on_step(self, record: StepRecord) -> None:
        """After every step, or every ``every`` steps.

        The model's tensors hold the weights of that step. Changes that are made to them take effect.
        """

    def on_epoch(self, record: EpochRecord) -> None:
        """After every epoch."""

    def on_train_end(self, history: History) -> None:
        """At the end, however the run ended."""


class Listeners:
    """All callbacks of a run; each hears what it has a method for."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        if _hears_something(callbacks):
            raise TypeError("callbacks must be a list: callbacks=[...]")
        try:
            self._all = tuple(callbacks)
        except TypeError:
            raise TypeError(f"callbacks must be a list, got {callbacks!r}") from None
        for each in self._all:
            if isinstance(each, type):
                raise TypeError(f"a callback must be an object, got the class {each.__name__}; write {each.__name__}()")
            if not _hears_something(each):
                raise TypeError(
                    f"a callback needs a method on_epoch(record), or another of {', '.join(EVENTS)}; {each!r} has none"
                )
            if callable(getattr(each, "on_step", None)):
                whole_number(f"every of {type(each).__name__}", getattr(each, "every", 1), least=0)

    def __iter__(self) -> Any:
        return iter(self._all)

    def check(self, validated: bool) -> None:
        """Refuses a callback that looks at a validation set where there is none."""
        for each in self._all:
            check_monitor(each, getattr(each, "monitor", None), validated)

    def tell(self, event: str, value: object) -> None:
        """Calls a method of all that have it; an exception ends it."""
        for each in self._all:
            method = getattr(each, event, None)
            if callable(method):
                method(value)

    def tell_the_end(self, history: History) -> None:
        """Every one hears of the end in the same order, also after an exception of another."""
        with ExitStack() as calls:  # which calls the last one first
            for each in reversed(self._all):
                method = getattr(each, "on_train_end", None)
                if callable(method):
                    calls.callback(method, history)

    @property
    def every(self) -> int:
        """After how many steps anybody must be told; 0 if nobody listens to steps."""
        return math.gcd(*(getattr(each, "every", 1) for each in self._all if callable(getattr(each, "on_step", None))))

    def step_teller(self, epoch: int, first_step: int, rates: list[float]) -> Callable[[int, float], None]:
        """What the core calls after a step, with the number of steps made in the run, and the loss."""

        def tell(step: int, loss: float) -> None:
            record = StepRecord(epoch, step, loss, rates[step - first_step - 1])
            for each in self._all:
                every = getattr(each, "every", 1)
                if every and step % every == 0 and callable(getattr(each, "on_step", None)):
                    each.on_step(record)

        return tell


def check_monitor(listener: object, monitor: object, validated: bool) -> None:
    """Refuses what looks at a validation set where there is none."""
    if isinstance(monitor, str) and monitor.startswith("validation") and not validated:
        raise ValueError(
            f"{type(listener).__name__} looks at {monitor}, but there is no validation set; give validation=0.1 (a "
            "fraction of the training set) or a set"
        )


def _hears_something(callback: object) -> bool:
    return any(callable(getattr(callback, event, None)) for event in EVENTS)

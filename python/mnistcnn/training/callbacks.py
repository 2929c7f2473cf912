"""Interface of callbacks, and the list of callbacks that a run calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mnistcnn._internal.checks import whole_number

if TYPE_CHECKING:
    from mnistcnn.training.history import EpochRecord, History
    from mnistcnn.training.trainer import Trainer

EVENTS = ("on_train_start", "on_step", "on_epoch", "on_train_end")


@dataclass(frozen=True)
class StepRecord:
    """Result of one training step, passed to `Callback.on_step`.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    step
        Number of the step in the whole run, from 1.
    loss
        Mean loss of the batch, with the weights before the update.
    learning_rate
        Learning rate of the update.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float


class Callback(Protocol):
    """Interface of a callback. Each method is optional, but at least one must be present.

    A callback does not need to inherit from this class. An exception in a method ends the training and is passed on
    to the caller unchanged.

    Attributes
    ----------
    every
        Number of steps between two calls of `on_step`. 0: never call it. Default if the attribute is missing: 1.

    Examples
    --------
    >>> import mnistcnn
    >>> class PrintEpoch:
    ...     def on_epoch(self, record):
    ...         print("epoch", record.epoch)
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> model = mnistcnn.create_model("budget_model3")
    >>> _ = mnistcnn.train(model, data, epochs=2, callbacks=[PrintEpoch()], progress=False)
    epoch 1
    epoch 2
    """

    every: int = 1

    def on_train_start(self, trainer: Trainer) -> None:
        """Handle the start of the run, before the first epoch. Keep ``trainer`` to call ``trainer.stop()`` later."""

    def on_step(self, record: StepRecord) -> None:
        """Handle a step: every step, or every ``every``-th one.

        The model's tensors hold the weights after this step. Changes to them affect the rest of the run.
        """

    def on_epoch(self, record: EpochRecord) -> None:
        """Handle an epoch, after its validation."""

    def on_train_end(self, history: History) -> None:
        """Handle the end of the run, also after an exception."""


class CallbackList:
    """Callbacks of a run. For each event, the callbacks that have its method are called in order."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        if _has_event_method(callbacks):
            kind = callbacks if isinstance(callbacks, type) else type(callbacks)
            raise TypeError(
                f"callbacks must be a list, got one {kind.__name__}; write callbacks=[{kind.__name__}(...)]"
            )
        try:
            self._all = tuple(callbacks)
        except TypeError:
            raise TypeError(f"callbacks must be a list, got {callbacks!r}") from None
        self._started: list[Any] = []
        for each in self._all:
            if isinstance(each, type):
                raise TypeError(f"a callback must be an object, got the class {each.__name__}; write {each.__name__}()")
            if not _has_event_method(each):
                raise TypeError(
                    f"a callback must have at least one of the methods {', '.join(EVENTS)}; {each!r} has none"
                )
            if callable(getattr(each, "on_step", None)):
                whole_number(f"every of {type(each).__name__}", getattr(each, "every", 1), minimum=0)

    def __iter__(self) -> Any:
        return iter(self._all)

    def check(self, validated: bool) -> None:
        """Raise ValueError if a callback monitors the validation set and there is none."""
        for each in self._all:
            check_monitor(each, getattr(each, "monitor", None), validated)

    def start(self, trainer: Trainer) -> None:
        """Call `on_train_start` of the callbacks in order; stop at the first exception."""
        self._started = []
        for each in self._all:
            self._started.append(each)
            if callable(getattr(each, "on_train_start", None)):
                each.on_train_start(trainer)

    def end(self, history: History) -> None:
        """Call `on_train_end` of the callbacks that `start` has called."""
        started, self._started = self._started, []
        self._call(started, "on_train_end", history)

    def call(self, event: str, value: object) -> None:
        """Call a method of all callbacks in order, also if one raises an exception. Raise the first exception."""
        self._call(self._all, event, value)

    def _call(self, callbacks: Iterable[Any], event: str, value: object) -> None:
        first: BaseException | None = None
        methods = [getattr(each, event, None) for each in callbacks]
        for method in filter(callable, methods):
            try:
                method(value)
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first

    @property
    def every(self) -> int:
        """Greatest common divisor of the callbacks' ``every``; 0 if no callback uses steps."""
        return math.gcd(*(getattr(each, "every", 1) for each in self._all if callable(getattr(each, "on_step", None))))

    def step_function(self, epoch: int, first_step: int, rates: list[float]) -> Callable[[int, float], None]:
        """Return the function that the core calls after a step.

        Its arguments are the number of steps done in the run, and the loss. ``rates`` holds one learning rate per step
        of the epoch.
        """

        def on_step(step: int, loss: float) -> None:
            record = StepRecord(epoch, step, loss, rates[step - first_step - 1])
            for each in self._all:
                every = getattr(each, "every", 1)
                if every and step % every == 0 and callable(getattr(each, "on_step", None)):
                    each.on_step(record)

        return on_step


def check_monitor(owner: object, monitor: object, validated: bool) -> None:
    """Raise ValueError if ``monitor`` is a result of the validation set and there is none."""
    if isinstance(monitor, str) and monitor.startswith("validation") and not validated:
        raise ValueError(
            f"{type(owner).__name__} monitors {monitor}, but there is no validation set; pass validation=0.1 (a "
            "fraction of the training set) or an ImageSet"
        )


def _has_event_method(callback: object) -> bool:
    return any(callable(getattr(callback, event, None)) for event in EVENTS)

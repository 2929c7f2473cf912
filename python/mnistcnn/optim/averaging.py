"""Weight averaging: averages are updated during training and copied into the model at the end of the run.

>>> import mnistcnn
>>> from mnistcnn.optim import averaging
>>> model = mnistcnn.create_model("budget_model1")
>>> native = averaging.native(mnistcnn.optim.Lookahead(), model)
>>> with averaging.averaged(native, model):
...     pass  # the model has the averaged weights here
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import finite_number, whole_number
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import Model


@dataclass(frozen=True, repr=False)
class Averaging(Value, abstract=True, native=True):
    """Base class of the methods that average weights during training."""


@dataclass(frozen=True, repr=False)
class EMA(Averaging):
    """Exponential moving average of the weights.

    With ``warm_up=False`` it equals ``torch.optim.swa_utils.AveragedModel`` with an EMA function.
    Validation uses the averaged weights. They are copied into the model at the end of training.

    Parameters
    ----------
    decay
        Weight of the old average in an update; the new weights get ``1 - decay``.
    every
        Number of steps between updates.
    warm_up
        Whether to limit the decay to (1 + n) / (10 + n) after n updates, so that early weights have less influence.
    buffers
        Whether to average the running statistics of normalization layers too. False: keep the model's own.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.EMA(decay=0.99)
    EMA(decay=0.99)
    """

    decay: float = 0.999
    every: int = 1
    warm_up: bool = True
    buffers: bool = True

    def __post_init__(self) -> None:
        self._check_flags()
        self._set("decay", finite_number("decay", self.decay, maximum=1))
        self._set("every", whole_number("every", self.every))


@dataclass(frozen=True, repr=False)
class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs.

    At the end of training the mean is copied into the model, and the running statistics are recomputed on the training
    set, as in ``torch.optim.swa_utils.update_bn``. Validation during training uses the weights without averaging.

    Parameters
    ----------
    start_epoch
        First epoch whose weights are averaged, counted from 1.
    every
        Number of epochs between updates.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.SWA(start_epoch=10)
    SWA(start_epoch=10)
    """

    start_epoch: int
    every: int = 1

    def __post_init__(self) -> None:
        self._set("start_epoch", whole_number("start_epoch", self.start_epoch))
        self._set("every", whole_number("every", self.every))


@dataclass(frozen=True, repr=False)
class Lookahead(Averaging):
    """Lookahead (Zhang et al., 2019): slow weights that follow the optimizer's fast weights.

    Every ``k`` steps, ``slow = slow + alpha * (fast - slow)``, and the fast weights are set to the slow ones.
    Validation uses the slow weights. They are copied into the model at the end of training.

    Parameters
    ----------
    k
        Number of steps between updates.
    alpha
        Step size of the slow weights, between 0 and 1.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.Lookahead(k=10)
    Lookahead(k=10)
    """

    k: int = 5
    alpha: float = 0.5

    def __post_init__(self) -> None:
        self._set("k", whole_number("k", self.k))
        self._set("alpha", finite_number("alpha", self.alpha, maximum=1))


def check(averaging: Averaging | None, epochs: int) -> None:
    """Raise ValueError if the averaging would start after the last epoch."""
    if isinstance(averaging, SWA) and averaging.start_epoch > epochs:
        raise ValueError(f"{averaging!r} begins after the run's {epochs} epochs; start_epoch must be at most {epochs}")


# ---- conversion for the core


def settings(averaging: Averaging | None) -> dict[str, Any] | None:
    """Return the settings for ``core.TrainingRun`` and ``core.Averaging``."""
    if averaging is None:
        return None
    if not isinstance(averaging, Averaging):
        raise TypeError(f"averaging must be an EMA, an SWA, a Lookahead or None, got {averaging!r}")
    return {"kind": type(averaging).__name__, **asdict(averaging)}


def native(averaging: Averaging, model: Model) -> core.Averaging:
    """Return averages outside of a run, initialised with the current weights of the model."""
    from mnistcnn._internal.native import core

    described = settings(averaging)
    assert described is not None
    return core.Averaging(model._network, model.tensors(), described)


@contextmanager
def averaged(native: core.Averaging | None, model: Model) -> Iterator[None]:
    """Exchange the weights of the model for the averages that validation uses, and restore them on exit."""
    if native is None or not native.used_for_validation or not native.ready:
        yield
        return
    _exchange(native, model)
    try:
        yield
    finally:
        _exchange(native, model)


def _exchange(native: core.Averaging, model: Model) -> None:
    with model._lock:
        native.exchange(model._network, model.tensors())

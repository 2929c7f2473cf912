"""Averages of weights as values: what is kept beside a model while it trains, and when the model gets it.

>>> import mnistcnn
>>> from mnistcnn.optim import averaging
>>> model = mnistcnn.create_model("budget_model1")
>>> native = averaging.native(mnistcnn.optim.EMA(decay=0.99), model)
>>> native.after_step(model._network, model.tensors())
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
class Averaging(Value, abstract=True):
    """Base class of the methods that average weights during training."""


@dataclass(frozen=True, repr=False)
class EMA(Averaging):
    """The exponential moving average of the weights, as ``torch.optim.swa_utils.AveragedModel`` with an EMA.

    Validations look at the averages; at the end of the training the model gets them.

    Parameters
    ----------
    decay
        The share of the average that an update keeps.
    every
        How many steps lie between two updates.
    warm_up
        Whether the decay is at most (1 + n) / (10 + n) after n updates, so that short trainings forget their start.
    buffers
        Whether the running statistics of norms are averaged too; otherwise the model's own stay.

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
        self._set("decay", finite_number("decay", self.decay, most=1))
        self._set("every", whole_number("every", self.every))


@dataclass(frozen=True, repr=False)
class SWA(Averaging):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs.

    At the end of the training the model gets the mean, and its running statistics are measured anew over the training
    set, as ``torch.optim.swa_utils.update_bn`` does. Validations before that look at the ordinary weights.

    Parameters
    ----------
    start_epoch
        The first epoch whose weights take part, counted from 1.
    every
        How many epochs lie between two updates.

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
    """Every ``k`` steps, slow weights go the share ``alpha`` of the way to the fast ones, which go on from there.

    Validations look at the slow weights, and the model has them in the end (Zhang et al., 2019).

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
        self._set("alpha", finite_number("alpha", self.alpha, most=1))


def check(averaging: Averaging | None, epochs: int) -> None:
    """Refuses an average that a run would never begin."""
    if isinstance(averaging, SWA) and averaging.start_epoch > epochs:
        raise ValueError(f"{averaging!r} begins after the run's {epochs} epochs; give a smaller start_epoch")


# ---- on the way to the core


def settings(averaging: Averaging | None) -> dict[str, Any] | None:
    """Return what ``core.TrainingRun`` and ``core.Averaging`` take."""
    if averaging is None:
        return None
    if not isinstance(averaging, Averaging):
        raise TypeError(f"averaging must be an EMA, an SWA, a Lookahead or None, got {averaging!r}")
    return {"kind": type(averaging).__name__, **asdict(averaging)}


def native(averaging: Averaging, model: Model) -> core.Averaging:
    """Return averages by themselves, outside of a run; they start from the model's present weights."""
    from mnistcnn._internal.native import core

    described = settings(averaging)
    assert described is not None
    return core.Averaging(model._network, model.tensors(), described)


@contextmanager
def averaged(native: core.Averaging | None, model: Model) -> Iterator[None]:
    """Exchange the model's weights for the averaged ones that validations use, and back at the end."""
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

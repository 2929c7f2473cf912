"""Settings of the optimizers; the state of a run is in the core.

Each optimizer has the arithmetic of the class of the same name in ``torch.optim``, in one pass over all parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from mnistcnn._internal.checks import (
    any_number,
    choice,
    finite_number,
    fraction,
    numbers,
    positive_number,
    whole_number,
)
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core

_NORMS = ("batchnorm2d", "batchnorm1d", "instancenorm2d", "groupnorm", "layernorm")
_EXCLUDABLE = ("bias", "norm")


@dataclass(frozen=True, repr=False)
class Optimizer(Value, abstract=True, native=True):
    """Base class of the optimizers.

    Parameters
    ----------
    lr
        Learning rate; a schedule may change it in every step.
    decay_exclude
        Parameters without weight decay and ``l1``: ``"bias"`` (all biases), ``"norm"`` (weights and biases of
        normalization layers).
    l1
        Factor of an L1 penalty: the gradient of ``l1`` times the sum of absolute values is added. Reported losses do
        not include the penalty.
    clip_norm
        Maximum norm of the gradients of all parameters together, as in ``torch.nn.utils.clip_grad_norm_``. Default:
        None, no limit.
    clip_value
        Maximum absolute value of each element of the gradients, applied after ``clip_norm``. Default: None, no limit.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.SGD(lr=0.1, clip_norm=1.0, decay_exclude=("bias", "norm"))
    SGD(lr=0.1, decay_exclude=('bias', 'norm'), clip_norm=1.0)
    """

    lr: float = 0.01
    _: KW_ONLY
    decay_exclude: tuple[str, ...] = ()
    l1: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    _at_least_0: ClassVar[tuple[str, ...]] = ()
    _below_1: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def _check_first(cls, value: object) -> None:
        is_number = getattr(value, "ndim", None) == 0  # an array or a tensor of one number
        if hasattr(value, "parameters") or (isinstance(value, Iterable) and not (is_number or isinstance(value, str))):
            raise TypeError(
                f"{cls.__name__} takes no parameters of a model, since training passes them; write "
                f"{cls.__name__}(lr=...)"
            )

    def __post_init__(self) -> None:
        self._check_flags()
        for name in ("lr", "l1", *self._at_least_0):
            self._set(name, finite_number(name, getattr(self, name)))
        for name in self._below_1:
            self._set(name, fraction(name, getattr(self, name)))
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                self._set(name, positive_number(name, getattr(self, name)))
        self._set("decay_exclude", _excluded(self.decay_exclude))


@dataclass(frozen=True, kw_only=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent; equivalent to ``torch.optim.SGD``.

    The parameters of `Optimizer` are accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    momentum
        Decay rate of the momentum buffer.
    dampening
        Fraction of each gradient that is not added to the momentum buffer.
    weight_decay
        Factor of the parameters that is added to the gradients (L2 penalty).
    nesterov
        Whether to use Nesterov momentum. Requires a momentum above 0 and no dampening.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.SGD(lr=0.01, momentum=0.9)
    SGD(lr=0.01, momentum=0.9)
    """

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    _at_least_0: ClassVar[tuple[str, ...]] = ("momentum", "weight_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("dampening", any_number("dampening", self.dampening))
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                f"nesterov=True requires momentum above 0 and dampening=0, got momentum={self.momentum} and "
                f"dampening={self.dampening}"
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class _AdamLike(Optimizer):
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    _at_least_0: ClassVar[tuple[str, ...]] = ("eps", "weight_decay")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("betas", _betas("betas", self.betas))


@dataclass(frozen=True, repr=False)
class Adam(_AdamLike):
    """Adam; equivalent to ``torch.optim.Adam``. Weight decay is added to the gradients.

    The parameters of `Optimizer` are accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    betas
        Decay rates of the running means of the gradient and of its square.
    eps
        Added to the denominator for numerical stability.
    weight_decay
        Factor of the parameters that is added to the gradients (L2 penalty).
    amsgrad
        Whether to use the AMSGrad variant, which divides by the maximum of the second moments so far.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.Adam(lr=0.002, betas=(0.9, 0.99), decay_exclude=("bias", "norm"))
    Adam(lr=0.002, decay_exclude=('bias', 'norm'), betas=(0.9, 0.99))
    """

    lr: float = 1e-3
    _: KW_ONLY
    amsgrad: bool = False


@dataclass(frozen=True, repr=False)
class AdamW(_AdamLike):
    """Adam with decoupled weight decay; equivalent to ``torch.optim.AdamW``.

    The parameters of `Optimizer` are accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    betas
        Decay rates of the running means of the gradient and of its square.
    eps
        Added to the denominator for numerical stability.
    weight_decay
        Decoupled weight decay: each step multiplies the parameters by ``1 - lr * weight_decay``.
    amsgrad
        Whether to use the AMSGrad variant, which divides by the maximum of the second moments so far.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.AdamW(weight_decay=0.05)
    AdamW(lr=0.001, weight_decay=0.05)
    """

    lr: float = 1e-3
    _: KW_ONLY
    weight_decay: float = 0.01
    amsgrad: bool = False


@dataclass(frozen=True, repr=False)
class NAdam(_AdamLike):
    """Adam with Nesterov momentum; equivalent to ``torch.optim.NAdam``.

    The parameters of `Optimizer` are accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    betas
        Decay rates of the running means of the gradient and of its square.
    eps
        Added to the denominator for numerical stability.
    weight_decay
        Factor of the weight decay; see ``decoupled_weight_decay``.
    momentum_decay
        Decay rate of the momentum schedule.
    decoupled_weight_decay
        Whether weight decay shrinks the parameters, as in AdamW, instead of being added to the gradients.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.NAdam()
    NAdam(lr=0.002)
    """

    lr: float = 2e-3
    _: KW_ONLY
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    _at_least_0: ClassVar[tuple[str, ...]] = ("eps", "weight_decay", "momentum_decay")


@dataclass(frozen=True, kw_only=True, repr=False)
class RMSprop(Optimizer):
    """RMSprop; equivalent to ``torch.optim.RMSprop``.

    Each gradient is divided by the square root of the running mean of its square. The parameters of `Optimizer` are
    accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    alpha
        Decay rate of the running mean of the squared gradient.
    eps
        Added to the denominator for numerical stability.
    weight_decay
        Factor of the parameters that is added to the gradients (L2 penalty).
    momentum
        Decay rate of the momentum buffer.
    centered
        Whether to divide by an estimate of the standard deviation of the gradient instead of its root mean square.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.RMSprop(lr=0.001, centered=True)
    RMSprop(lr=0.001, centered=True)
    """

    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    _at_least_0: ClassVar[tuple[str, ...]] = ("eps", "weight_decay", "momentum")
    _below_1: ClassVar[tuple[str, ...]] = ("alpha",)


@dataclass(frozen=True, kw_only=True, repr=False)
class Adagrad(Optimizer):
    """Adagrad; equivalent to ``torch.optim.Adagrad``.

    Each gradient is divided by the square root of the sum of its squares so far. The parameters of `Optimizer` are
    accepted too.

    Parameters
    ----------
    lr
        Learning rate.
    lr_decay
        Decay of the learning rate: step n, counted from 0, uses ``lr / (1 + n * lr_decay)``.
    weight_decay
        Factor of the parameters that is added to the gradients (L2 penalty).
    initial_accumulator_value
        Initial value of the sum of squared gradients.
    eps
        Added to the denominator for numerical stability.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.Adagrad(lr=0.05)
    Adagrad(lr=0.05)
    """

    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    _at_least_0: ClassVar[tuple[str, ...]] = ("lr_decay", "weight_decay", "initial_accumulator_value", "eps")


@dataclass(frozen=True, repr=False)
class Muon(Optimizer):
    """Muon for weights of convolutions and linear layers, AdamW for all other parameters.

    Equivalent to ``torch.optim.Muon`` and ``torch.optim.AdamW``. The weight of a convolution, [out, in, height,
    width], is used as the matrix [out, in * height * width]. The parameters of `Optimizer` are accepted too.

    Parameters
    ----------
    lr
        Learning rate of Muon. Schedules scale ``adam_lr`` in proportion.
    momentum
        Decay rate of the momentum buffer.
    weight_decay
        Decoupled weight decay of the weights that Muon updates.
    nesterov
        Whether to use Nesterov momentum.
    ns_coefficients
        Coefficients of the Newton-Schulz iteration.
    eps
        Lower bound of the norm by which the update is divided.
    ns_steps
        Number of Newton-Schulz iterations.
    adjust_lr_fn
        Scaling of the learning rate by the shape of the matrix: ``"original"`` or ``"match_rms_adamw"``.
    adam_lr
        Learning rate of AdamW.
    adam_betas
        Decay rates of AdamW's running means of the gradient and of its square.
    adam_eps
        Added to AdamW's denominator for numerical stability.
    adam_weight_decay
        Decoupled weight decay of the parameters that AdamW updates.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.optim.Muon(lr=0.02, adam_lr=0.003)
    Muon(lr=0.02, adam_lr=0.003)
    """

    lr: float = 1e-3
    _: KW_ONLY
    momentum: float = 0.95
    weight_decay: float = 0.1
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str = "original"
    adam_lr: float = 3e-4
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = 1e-8
    adam_weight_decay: float = 0.0

    _at_least_0: ClassVar[tuple[str, ...]] = ("weight_decay", "eps", "adam_lr", "adam_eps", "adam_weight_decay")
    _below_1: ClassVar[tuple[str, ...]] = ("momentum",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("lr", positive_number("lr", self.lr))
        self._set("adam_betas", _betas("adam_betas", self.adam_betas))
        self._set("ns_coefficients", numbers("ns_coefficients", self.ns_coefficients, 3))
        self._set("ns_steps", whole_number("ns_steps", self.ns_steps, maximum=99))
        choice("adjust_lr_fn", self.adjust_lr_fn, ("original", "match_rms_adamw"))


# ---- conversion for the core


def settings(optimizer: Optimizer) -> dict[str, Any]:
    """Return the settings for ``core.TrainingRun``. The learning rate is passed with each epoch instead."""
    values = {each.name: getattr(optimizer, each.name) for each in fields(optimizer)}
    for name in ("lr", "decay_exclude"):
        del values[name]
    for name in ("clip_norm", "clip_value"):
        values[name] = math.inf if values[name] is None else values[name]
    if "betas" in values:
        values["beta1"], values["beta2"] = values.pop("betas")
    kind = type(optimizer).__name__
    if isinstance(optimizer, Adam | AdamW):
        kind, values["decoupled_weight_decay"] = "Adam", isinstance(optimizer, AdamW)
    if isinstance(optimizer, Muon):
        values |= _muon_settings(optimizer)
        for name in ("ns_coefficients", "adjust_lr_fn", "adam_lr", "adam_betas"):
            del values[name]
    return {"kind": kind, **values}


def _muon_settings(optimizer: Muon) -> dict[str, Any]:
    values: dict[str, Any] = dict(
        zip(("coefficient_a", "coefficient_b", "coefficient_c"), optimizer.ns_coefficients, strict=True)
    )
    values["match_rms_adamw"] = optimizer.adjust_lr_fn == "match_rms_adamw"
    values["adam_rate"] = optimizer.adam_lr / optimizer.lr
    values["adam_beta1"], values["adam_beta2"] = optimizer.adam_betas
    return values


def undecayed_ranges(optimizer: Optimizer, network: core.Network) -> list[tuple[int, int]]:
    """Return the ranges [begin, end) of the flat parameter array to which weight decay and L1 do not apply."""
    nodes = network.nodes
    ranges = []
    for name, shape, node, offset in network.parameter_specs:
        is_bias = "bias" in optimizer.decay_exclude and name.rpartition(".")[2] == "bias"
        is_norm = "norm" in optimizer.decay_exclude and nodes[node]["op"] in _NORMS
        if is_bias or is_norm:
            ranges.append((offset, offset + math.prod(shape)))
    return ranges


# ---- checks


def _betas(name: str, values: object) -> tuple[float, ...]:
    return tuple(fraction(name, value) for value in numbers(name, values, 2))


def _excluded(names: object) -> tuple[str, ...]:
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, tuple | list) or any(name not in _EXCLUDABLE for name in names):
        raise ValueError(f"decay_exclude must contain only {', '.join(map(repr, _EXCLUDABLE))}, got {names!r}")
    return tuple(names)

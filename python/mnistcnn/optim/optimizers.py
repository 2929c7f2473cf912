"""Optimizers as values: what to do, not the state of doing it.

All do the arithmetic of their namesakes in ``torch.optim``, in one pass over all parameters.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from mnistcnn._internal.checks import any_number, finite_number, numbers, positive_number, share, whole_number
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core

_NORMS = ("batchnorm2d", "batchnorm1d", "instancenorm2d", "groupnorm", "layernorm")
_EXCLUDABLE = ("bias", "norm")


@dataclass(frozen=True, repr=False)
class Optimizer(Value, abstract=True):
    """What all optimizers have in common.

    Parameters
    ----------
    lr
        The learning rate; a schedule of the training replaces it step by step.
    decay_exclude
        What weight decay and ``l1`` leave alone: ``"bias"`` (every bias), ``"norm"`` (weights and biases of norms).
    l1
        Adds the gradient of ``l1`` times the sum of all absolute values, as if that were part of the loss. The losses
        that are reported stay without it.
    clip_norm
        Scales the gradients of all parameters together to at most this length, as ``clip_grad_norm_``.
    clip_value
        Bounds every single gradient, after ``clip_norm``.
    """

    lr: float = 0.01
    _: KW_ONLY
    decay_exclude: tuple[str, ...] = ()
    l1: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    _at_least_0: ClassVar[tuple[str, ...]] = ()
    _below_1: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        self._check_flags()
        for name in ("lr", "l1", *self._at_least_0):
            self._set(name, finite_number(name, getattr(self, name)))
        for name in self._below_1:
            self._set(name, share(name, getattr(self, name)))
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                self._set(name, positive_number(name, getattr(self, name)))
        self._set("decay_exclude", _excluded(self.decay_exclude))

    def __repr__(self) -> str:
        """The learning rate, and what differs from the defaults."""
        shown = [each for each in fields(self) if each.name == "lr" or getattr(self, each.name) != each.default]
        return f"{type(self).__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in shown)})"


@dataclass(frozen=True, kw_only=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with the arithmetic of ``torch.optim.SGD``.

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
            raise ValueError("nesterov=True needs a momentum above 0 and dampening=0")


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
    """``torch.optim.Adam``: weight decay is added to the gradients.

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
    """``torch.optim.AdamW``: weight decay shrinks the parameters themselves.

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
    """``torch.optim.NAdam``: Adam with Nesterov's momentum.

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
    """``torch.optim.RMSprop``: each gradient is divided by the root of its square's running mean.

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
    """``torch.optim.Adagrad``: each gradient is divided by the root of all its squares so far.

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
    """``torch.optim.Muon`` for the weights of convolutions and linear layers, AdamW for biases, norms and slopes.

    A convolution's weight [out, in, height, width] is taken as the matrix [out, in * height * width]. Schedules move
    ``adam_lr`` in proportion to ``lr``.

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
        self._set("ns_steps", whole_number("ns_steps", self.ns_steps, most=99))
        if self.adjust_lr_fn not in ("original", "match_rms_adamw"):
            raise ValueError(f"adjust_lr_fn must be 'original' or 'match_rms_adamw', got {self.adjust_lr_fn!r}")


# ---- on the way to the core


def settings(optimizer: Optimizer) -> dict[str, Any]:
    """What ``core.Optimizer`` takes: the rule and its numbers, without the learning rate, which comes step by step."""
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
    """The stretches of the flat memory that weight decay and l1 leave alone."""
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
    return tuple(share(name, value) for value in numbers(name, values, 2))


def _excluded(names: object) -> tuple[str, ...]:
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, tuple | list) or any(name not in _EXCLUDABLE for name in names):
        raise ValueError(f"decay_exclude may name {', '.join(map(repr, _EXCLUDABLE))}, got {names!r}")
    return tuple(names)

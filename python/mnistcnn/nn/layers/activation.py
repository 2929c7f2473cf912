"""Activation functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mnistcnn._internal.checks import SMALLEST
from mnistcnn.nn.layers.base import Layer, only


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectified linear unit: ``max(x, 0)``.

    Parameters
    ----------
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.ReLU()
    ReLU()
    """

    op: ClassVar[str] = "relu"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """Leaky rectified linear unit: ``max(x, 0) + negative_slope * min(x, 0)``.

    Parameters
    ----------
    negative_slope
        Factor for negative inputs.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.LeakyReLU(0.1)
    LeakyReLU(negative_slope=0.1)
    """

    op: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Tanh(Layer):
    """Hyperbolic tangent: ``tanh(x)``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Tanh()
    Tanh()
    """

    op: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Sigmoid(Layer):
    """Logistic function: ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Sigmoid()
    Sigmoid()
    """

    op: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class GELU(Layer):
    """Gaussian error linear unit: ``x * Phi(x)``.

    Phi is the cumulative distribution function of the standard normal distribution.

    Parameters
    ----------
    approximate
        ``"none"`` for the exact function, ``"tanh"`` for the tanh approximation.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.GELU("tanh")
    GELU(approximate='tanh')
    """

    op: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = "none"

    def fields(self) -> dict[str, Any]:
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f'approximate must be "none" or "tanh", got {self.approximate!r}')
        return {"tanh_approximation": self.approximate == "tanh"}


@dataclass(frozen=True)
class SiLU(Layer):
    """Sigmoid linear unit (swish): ``x * sigmoid(x)``.

    Parameters
    ----------
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.SiLU()
    SiLU()
    """

    op: ClassVar[str] = "silu"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class ELU(Layer):
    """Exponential linear unit: ``max(x, 0) + alpha * (exp(min(x, 0)) - 1)``.

    Parameters
    ----------
    alpha
        Factor for negative inputs.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.ELU()
    ELU(alpha=1.0)
    """

    op: ClassVar[str] = "elu"
    alpha: float = 1.0
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class PReLU(Layer):
    """Leaky ReLU with trainable slopes; equivalent to ``torch.nn.PReLU``.

    Parameters
    ----------
    num_parameters
        Number of slopes: 1, or the number of channels.
    init
        Initial value of the slopes.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.PReLU()
    PReLU(num_parameters=1, init=0.25)
    """

    op: ClassVar[str] = "prelu"
    num_parameters: int = 1
    init: float = 0.25

    def fields(self) -> dict[str, Any]:
        return {"count": self.num_parameters, "initial": float(self.init)}


@dataclass(frozen=True)
class ReLU6(Layer):
    """ReLU limited to 6: ``min(max(x, 0), 6)``.

    Parameters
    ----------
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.ReLU6()
    ReLU6()
    """

    op: ClassVar[str] = "relu6"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Hardswish(Layer):
    """Piecewise approximation of SiLU: ``x * min(max(x + 3, 0), 6) / 6``.

    Parameters
    ----------
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Hardswish()
    Hardswish()
    """

    op: ClassVar[str] = "hardswish"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Mish(Layer):
    """Mish activation: ``x * tanh(log(1 + exp(x)))``.

    Parameters
    ----------
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Mish()
    Mish()
    """

    op: ClassVar[str] = "mish"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Softplus(Layer):
    """Smooth approximation of ReLU: ``log(1 + exp(beta * x)) / beta``.

    Parameters
    ----------
    beta
        Sharpness of the curve.
    threshold
        Return x itself where ``beta * x`` exceeds this value.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Softplus()
    Softplus(beta=1.0, threshold=20.0)
    """

    op: ClassVar[str] = "softplus"
    beta: float = 1.0
    threshold: float = 20.0

    def __post_init__(self) -> None:
        """Raise unless the numbers are finite and ``beta`` is not 0 in float32."""
        super().__post_init__()
        if abs(self.beta) < SMALLEST:
            raise ValueError(f"beta must not be 0 in float32, got {self.beta!r}")


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """Log-probabilities over classes or channels: ``log(softmax(x))``.

    Parameters
    ----------
    dim
        Must be 1, the classes or channels; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.LogSoftmax()
    LogSoftmax()
    """

    op: ClassVar[str] = "log_softmax"
    dim: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        only("dim", self.dim, 1, "the classes or channels")


@dataclass(frozen=True)
class Softmax(Layer):
    """Probabilities over classes or channels: ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    dim
        Must be 1, the classes or channels; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Softmax()
    Softmax()
    """

    op: ClassVar[str] = "softmax"
    dim: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        only("dim", self.dim, 1, "the classes or channels")

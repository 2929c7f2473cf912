"""Descriptions of layers: their settings, without weights and computation.

Input sizes are not arguments: they are inferred from the previous layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

Size: TypeAlias = int | tuple[int, int]


def _pair(name: str, value: Size) -> tuple[int, int]:
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(each, int) for each in value):
        return int(value[0]), int(value[1])
    raise TypeError(f"{name} must be an integer or a pair of integers (height, width), got {value!r}")


def _only(name: str, value: object, supported: int, meaning: str) -> None:
    if value != supported:
        raise ValueError(f"{name} must be {supported} ({meaning}), got {value!r}")


class Layer:
    """Base class of all layers."""

    op: ClassVar[str]

    def __new__(cls, *values: Any, **_: Any) -> Layer:
        """Raise TypeError if a call gives an input size, as ``torch.nn`` requires."""
        names = [each.name for each in fields(cls) if not each.kw_only]  # type: ignore[arg-type]
        if len(values) > len(names):
            takes = f"takes {', '.join(names)} by position" if names else "takes nothing by position"
            raise TypeError(
                f"{cls.__name__} {takes}, got {', '.join(map(repr, values))}; leave out the size of the input: "
                "it is inferred from the previous layer"
            )
        return super().__new__(cls)

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {}


@dataclass(frozen=True)
class Conv2d(Layer):
    """2-D convolution; equivalent to ``torch.nn.Conv2d``.

    Parameters
    ----------
    out_channels
        Number of output channels.
    kernel_size
        Height and width of the kernel: an integer or a pair.
    stride
        Step between applications of the kernel: an integer or a pair.
    padding
        Zeros added around the input: an integer, a pair (height, width), ``"same"`` (requires stride 1) or
        ``"valid"`` (none).
    dilation
        Distance between kernel elements: an integer or a pair.
    groups
        Number of groups of channels that are convolved separately.
    bias
        Whether to add a trainable bias to every output channel.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Conv2d(16, 3, padding="same")
    Conv2d(out_channels=16, kernel_size=3, stride=1, padding='same', dilation=1, groups=1, bias=True)
    """

    op: ClassVar[str] = "conv2d"
    out_channels: int
    kernel_size: Size
    _: KW_ONLY
    stride: Size = 1
    padding: Size | Literal["same", "valid"] = 0
    dilation: Size = 1
    groups: int = 1
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        kernel = _pair("kernel_size", self.kernel_size)
        stride = _pair("stride", self.stride)
        dilation = _pair("dilation", self.dilation)
        return {
            "out_channels": self.out_channels,
            "kernel": kernel,
            "stride": stride,
            "padding": self._border(kernel, stride, dilation),
            "dilation": dilation,
            "groups": self.groups,
            "bias": self.bias,
        }

    def _border(
        self, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """Return the padding (top, bottom, left, right)."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            if stride != (1, 1):
                raise ValueError(f'padding="same" requires stride 1, got stride={self.stride!r}')
            rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
            return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
        if isinstance(self.padding, str):
            raise ValueError(f'padding must be "same", "valid", an integer or a pair, got {self.padding!r}')
        height, width = _pair("padding", self.padding)
        return height, height, width, width


@dataclass(frozen=True)
class Linear(Layer):
    """Fully connected layer for inputs of shape [features]; equivalent to ``torch.nn.Linear``.

    Parameters
    ----------
    out_features
        Number of outputs.
    bias
        Whether to add a trainable bias to every output.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Linear(10)
    Linear(out_features=10, bias=True)
    """

    op: ClassVar[str] = "linear"
    out_features: int
    _: KW_ONLY
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"out_features": self.out_features, "bias": self.bias}


@dataclass(frozen=True)
class _RunningNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        if self.momentum is not None and self.momentum < 0:
            raise ValueError(f"momentum must not be negative, got {self.momentum!r}")
        return {
            "eps": float(self.eps),
            "momentum": -1.0 if self.momentum is None else float(self.momentum),
            "affine": self.affine,
            "track_running_stats": self.track_running_stats,
        }


@dataclass(frozen=True)
class BatchNorm2d(_RunningNorm):
    """Batch normalisation of the channels of feature maps; equivalent to ``torch.nn.BatchNorm2d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every channel.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the batch's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.BatchNorm2d()
    BatchNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    """

    op: ClassVar[str] = "batchnorm2d"


@dataclass(frozen=True)
class BatchNorm1d(_RunningNorm):
    """Batch normalisation of inputs of shape [features]; equivalent to ``torch.nn.BatchNorm1d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every feature.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the batch's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.BatchNorm1d(momentum=None)
    BatchNorm1d(eps=1e-05, momentum=None, affine=True, track_running_stats=True)
    """

    op: ClassVar[str] = "batchnorm1d"


@dataclass(frozen=True)
class InstanceNorm2d(_RunningNorm):
    """Normalisation of each channel of each image; equivalent to ``torch.nn.InstanceNorm2d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every channel.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the image's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.InstanceNorm2d(affine=True)
    InstanceNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=False)
    """

    op: ClassVar[str] = "instancenorm2d"
    _: KW_ONLY
    affine: bool = False
    track_running_stats: bool = False


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Normalisation of groups of channels of each image; equivalent to ``torch.nn.GroupNorm``.

    Parameters
    ----------
    num_groups
        Number of groups; must divide the number of channels.
    eps
        Added to the variance for numerical stability.
    affine
        Whether to apply a trainable scale and shift to every channel.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.GroupNorm(4)
    GroupNorm(num_groups=4, eps=1e-05, affine=True)
    """

    op: ClassVar[str] = "groupnorm"
    num_groups: int
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"groups": self.num_groups, "eps": float(self.eps), "affine": self.affine}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalisation of each image over its last dimensions; equivalent to ``torch.nn.LayerNorm``.

    Parameters
    ----------
    normalized_shape
        Sizes of the last dimensions, over which mean and variance are computed.
    eps
        Added to the variance for numerical stability.
    affine
        Whether to apply a trainable scale to every element (``elementwise_affine`` in PyTorch).
    bias
        Whether to add a trainable shift to every element. Only used with ``affine=True``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.LayerNorm((8, 28, 28))
    LayerNorm(normalized_shape=(8, 28, 28), eps=1e-05, affine=True, bias=True)
    """

    op: ClassVar[str] = "layernorm"
    normalized_shape: int | tuple[int, ...]
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        shape = self.normalized_shape
        return {
            "normalized_shape": [shape] if isinstance(shape, int) else list(shape),
            "eps": float(self.eps),
            "affine": self.affine,
            "bias": self.bias,
        }


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """Maximum over windows; equivalent to ``torch.nn.MaxPool2d``.

    Parameters
    ----------
    kernel_size
        Height and width of the window: an integer or a pair.
    stride
        Step between windows: an integer or a pair. Default: ``kernel_size``.
    padding
        Border of minus infinity added around the input: an integer or a pair.
    dilation
        Distance between elements of a window: an integer or a pair.
    ceil_mode
        Whether to round the output size up instead of down.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.MaxPool2d(2, 2)
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    op: ClassVar[str] = "maxpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    dilation: Size = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        kernel = _pair("kernel_size", self.kernel_size)
        return {
            "kernel": kernel,
            "stride": kernel if self.stride is None else _pair("stride", self.stride),
            "padding": _pair("padding", self.padding),
            "dilation": _pair("dilation", self.dilation),
            "ceil_mode": self.ceil_mode,
        }


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """Mean over windows; equivalent to ``torch.nn.AvgPool2d``.

    Parameters
    ----------
    kernel_size
        Height and width of the window: an integer or a pair.
    stride
        Step between windows: an integer or a pair. Default: ``kernel_size``.
    padding
        Zeros added around the input: an integer or a pair.
    ceil_mode
        Whether to round the output size up instead of down.
    count_include_pad
        Whether the padding counts as elements of the window.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.AvgPool2d(2)
    AvgPool2d(kernel_size=2, stride=None, padding=0, ceil_mode=False, count_include_pad=True)
    """

    op: ClassVar[str] = "avgpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        kernel = _pair("kernel_size", self.kernel_size)
        return {
            "kernel": kernel,
            "stride": kernel if self.stride is None else _pair("stride", self.stride),
            "padding": _pair("padding", self.padding),
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
        }


@dataclass(frozen=True)
class AdaptiveAvgPool2d(Layer):
    """Average pooling to a given output size; equivalent to ``torch.nn.AdaptiveAvgPool2d``.

    Parameters
    ----------
    output_size
        Height and width of the output: an integer or a pair. 1 is global average pooling.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.AdaptiveAvgPool2d(1)
    AdaptiveAvgPool2d(output_size=1)
    """

    op: ClassVar[str] = "adaptive_avgpool2d"
    output_size: Size

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"output": _pair("output_size", self.output_size)}


@dataclass(frozen=True)
class Flatten(Layer):
    """Feature map [channels, height, width] flattened to [features]; equivalent to ``torch.nn.Flatten``.

    Parameters
    ----------
    start_dim
        Must be 1; accepted for compatibility with ``torch.nn``.
    end_dim
        Must be -1; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Flatten()
    Flatten()
    """

    op: ClassVar[str] = "flatten"
    start_dim: int = field(default=1, repr=False, compare=False)
    end_dim: int = field(default=-1, repr=False, compare=False)

    def __post_init__(self) -> None:
        _only("start_dim", self.start_dim, 1, "all dimensions but the batch")
        _only("end_dim", self.end_dim, -1, "all dimensions but the batch")


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

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"negative_slope": float(self.negative_slope)}


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
    """Gaussian error linear unit: ``x * Phi(x)``, with Phi the standard normal distribution function.

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
        """Return the settings under the core's names."""
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

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"alpha": float(self.alpha)}


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
        """Return the settings under the core's names."""
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

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"beta": float(self.beta), "threshold": float(self.threshold)}


@dataclass(frozen=True)
class Reciprocal(Layer):
    """Elementwise reciprocal: ``1 / x``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Reciprocal()
    Reciprocal()
    """

    op: ClassVar[str] = "reciprocal"


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout: set elements to zero with probability ``p`` in training and scale the rest by ``1 / (1 - p)``.

    With ``always=True`` it also drops in evaluation, as ``F.dropout(x)`` without ``training=self.training`` does. Each
    call of the model then draws a new mask; `mnistcnn.test` and `mnistcnn.predict` draw the same masks in every call.

    Parameters
    ----------
    p
        Probability of setting an element to zero.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.
    always
        Whether to drop in evaluation too.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Dropout(0.1)
    Dropout(p=0.1, always=False)
    """

    op: ClassVar[str] = "dropout"
    p: float = 0.5
    inplace: bool = field(default=False, repr=False, compare=False)
    _: KW_ONLY
    always: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"probability": float(self.p), "always": self.always}


@dataclass(frozen=True)
class Dropout2d(Layer):
    """Dropout of whole channels: set each to zero with probability ``p`` in training and scale the rest.

    The remaining channels are multiplied by ``1 / (1 - p)``. See `Dropout` for ``always``.

    Parameters
    ----------
    p
        Probability of setting a channel to zero.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.
    always
        Whether to drop in evaluation too.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Dropout2d(0.1)
    Dropout2d(p=0.1, always=False)
    """

    op: ClassVar[str] = "dropout2d"
    p: float = 0.5
    inplace: bool = field(default=False, repr=False, compare=False)
    _: KW_ONLY
    always: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"probability": float(self.p), "always": self.always}


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
        _only("dim", self.dim, 1, "the classes or channels")


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
        _only("dim", self.dim, 1, "the classes or channels")


@dataclass(frozen=True)
class Add(Layer):
    """Elementwise sum of two or more inputs of the same shape.

    Use it in a `Node`. `Residual` is a shorter form for residual blocks.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Add(), inputs=("a", "b"))
    Node(layer=Add(), inputs=('a', 'b'))
    """

    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Multiply(Layer):
    """Elementwise product of two inputs; dimensions of size 1 in the second are broadcast.

    Use it in a `Node`. For example, gates of shape [C, 1, 1] scale the channels of a feature map [C, H, W].

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Multiply(), inputs=("x", "gates"))
    Node(layer=Multiply(), inputs=('x', 'gates'))
    """

    op: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Reshape(Layer):
    """Same elements in another shape, in row-major order.

    Parameters
    ----------
    shape
        New shape of an image's tensor: (channels, height, width) or (features,).

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Reshape((784,))
    Reshape(shape=(784,))
    """

    op: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"shape": list(self.shape)}


@dataclass(frozen=True)
class Pad(Layer):
    """Padding around a feature map.

    Parameters
    ----------
    padding
        Width of the border: an integer, a pair (height, width), or (top, bottom, left, right).
    mode
        Values of the border: ``"constant"`` (zeros), ``"reflect"`` (mirrored), ``"replicate"`` (nearest pixel) or
        ``"circular"`` (opposite side).

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Pad(2, "reflect")
    Pad(padding=2, mode='reflect')
    """

    op: ClassVar[str] = "pad"
    padding: Size | tuple[int, int, int, int]
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        border = self.padding
        if isinstance(border, int) or len(border) != 4:
            height, width = _pair("padding", border)
            border = (height, height, width, width)
        return {"padding": tuple(border), "mode": self.mode}


@dataclass(frozen=True)
class Concat(Layer):
    """Concatenation of several inputs along the channels or features.

    Use it in a `Node`. `Branches` is a shorter form for parallel branches.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Concat(), inputs=("a", "b"))
    Node(layer=Concat(), inputs=('a', 'b'))
    """

    op: ClassVar[str] = "concat"


@dataclass(frozen=True)
class Permute(Layer):
    """Dimensions of an image's tensor in another order.

    Parameters
    ----------
    order
        Old positions in the new order, without the batch: (1, 2, 0) turns [C, H, W] into [H, W, C].

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Permute((1, 2, 0))
    Permute(order=(1, 2, 0))
    """

    op: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"order": list(self.order)}


@dataclass(frozen=True)
class Slice(Layer):
    """Elements ``start:stop:step`` of one dimension.

    Parameters
    ----------
    dimension
        Dimension to slice, counted from 0 without the batch.
    start
        Index of the first element.
    stop
        Index after the last element.
    step
        Distance between elements.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Slice(0, 0, 4)
    Slice(dimension=0, start=0, stop=4, step=1)
    """

    op: ClassVar[str] = "slice"
    dimension: int
    start: int
    stop: int
    step: int = 1

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"dimension": self.dimension, "start": self.start, "stop": self.stop, "step": self.step}


@dataclass(frozen=True)
class Expand(Layer):
    """Broadcast of dimensions of size 1 to a given shape, as in ``torch.Tensor.expand``.

    Parameters
    ----------
    shape
        New shape of an image's tensor, without the batch.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Expand((8, 28, 28))
    Expand(shape=(8, 28, 28))
    """

    op: ClassVar[str] = "expand"
    shape: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"shape": list(self.shape)}


@dataclass(frozen=True)
class Amax(Layer):
    """Maximum over one dimension, which keeps size 1; equivalent to ``torch.amax`` with ``keepdim=True``.

    Equal maxima share the gradient evenly.

    Parameters
    ----------
    dimension
        Dimension to reduce, counted from 0 without the batch.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Amax(0)
    Amax(dimension=0)
    """

    op: ClassVar[str] = "amax"
    dimension: int

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"dimension": self.dimension}


@dataclass(frozen=True)
class Detach(Layer):
    """Identity in the forward that stops the gradient in the backward, as ``torch.Tensor.detach``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Detach()
    Detach()
    """

    op: ClassVar[str] = "detach"


@dataclass(frozen=True)
class ScaleShift(Layer):
    """Affine map with constants: ``x * scale + shift``.

    Used for networks that rescale their input in the forward.

    Parameters
    ----------
    scale
        Constant factor.
    shift
        Constant added after scaling.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.ScaleShift(2.0, -1.0)
    ScaleShift(scale=2.0, shift=-1.0)
    """

    op: ClassVar[str] = "scale_shift"
    scale: float = 1.0
    shift: float = 0.0

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names."""
        return {"scale": float(self.scale), "shift": float(self.shift)}


@dataclass(frozen=True)
class Node:
    """Layer with explicitly named inputs, for graphs that are not a chain.

    Parameters
    ----------
    layer
        Layer to apply.
    inputs
        Names of earlier nodes. A name is looked up in the same block, then in the enclosing blocks. ``"input"`` is
        the image.

    Examples
    --------
    >>> import mnistcnn
    >>> layers = {"a": mnistcnn.layers.Conv2d(4, 3, padding=1), "b": mnistcnn.layers.Conv2d(4, 3, padding=1),
    ...           "sum": mnistcnn.layers.Node(mnistcnn.layers.Add(), inputs=("a", "b"))}
    >>> mnistcnn.Model(layers).output_shape
    (4, 28, 28)
    """

    layer: Layer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Residual:
    """Residual block: ``layers(x) + shortcut(x)``.

    Parameters
    ----------
    layers
        Layers of the main branch.
    shortcut
        Layers of the shortcut. Default: the identity.

    Examples
    --------
    >>> import mnistcnn
    >>> block = mnistcnn.layers.Residual([mnistcnn.layers.Conv2d(8, 3, padding=1), mnistcnn.layers.ReLU()],
    ...                           shortcut=mnistcnn.layers.Conv2d(8, 1))
    >>> mnistcnn.Model([block]).output_shape
    (8, 28, 28)
    """

    layers: Layers
    shortcut: Layers = ()


@dataclass(frozen=True)
class Branches:
    """Parallel branches of one input, with their outputs concatenated along the channels.

    Parameters
    ----------
    branches
        Layers of each branch: a list, or a mapping whose keys name the branches.

    Examples
    --------
    >>> import mnistcnn
    >>> block = mnistcnn.layers.Branches([mnistcnn.layers.Conv2d(4, 1), mnistcnn.layers.Conv2d(8, 3, padding=1)])
    >>> mnistcnn.Model([block]).output_shape
    (12, 28, 28)
    """

    branches: tuple[Layers, ...] | list[Layers] | Mapping[str, Layers]


Layers: TypeAlias = "Layer | Node | Residual | Branches | Sequence[Layers] | Mapping[str, Layers]"
LAYER_KINDS: dict[str, type[Layer]] = {
    kind.op: kind
    for kind in (
        *(Conv2d, Linear, BatchNorm2d, BatchNorm1d, InstanceNorm2d, GroupNorm, LayerNorm),
        *(MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten),
        *(ReLU, LeakyReLU, Tanh, Sigmoid, GELU, SiLU, ELU, PReLU, ReLU6, Hardswish, Mish, Softplus, Reciprocal),
        *(Dropout, Dropout2d, LogSoftmax, Softmax, Add, Multiply, Concat, Reshape, Expand, Pad, Permute, Slice),
        *(Amax, Detach, ScaleShift),
    )
}

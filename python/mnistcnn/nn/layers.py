"""The layers as descriptions: what a network consists of, never what it computes.

Input sizes are never given: a layer takes them from what stands before it.
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
    """What all layers share."""

    op: ClassVar[str]

    def __new__(cls, *values: Any, **_: Any) -> Layer:
        """Catches PyTorch's habit of giving input sizes."""
        names = [each.name for each in fields(cls) if not each.kw_only]  # type: ignore[arg-type]
        if len(values) > len(names):
            takes = f"takes {', '.join(names)} by position" if names else "takes nothing by position"
            raise TypeError(
                f"{cls.__name__} {takes}, got {', '.join(map(repr, values))}; the size of its input is not given here, "
                "it follows from the layer before"
            )
        return super().__new__(cls)

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {}


@dataclass(frozen=True)
class Conv2d(Layer):
    """A 2-D convolution.

    Parameters
    ----------
    out_channels
        The number of output channels.
    kernel_size, stride, dilation
        An integer, or a pair (height, width).
    padding
        Zeros around the map: an integer, a pair, ``"same"`` (stride 1 only) or ``"valid"``.
    groups
        Channels are split into this many groups that don't see each other.
    bias
        Whether a trainable number is added to every output channel.

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
        """The layer's values as the core names them."""
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
        """Top, bottom, left, right."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            if stride != (1, 1):
                raise ValueError(f'padding="same" needs stride 1, got stride={self.stride!r}')
            rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
            return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
        if isinstance(self.padding, str):
            raise ValueError(f'padding must be "same", "valid", an integer or a pair, got {self.padding!r}')
        height, width = _pair("padding", self.padding)
        return height, height, width, width


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer on a flat input."""

    op: ClassVar[str] = "linear"
    out_features: int
    _: KW_ONLY
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"out_features": self.out_features, "bias": self.bias}


@dataclass(frozen=True)
class _RunningNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
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
    """Batch normalisation of the channels of a map. ``momentum=None`` averages over all batches."""

    op: ClassVar[str] = "batchnorm2d"


@dataclass(frozen=True)
class BatchNorm1d(_RunningNorm):
    """Batch normalisation of the features of a flat input."""

    op: ClassVar[str] = "batchnorm1d"


@dataclass(frozen=True)
class InstanceNorm2d(_RunningNorm):
    """Normalisation of every channel of every image by itself."""

    op: ClassVar[str] = "instancenorm2d"
    _: KW_ONLY
    affine: bool = False
    track_running_stats: bool = False


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Normalisation of groups of channels of every image."""

    op: ClassVar[str] = "groupnorm"
    num_groups: int
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"groups": self.num_groups, "eps": float(self.eps), "affine": self.affine}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalisation of every image over its last dimensions, ``normalized_shape``."""

    op: ClassVar[str] = "layernorm"
    normalized_shape: int | tuple[int, ...]
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        shape = self.normalized_shape
        return {
            "normalized_shape": [shape] if isinstance(shape, int) else list(shape),
            "eps": float(self.eps),
            "affine": self.affine,
            "bias": self.bias,
        }


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """The maximum of every window. ``stride=None`` is the kernel's size."""

    op: ClassVar[str] = "maxpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    dilation: Size = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
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
    """The mean of every window. ``stride=None`` is the kernel's size."""

    op: ClassVar[str] = "avgpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
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
    """The mean of windows chosen so that the output has a given size; 1 is global average pooling."""

    op: ClassVar[str] = "adaptive_avgpool2d"
    output_size: Size

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"output": _pair("output_size", self.output_size)}


@dataclass(frozen=True)
class Flatten(Layer):
    """A map as one flat row, channel by channel."""

    op: ClassVar[str] = "flatten"
    start_dim: int = field(default=1, repr=False, compare=False)
    end_dim: int = field(default=-1, repr=False, compare=False)

    def __post_init__(self) -> None:
        _only("start_dim", self.start_dim, 1, "all dimensions but the batch")
        _only("end_dim", self.end_dim, -1, "all dimensions but the batch")


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0)."""

    op: ClassVar[str] = "relu"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """X where it is positive, else ``negative_slope * x``."""

    op: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01
    inplace: bool = field(default=False, repr=False, compare=False)

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"negative_slope": float(self.negative_slope)}


@dataclass(frozen=True)
class Tanh(Layer):
    """The hyperbolic tangent."""

    op: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    op: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class GELU(Layer):
    """The Gaussian error linear unit, exact or by its ``"tanh"`` approximation."""

    op: ClassVar[str] = "gelu"
    approximate: Literal["none", "tanh"] = "none"

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        if self.approximate not in ("none", "tanh"):
            raise ValueError(f'approximate must be "none" or "tanh", got {self.approximate!r}')
        return {"tanh_approximation": self.approximate == "tanh"}


@dataclass(frozen=True)
class SiLU(Layer):
    """X * sigmoid(x)."""

    op: ClassVar[str] = "silu"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class ELU(Layer):
    """X where it is positive, else ``alpha * (exp(x) - 1)``."""

    op: ClassVar[str] = "elu"
    alpha: float = 1.0
    inplace: bool = field(default=False, repr=False, compare=False)

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"alpha": float(self.alpha)}


@dataclass(frozen=True)
class PReLU(Layer):
    """A leaky ReLU whose slope is trained: one slope, or one per channel (``num_parameters``)."""

    op: ClassVar[str] = "prelu"
    num_parameters: int = 1
    init: float = 0.25

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"count": self.num_parameters, "initial": float(self.init)}


@dataclass(frozen=True)
class ReLU6(Layer):
    """min(max(x, 0), 6)."""

    op: ClassVar[str] = "relu6"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Hardswish(Layer):
    """X * min(max(x + 3, 0), 6) / 6."""

    op: ClassVar[str] = "hardswish"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Mish(Layer):
    """Apply ``x * tanh(log(1 + exp(x)))``."""

    op: ClassVar[str] = "mish"
    inplace: bool = field(default=False, repr=False, compare=False)


@dataclass(frozen=True)
class Softplus(Layer):
    """Apply ``log(1 + exp(beta * x)) / beta``; return x itself where ``beta * x`` exceeds ``threshold``."""

    op: ClassVar[str] = "softplus"
    beta: float = 1.0
    threshold: float = 20.0

    def fields(self) -> dict[str, Any]:
        """Return the layer's values under the core's names."""
        return {"beta": float(self.beta), "threshold": float(self.threshold)}


@dataclass(frozen=True)
class Reciprocal(Layer):
    """Compute 1 / x."""

    op: ClassVar[str] = "reciprocal"


@dataclass(frozen=True)
class Dropout(Layer):
    """Sets each number to zero with probability ``p`` in training, and scales the rest by 1 / (1 - p).

    With ``always=True`` in evaluation too, as ``F.dropout(x)`` without ``training=self.training`` does: each call of
    the model then draws another mask, while `mnistcnn.test` and `mnistcnn.predict` draw the same ones every time.
    """

    op: ClassVar[str] = "dropout"
    p: float = 0.5
    inplace: bool = field(default=False, repr=False, compare=False)
    _: KW_ONLY
    always: bool = False

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"probability": float(self.p), "always": self.always}


@dataclass(frozen=True)
class Dropout2d(Layer):
    """Dropout of whole channels; with ``always=True`` in evaluation too."""

    op: ClassVar[str] = "dropout2d"
    p: float = 0.5
    inplace: bool = field(default=False, repr=False, compare=False)
    _: KW_ONLY
    always: bool = False

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"probability": float(self.p), "always": self.always}


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """Log-probabilities over classes or channels."""

    op: ClassVar[str] = "log_softmax"
    dim: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        _only("dim", self.dim, 1, "the classes or channels")


@dataclass(frozen=True)
class Softmax(Layer):
    """Probabilities over classes or channels."""

    op: ClassVar[str] = "softmax"
    dim: int = field(default=1, repr=False, compare=False)

    def __post_init__(self) -> None:
        _only("dim", self.dim, 1, "the classes or channels")


@dataclass(frozen=True)
class Add(Layer):
    """The sum of several inputs of one shape; used with `Node` (see also `Residual`)."""

    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Multiply(Layer):
    """The product of two inputs; used with `Node`.

    Where the second has size 1, its number serves the whole dimension of the first: gates [C, 1, 1] scale the
    channels of a map [C, H, W].
    """

    op: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Reshape(Layer):
    """The same numbers in another shape, row by row: [channels, height, width] or [features]."""

    op: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"shape": list(self.shape)}


@dataclass(frozen=True)
class Pad(Layer):
    """A wider map.

    Parameters
    ----------
    padding
        An integer, a pair (height, width), or (top, bottom, left, right).
    mode
        What the border holds: zeros (``"constant"``), the map's mirror image (``"reflect"``), its nearest pixel
        (``"replicate"``), or its other side (``"circular"``).
    """

    op: ClassVar[str] = "pad"
    padding: Size | tuple[int, int, int, int]
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        border = self.padding
        if isinstance(border, int) or len(border) != 4:
            height, width = _pair("padding", border)
            border = (height, height, width, width)
        return {"padding": tuple(border), "mode": self.mode}


@dataclass(frozen=True)
class Concat(Layer):
    """The channels of several inputs side by side; used with `Node` (see also `Branches`)."""

    op: ClassVar[str] = "concat"


@dataclass(frozen=True)
class Permute(Layer):
    """Dimensions in a new order, counted without the batch: (1, 2, 0) makes [H, W, C] of [C, H, W]."""

    op: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"order": list(self.order)}


@dataclass(frozen=True)
class Slice(Layer):
    """Elements ``start:stop:step`` of one dimension, counted without the batch."""

    op: ClassVar[str] = "slice"
    dimension: int
    start: int
    stop: int
    step: int = 1

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"dimension": self.dimension, "start": self.start, "stop": self.stop, "step": self.step}


@dataclass(frozen=True)
class Expand(Layer):
    """Repeat dimensions of size 1 until an image's input has this shape, as ``torch.Tensor.expand`` does."""

    op: ClassVar[str] = "expand"
    shape: tuple[int, ...]

    def fields(self) -> dict[str, Any]:
        """Return the layer's values under the core's names."""
        return {"shape": list(self.shape)}


@dataclass(frozen=True)
class Amax(Layer):
    """Take the maximum over one dimension, counted without the batch; the dimension keeps size 1.

    Equal maxima share the gradient evenly, as in ``torch.amax``.
    """

    op: ClassVar[str] = "amax"
    dimension: int

    def fields(self) -> dict[str, Any]:
        """Return the layer's values under the core's names."""
        return {"dimension": self.dimension}


@dataclass(frozen=True)
class Detach(Layer):
    """Return the input and pass no gradient back."""

    op: ClassVar[str] = "detach"


@dataclass(frozen=True)
class ScaleShift(Layer):
    """X * scale + shift with constants, for networks that rescale their input themselves."""

    op: ClassVar[str] = "scale_shift"
    scale: float = 1.0
    shift: float = 0.0

    def fields(self) -> dict[str, Any]:
        """The layer's values as the core names them."""
        return {"scale": float(self.scale), "shift": float(self.shift)}


@dataclass(frozen=True)
class Node:
    """A layer whose inputs are named: other nodes of the same block, full names, or ``"input"``, the image.

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
    """``layers(x) + shortcut(x)``; without ``shortcut``, ``layers(x) + x``.

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
    """Several ways for one input, their outputs side by side along the channels."""

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

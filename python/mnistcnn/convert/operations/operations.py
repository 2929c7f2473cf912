"""Handlers of PyTorch's functions and methods.

Each handler adds the nodes of one function. `FUNCTIONS` maps names to handlers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mnistcnn.convert.errors import UnsupportedError
from mnistcnn.convert.operations.builder import Builder, Shape, TracedValue
from mnistcnn.nn.layers import (
    ELU,
    GELU,
    Conv2d,
    Hardswish,
    Layer,
    LeakyReLU,
    Linear,
    LogSoftmax,
    Mish,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)


@dataclass
class Call:
    """Call of a function on recorded values."""

    builder: Builder
    name: str  # of the node to add
    result: Any  # what PyTorch computed
    batch: int
    value: Callable[[Any], TracedValue]
    tensor_name: Callable[[Any, str], str]  # (parameter, its role) -> its name in the user's module
    owner: str | None = None  # path of the module whose `forward` makes the call
    training: bool | None = None

    def shape(self, result: Any = None) -> Shape:
        """Return the shape of one image's result. Raise UnsupportedError if dimension 0 is not the batch."""
        result = self.result if result is None else result
        if result.dim() == 0 or result.shape[0] != self.batch:
            raise UnsupportedError(
                f"it mixes the images of a batch: {self.batch} images give a tensor {list(result.shape)}; "
                "the first dimension must remain the batch, as in x.flatten(1) or x.view(x.size(0), -1)"
            )
        return tuple(result.shape[1:])

    def dimension(self, dimension: int, rank: int) -> int:
        """Return a dimension counted without the batch dimension."""
        if dimension % rank == 0:
            raise UnsupportedError(
                "it operates along dimension 0, across the images of a batch; the channels are dimension 1"
            )
        return dimension % rank - 1


Handler = Callable[..., Any]


# ---- layers with weights


def conv2d(
    call: Call,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> TracedValue:
    """Add a convolution. A preceding zero padding becomes part of it."""
    builder = call.builder
    node = builder.as_map(call.value(x), "a convolution")
    kernel = tuple(weight.shape[2:])
    layer = _Convolution(
        weight.shape[0], kernel, stride=pair(stride), padding=_padding(padding),
        dilation=pair(dilation), groups=groups, bias=bias is not None,
    )  # fmt: skip
    previous = builder.nodes[node] if node >= 0 else None
    if previous is not None and isinstance(previous.layer, Pad) and previous.layer.mode == "constant":
        padding_before = previous.layer.fields()["padding"]
        layer = replace(layer, extra_padding=tuple(padding_before))
        node = previous.inputs[0]
    return builder.add(layer, [node], call.shape(), call.name, tensors=_weights(call, weight, bias))


@dataclass(frozen=True)
class _Convolution(Conv2d):
    """Convolution that includes a preceding zero padding."""

    extra_padding: tuple[int, ...] = (0, 0, 0, 0)

    def fields(self) -> dict[str, Any]:
        fields = super().fields()
        return {**fields, "padding": tuple(a + b for a, b in zip(fields["padding"], self.extra_padding, strict=True))}


def conv1d(
    call: Call,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> TracedValue:
    """Add a 1-D convolution as a 2-D convolution of height 1."""
    value = call.value(x)
    channels, length = value.shape
    node = call.builder.node_in_shape(value, (channels, 1, length))
    side: Any = padding if isinstance(padding, str) else (0, single(padding))
    layer = Conv2d(
        weight.shape[0], (1, weight.shape[2]), stride=(1, single(stride)), padding=side,
        dilation=(1, single(dilation)), groups=groups, bias=bias is not None,
    )  # fmt: skip
    shape = call.shape()
    output = call.builder.add(layer, [node], (shape[0], 1, shape[1]), call.name, tensors=_weights(call, weight, bias))
    return replace(output, shape=shape)


def linear(call: Call, x: Any, weight: Any, bias: Any = None) -> TracedValue:
    """Add a linear layer on the last dimension; with further dimensions before it, a convolution with kernel 1."""
    value, builder = call.value(x), call.builder
    tensors = _weights(call, weight, bias)
    outputs, inputs = weight.shape
    if len(value.shape) == 1:
        node = builder.node_in_shape(value, (inputs,))
        return builder.add(Linear(outputs, bias=bias is not None), [node], (outputs,), call.name, tensors=tensors)
    positions = math.prod(value.shape[:-1])
    permuted = builder.permute(replace(value, shape=(positions, inputs)), [1, 0], f"{call.name}_front")
    node = builder.node_in_shape(permuted, (inputs, positions, 1))
    layer = Conv2d(outputs, 1, bias=bias is not None)
    output = builder.add(layer, [node], (outputs, positions, 1), call.name, tensors=tensors)
    restored = builder.permute(replace(output, shape=(outputs, positions)), [1, 0], f"{call.name}_back")
    return replace(restored, shape=call.shape())


def prelu(call: Call, x: Any, weight: Any) -> TracedValue:
    """Add a PReLU, with one slope or one per channel."""
    value = call.value(x)
    node = call.builder.channels_first(value)
    layer = PReLU(weight.numel())
    shape = call.builder.shape_of(node)
    output = call.builder.add(layer, [node], shape, call.name, tensors={"weight": call.tensor_name(weight, "slopes")})
    return replace(output, shape=value.shape)


def _weights(call: Call, weight: Any, bias: Any) -> dict[str, str]:
    tensors = {"weight": call.tensor_name(weight, "weight")}
    return tensors if bias is None else {**tensors, "bias": call.tensor_name(bias, "bias")}


# ---- pointwise


def _pointwise(make: Callable[..., Layer]) -> Handler:
    def handler(call: Call, x: Any, *args: Any, inplace: Any = False, **kwargs: Any) -> TracedValue:
        return call.builder.pointwise(make(*args, **kwargs), call.value(x), call.name)

    return handler


def _without_arguments(kind: Callable[[], Layer]) -> Handler:
    """Return the handler of an activation without arguments other than `inplace`."""
    return _pointwise(lambda *_: kind())


def hardtanh(call: Call, x: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> TracedValue:
    """Add a hard tanh between two bounds. Its gradient at the bounds is 0.

    A scaled ReLU6 is fast, but rounds its input to 1e-7 of the distance of the bounds. For distant bounds, two ReLUs
    per bound leave values between the bounds unchanged.
    """
    value, builder, factor = call.value(x), call.builder, (max_val - min_val) / 6
    if factor > 1:
        halves = (_excess(call, value, bound, sign) for bound, sign in ((min_val, 1.0), (max_val, -1.0)))
        return builder.sum([value, *halves], call.name)
    value = builder.scaled(value, 1 / factor, -min_val / factor, f"{call.name}_scale")
    value = builder.pointwise(ReLU6(), value, call.name)
    return builder.scaled(value, factor, min_val, f"{call.name}_shift")


def _excess(call: Call, value: TracedValue, bound: float, sign: float) -> TracedValue:
    """Return ``sign * (u + relu(-u))`` for ``u = sign * (bound - value)``: ``max(u, 0)`` with gradient 1 at 0."""
    builder = call.builder
    distance = builder.scaled(value, -sign, sign * bound, f"{call.name}_shift")
    negative = builder.scaled(distance, -1.0, 0.0, f"{call.name}_minus")
    parts = [distance, builder.pointwise(ReLU(), negative, f"{call.name}_relu")]
    return builder.scaled(builder.sum(parts, f"{call.name}_excess"), sign, 0.0, f"{call.name}_sign")


def clamp(call: Call, x: Any, min: Any = None, max: Any = None) -> TracedValue:  # noqa: A002 - PyTorch's names
    """Add a clamp. Values between the bounds do not change, and the gradient at the bounds is 1, as in PyTorch."""
    if isinstance(min, torch.Tensor) or isinstance(max, torch.Tensor):
        raise UnsupportedError("it clamps to a tensor; use numbers")
    value = call.value(x)
    for bound, sign in ((min, 1.0), (max, -1.0)):
        if bound is not None:
            value = _bounded(call, value, float(bound), sign)
    return value


def _bounded(call: Call, value: TracedValue, bound: float, sign: float) -> TracedValue:
    """Return ``max(value, bound)`` as ``value + relu(bound - value)``, or for sign -1 the minimum in the same way.

    The sum rounds the bound to the precision of the value. A bound beyond 0, such as ``min=1e-6``, may be much closer
    to 0 than the value, so the value is first bounded by 0, which is exact.
    """
    builder = call.builder
    if sign * bound > 0:
        value = _bounded(call, value, 0.0, sign)
    distance = builder.scaled(value, -sign, sign * bound, f"{call.name}_shift")
    excess = builder.pointwise(ReLU(), distance, f"{call.name}_relu")
    return builder.sum([value, builder.scaled(excess, sign, 0.0, f"{call.name}_sign")], call.name)


def hardsigmoid(call: Call, x: Any, inplace: bool = False) -> TracedValue:
    """Add relu6(x + 3) / 6."""
    value = call.builder.scaled(call.value(x), 1.0, 3.0, f"{call.name}_scale")
    return call.builder.scaled(call.builder.pointwise(ReLU6(), value, call.name), 1 / 6, 0.0, f"{call.name}_shift")


def selu(call: Call, x: Any, inplace: bool = False) -> TracedValue:
    """Add a scaled ELU."""
    value = call.builder.pointwise(ELU(1.6732632423543772), call.value(x), call.name)
    return call.builder.scaled(value, 1.0507009873554805, 0.0, f"{call.name}_scale")


def celu(call: Call, x: Any, alpha: float = 1.0, inplace: bool = False) -> TracedValue:
    """Add alpha * elu(x / alpha)."""
    value = call.builder.scaled(call.value(x), 1 / alpha, 0.0, f"{call.name}_scale")
    value = call.builder.pointwise(ELU(1.0), value, call.name)
    return call.builder.scaled(value, alpha, 0.0, f"{call.name}_back")


def _softmax(layer: Layer) -> Handler:
    def handler(call: Call, x: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> TracedValue:
        value = call.value(x)
        rank = len(value.shape) + 1
        if dim is None:  # PyTorch's legacy default
            dim = 0 if rank in (0, 1, 3) else 1
        return call.builder.apply_along(value, call.dimension(dim, rank), layer, call.name)

    return handler


def log(call: Call, x: Any) -> TracedValue:
    """Replace a softmax by a log-softmax. Raise UnsupportedError for any other input."""
    value, nodes = call.value(x), call.builder.nodes
    if value.node < 0 or not isinstance(nodes[value.node].layer, Softmax):
        raise UnsupportedError("a logarithm is supported after a softmax only, as in torch.log(F.softmax(x, dim=1))")
    previous = nodes[value.node]
    return replace(value, node=call.builder.add(LogSoftmax(), previous.inputs, previous.shape, call.name).node)


def pair(value: Any) -> Any:
    """Return an integer, or (height, width)."""
    if isinstance(value, Sequence | torch.Size):
        return (int(value[0]), int(value[-1]))
    return int(value)


def _padding(value: Any) -> Any:
    return value if isinstance(value, str) else pair(value)


def single(value: Any) -> int:
    """Return an integer that may be given as (integer,)."""
    return int(value[0] if isinstance(value, Sequence) else value)


FUNCTIONS: dict[str, Handler] = {
    "conv2d": conv2d, "conv1d": conv1d, "linear": linear, "prelu": prelu,
    "relu": _without_arguments(ReLU), "relu6": _without_arguments(ReLU6), "tanh": _without_arguments(Tanh),
    "sigmoid": _without_arguments(Sigmoid),
    "silu": _without_arguments(SiLU), "hardswish": _without_arguments(Hardswish), "hardsigmoid": hardsigmoid,
    "leaky_relu": _pointwise(LeakyReLU), "elu": _pointwise(ELU), "gelu": _pointwise(GELU), "selu": selu,
    "celu": celu, "hardtanh": hardtanh, "clamp": clamp, "clip": clamp,
    "mish": _without_arguments(Mish), "softplus": _pointwise(Softplus),
    "softmax": _softmax(Softmax()), "log_softmax": _softmax(LogSoftmax()), "log": log,
}  # fmt: skip

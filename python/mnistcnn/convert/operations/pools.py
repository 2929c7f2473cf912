"""PyTorch's pooling functions, means, sums and extrema."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from mnistcnn.convert.errors import UnsupportedError
from mnistcnn.convert.operations import arithmetic
from mnistcnn.convert.operations.arithmetic import elementwise_maximum
from mnistcnn.convert.operations.builder import TracedValue
from mnistcnn.convert.operations.operations import Call, Handler, pair, single
from mnistcnn.nn.layers import AdaptiveAvgPool2d, Amax, AvgPool2d, Layer, MaxPool2d


def max_pool2d(
    call: Call,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> TracedValue:
    """Add a max pool."""
    if return_indices:
        raise UnsupportedError("return_indices is not supported")
    layer = MaxPool2d(
        pair(kernel_size), stride=pair(stride) if stride else None, padding=pair(padding), dilation=pair(dilation),
        ceil_mode=ceil_mode,
    )  # fmt: skip
    return _pooled(call, x, layer)


def avg_pool2d(
    call: Call,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> TracedValue:
    """Add an average pool."""
    if divisor_override is not None:
        raise UnsupportedError("divisor_override is not supported; scale the output of the pool instead")
    layer = AvgPool2d(
        pair(kernel_size), stride=pair(stride) if stride else None, padding=pair(padding), ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )  # fmt: skip
    return _pooled(call, x, layer)


def _pooled(call: Call, x: Any, layer: Layer) -> TracedValue:
    node = call.builder.as_map(call.value(x), "a pool")
    return call.builder.add(layer, [node], call.shape(), call.name)


def pool1d(pool: Handler) -> Handler:
    """Return the handler of a 1-D pool, which adds a 2-D pool of height 1."""

    def handler(
        call: Call, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *remaining: Any, **options: Any
    ) -> TracedValue:
        if "dilation" in options:
            options["dilation"] = (1, single(options["dilation"]))
        stride = (1, single(stride)) if stride else None
        value = call.value(x)
        shape = call.shape()
        call_2d = replace(call, value=lambda _: replace(value, shape=(value.shape[0], 1, value.shape[1])))
        call_2d.result = call.result.unsqueeze(2)
        pooled: TracedValue = pool(
            call_2d, x, (1, single(kernel_size)), stride, (0, single(padding)), *remaining, **options
        )
        return replace(pooled, shape=shape)

    return handler


def adaptive_avg_pool2d(call: Call, x: Any, output_size: Any) -> TracedValue:
    """Add an adaptive average pool. None as a size keeps the size of the input."""
    return _pooled(call, x, AdaptiveAvgPool2d(call.shape()[1:]))  # type: ignore[arg-type]


def adaptive_max_pool2d(call: Call, x: Any, output_size: Any, return_indices: bool = False) -> TracedValue:
    """Add a max pool. The size of the output must divide the size of the input."""
    value, shape = call.value(x), call.shape()
    windows = [divmod(size, wanted) for size, wanted in zip(value.shape[1:], shape[1:], strict=True)]
    if any(remaining for _, remaining in windows):
        raise UnsupportedError(
            f"an adaptive max pool from {list(value.shape[1:])} to {list(shape[1:])} needs windows of equal size"
        )
    rows, columns = (ratio for ratio, _ in windows)
    return _pooled(call, x, MaxPool2d((rows, columns)))


def mean(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> TracedValue:
    """Return the mean over adjacent dimensions, or over stacked values."""
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        return call.builder.scaled(_sum_of(call, stacked), 1 / len(stacked), 0.0, f"{call.name}_scale")
    node, columns = _reducible_node(call, call.value(x), dim)
    rows = call.builder.shape_of(node)[0]
    pooled = call.builder.add(AdaptiveAvgPool2d((1, columns)), [node], (rows, 1, columns), call.name)
    return replace(pooled, shape=call.shape())


def total(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> TracedValue:
    """Return the sum over adjacent dimensions, as mean * count, or over stacked values."""
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        return _sum_of(call, stacked)
    value = call.value(x)
    count = math.prod(value.shape) // max(1, math.prod(call.shape()))
    averaged = mean(replace(call, name=f"{call.name}_mean"), x, dim, keepdim)
    return call.builder.scaled(averaged, float(count), 0.0, call.name)


def amax(call: Call, x: Any, dim: Any = None, keepdim: bool = False) -> TracedValue:
    """Return the maximum over adjacent dimensions. Equal maxima share the gradient."""
    return _extreme(call, x, dim, 1.0)


def amin(call: Call, x: Any, dim: Any = None, keepdim: bool = False) -> TracedValue:
    """Return the minimum over adjacent dimensions."""
    return _extreme(call, x, dim, -1.0)


def _extreme(call: Call, x: Any, dim: Any, sign: float) -> TracedValue:
    builder, stacked = call.builder, _stacked(call, x, dim)
    values = [builder.scaled(each, sign, 0.0, f"{call.name}_minus") for each in stacked or [call.value(x)]]
    if stacked is not None:
        largest = elementwise_maximum(builder, values, call.name)
    else:
        node, columns = _reducible_node(call, values[0], None if dim == () else dim)
        rows = builder.shape_of(node)[0]
        largest = builder.add(Amax(1), [node], (rows, 1, columns), call.name)
    return builder.scaled(replace(largest, shape=call.shape()), sign, 0.0, f"{call.name}_back")


def maximum(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return ``x.max(dim)`` without its indices, or the elementwise maximum of two values."""
    other = dim if isinstance(dim, torch.Tensor) else other
    if other is not None:
        return arithmetic.maximum(call, x, other)
    if not isinstance(dim, int):
        raise UnsupportedError("it reduces over all images of the batch; specify a dimension, as in x.max(dim=1)")
    result = call.result
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        raise UnsupportedError(
            "max(0) of a stack is not supported: it passes the gradient to one of equal values; use amax(0)"
        )
    node, columns = _reducible_node(call, call.value(x), dim)
    rows, height, _ = call.builder.shape_of(node)
    pooled = call.builder.add(MaxPool2d((height, 1)), [node], (rows, 1, columns), call.name)
    return [replace(pooled, shape=call.shape(result[0])), None]


def minimum(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the elementwise minimum of two values."""
    other = dim if isinstance(dim, torch.Tensor) else other
    if other is None:
        raise UnsupportedError(
            "min is supported for two tensors only; use x.amin(dim), where equal minima share the gradient"
        )
    return arithmetic.minimum(call, x, other)


def _stacked(call: Call, x: Any, dim: Any) -> list[TracedValue] | None:
    """Return the values stacked along dimension 0 if the reduction is over that dimension, else None."""
    try:
        call.value(x)
    except UnsupportedError as unsupported:
        if unsupported.stacked is None or dim not in (0, -x.dim(), (0,), [0]):
            raise
        values: list[TracedValue] = unsupported.stacked
        return values
    return None


def _sum_of(call: Call, values: list[TracedValue]) -> TracedValue:
    total = values[0] if len(values) == 1 else call.builder.sum(values, call.name)
    return replace(total, shape=call.shape())


def _reducible_node(call: Call, value: TracedValue, dim: Any) -> tuple[int, int]:
    """Return a node [before, reduced dimensions, after] and the size of its last dimension."""
    rank = len(value.shape) + 1
    if dim is None:
        raise UnsupportedError("it reduces over all images of the batch; specify the dimensions, as in x.mean((2, 3))")
    wanted = sorted({call.dimension(each, rank) for each in ([dim] if isinstance(dim, int) else dim)})
    if wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise UnsupportedError(f"it reduces over the dimensions {dim}, which must be adjacent")
    node = call.builder.node_in_3d(value, wanted[0], len(wanted))
    return node, call.builder.shape_of(node)[2]


FUNCTIONS: dict[str, Handler] = {
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "adaptive_max_pool2d": adaptive_max_pool2d,
    "max_pool1d": pool1d(max_pool2d),
    "avg_pool1d": pool1d(avg_pool2d),
    "mean": mean,
    "sum": total,
    "max": maximum,
    "min": minimum,
    "amax": amax,
    "amin": amin,
}

"""PyTorch's pools, means, sums and maxima."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from mnistcnn.convert.errors import RefusalError
from mnistcnn.convert.operations import arithmetic
from mnistcnn.convert.operations.arithmetic import largest_of
from mnistcnn.convert.operations.builder import Value
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
) -> Value:
    """The maximum of windows."""
    if return_indices:
        raise RefusalError("it asks a max pool for its indices, which mnistcnn doesn't give")
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
) -> Value:
    """The mean of windows."""
    if divisor_override is not None:
        raise RefusalError("divisor_override is not known; scale the pool's output instead")
    layer = AvgPool2d(
        pair(kernel_size), stride=pair(stride) if stride else None, padding=pair(padding), ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )  # fmt: skip
    return _pooled(call, x, layer)


def _pooled(call: Call, x: Any, layer: Layer) -> Value:
    node = call.builder.as_map(call.value(x), "a pool")
    return call.builder.add(layer, [node], call.shape(), call.name)


def pool1d(pool: Handler) -> Handler:
    """A pool over a row as one over a map with one row."""

    def handler(
        call: Call, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *rest: Any, **more: Any
    ) -> Value:
        if "dilation" in more:
            more["dilation"] = (1, single(more["dilation"]))
        stride = (1, single(stride)) if stride else None
        value = call.value(x)
        shape = call.shape()
        wide = replace(call, value=lambda _: replace(value, shape=(value.shape[0], 1, value.shape[1])))
        wide.result = call.result.unsqueeze(2)
        made: Value = pool(wide, x, (1, single(kernel_size)), stride, (0, single(padding)), *rest, **more)
        return replace(made, shape=shape)

    return handler


def adaptive_avg_pool2d(call: Call, x: Any, output_size: Any) -> Value:
    """A None keeps the input's size."""
    return _pooled(call, x, AdaptiveAvgPool2d(call.shape()[1:]))  # type: ignore[arg-type]


def adaptive_max_pool2d(call: Call, x: Any, output_size: Any, return_indices: bool = False) -> Value:
    """Where the output's size divides the input's."""
    value, shape = call.value(x), call.shape()
    ratios = [divmod(size, wanted) for size, wanted in zip(value.shape[1:], shape[1:], strict=True)]
    if any(rest for _, rest in ratios):
        raise RefusalError(f"an adaptive max pool from {list(value.shape[1:])} to {list(shape[1:])} has uneven windows")
    rows, columns = (ratio for ratio, _ in ratios)
    return _pooled(call, x, MaxPool2d((rows, columns)))


def mean(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Average over neighbouring dimensions, or over a stack of values."""
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        return call.builder.scaled(_summed(call, stacked), 1 / len(stacked), 0.0, f"{call.name}_scale")
    node, columns = _reduced(call, call.value(x), dim)
    rows = call.builder.shape_of(node)[0]
    pooled = call.builder.add(AdaptiveAvgPool2d((1, columns)), [node], (rows, 1, columns), call.name)
    return replace(pooled, shape=call.shape())


def total(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """Multiply the mean by the count; add up a stack of values."""
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        return _summed(call, stacked)
    value = call.value(x)
    count = math.prod(value.shape) // max(1, math.prod(call.shape()))
    averaged = mean(replace(call, name=f"{call.name}_mean"), x, dim, keepdim)
    return call.builder.scaled(averaged, float(count), 0.0, call.name)


def amax(call: Call, x: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """Take the maximum over neighbouring dimensions; equal maxima share the gradient."""
    return _extreme(call, x, dim, 1.0)


def amin(call: Call, x: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """Take the minimum over neighbouring dimensions."""
    return _extreme(call, x, dim, -1.0)


def _extreme(call: Call, x: Any, dim: Any, sign: float) -> Value:
    builder, stacked = call.builder, _stacked(call, x, dim)
    values = [builder.scaled(each, sign, 0.0, f"{call.name}_minus") for each in stacked or [call.value(x)]]
    if stacked is not None:
        found = largest_of(builder, values, call.name)
    else:
        node, columns = _reduced(call, values[0], None if dim == () else dim)
        rows = builder.shape_of(node)[0]
        found = builder.add(Amax(1), [node], (rows, 1, columns), call.name)
    return builder.scaled(replace(found, shape=call.shape()), sign, 0.0, f"{call.name}_back")


def maximum(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return ``x.max(dim)`` without its indices, or the larger of two values."""
    other = dim if isinstance(dim, torch.Tensor) else other
    if other is not None:
        return arithmetic.maximum(call, x, other)
    if not isinstance(dim, int):
        raise RefusalError("it takes the maximum over all images of the batch; name a dimension, as in x.max(dim=1)")
    result = call.result
    stacked = _stacked(call, x, dim)
    if stacked is not None:
        raise RefusalError("max(0) of a stack gives the gradient to one of equal values; use amax(0)")
    node, columns = _reduced(call, call.value(x), dim)
    rows, height, _ = call.builder.shape_of(node)
    pooled = call.builder.add(MaxPool2d((height, 1)), [node], (rows, 1, columns), call.name)
    return [replace(pooled, shape=call.shape(result[0])), None]


def minimum(call: Call, x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the smaller of two values."""
    other = dim if isinstance(dim, torch.Tensor) else other
    if other is None:
        raise RefusalError(
            "min is supported for two tensors only; use x.amin(dim), whose gradient is shared by equal minima"
        )
    return arithmetic.minimum(call, x, other)


def _stacked(call: Call, x: Any, dim: Any) -> list[Value] | None:
    """Return the values of a stack that is reduced over its first dimension, else None."""
    try:
        call.value(x)
    except RefusalError as refusal:
        if refusal.stacked is None or dim not in (0, -x.dim(), (0,), [0]):
            raise
        values: list[Value] = refusal.stacked
        return values
    return None


def _summed(call: Call, values: list[Value]) -> Value:
    total = values[0] if len(values) == 1 else call.builder.sum(values, call.name)
    return replace(total, shape=call.shape())


def _reduced(call: Call, value: Value, dim: Any) -> tuple[int, int]:
    """A map whose height is what goes away, and its width."""
    rank = len(value.shape) + 1
    if dim is None:
        raise RefusalError("it goes over all images of the batch; name the dimensions, as in x.mean((2, 3))")
    wanted = sorted({call.dimension(each, rank) for each in ([dim] if isinstance(dim, int) else dim)})
    if wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise RefusalError(f"it goes over the dimensions {dim}, which are no neighbours")
    node = call.builder.three(value, wanted[0], len(wanted))
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

"""Sums and products with a parameter outside of layers, as in ``x + self.gamma * self.block(x)``."""

from __future__ import annotations

import math
from dataclasses import replace

from mnistcnn.convert.errors import DirectParameterError, UnsupportedError
from mnistcnn.convert.operations.builder import Builder, Shape, TracedValue
from mnistcnn.nn.layers import Conv2d, Linear, ScaleShift, Slice


def multiply(builder: Builder, value: TracedValue, parameter: DirectParameterError) -> TracedValue:
    """Return value * parameter, computed by a depthwise 1x1 convolution whose weight is the parameter."""
    permuted = _parameter_dimensions_first(builder, value, parameter)
    channels = permuted.shape[0]
    node = builder.node_in_shape(permuted, permuted.shape)
    layer = Conv2d(channels, 1, groups=channels, bias=False)
    result = builder.add(layer, [node], permuted.shape, parameter.name, tensors={"weight": parameter.name})
    return _original_order(builder, result, value, parameter)


def add(builder: Builder, value: TracedValue, parameter: DirectParameterError) -> TracedValue:
    """Return value + parameter.

    The parameter becomes the bias of the preceding layer if that has none. Otherwise a 1x1 convolution of ones, whose
    weight is the parameter, is added to the value.
    """
    permuted = _parameter_dimensions_first(builder, value, parameter)
    channels = permuted.shape[0]
    before = builder.nodes[permuted.node].layer if builder.fuse_bias and permuted.node >= 0 else None
    if isinstance(before, Conv2d | Linear) and not before.bias and builder.shape_of(permuted.node)[0] == channels:
        result = builder.replace_node(permuted.node, replace(before, bias=True), {"bias": parameter.name})
        return replace(result, shape=value.shape)
    one = (1, *permuted.shape[1:])
    node = builder.node_in_shape(permuted, permuted.shape)
    first = builder.add(Slice(0, 0, 1), [node], one, f"{parameter.name}_first").node if channels > 1 else node
    ones = builder.add(ScaleShift(0.0, 1.0), [first], one, f"{parameter.name}_ones").node
    weights = {"weight": parameter.name}
    expanded_parameter = builder.add(
        Conv2d(channels, 1, bias=False), [ones], permuted.shape, parameter.name, tensors=weights
    )
    return _original_order(
        builder, builder.sum([permuted, expanded_parameter], f"{parameter.name}_add"), value, parameter
    )


def _parameter_dimensions_first(builder: Builder, value: TracedValue, parameter: DirectParameterError) -> TracedValue:
    """Return the value permuted to [size of the parameter, before, after], or unchanged if it has this order."""
    before, size, after = _split_shape(value.shape, parameter)
    if before > 1 and size > 1:
        split = replace(value, shape=(before, size, after))
        return builder.permute(split, [1, 0, 2], f"{parameter.name}_front")
    is_unchanged = len(value.shape) == 3 and value.shape[0] == size
    return value if is_unchanged else replace(value, shape=(size, before, after))


def _original_order(
    builder: Builder, result: TracedValue, value: TracedValue, parameter: DirectParameterError
) -> TracedValue:
    """Return the result with the shape and the order of dimensions of ``value``."""
    before, size, _ = _split_shape(value.shape, parameter)
    if before > 1 and size > 1:
        result = builder.permute(result, [1, 0, 2], f"{parameter.name}_back")
    result = replace(result, shape=value.shape)
    return (
        TracedValue(builder.node_in_shape(result, result.shape), result.shape)
        if len(result.shape) in (1, 3)
        else result
    )


def _split_shape(shape: Shape, parameter: DirectParameterError) -> tuple[int, int, int]:
    """Return three products of sizes: of the dimensions before, along and after those in which the parameter varies."""
    given = parameter.shape
    if len(given) == len(shape) + 1 and given[0] == 1:  # batch dimension
        given = given[1:]
    padded = (1,) * (len(shape) - len(given)) + given
    varying = [dimension for dimension, size in enumerate(padded) if size != 1]
    first, end = (varying[0], varying[-1] + 1) if varying else (0, 0)
    if len(padded) != len(shape) or padded[first:end] != shape[first:end]:
        raise UnsupportedError(
            f"the parameter '{parameter.name}' has shape {list(parameter.shape)}, and the values [N, "
            f"{', '.join(map(str, shape))}]; the parameter must match adjacent dimensions and have size 1 in all others"
        )
    return math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:])

"""Sums and products with a parameter that belongs to no layer, as ``x + self.gamma * self.block(x)``."""

from __future__ import annotations

import math
from dataclasses import replace

from mnistcnn.convert.errors import DirectParameterError, RefusalError
from mnistcnn.convert.operations.builder import Builder, Shape, Value
from mnistcnn.nn.layers import Conv2d, Linear, ScaleShift, Slice


def times(builder: Builder, value: Value, parameter: DirectParameterError) -> Value:
    """A convolution with kernel 1 of each channel by itself, whose weight is the parameter."""
    front = _channels_in_front(builder, value, parameter)
    channels = front.shape[0]
    node = builder.place(front, front.shape)
    layer = Conv2d(channels, 1, groups=channels, bias=False)
    made = builder.add(layer, [node], front.shape, parameter.name, tensors={"weight": parameter.name})
    return _back(builder, made, value, parameter)


def plus(builder: Builder, value: Value, parameter: DirectParameterError) -> Value:
    """The bias of the layer before, where it has none; else weights of a map of ones, added."""
    front = _channels_in_front(builder, value, parameter)
    channels = front.shape[0]
    before = builder.found[front.node].layer if builder.joins and front.node >= 0 else None
    if isinstance(before, Conv2d | Linear) and not before.bias and builder.shape_of(front.node)[0] == channels:
        made = builder.instead(front.node, replace(before, bias=True), {"bias": parameter.name})
        return replace(made, shape=value.shape)
    one = (1, *front.shape[1:])
    node = builder.place(front, front.shape)
    first = builder.add(Slice(0, 0, 1), [node], one, f"{parameter.name}_first").node if channels > 1 else node
    ones = builder.add(ScaleShift(0.0, 1.0), [first], one, f"{parameter.name}_ones").node
    weights = {"weight": parameter.name}
    map_of_it = builder.add(Conv2d(channels, 1, bias=False), [ones], front.shape, parameter.name, tensors=weights)
    return _back(builder, builder.sum([front, map_of_it], f"{parameter.name}_add"), value, parameter)


def _channels_in_front(builder: Builder, value: Value, parameter: DirectParameterError) -> Value:
    """The value as [numbers of the parameter, what repeats before, what repeats behind]; maps as they are."""
    before, own, behind = _parted(value.shape, parameter)
    if before > 1 and own > 1:
        parted = replace(value, shape=(before, own, behind))
        return builder.permute(parted, [1, 0, 2], f"{parameter.name}_front")
    as_it_is = len(value.shape) == 3 and value.shape[0] == own
    return value if as_it_is else replace(value, shape=(own, before, behind))


def _back(builder: Builder, made: Value, value: Value, parameter: DirectParameterError) -> Value:
    """In the shape and order of the value that came in."""
    before, own, _ = _parted(value.shape, parameter)
    if before > 1 and own > 1:
        made = builder.permute(made, [1, 0, 2], f"{parameter.name}_back")
    made = replace(made, shape=value.shape)
    return Value(builder.place(made, made.shape), made.shape) if len(made.shape) in (1, 3) else made


def _parted(shape: Shape, parameter: DirectParameterError) -> tuple[int, int, int]:
    """The sizes of an image's dimensions before, within and behind those along which the parameter differs."""
    given = parameter.shape
    if len(given) == len(shape) + 1 and given[0] == 1:  # a dimension for the images
        given = given[1:]
    wide = (1,) * (len(shape) - len(given)) + given
    along = [dimension for dimension, size in enumerate(wide) if size != 1]
    first, end = (along[0], along[-1] + 1) if along else (0, 0)
    if len(wide) != len(shape) or wide[first:end] != shape[first:end]:
        raise RefusalError(
            f"the parameter '{parameter.name}' has shape {list(parameter.shape)}, and the values [N, "
            f"{', '.join(map(str, shape))}]; it must have their sizes in neighbouring dimensions, and 1 in all others"
        )
    return math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:])

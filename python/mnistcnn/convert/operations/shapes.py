"""PyTorch's functions that only move or choose numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from mnistcnn.convert.errors import DirectParameterError, RefusalError
from mnistcnn.convert.operations.builder import Value
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Detach, Pad


def same(call: Call, x: Any, *_: Any, **__: Any) -> Value | DirectParameterError:
    """Copies and conversions that change nothing here."""
    try:
        return call.value(x)
    except DirectParameterError as parameter:
        return parameter


def reshape(call: Call, x: Any, *_: Any, **__: Any) -> Value | DirectParameterError:
    """All views: the same numbers, row by row; also by way of a view that has no dimension for the images."""
    try:
        value = call.value(x)
    except DirectParameterError as parameter:
        return parameter.seen_as(tuple(call.result.shape))
    except RefusalError as refusal:
        if refusal.value is None:
            raise
        value = refusal.value
    try:
        return replace(value, shape=call.shape())
    except RefusalError as refusal:
        refusal.value = value
        raise


def detach(call: Call, x: Any, *_: Any, **__: Any) -> Value:
    """Stop the gradient."""
    return call.builder.pointwise(Detach(), call.value(x), call.name)


def permutation(function: Any) -> Handler:
    """Of any function that reorders dimensions: what it does to a tensor of distinct sizes says the order."""

    def handler(call: Call, x: Any, *args: Any, **kwargs: Any) -> Value:
        value = call.value(x)
        probe = torch.empty(tuple(range(2, 3 + len(value.shape))))
        order = [size - 2 for size in function(probe, *args, **kwargs).shape]
        if order[0] != 0:
            raise RefusalError("it moves the first dimension, the images of a batch")
        return call.builder.permute(value, [each - 1 for each in order[1:]], call.name)

    return handler


def getitem(call: Call, x: Any, index: Any) -> Value | DirectParameterError:
    """Slices and single positions behind the batch's dimension; of a parameter new dimensions only."""
    try:
        value = call.value(x)
    except DirectParameterError as parameter:
        if call.result.numel() != x.numel():
            raise
        return parameter.seen_as(tuple(call.result.shape))
    return replace(_picked(call, value, index), shape=call.shape())


def _picked(call: Call, value: Value, index: Any) -> Value:
    items = list(index) if isinstance(index, tuple) else [index]
    named = sum(each is not None and each is not Ellipsis for each in items)
    if any(not (each is None or each is Ellipsis or isinstance(each, int | slice)) for each in items):
        raise RefusalError("it picks elements by a list or a tensor; slices and numbers are known")
    if Ellipsis not in items:
        items.append(Ellipsis)
    position = items.index(Ellipsis)
    items[position : position + 1] = [slice(None)] * (len(value.shape) + 1 - named)
    items = [each for each in items if each is not None]
    if items[0] != slice(None):
        raise RefusalError("it picks some of the batch's images; the first index must be ':'")
    for dimension, item in enumerate(items[1:]):
        size = value.shape[dimension]
        start, stop, step = (item if isinstance(item, slice) else slice(item % size, item % size + 1)).indices(size)
        value = call.builder.slice(value, dimension, start, stop, step, call.name)
    return value


def narrow(call: Call, x: Any, dim: int, start: int, length: int) -> Value:
    """A stretch of one dimension."""
    value = call.value(x)
    at = call.dimension(dim, len(value.shape) + 1)
    start %= value.shape[at]
    return call.builder.slice(value, at, start, start + length, 1, call.name)


def select(call: Call, x: Any, dim: int, index: int) -> Value:
    """One position of a dimension."""
    value = narrow(call, x, dim, index, 1)
    return replace(value, shape=call.shape())


def parts(call: Call, x: Any, _: Any = None, dim: int = 0) -> list[Value]:
    """chunk, split, tensor_split: stretches of one dimension, one behind the other."""
    value = call.value(x)
    at = call.dimension(dim, len(value.shape) + 1)
    found, start = [], 0
    for result in call.result:
        shape = call.shape(result)
        size = shape[at] if result.dim() == len(value.shape) + 1 else 1
        piece = call.builder.slice(value, at, start, start + size, 1, call.name)
        found.append(replace(piece, shape=shape))
        start += size
    return found


def unbind(call: Call, x: Any, dim: int = 0) -> list[Value]:
    """Every position of a dimension."""
    return parts(call, x, None, dim)


def cat(call: Call, tensors: Any, dim: int = 0, *, axis: int | None = None) -> Value:
    """Side by side along one dimension."""
    values = [call.value(each) for each in tensors]
    at = call.dimension(dim if axis is None else axis, len(values[0].shape) + 1)
    return replace(call.builder.concat(values, at, call.name), shape=call.shape())


def stack(call: Call, tensors: Any, dim: int = 0) -> Value:
    """Join values along a new dimension; in front of the images only for a reduction that follows."""
    values = [call.value(each) for each in tensors]
    if dim % (len(values[0].shape) + 2) == 0:
        refusal = RefusalError(
            "it stacks tensors along dimension 0, in front of the images; mnistcnn supports this only if sum(0), "
            "mean(0) or amax(0) follows; otherwise stack along dimension 1 or higher"
        )
        refusal.stacked = values
        raise refusal
    at = call.dimension(dim, len(values[0].shape) + 2)
    raised = [replace(each, shape=(*each.shape[:at], 1, *each.shape[at:])) for each in values]
    return replace(call.builder.concat(raised, at, call.name), shape=call.shape())


def repeat(call: Call, x: Any, *_: Any, **__: Any) -> Value:
    """Expand or repeat dimensions; PyTorch's result says how often."""
    value, shape = call.value(x), call.shape()
    if len(shape) != len(value.shape):
        raise RefusalError(
            f"it adds dimensions in front of the images: from {list(x.shape)} it makes {list(call.result.shape)}; "
            "insert them behind the first dimension before, as in x[:, :, None]"
        )
    ones = tuple(new if old == 1 else old for old, new in zip(value.shape, shape, strict=True))
    value = call.builder.expand(value, ones, call.name)
    for dimension, (old, new) in enumerate(zip(ones, shape, strict=True)):
        if new != old:
            value = call.builder.repeat(value, dimension, new // old, call.name)
    return value


def pad(call: Call, x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    """Around maps and rows; zeros around channels too."""
    if value not in (None, 0) and mode == "constant":
        raise RefusalError(f"it pads with {value}; only zeros are known")
    if any(each < 0 for each in pad):
        raise RefusalError(f"its padding {tuple(pad)} cuts off; use slices")
    given, builder = call.value(x), call.builder
    left, right, top, bottom, *channels = [*pad, 0, 0, 0, 0][: max(4, len(pad))]
    if any(channels):
        if mode != "constant" or top or bottom or left or right or len(given.shape) != 3:
            raise RefusalError(
                f"a padding {tuple(pad)} of channels is known with zeros only, and without one of the map"
            )
        node = builder.place(given, (1, given.shape[0], given.shape[1] * given.shape[2]))
        top, bottom = channels[0], channels[1]
    elif len(given.shape) == 3:
        node = builder.place(given, given.shape)
    else:
        rows = given.shape[0] if len(given.shape) == 2 else 1
        node = builder.place(given, (1, rows, given.shape[-1]))
    before = builder.shape_of(node)
    shape = (before[0], before[1] + top + bottom, before[2] + left + right)
    layer = Pad((top, bottom, left, right), mode)  # type: ignore[arg-type]
    return replace(builder.add(layer, [node], shape, call.name), shape=call.shape())


def square(call: Call, x: Any) -> Value:
    """The product with itself."""
    return call.builder.product(call.value(x), call.value(x), call.name)


_SAME = ("contiguous", "clone", "to", "float", "cpu", "type", "type_as", "requires_grad_", "alias", "identity", "cuda")
_VIEWS = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as", "ravel")
_REPEATS = ("expand", "expand_as", "broadcast_to", "repeat", "tile")
_ORDERS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis")
FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_VIEWS, reshape),
    **{name: permutation(getattr(torch.Tensor, name)) for name in _ORDERS},
    "detach": detach, "data": detach, "getitem": getitem, "narrow": narrow, "select": select, "chunk": parts,
    "split": parts, "tensor_split": parts, "unbind": unbind, "cat": cat, "concat": cat, "concatenate": cat,
    "stack": stack, **dict.fromkeys(_REPEATS, repeat), "pad": pad, "square": square,
}  # fmt: skip

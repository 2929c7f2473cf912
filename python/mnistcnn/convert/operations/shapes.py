"""PyTorch's functions that move, select or repeat elements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from mnistcnn.convert.errors import DirectParameterError, UnsupportedError
from mnistcnn.convert.operations.builder import TracedValue
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Detach, Pad


def identity(call: Call, x: Any, *_: Any, **__: Any) -> TracedValue | DirectParameterError:
    """Return the value itself: a copy or a conversion without effect here."""
    if call.result.dtype != torch.float32:
        raise UnsupportedError(f"it converts to {call.result.dtype}; only torch.float32 is supported")
    try:
        return call.value(x)
    except DirectParameterError as parameter:
        return parameter


def reshape(call: Call, x: Any, *_: Any, **__: Any) -> TracedValue | DirectParameterError:
    """Return a view with the same elements in the same order. A view without the batch dimension may precede it."""
    try:
        value = call.value(x)
    except DirectParameterError as parameter:
        return parameter.reshaped(tuple(call.result.shape))
    except UnsupportedError as unsupported:
        if unsupported.value is None:
            raise
        value = unsupported.value
    try:
        return replace(value, shape=call.shape())
    except UnsupportedError as unsupported:
        unsupported.value = value
        raise


def detach(call: Call, x: Any, *_: Any, **__: Any) -> TracedValue:
    """Stop the gradient."""
    return call.builder.pointwise(Detach(), call.value(x), call.name)


def permutation(function: Any) -> Handler:
    """Return the handler of a function that reorders dimensions. A tensor of distinct sizes reveals the order."""

    def handler(call: Call, x: Any, *args: Any, **kwargs: Any) -> TracedValue:
        value = call.value(x)
        probe = torch.empty(tuple(range(2, 3 + len(value.shape))))
        order = [size - 2 for size in function(probe, *args, **kwargs).shape]
        if order[0] != 0:
            raise UnsupportedError("it moves the first dimension, the batch")
        return call.builder.permute(value, [each - 1 for each in order[1:]], call.name)

    return handler


def getitem(call: Call, x: Any, index: Any) -> TracedValue | DirectParameterError:
    """Return slices or single positions of the dimensions after the batch. A parameter may only gain dimensions."""
    try:
        value = call.value(x)
    except DirectParameterError as parameter:
        if call.result.numel() != x.numel():
            raise
        return parameter.reshaped(tuple(call.result.shape))
    return replace(_indexed(call, value, index), shape=call.shape())


def _indexed(call: Call, value: TracedValue, index: Any) -> TracedValue:
    items = list(index) if isinstance(index, tuple) else [index]
    indexed_count = sum(each is not None and each is not Ellipsis for each in items)
    if any(not (each is None or each is Ellipsis or isinstance(each, int | slice)) for each in items):
        raise UnsupportedError("it indexes with a list or a tensor; only slices and integers are supported")
    if Ellipsis not in items:
        items.append(Ellipsis)
    position = items.index(Ellipsis)
    items[position : position + 1] = [slice(None)] * (len(value.shape) + 1 - indexed_count)
    items = [each for each in items if each is not None]
    if items[0] != slice(None):
        raise UnsupportedError("it selects images of the batch; the first index must be ':'")
    for dimension, item in enumerate(items[1:]):
        size = value.shape[dimension]
        start, stop, step = (item if isinstance(item, slice) else slice(item % size, item % size + 1)).indices(size)
        value = call.builder.slice(value, dimension, start, stop, step, call.name)
    return value


def narrow(call: Call, x: Any, dim: int, start: int, length: int) -> TracedValue:
    """Return ``length`` elements of a dimension, starting at ``start``."""
    value = call.value(x)
    axis = call.dimension(dim, len(value.shape) + 1)
    start %= value.shape[axis]
    return call.builder.slice(value, axis, start, start + length, 1, call.name)


def select(call: Call, x: Any, dim: int, index: int) -> TracedValue:
    """Return the slice at ``index`` of a dimension, without that dimension."""
    value = narrow(call, x, dim, index, 1)
    return replace(value, shape=call.shape())


def split(call: Call, x: Any, _: Any = None, dim: int = 0) -> list[TracedValue]:
    """Return consecutive slices of a dimension, as chunk, split and tensor_split do."""
    value = call.value(x)
    axis = call.dimension(dim, len(value.shape) + 1)
    pieces, start = [], 0
    for result in call.result:
        shape = call.shape(result)
        size = shape[axis] if result.dim() == len(value.shape) + 1 else 1
        piece = call.builder.slice(value, axis, start, start + size, 1, call.name)
        pieces.append(replace(piece, shape=shape))
        start += size
    return pieces


def unbind(call: Call, x: Any, dim: int = 0) -> list[TracedValue]:
    """Return all slices along a dimension, each without that dimension."""
    return split(call, x, None, dim)


def cat(call: Call, tensors: Any, dim: int = 0, *, axis: int | None = None) -> TracedValue:
    """Concatenate values along one dimension."""
    values = [call.value(each) for each in tensors]
    axis = call.dimension(dim if axis is None else axis, len(values[0].shape) + 1)
    return replace(call.builder.concat(values, axis, call.name), shape=call.shape())


def stack(call: Call, tensors: Any, dim: int = 0) -> TracedValue:
    """Join values along a new dimension. Dimension 0 is supported only if a reduction over it follows."""
    values = [call.value(each) for each in tensors]
    if dim % (len(values[0].shape) + 2) == 0:
        unsupported = UnsupportedError(
            "it stacks tensors along dimension 0, in front of the batch; mnistcnn supports this only if sum(0), "
            "mean(0) or amax(0) follows; otherwise stack along dimension 1 or higher"
        )
        unsupported.stacked = values
        raise unsupported
    axis = call.dimension(dim, len(values[0].shape) + 2)
    widened = [replace(each, shape=(*each.shape[:axis], 1, *each.shape[axis:])) for each in values]
    return replace(call.builder.concat(widened, axis, call.name), shape=call.shape())


def repeat(call: Call, x: Any, *_: Any, **__: Any) -> TracedValue:
    """Expand or repeat dimensions. The shape of PyTorch's result gives the counts."""
    value, shape = call.value(x), call.shape()
    if len(shape) != len(value.shape):
        raise UnsupportedError(
            f"it adds dimensions in front of the batch: {list(x.shape)} becomes {list(call.result.shape)}; "
            "insert them after the first dimension beforehand, as in x[:, :, None]"
        )
    expanded_shape = tuple(new if old == 1 else old for old, new in zip(value.shape, shape, strict=True))
    value = call.builder.expand(value, expanded_shape, call.name)
    for dimension, (old, new) in enumerate(zip(expanded_shape, shape, strict=True)):
        if new != old:
            value = call.builder.repeat(value, dimension, new // old, call.name)
    return value


def pad(call: Call, x: Any, pad: Any, mode: str = "constant", value: Any = None) -> TracedValue:
    """Pad maps and rows. Channels can be padded with zeros only."""
    if value not in (None, 0) and mode == "constant":
        raise UnsupportedError(f"it pads with {value}; only zeros are supported")
    if any(each < 0 for each in pad):
        raise UnsupportedError(f"its padding {tuple(pad)} has negative sizes; use slices")
    given, builder = call.value(x), call.builder
    left, right, top, bottom, *channels = [*pad, 0, 0, 0, 0][: max(4, len(pad))]
    if any(channels):
        if mode != "constant" or top or bottom or left or right or len(given.shape) != 3:
            raise UnsupportedError(
                f"padding {tuple(pad)} of channels is supported with zeros only, and without padding of height or width"
            )
        node = builder.node_in_shape(given, (1, given.shape[0], given.shape[1] * given.shape[2]))
        top, bottom = channels[0], channels[1]
    elif len(given.shape) == 3:
        node = builder.node_in_shape(given, given.shape)
    else:
        rows = given.shape[0] if len(given.shape) == 2 else 1
        node = builder.node_in_shape(given, (1, rows, given.shape[-1]))
    before = builder.shape_of(node)
    shape = (before[0], before[1] + top + bottom, before[2] + left + right)
    layer = Pad((top, bottom, left, right), mode)  # type: ignore[arg-type]
    return replace(builder.add(layer, [node], shape, call.name), shape=call.shape())


def square(call: Call, x: Any) -> TracedValue:
    """Return x * x."""
    return call.builder.product(call.value(x), call.value(x), call.name)


_IDENTITIES = (
    "contiguous",
    "clone",
    "to",
    "float",
    "cpu",
    "type",
    "type_as",
    "requires_grad_",
    "alias",
    "identity",
    "cuda",
)
_VIEWS = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as", "ravel")
_REPEATS = ("expand", "expand_as", "broadcast_to", "repeat", "tile")
_PERMUTATIONS = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis")
FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(_IDENTITIES, identity),
    **dict.fromkeys(_VIEWS, reshape),
    **{name: permutation(getattr(torch.Tensor, name)) for name in _PERMUTATIONS},
    "detach": detach, "data": detach, "getitem": getitem, "narrow": narrow, "select": select, "chunk": split,
    "split": split, "tensor_split": split, "unbind": unbind, "cat": cat, "concat": cat, "concatenate": cat,
    "stack": stack, **dict.fromkeys(_REPEATS, repeat), "pad": pad, "square": square,
}  # fmt: skip

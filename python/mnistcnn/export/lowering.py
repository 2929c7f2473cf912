"""Lowering of a model to a program: one walk over its graph, for all generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnistcnn.export.program import Argument, Array, Operation, Program, Tensor, placed
from mnistcnn.nn.graph import INPUT

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

Fields: TypeAlias = dict[str, Any]
Shape: TypeAlias = tuple[int, ...]
_GATHER_DIMENSIONS = 4  # of the primitive `gather`
# Layers whose output is their input, in memory.
ALIASES = ("flatten", "reshape", "detach", "dropout", "dropout2d")


def lowered(model: Model) -> Program:
    """Return the program of a model in evaluation mode.

    Raises
    ------
    ValueError
        If a layer is not supported, or a weight is not finite.
    """
    return _Lowering(model).program()


class _Lowering:
    """Steps of a model. ``row``, ``name``, ``fields`` and shapes are those of the current node."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = model.named_tensors()
        self.rows = model._network.nodes
        self.operations: list[Operation] = []
        self.name, self.fields, self.shape, self.output_shape = "", Fields(), Shape(), Shape()
        self._readers = _readers(self.rows)

    def program(self) -> Program:
        model = self.model
        channels, height, width = model.input_shape
        image = Tensor(channels * height * width)
        values = {INPUT: image}
        for index, row in enumerate(self.rows):
            self.name, self.fields = row["name"], row["fields"]
            self.shape, self.output_shape = tuple(row["input_shapes"][0]), tuple(row["output_shape"])
            values[index] = self._lower(row["op"], [values[each] for each in row["inputs"]], row["input_shapes"])
        output = values[len(self.rows) - 1]
        placement = placed(self.operations, image, output)
        normalization = model.pixel_normalization
        return Program(
            name=model.name,
            input_shape=(channels, height, width),
            scale=tuple(normalization.scale),
            shift=tuple(normalization.shift),
            calls=placement.calls,
            memory=placement.memory,
            image=placement.image,
            output=placement.output,
            output_size=output.size,
            outputs=str(model.outputs),
            macs=sum(row["macs"] for row in self.rows),
            parameters=model.parameter_count,
        )

    def _lower(self, op: str, inputs: list[Tensor], shapes: Sequence[Shape]) -> Tensor:
        if op in ALIASES:
            if self.fields.get("always") and self.fields["probability"] > 0:
                raise self.unsupported("dropout that is active in evaluation draws random numbers")
            return inputs[0]
        return _COMBINING[op](self, inputs, shapes) if op in _COMBINING else LOWERINGS[op](self, inputs[0])

    # ---- helpers of the functions below

    def add(self, primitive: str, inputs: Sequence[Tensor], *arguments: Argument) -> Tensor:
        """Add an operation whose output has the size of the current node's, and return the output."""
        output = Tensor(prod(self.output_shape))
        self.operations.append(Operation(primitive, tuple(inputs), output, arguments))
        return output

    def update(self, primitive: str, inputs: Sequence[Tensor], *arguments: Argument) -> Tensor:
        """Add an operation that may replace its first input, and return its output."""
        output = Tensor(inputs[0].size)
        self.operations.append(Operation(primitive, tuple(inputs), output, arguments, in_place=True))
        return output

    def tensor(self, key: str, default: float | None = None, size: int = 0) -> Array:
        """Return a parameter or buffer of the current node, f32 [N]; constants if the node does not have it."""
        found = self.tensors.get(f"{self.name}.{key}")
        if found is None:
            assert default is not None
            return np.full(size, default, np.float32)
        values: Array = found.detach().cpu().numpy().astype(np.float32).ravel()
        if not np.isfinite(values).all():
            raise ValueError(f"layer '{self.name}': the tensor '{key}' contains NaN or infinite values")
        return values

    def unsupported(self, what: str) -> ValueError:
        """Return the error for a node that cannot be exported."""
        return ValueError(
            f"layer '{self.name}': {what}; all layers are supported except batch norm without running statistics and "
            "dropout with always=True"
        )

    def foldable(self, tensor: Tensor) -> int | None:
        """Return the index of the operation that computes a tensor, if an affine map can be folded into it.

        That is a convolution or linear layer with the channels of the current node, the only one that reads its output.
        """
        for index, operation in enumerate(self.operations):
            if (
                operation.output is tensor
                and operation.primitive in ("conv2d", "linear")
                and self._readers[self.name] == 1
            ):
                bias = operation.arguments[1]
                # Between both, a reshape may have changed the channels.
                return index if isinstance(bias, np.ndarray) and len(bias) == self.shape[0] else None
        return None


def _readers(rows: Sequence[Any]) -> dict[str, int]:
    """Return for each node the number of nodes that read its first input, directly or through layers without effect."""
    sources: dict[int, int] = {INPUT: INPUT}
    for index, row in enumerate(rows):
        sources[index] = sources[row["inputs"][0]] if row["op"] in ALIASES else index
    read = [sources[each] for row in rows if row["op"] not in ALIASES for each in row["inputs"]]
    return {row["name"]: read.count(sources[row["inputs"][0]]) for row in rows}


# ---- convolutions and linear layers


def _conv(w: _Lowering, x: Tensor) -> Tensor:
    f, (channels, height, width), (outs, rows, columns) = w.fields, w.shape, w.output_shape
    sizes = (channels, height, width, outs, rows, columns, *f["kernel"], *f["stride"])
    bias = w.tensor("bias", 0.0, outs)
    places = (f["padding"][0], f["padding"][2], *f["dilation"], f["groups"])
    return w.add("conv2d", [x], w.tensor("weight"), bias, *sizes, *places)


def _linear(w: _Lowering, x: Tensor) -> Tensor:
    outs = w.fields["out_features"]
    return w.add("linear", [x], w.tensor("weight"), w.tensor("bias", 0.0, outs), w.shape[0], outs)


# ---- normalization


def _batch_norm(w: _Lowering, x: Tensor) -> Tensor:
    """Fold a batch norm into the convolution or linear layer before it, or add it if others read that output too."""
    if not w.fields["track_running_stats"]:
        raise w.unsupported("a batch norm without running statistics depends on the whole batch")
    scale, shift = _scale_and_shift(w)
    index = w.foldable(x)
    if index is None:
        return _affine(w, x, scale, shift)
    before = w.operations[index]
    weight, bias, *sizes = before.arguments
    assert isinstance(weight, np.ndarray)
    folded = (weight.reshape(len(scale), -1) * scale[:, None]).astype(np.float32).ravel()
    arguments = (folded, (bias * scale + shift).astype(np.float32), *sizes)
    w.operations[index] = Operation(before.primitive, before.inputs, before.output, arguments)
    return before.output


def _scale_and_shift(w: _Lowering) -> tuple[Array, Array]:
    """Return the affine map of a norm with running statistics, f64 [channels]."""
    count = w.shape[0]
    weight, bias = w.tensor("weight", 1.0, count), w.tensor("bias", 0.0, count)
    mean, variance = w.tensor("running_mean").astype(np.float64), w.tensor("running_var").astype(np.float64)
    scale = weight / np.sqrt(variance + w.fields["eps"])
    return scale, bias - mean * scale


def _affine(w: _Lowering, x: Tensor, scale: Array, shift: Array) -> Tensor:
    """Add ``x * scale + shift`` with one scale and shift for each channel."""
    constants = scale.astype(np.float32), shift.astype(np.float32)
    return w.update("affine", [x], *constants, x.size, prod(w.shape[1:]), len(scale))


def _instance_norm(w: _Lowering, x: Tensor) -> Tensor:
    if w.fields["track_running_stats"]:
        return _affine(w, x, *_scale_and_shift(w))
    return _standardized(w, x, w.shape[0], w.shape[0])


def _group_norm(w: _Lowering, x: Tensor) -> Tensor:
    return _standardized(w, x, w.fields["groups"], w.shape[0])


def _layer_norm(w: _Lowering, x: Tensor) -> Tensor:
    size = prod(w.fields["normalized_shape"])
    x = w.update("standardize", [x], x.size // size, size, float(w.fields["eps"]))
    if not w.fields["affine"]:
        return x
    return w.update("affine", [x], w.tensor("weight"), w.tensor("bias", 0.0, size), x.size, 1, size)


def _standardized(w: _Lowering, x: Tensor, groups: int, channels: int) -> Tensor:
    """Add a normalization of groups of channels to mean 0 and variance 1, and the affine map of the channels."""
    x = w.update("standardize", [x], groups, x.size // groups, float(w.fields["eps"]))
    if not w.fields["affine"]:
        return x
    return _affine(w, x, w.tensor("weight"), w.tensor("bias", 0.0, channels))


# ---- pooling: the windows are computed here, in `_windows`


def _windows(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> Array:
    """Return first and end index of the window of each output, without padding: i32 [2 * outputs]."""
    found = []
    for i in range(outputs):
        begin = i * stride - padding
        inside = [tap for tap in range(begin, begin + dilation * kernel, dilation) if 0 <= tap < size]
        found += [inside[0], inside[-1] + 1] if inside else [0, 0]
    return np.array(found, np.int32)


def _max_pool(w: _Lowering, x: Tensor) -> Tensor:
    f, axes = w.fields, range(2)
    rows, columns = (
        _windows(
            *(w.shape[1 + i], w.output_shape[1 + i]),
            *(f["kernel"][i], f["stride"][i], f["padding"][i], f["dilation"][i]),
        )
        for i in axes
    )
    return w.add("max_pool", [x], rows, columns, *w.shape, *w.output_shape[1:], *f["dilation"])


def _avg_pool(w: _Lowering, x: Tensor) -> Tensor:
    f, axes = w.fields, range(2)
    windows, factors = [], []
    for i in axes:
        size, outputs, kernel, stride, padding = (
            *(w.shape[1 + i], w.output_shape[1 + i]),
            *(f["kernel"][i], f["stride"][i], f["padding"][i]),
        )
        windows.append(_windows(size, outputs, kernel, stride, padding, 1))
        counts = np.diff(windows[-1].reshape(-1, 2))[:, 0]
        if f["count_include_pad"]:  # but not what ceil_mode adds
            begins = np.arange(outputs) * stride - padding
            counts = np.minimum(begins + kernel, size + padding) - begins
        factors.append((1 / np.maximum(counts, 1)).astype(np.float32))
    return w.add("avg_pool", [x], *windows, *factors, *w.shape, *w.output_shape[1:])


def _adaptive_avg_pool(w: _Lowering, x: Tensor) -> Tensor:
    windows, factors = [], []
    for size, outputs in zip(w.shape[1:], w.output_shape[1:], strict=True):
        bounds = [(i * size // outputs, -((i + 1) * size // -outputs)) for i in range(outputs)]
        windows.append(np.array(bounds, np.int32).ravel())
        factors.append(np.array([1 / (end - begin) for begin, end in bounds], np.float32))
    return w.add("avg_pool", [x], *windows, *factors, *w.shape, *w.output_shape[1:])


def _amax(w: _Lowering, x: Tensor) -> Tensor:
    """Add a maximum over one dimension, as a pool of [outer, size, inner] with one window over the rows."""
    dimension = w.fields["dimension"]
    outer, size, inner = prod(w.shape[:dimension]), w.shape[dimension], prod(w.shape[dimension + 1 :])
    columns = _windows(inner, inner, 1, 1, 0, 1)
    return w.add("max_pool", [x], np.array([0, size], np.int32), columns, outer, size, inner, 1, inner, 1, 1)


# ---- elementwise functions


def _map(primitive: str, *names: str) -> Callable[[_Lowering, Tensor], Tensor]:
    """Return the lowering of an elementwise function with the given fields as arguments."""
    return lambda w, x: w.update(primitive, [x], x.size, *(float(w.fields[name]) for name in names))


def _gelu(w: _Lowering, x: Tensor) -> Tensor:
    return w.update("gelu_tanh" if w.fields["tanh_approximation"] else "gelu", [x], x.size)


def _prelu(w: _Lowering, x: Tensor) -> Tensor:
    slopes = w.tensor("weight")
    return w.update("prelu", [x], slopes, x.size, prod(w.shape[1:]), len(slopes))


def _softmax(primitive: str) -> Callable[[_Lowering, Tensor], Tensor]:
    return lambda w, x: w.update(primitive, [x], w.shape[0], prod(w.shape[1:]))


# ---- order and shape: all are `gather`, out[i][j]... = in[first[i] + second[j] + ...]


def _gather(w: _Lowering, x: Tensor, tables: list[Array]) -> Tensor:
    if len(tables) > _GATHER_DIMENSIONS:
        raise w.unsupported(f"a tensor has {len(tables)} dimensions, at most {_GATHER_DIMENSIONS} are supported")
    tables = [np.zeros(1, np.int32)] * (_GATHER_DIMENSIONS - len(tables)) + [each.astype(np.int32) for each in tables]
    sizes = [len(each) for each in tables]
    return w.add("gather", [x], *tables, *sizes)


def _strides(shape: Shape) -> list[int]:
    return [prod(shape[i + 1 :]) for i in range(len(shape))]


def _permute(w: _Lowering, x: Tensor) -> Tensor:
    strides = _strides(w.shape)
    return _gather(w, x, [strides[old] * np.arange(w.shape[old]) for old in w.fields["order"]])


def _slice(w: _Lowering, x: Tensor) -> Tensor:
    f = w.fields
    ranges = [np.arange(size) for size in w.shape]
    ranges[f["dimension"]] = np.arange(f["start"], f["stop"], f["step"])
    return _gather(w, x, [stride * each for stride, each in zip(_strides(w.shape), ranges, strict=True)])


def _pad(w: _Lowering, x: Tensor) -> Tensor:
    top, bottom, left, right = w.fields["padding"]
    mode: Any = {"replicate": "edge", "circular": "wrap"}.get(w.fields["mode"], w.fields["mode"])
    (channels, height, width), tables = w.shape, []
    for size, border, stride in ((height, (top, bottom), width), (width, (left, right), 1)):
        inside = stride * np.arange(size)
        if mode == "constant":  # a negative sum of indices is a zero
            tables.append(np.pad(inside, border, constant_values=-x.size))
        else:
            tables.append(np.pad(inside, border, mode=mode))
    return _gather(w, x, [height * width * np.arange(channels), *tables])


def _expand(w: _Lowering, x: Tensor) -> Tensor:
    return _broadcast(w, x, w.shape, tuple(w.fields["shape"]))


def _broadcast(w: _Lowering, x: Tensor, shape: Shape, wanted: Shape) -> Tensor:
    if shape == wanted:
        return x
    pairs = zip(shape, wanted, _strides(shape), strict=True)
    return _gather(w, x, [np.zeros(new) if old == 1 else stride * np.arange(new) for old, new, stride in pairs])


# ---- layers with several inputs


def _add(w: _Lowering, inputs: list[Tensor], _: Sequence[Shape]) -> Tensor:
    total = inputs[0]
    for each in inputs[1:]:
        total = w.update("add", [total, each], total.size)
    return total


def _multiply(w: _Lowering, inputs: list[Tensor], shapes: Sequence[Shape]) -> Tensor:
    second = _broadcast(w, inputs[1], tuple(shapes[1]), tuple(shapes[0]))
    return w.update("multiply", [inputs[0], second], inputs[0].size)


def _concat(w: _Lowering, inputs: list[Tensor], _: Sequence[Shape]) -> Tensor:
    output, offset = Tensor(prod(w.output_shape)), 0
    for each in inputs:
        w.operations.append(Operation("copy", (each,), output, (each.size,), offset=offset))
        offset += each.size
    return output


_COMBINING: dict[str, Callable[[_Lowering, list[Tensor], Sequence[Shape]], Tensor]] = {
    "add": _add,
    "multiply": _multiply,
    "concat": _concat,
}
LOWERINGS: dict[str, Callable[..., Tensor]] = {
    **{"conv2d": _conv, "linear": _linear, "batchnorm1d": _batch_norm, "batchnorm2d": _batch_norm},
    **{"instancenorm2d": _instance_norm, "groupnorm": _group_norm, "layernorm": _layer_norm},
    **{"maxpool2d": _max_pool, "avgpool2d": _avg_pool, "adaptive_avgpool2d": _adaptive_avg_pool, "amax": _amax},
    **{name: _map(name) for name in ("relu", "relu6", "tanh", "sigmoid", "silu", "hardswish", "mish", "reciprocal")},
    **{"leaky_relu": _map("leaky_relu", "negative_slope"), "elu": _map("elu", "alpha"), "gelu": _gelu},
    **{"softplus": _map("softplus", "beta", "threshold"), "scale_shift": _map("scale_shift", "scale", "shift")},
    **{"prelu": _prelu, "softmax": _softmax("softmax"), "log_softmax": _softmax("log_softmax")},
    **{"permute": _permute, "slice": _slice, "pad": _pad, "expand": _expand},
    **_COMBINING,
}

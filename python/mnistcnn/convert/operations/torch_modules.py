"""Modules of torch.nn that become layers, with their attributes as arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from mnistcnn.convert.errors import UnsupportedError
from mnistcnn.convert.operations import dropouts, operations, pools, shapes
from mnistcnn.convert.operations.builder import TracedValue
from mnistcnn.convert.operations.operations import Call
from mnistcnn.nn.layers import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, Pad

ModuleHandler = Callable[[Call, Any, Any], TracedValue]


def _conv2d(call: Call, m: nn.Conv2d, x: Any) -> TracedValue:
    """Add a convolution, preceded by a `Pad` layer for a padding mode other than zeros."""
    if m.padding_mode == "zeros":
        return operations.conv2d(call, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)
    left, right, top, bottom = m._reversed_padding_repeated_twice
    value, builder = call.value(x), call.builder
    shape = (value.shape[0], value.shape[1] + top + bottom, value.shape[2] + left + right)
    layer = Pad((top, bottom, left, right), m.padding_mode)
    padded = builder.add(layer, [builder.as_map(value, "a convolution")], shape, f"{call.name}_pad")
    inner = replace(call, value=lambda _: padded)
    return operations.conv2d(inner, x, m.weight, m.bias, m.stride, 0, m.dilation, m.groups)


def _conv1d(call: Call, m: nn.Conv1d, x: Any) -> TracedValue:
    if m.padding_mode != "zeros":
        raise UnsupportedError(f"padding_mode={m.padding_mode!r} is supported for Conv2d only")
    return operations.conv1d(call, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)


def _linear(call: Call, m: nn.Linear, x: Any) -> TracedValue:
    return operations.linear(call, x, m.weight, m.bias)


def _running_norm(kind: Any) -> ModuleHandler:
    def handler(call: Call, m: Any, x: Any) -> TracedValue:
        value, builder = call.value(x), call.builder
        flat = len(value.shape) == 1
        node = builder.channels_first(value)
        layer_kind = BatchNorm1d if flat and kind is BatchNorm2d else kind
        layer = layer_kind(
            eps=m.eps, momentum=m.momentum, affine=m.weight is not None, track_running_stats=m.track_running_stats
        )
        tensors = _affine(call, m)
        if m.track_running_stats:
            if m.running_mean is None or m.running_var is None:
                raise UnsupportedError("its running statistics are None; set track_running_stats=False")
            names = ("running_mean", "running_var", "num_batches_tracked")
            tensors |= {name: call.tensor_name(getattr(m, name), name) for name in names}
        training = call.training if m.track_running_stats else None
        options = {"tensors": tensors, "training": training, "owner": call.owner}
        return replace(builder.add(layer, [node], builder.shape_of(node), call.name, **options), shape=value.shape)

    return handler


def _group_norm(call: Call, m: nn.GroupNorm, x: Any) -> TracedValue:
    value, builder = call.value(x), call.builder
    node = builder.channels_first(value)
    layer = GroupNorm(m.num_groups, eps=m.eps, affine=m.weight is not None)
    output = builder.add(layer, [node], builder.shape_of(node), call.name, tensors=_affine(call, m))
    return replace(output, shape=value.shape)


def _layer_norm(call: Call, m: nn.LayerNorm, x: Any) -> TracedValue:
    value, builder = call.value(x), call.builder
    normalized = tuple(m.normalized_shape)
    shape = value.shape
    if len(shape) not in (1, 3):
        leading = math.prod(shape[: len(shape) - len(normalized)])
        shape = (leading, *normalized) if len(normalized) == 2 else (1, leading, *normalized)
    if len(shape) != 3 and len(shape) != 1:
        raise UnsupportedError(
            f"a layer norm over {list(normalized)} of [N, {', '.join(map(str, value.shape))}] is not supported"
        )
    node = builder.node_in_shape(value, shape)
    layer = LayerNorm(normalized, eps=m.eps, affine=m.weight is not None, bias=m.bias is not None)
    output = builder.add(layer, [node], shape, call.name, tensors=_affine(call, m))
    return replace(output, shape=value.shape)


def _affine(call: Call, m: Any) -> dict[str, str]:
    """Return the names of the weight and bias of a norm, if it has them."""
    pairs = {"weight": m.weight, "bias": m.bias}
    return {key: call.tensor_name(tensor, key) for key, tensor in pairs.items() if tensor is not None}


def _by_function(function: Any, *names: str) -> ModuleHandler:
    """Return a handler that passes attributes of the module to a function handler."""

    def handler(call: Call, m: Any, x: Any) -> TracedValue:
        return function(call, x, **{name: getattr(m, name) for name in names})  # type: ignore[no-any-return]

    return handler


def _dropout(name: str) -> ModuleHandler:
    return lambda call, m, x: dropouts.FUNCTIONS[name](call, x, m.p, m.training)


def _softmax(name: str) -> ModuleHandler:
    return lambda call, m, x: operations.FUNCTIONS[name](call, x, m.dim)


def _pad(mode: str) -> ModuleHandler:
    return lambda call, m, x: shapes.pad(call, x, m.padding, mode, getattr(m, "value", 0))


_function = operations.FUNCTIONS
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")
KINDS: dict[type[nn.Module], ModuleHandler] = {
    nn.Conv2d: _conv2d, nn.Conv1d: _conv1d, nn.Linear: _linear,
    nn.BatchNorm2d: _running_norm(BatchNorm2d), nn.BatchNorm1d: _running_norm(BatchNorm2d),
    nn.InstanceNorm2d: _running_norm(InstanceNorm2d), nn.GroupNorm: _group_norm, nn.LayerNorm: _layer_norm,
    nn.MaxPool2d: _by_function(pools.max_pool2d, *_POOL, "dilation", "return_indices"),
    nn.AvgPool2d: _by_function(pools.avg_pool2d, *_POOL, "count_include_pad", "divisor_override"),
    nn.MaxPool1d: _by_function(pools.FUNCTIONS["max_pool1d"], *_POOL, "dilation", "return_indices"),
    nn.AvgPool1d: _by_function(pools.FUNCTIONS["avg_pool1d"], *_POOL, "count_include_pad"),
    nn.AdaptiveAvgPool2d: _by_function(pools.adaptive_avg_pool2d, "output_size"),
    nn.AdaptiveMaxPool2d: _by_function(pools.adaptive_max_pool2d, "output_size", "return_indices"),
    nn.ReLU: _by_function(_function["relu"]), nn.ReLU6: _by_function(_function["relu6"]),
    nn.Tanh: _by_function(_function["tanh"]), nn.Sigmoid: _by_function(_function["sigmoid"]),
    nn.SiLU: _by_function(_function["silu"]), nn.Hardswish: _by_function(_function["hardswish"]),
    nn.Hardsigmoid: _by_function(operations.hardsigmoid), nn.SELU: _by_function(operations.selu),
    nn.Mish: _by_function(_function["mish"]), nn.Softplus: _by_function(_function["softplus"], "beta", "threshold"),
    nn.LeakyReLU: _by_function(_function["leaky_relu"], "negative_slope"),
    nn.ELU: _by_function(_function["elu"], "alpha"), nn.CELU: _by_function(operations.celu, "alpha"),
    nn.GELU: _by_function(_function["gelu"], "approximate"),
    nn.Hardtanh: _by_function(operations.hardtanh, "min_val", "max_val"),
    nn.PReLU: _by_function(operations.prelu, "weight"),
    nn.Dropout: _dropout("dropout"), nn.Dropout1d: _dropout("dropout1d"), nn.Dropout2d: _dropout("dropout2d"),
    nn.Dropout3d: _dropout("dropout3d"),
    nn.Softmax: _softmax("softmax"), nn.LogSoftmax: _softmax("log_softmax"),
    nn.Softmax2d: lambda call, m, x: operations.FUNCTIONS["softmax"](call, x, 1),
    nn.Flatten: _by_function(shapes.reshape), nn.Unflatten: _by_function(shapes.reshape),
    nn.Identity: _by_function(shapes.identity), nn.ZeroPad2d: _pad("constant"), nn.ConstantPad2d: _pad("constant"),
    nn.ReflectionPad2d: _pad("reflect"), nn.ReplicationPad2d: _pad("replicate"), nn.CircularPad2d: _pad("circular"),
}  # fmt: skip
_BY_FORWARD = {kind.forward: handler for kind, handler in KINDS.items()}


def handler_of(module: nn.Module) -> ModuleHandler | None:
    """Return the handler of a module, or None. A subclass that inherits the ``forward`` of a layer has its handler."""
    if getattr(type(module), "forward", None) in _BY_FORWARD and "forward" not in vars(module):
        return next((KINDS[kind] for kind in type(module).__mro__ if kind in KINDS), None)
    return None

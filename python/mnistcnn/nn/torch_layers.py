"""Convert the layers of a model to modules of ``torch.nn``, and write a PyTorch ``forward`` that calls them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mnistcnn.nn.graph import INPUT

Fields = dict[str, Any]
Shape = tuple[int, ...]
Nodes = Sequence[dict[str, Any]]
Step = Callable[[fx.Graph, list[fx.Node]], fx.Node]


def add_under_name(root: nn.Module, name: str, layer: nn.Module, *, may_shadow: bool = False) -> None:
    """Add a layer under its dotted name, and the modules that contain it.

    Raise ValueError if the name is that of an attribute, unless ``may_shadow``.
    """
    owner = root
    *blocks, last = name.split(".")
    for block in blocks:
        if block not in owner._modules:
            _add_child(owner, block, nn.Module(), name, may_shadow)
        owner = owner._modules[block]  # type: ignore[assignment]
    _add_child(owner, last, layer, name, may_shadow)


def layer_named(root: nn.Module, name: str) -> nn.Module:
    """Return the layer with a dotted name. An attribute of ``root`` may have the same name."""
    found: Any = root
    for key in name.split("."):
        found = found._modules[key]
    layer: nn.Module = found
    return layer


def _add_child(owner: nn.Module, key: str, child: nn.Module, name: str, may_shadow: bool) -> None:
    if hasattr(owner, key) and not may_shadow:
        raise ValueError(f"a layer cannot be called '{name}': a Model has an attribute '{key}'")
    owner._modules[key] = child


def graph_module(name: str, nodes: Nodes, steps: Sequence[Any]) -> fx.GraphModule:
    """Return a module that holds the steps' modules under the nodes' names and calls them in the order of the nodes."""
    root, graph = nn.Module(), fx.Graph()
    calls: list[Step] = []
    for node, step in zip(nodes, steps, strict=True):
        if isinstance(step, nn.Module):
            add_under_name(root, node["name"], step)
            calls.append(partial(_write_module, node["name"]))
        else:
            calls.append(step)
    _write(graph, nodes, calls)
    return fx.GraphModule(root, graph, "".join(part.title() for part in name.split("_")))


def forward_function(nodes: Nodes, layers: Container[int]) -> Callable[[nn.Module, Tensor], Tensor]:
    """Return a ``forward`` method for a module that holds the layers of these nodes under the nodes' names."""
    graph = fx.Graph()
    module = graph.placeholder("self")
    calls: list[Step] = []
    for index, node in enumerate(nodes):
        if index in layers:
            calls.append(partial(_write_call, module, node["name"]))
        else:
            calls.append(step_of(node["op"], node["fields"], node["input_shapes"][0]))
    _write(graph, nodes, calls)
    code = graph.python_code("self")
    names = dict(code.globals)
    exec(code.src, names)
    function: Callable[[nn.Module, Tensor], Tensor] = names["forward"]
    return function


def _write_module(name: str, graph: fx.Graph, inputs: list[fx.Node]) -> fx.Node:
    return graph.call_module(name, tuple(inputs))


def _write_call(module: fx.Node, name: str, graph: fx.Graph, inputs: list[fx.Node]) -> fx.Node:
    return graph.call_function(_call_layer, (module, name, *inputs))


def _call_layer(module: nn.Module, name: str, *inputs: Tensor) -> Tensor:
    outputs: Tensor = layer_named(module, name)(*inputs)
    return outputs


def _write(graph: fx.Graph, nodes: Nodes, calls: Sequence[Step]) -> None:
    """Add the call of each node to an fx graph, in order. The last one is the output."""
    values = {INPUT: graph.placeholder("images")}
    for index, (node, call) in enumerate(zip(nodes, calls, strict=True)):
        values[index] = call(graph, [values[each] for each in node["inputs"]])
        values[index].meta.setdefault("nodes", set()).add(index)
    graph.output(values[len(nodes) - 1])
    graph.lint()


# ---- one function per layer: it returns a module, or a function(graph, inputs) that writes the call


def step_of(op: str, fields: Fields, shape: Shape) -> Any:
    """Return the module or the graph-writing function of one kind of layer, for inputs of this shape."""
    return _STEPS[op](fields, shape)


def _conv(f: Fields, shape: Shape) -> Any:
    top, bottom, left, right = f["padding"]
    options = {name: f[name] for name in ("stride", "dilation", "groups", "bias")}
    if (top, left) == (bottom, right):
        return nn.Conv2d(shape[0], f["out_channels"], f["kernel"], padding=(top, left), **options)
    if f["stride"] == (1, 1) and (top, bottom, left, right) == _same_padding(f):
        return nn.Conv2d(shape[0], f["out_channels"], f["kernel"], padding="same", **options)
    return UnevenConv2d(shape[0], f["out_channels"], f["kernel"], border=f["padding"], **options)


def _same_padding(f: Fields) -> Shape:
    rows, columns = (d * (k - 1) for d, k in zip(f["dilation"], f["kernel"], strict=True))
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


class UnevenConv2d(nn.Conv2d):
    """Convolution with different padding on each side: (top, bottom, left, right)."""

    def __init__(self, *args: Any, border: Shape, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.border = tuple(border)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch.nn names it
        """Pad with zeros and convolve."""
        top, bottom, left, right = self.border
        return super().forward(F.pad(input, (left, right, top, bottom)))


class AlwaysDropout(nn.Module):
    """Dropout that is also active in evaluation."""

    def __init__(self, p: float, *, channels: bool) -> None:
        super().__init__()
        self.p, self.channels = p, channels

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch.nn names it
        """Apply the dropout in any mode."""
        return F.dropout2d(input, self.p, True) if self.channels else F.dropout(input, self.p, True)


def _norm(kind: Any) -> Callable[[Fields, Shape], Any]:
    def make(f: Fields, shape: Shape) -> Any:
        momentum = None if f["momentum"] < 0 else f["momentum"]
        return kind(shape[0], f["eps"], momentum, f["affine"], f["track_running_stats"])

    return make


def _dropout(kind: Any, *, channels: bool) -> Callable[[Fields, Shape], Any]:
    def make(f: Fields, _: Shape) -> Any:
        return AlwaysDropout(f["probability"], channels=channels) if f["always"] else kind(f["probability"])

    return make


def _max_pool(f: Fields, _: Shape) -> Any:
    return nn.MaxPool2d(f["kernel"], f["stride"], f["padding"], f["dilation"], ceil_mode=f["ceil_mode"])


def _avg_pool(f: Fields, _: Shape) -> Any:
    return nn.AvgPool2d(f["kernel"], f["stride"], f["padding"], f["ceil_mode"], f["count_include_pad"])


def _pad(f: Fields, _: Shape) -> Any:
    top, bottom, left, right = f["padding"]
    kinds = {"constant": nn.ZeroPad2d, "reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}
    return kinds.get(f["mode"], nn.CircularPad2d)((left, right, top, bottom))


def _expression(function: Any, *arguments: Any) -> Any:
    """Return a writer that calls a function with the first input."""
    return lambda graph, inputs: graph.call_function(function, (inputs[0], *arguments))


def _add(_: Fields, __: Shape) -> Any:
    def write(graph: fx.Graph, inputs: list[fx.Node]) -> fx.Node:
        total = inputs[0]
        for each in inputs[1:]:
            total = graph.call_function(operator.add, (total, each))
        return total

    return write


def _slice(f: Fields, _: Shape) -> Any:
    index = (slice(None),) * (f["dimension"] + 1) + (slice(f["start"], f["stop"], f["step"]),)
    return _expression(operator.getitem, index)


def _permute(f: Fields, _: Shape) -> Any:
    def write(graph: fx.Graph, inputs: list[fx.Node]) -> fx.Node:
        permuted = graph.call_function(torch.permute, (inputs[0], (0, *(each + 1 for each in f["order"]))))
        return graph.call_method("contiguous", (permuted,))

    return write


def _reshape(f: Fields, _: Shape) -> Any:
    return lambda graph, inputs: graph.call_method("reshape", (inputs[0], (-1, *f["shape"])))


def _expand(f: Fields, _: Shape) -> Any:
    return lambda graph, inputs: graph.call_method("expand", (inputs[0], -1, *f["shape"]))


def _scale_shift(f: Fields, _: Shape) -> Any:
    def write(graph: fx.Graph, inputs: list[fx.Node]) -> fx.Node:
        return graph.call_function(
            operator.add, (graph.call_function(operator.mul, (inputs[0], f["scale"])), f["shift"])
        )

    return write


_STEPS: dict[str, Callable[[Fields, Shape], Any]] = {
    "conv2d": _conv,
    "linear": lambda f, shape: nn.Linear(shape[0], f["out_features"], f["bias"]),
    "batchnorm2d": _norm(nn.BatchNorm2d),
    "batchnorm1d": _norm(nn.BatchNorm1d),
    "instancenorm2d": _norm(nn.InstanceNorm2d),
    "groupnorm": lambda f, shape: nn.GroupNorm(f["groups"], shape[0], f["eps"], f["affine"]),
    "layernorm": lambda f, _: nn.LayerNorm(f["normalized_shape"], f["eps"], f["affine"], f["bias"]),
    "maxpool2d": _max_pool,
    "avgpool2d": _avg_pool,
    "adaptive_avgpool2d": lambda f, _: nn.AdaptiveAvgPool2d(f["output"]),
    "flatten": lambda *_: nn.Flatten(),
    "relu": lambda *_: nn.ReLU(),
    "leaky_relu": lambda f, _: nn.LeakyReLU(f["negative_slope"]),
    "tanh": lambda *_: nn.Tanh(),
    "sigmoid": lambda *_: nn.Sigmoid(),
    "gelu": lambda f, _: nn.GELU("tanh" if f["tanh_approximation"] else "none"),
    "silu": lambda *_: nn.SiLU(),
    "elu": lambda f, _: nn.ELU(f["alpha"]),
    "prelu": lambda f, _: nn.PReLU(f["count"], f["initial"]),
    "relu6": lambda *_: nn.ReLU6(),
    "hardswish": lambda *_: nn.Hardswish(),
    "mish": lambda *_: nn.Mish(),
    "softplus": lambda f, _: nn.Softplus(f["beta"], f["threshold"]),
    "reciprocal": lambda *_: _expression(torch.reciprocal),
    "dropout": _dropout(nn.Dropout, channels=False),
    "dropout2d": _dropout(nn.Dropout2d, channels=True),
    "log_softmax": lambda *_: nn.LogSoftmax(1),
    "softmax": lambda *_: nn.Softmax(1),
    "add": _add,
    "multiply": lambda *_: lambda graph, inputs: graph.call_function(operator.mul, tuple(inputs)),
    "concat": lambda *_: lambda graph, inputs: graph.call_function(torch.cat, (inputs, 1)),
    "reshape": _reshape,
    "expand": _expand,
    "pad": _pad,
    "permute": _permute,
    "slice": _slice,
    "amax": lambda f, _: _expression(torch.amax, f["dimension"] + 1, True),
    "detach": lambda *_: lambda graph, inputs: graph.call_method("detach", (inputs[0],)),
    "scale_shift": _scale_shift,
}

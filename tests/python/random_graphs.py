"""Random networks of all kinds of layers, and their comparison with torch.nn.

``python tests/python/random_graphs.py FIRST COUNT [ENGINE]`` compares as many as you like.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import mnistcnn
import mnistcnn.layers as m
from mnistcnn._internal.native import core
from mnistcnn.nn.graph import build_rows
from reference import Twin, distance, length

Shape = tuple[int, ...]
MOST_CHANNELS, MOST_PIXELS = 12, 200


@dataclass(frozen=True)
class RandomGraph:
    """A network, the size of its images and of its batch; all from one seed."""

    seed: int
    layers: list[Any]
    input_shape: Shape
    batch: int

    def ops(self) -> set[str]:
        return {op for _, op, _, _ in build_rows(self.layers)}


def random_graph(seed: int) -> RandomGraph:
    """The network of a seed: maps first, then usually flat layers."""
    dice = random.Random(seed)
    input_shape = (dice.randint(1, 4), dice.randint(4, 11), dice.randint(4, 11))
    layers: list[Any] = []
    for _ in range(dice.randint(1, 6)):
        _append(layers, input_shape, dice, MAP_MAKERS)
    if dice.random() < 0.8:
        if dice.random() < 0.4:
            size = (dice.randint(1, 3), dice.randint(1, 3))
            # The mean of an instance norm is its bias: a batch norm behind it would only see rounding errors.
            flat = size == (1, 1) and bool(layers) and isinstance(layers[-1], m.InstanceNorm2d)
            layers.append(m.AdaptiveAvgPool2d((2, 2) if flat else size))
        layers.append(m.Flatten())
        for _ in range(dice.randint(1, 4)):
            _append(layers, input_shape, dice, FLAT_MAKERS)
    if not layers or dice.random() < 0.4:
        layers.append(dice.choice([m.LogSoftmax(), m.LogSoftmax(), m.Softmax()]))
    return RandomGraph(seed, layers, input_shape, dice.randint(2, 5))


def shape_of(layers: list[Any], input_shape: Shape) -> Shape:
    """The shape that comes out of a list of layers."""
    if not layers:
        return input_shape
    network = core.Network(input_shape=list(input_shape), nodes=build_rows(layers))
    return tuple(network.nodes[-1]["output_shape"])


def _append(layers: list[Any], input_shape: Shape, dice: random.Random, makers: list[Any]) -> None:
    shape = shape_of(layers, input_shape)
    item = dice.choice(makers)(dice, shape)
    if item is None:
        return
    after = shape_of([*layers, item], input_shape)
    pixels = after[1] * after[2] if len(after) == 3 else 1
    if after[0] <= 8 * MOST_CHANNELS and pixels <= MOST_PIXELS:
        layers.append(item)


# ---- one layer for a map; None where it does not fit


def _conv(dice: random.Random, shape: Shape) -> Any:
    kernel = (dice.randint(1, 4), dice.randint(1, 4))
    dilation = (dice.randint(1, 2), dice.randint(1, 2))
    padding: Any = dice.choice(["same", "valid", dice.randint(0, 2), (dice.randint(0, 2), dice.randint(0, 2))])
    stride = 1 if padding == "same" else (dice.randint(1, 3), dice.randint(1, 2))
    groups = dice.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0 and g <= MOST_CHANNELS])
    border = {"same": kernel, "valid": (0, 0)}.get(padding, padding) if isinstance(padding, str) else padding
    rows, columns = (border, border) if isinstance(border, int) else border
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding != "same" and (shape[1] + 2 * rows < reach[0] or shape[2] + 2 * columns < reach[1]):
        return None
    out_channels = groups * dice.randint(1, max(1, MOST_CHANNELS // groups))
    return m.Conv2d(
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=dice.random() < 0.5,
    )


def _same_conv(dice: random.Random, channels: int) -> Any:
    return m.Conv2d(channels, dice.randint(1, 4), padding="same", bias=dice.random() < 0.5)


def _pool_options(dice: random.Random, shape: Shape, dilation: int) -> dict[str, Any] | None:
    kernel = (dice.randint(1, 4), dice.randint(1, 4))
    padding = (dice.randint(0, kernel[0] // 2), dice.randint(0, kernel[1] // 2))
    fits = all(dilation * (k - 1) + 1 <= size + 2 * p for k, size, p in zip(kernel, shape[1:], padding, strict=True))
    stride = dice.choice([None, dice.randint(1, 3), (dice.randint(1, 3), dice.randint(1, 3))])
    ceil_mode = dice.random() < 0.5
    return {"kernel_size": kernel, "padding": padding, "stride": stride, "ceil_mode": ceil_mode} if fits else None


def _max_pool(dice: random.Random, shape: Shape) -> Any:
    dilation = dice.randint(1, 2) if min(shape[1:]) > 1 else 1  # else a window could lie in the border alone
    options = _pool_options(dice, shape, dilation)
    return None if options is None else m.MaxPool2d(**options, dilation=dilation)


def _avg_pool(dice: random.Random, shape: Shape) -> Any:
    options = _pool_options(dice, shape, 1)
    return None if options is None else m.AvgPool2d(**options, count_include_pad=dice.random() < 0.5)


def _adaptive_pool(dice: random.Random, _: Shape) -> Any:
    return m.AdaptiveAvgPool2d((dice.randint(1, 6), dice.randint(1, 6)))


def _running_norm(kind: Any) -> Any:
    def make(dice: random.Random, shape: Shape) -> Any:
        if kind is m.InstanceNorm2d and shape[1] * shape[2] < 4:
            return None
        return kind(
            eps=dice.choice([1e-5, 1e-3]),
            momentum=dice.choice([0.1, 0.3, None]),
            affine=dice.random() < 0.7,
            track_running_stats=dice.random() < 0.7,
        )

    return make


def _group_norm(dice: random.Random, shape: Shape) -> Any:
    groups = dice.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    if torch.Size(shape).numel() // groups < 4:
        return None
    return m.GroupNorm(groups, eps=dice.choice([1e-5, 1e-3]), affine=dice.random() < 0.7)


def _layer_norm(dice: random.Random, shape: Shape) -> Any:
    normalized = shape[dice.randrange(len(shape)) :]
    if torch.Size(normalized).numel() < 4:
        return None
    return m.LayerNorm(normalized, affine=dice.random() < 0.7, bias=dice.random() < 0.5)


def _activation(dice: random.Random, shape: Shape) -> Any:
    return dice.choice(
        [
            *(m.ReLU(), m.ReLU(), m.LeakyReLU(dice.choice([0.01, 0.1, 0.3])), m.Tanh(), m.Sigmoid(), m.SiLU()),
            *(m.GELU(), m.GELU("tanh"), m.ELU(dice.choice([1.0, 0.5])), m.ReLU6(), m.Hardswish()),
            *(m.PReLU(), m.PReLU(shape[0], init=0.1), m.Mish()),
            m.Softplus(dice.choice([1.0, 0.5, 3.0]), dice.choice([20.0, 2.0])),
        ]
    )


def _dropout(dice: random.Random, shape: Shape) -> Any:
    p = dice.choice([0.0, 0.1, 0.25, 0.5])
    return m.Dropout2d(p) if len(shape) == 3 and dice.random() < 0.5 else m.Dropout(p)


def _reshape(dice: random.Random, shape: Shape) -> Any:
    if len(shape) == 1:
        rows = dice.choice([n for n in range(1, shape[0] + 1) if shape[0] % n == 0 and n <= MOST_CHANNELS])
        return m.Reshape((rows, 1, shape[0] // rows))
    return m.Reshape((shape[0], shape[2], shape[1]))


def _pad(dice: random.Random, shape: Shape) -> Any:
    mode = dice.choice(["constant", "reflect", "replicate", "circular"])
    most = [min(3, size - 1 if mode == "reflect" else size) for size in shape[1:]]
    return m.Pad(tuple(dice.randint(0, most[i // 2]) for i in range(4)), mode)


def _gate(dice: random.Random, shape: Shape) -> Any:
    """Each channel, or each number, times a gate of its own."""
    pool = [m.AdaptiveAvgPool2d(1), m.Conv2d(shape[0], 1)] if dice.random() < 0.5 else [m.Conv2d(shape[0], 1)]
    return {
        "here": m.Tanh(),
        "gate": [*pool, m.Sigmoid()],
        "product": m.Node(m.Multiply(), inputs=("here", "gate")),
    }


def _expand(dice: random.Random, shape: Shape) -> Any:
    """Pool or cut one dimension to size 1, then expand it."""
    dimension, size = dice.randrange(len(shape)), dice.randint(1, 4)
    one = m.Amax(dimension) if dice.random() < 0.5 else m.Slice(dimension, 0, 1)
    return [one, m.Expand((*shape[:dimension], size, *shape[dimension + 1 :]))]


def _ratio(dice: random.Random, shape: Shape) -> Any:
    """Divide by 1 + sigmoid(x), in which a gradient may stop."""
    below = [m.Sigmoid(), m.ScaleShift(1.0, 1.0), m.Reciprocal()]
    return {
        "here": m.Tanh(),
        "below": [m.Detach(), *below] if dice.random() < 0.5 else below,
        "ratio": m.Node(m.Multiply(), inputs=("here", "below")),
    }


def _softmax(dice: random.Random, _: Shape) -> Any:
    return dice.choice([m.LogSoftmax(), m.Softmax()])


def _permute(dice: random.Random, shape: Shape) -> Any:
    return m.Permute(tuple(dice.sample(range(len(shape)), len(shape))))


def _slice(dice: random.Random, shape: Shape) -> Any:
    dimension = dice.randrange(len(shape))
    if shape[dimension] < 2:
        return None
    start = dice.randrange(shape[dimension] - 1)
    return m.Slice(dimension, start, dice.randint(start + 1, shape[dimension]), dice.randint(1, 2))


def _scale_shift(dice: random.Random, _: Shape) -> Any:
    return m.ScaleShift(dice.uniform(-2, 2), dice.uniform(-1, 1))


# ---- forks


def _residual(dice: random.Random, shape: Shape) -> Any:
    channels = dice.choice([shape[0], dice.randint(1, MOST_CHANNELS)])
    body = [_same_conv(dice, channels), _activation(dice, (channels, *shape[1:])), _same_conv(dice, channels)]
    shortcut = () if channels == shape[0] else m.Conv2d(channels, 1, bias=dice.random() < 0.5)
    return m.Residual(body, shortcut=shortcut)


def _branches(dice: random.Random, shape: Shape) -> Any:
    ways: list[Any] = [
        _same_conv(dice, dice.randint(1, 4)),
        [_same_conv(dice, 3), m.BatchNorm2d(), m.ReLU()],
        m.MaxPool2d(3, stride=1, padding=1),
        {"pool": m.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), "act": _activation(dice, shape)},
    ]
    chosen = dice.sample(ways, dice.randint(2, 3))
    return m.Branches(chosen if dice.random() < 0.5 else {f"way{i}": way for i, way in enumerate(chosen)})


def _named_inputs(dice: random.Random, _: Shape) -> Any:
    channels = dice.randint(1, 4)
    return {
        "first": _same_conv(dice, channels),
        "second": m.Node(_same_conv(dice, channels), inputs=("first",)),
        "third": m.Node(m.Tanh(), inputs=("first",)),
        "sum": m.Node(m.Add(), inputs=("first", "second", "third")),
        "both": m.Node(m.Concat(), inputs=("sum", "second")),
    }


def _image_again(dice: random.Random, _: Shape) -> Any:
    """Takes the image itself once more; both sides are pooled to one size."""
    size = (dice.randint(1, 4), dice.randint(1, 4))
    return {
        "here": m.AdaptiveAvgPool2d(size),
        "image": m.Node(m.AdaptiveAvgPool2d(size), inputs=("input",)),
        "both": m.Node(m.Concat(), inputs=("here", "image")),
    }


# ---- flat layers


def _linear(dice: random.Random, _: Shape) -> Any:
    return m.Linear(dice.randint(2, 16), bias=dice.random() < 0.7)


def _flat_residual(dice: random.Random, shape: Shape) -> Any:
    return m.Residual([m.Linear(shape[0]), _activation(dice, shape)]) if shape[0] <= 64 else None


Maker = Callable[[random.Random, Shape], Any]
ANYWHERE: list[Maker] = [
    *(_activation, _activation, _dropout, _group_norm, _layer_norm, _slice, _scale_shift, _expand, _ratio),
]
MAP_MAKERS: list[Maker] = [
    *ANYWHERE,
    *(_conv, _conv, _conv, _conv, _max_pool, _max_pool, _avg_pool, _avg_pool, _adaptive_pool, _permute, _softmax),
    *(_running_norm(m.BatchNorm2d), _running_norm(m.BatchNorm2d), _running_norm(m.InstanceNorm2d)),
    *(_residual, _branches, _named_inputs, _image_again, _reshape, _pad, _gate),
]
FLAT_MAKERS: list[Maker] = [*ANYWHERE, _linear, _linear, _linear, _running_norm(m.BatchNorm1d), _flat_residual]


# ---- comparing one with torch.nn


def compare(graph: RandomGraph, engine: str = "aten") -> bool:
    """Outputs, gradients of images and parameters, running statistics: our float32 against torch.nn in float64.

    How far float32 may be away depends on the network: a norm over few equal numbers, or a ReLU that meets a number
    near 0, magnifies any rounding. So torch.nn in float32 is run as well, and ten times its own distance from
    float64 is allowed, beside 2e-5 of the tensor's length (a few hundred roundings of 6e-8 each). Gradients that are
    0 in truth, such as a bias's before a batch norm, consist of rounding errors only: 1e-5 of the longest gradient
    is allowed there, and 1e-6 of the output gradients, of which a norm over a few numbers leaves only a small rest,
    and twice what torch.nn rounds away at worst in any gradient of this network: with which of them it is lucky
    changes with the number of threads.
    False when the engine says that it can't run such a network.
    """
    generator = torch.Generator().manual_seed(graph.seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=graph.seed)
    model.engine = engine
    if engine == "lanes" and core.lanes_unsupported_reason(model._network) is not None:
        return False
    stir(model, generator)
    twin = Twin(model)
    exact = copy.deepcopy(twin).double()
    images = torch.randn(graph.batch, *graph.input_shape, generator=generator)
    output_gradients = torch.randn(graph.batch, *model.output_shape, generator=generator)
    for training in (True, False):
        seed = _dropout_seed(graph.seed) if training and model._has_dropout else 0
        results = []
        for network in (twin, exact):  # statistics of a few numbers magnify what the training before rounded
            network.load_state_dict(model.state_dict())
        for network in (model, twin, exact):
            network.train(training)
            if isinstance(network, Twin) and training:
                network.draw_masks(seed, 0, graph.batch)
            dtype = torch.float64 if network is exact else torch.float32
            results.append(_everything(network, graph.seed, images.to(dtype), output_gradients.to(dtype)))
        _check(
            *results,
            length(output_gradients),
            f"seed {graph.seed}, engine {engine}, {'training' if training else 'evaluation'}",
        )
    return True


def stir(model: mnistcnn.Model, generator: torch.Generator) -> None:
    """No weight stays at a value that hides mistakes, such as a norm's 1 and 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator))


def _dropout_seed(seed: int) -> int:
    """What a model draws for its masks right after torch.manual_seed(seed)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return int(torch.randint(2**62, ()).item())


def _everything(
    network: torch.nn.Module, seed: int, images: torch.Tensor, output_gradients: torch.Tensor
) -> dict[str, torch.Tensor]:
    leaf = images.clone().requires_grad_()
    network.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        outputs = network(leaf)
    outputs.backward(output_gradients)
    found = {"outputs": outputs.detach(), "gradient of the images": leaf.grad}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in network.named_parameters()}
    return found | {name: buffer.clone() for name, buffer in network.named_buffers()}


def _check(ours: dict[str, Any], single: dict[str, Any], double: dict[str, Any], arriving: float, where: str) -> None:
    assert list(ours) == list(double), where
    gradients = [name for name in double if name.startswith("gradient")]
    longest = max(length(double[name]) for name in gradients)
    noise = max(distance(single[name], double[name]) for name in gradients)
    for name, wanted in double.items():
        assert ours[name].shape == wanted.shape, f"{name}, {where}"
        floor = 1e-5 * longest + 1e-6 * arriving + 2 * noise if name in gradients else 0.0
        if name.endswith("running_mean"):  # rounds by the numbers' spread, whatever their mean is
            floor = 2e-7 * length(double[name.replace("running_mean", "running_var")].sqrt())
        allowed = 2e-5 * length(wanted) + 10 * distance(single[name], wanted) + floor
        found = distance(ours[name], wanted)
        assert found <= allowed, f"{name} is {found:.3g} away, allowed are {allowed:.3g}; {where}"


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2])
    for number in range(first, first + count):
        compare(random_graph(number), *sys.argv[3:])
    print(f"{count} random graphs from seed {first} agree with torch.nn")

"""Random networks of all layers, and their comparison with torch.nn.

Compare COUNT networks from seed FIRST with ``python tests/python/random_graphs.py FIRST COUNT [ENGINE]``.
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
MAX_CHANNELS, MAX_PIXELS = 12, 200


@dataclass(frozen=True)
class RandomGraph:
    """Network, image shape and batch size, all determined by a seed."""

    seed: int
    layers: list[Any]
    input_shape: Shape
    batch: int

    def ops(self) -> set[str]:
        return {op for _, op, _, _ in build_rows(self.layers)}


def random_graph(seed: int) -> RandomGraph:
    """Return the network of a seed: layers on feature maps, then usually layers on flat features."""
    rng = random.Random(seed)
    input_shape = (rng.randint(1, 4), rng.randint(4, 11), rng.randint(4, 11))
    layers: list[Any] = []
    for _ in range(rng.randint(1, 6)):
        _append(layers, input_shape, rng, MAP_MAKERS)
    if rng.random() < 0.8:
        if rng.random() < 0.4:
            size = (rng.randint(1, 3), rng.randint(1, 3))
            # The mean of an instance norm is its bias: a batch norm after it would only get rounding errors.
            flat = size == (1, 1) and bool(layers) and isinstance(layers[-1], m.InstanceNorm2d)
            layers.append(m.AdaptiveAvgPool2d((2, 2) if flat else size))
        layers.append(m.Flatten())
        for _ in range(rng.randint(1, 4)):
            _append(layers, input_shape, rng, FLAT_MAKERS)
    if not layers or rng.random() < 0.4:
        layers.append(rng.choice([m.LogSoftmax(), m.LogSoftmax(), m.Softmax()]))
    return RandomGraph(seed, layers, input_shape, rng.randint(2, 5))


def shape_of(layers: list[Any], input_shape: Shape) -> Shape:
    """Return the output shape of a list of layers."""
    if not layers:
        return input_shape
    network = core.Network(input_shape=list(input_shape), nodes=build_rows(layers))
    return tuple(network.nodes[-1]["output_shape"])


def _append(layers: list[Any], input_shape: Shape, rng: random.Random, makers: list[Any]) -> None:
    shape = shape_of(layers, input_shape)
    item = rng.choice(makers)(rng, shape)
    if item is None:
        return
    after = shape_of([*layers, item], input_shape)
    pixels = after[1] * after[2] if len(after) == 3 else 1
    if after[0] <= 8 * MAX_CHANNELS and pixels <= MAX_PIXELS:
        layers.append(item)


# ---- one layer for a feature map; None if it does not fit


def _conv(rng: random.Random, shape: Shape) -> Any:
    kernel = (rng.randint(1, 4), rng.randint(1, 4))
    dilation = (rng.randint(1, 2), rng.randint(1, 2))
    padding: Any = rng.choice(["same", "valid", rng.randint(0, 2), (rng.randint(0, 2), rng.randint(0, 2))])
    stride = 1 if padding == "same" else (rng.randint(1, 3), rng.randint(1, 2))
    groups = rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0 and g <= MAX_CHANNELS])
    border = {"same": kernel, "valid": (0, 0)}.get(padding, padding) if isinstance(padding, str) else padding
    rows, columns = (border, border) if isinstance(border, int) else border
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding != "same" and (shape[1] + 2 * rows < extent[0] or shape[2] + 2 * columns < extent[1]):
        return None
    out_channels = groups * rng.randint(1, max(1, MAX_CHANNELS // groups))
    return m.Conv2d(
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=rng.random() < 0.5,
    )


def _same_conv(rng: random.Random, channels: int) -> Any:
    return m.Conv2d(channels, rng.randint(1, 4), padding="same", bias=rng.random() < 0.5)


def _pool_options(rng: random.Random, shape: Shape, dilation: int) -> dict[str, Any] | None:
    kernel = (rng.randint(1, 4), rng.randint(1, 4))
    padding = (rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2))
    fits = all(dilation * (k - 1) + 1 <= size + 2 * p for k, size, p in zip(kernel, shape[1:], padding, strict=True))
    stride = rng.choice([None, rng.randint(1, 3), (rng.randint(1, 3), rng.randint(1, 3))])
    ceil_mode = rng.random() < 0.5
    return {"kernel_size": kernel, "padding": padding, "stride": stride, "ceil_mode": ceil_mode} if fits else None


def _max_pool(rng: random.Random, shape: Shape) -> Any:
    dilation = rng.randint(1, 2) if min(shape[1:]) > 1 else 1  # else a window could contain padding only
    options = _pool_options(rng, shape, dilation)
    return None if options is None else m.MaxPool2d(**options, dilation=dilation)


def _avg_pool(rng: random.Random, shape: Shape) -> Any:
    options = _pool_options(rng, shape, 1)
    return None if options is None else m.AvgPool2d(**options, count_include_pad=rng.random() < 0.5)


def _adaptive_pool(rng: random.Random, _: Shape) -> Any:
    return m.AdaptiveAvgPool2d((rng.randint(1, 6), rng.randint(1, 6)))


def _running_norm(kind: Any) -> Any:
    def make(rng: random.Random, shape: Shape) -> Any:
        if kind is m.InstanceNorm2d and shape[1] * shape[2] < 4:
            return None
        return kind(
            eps=rng.choice([1e-5, 1e-3]),
            momentum=rng.choice([0.1, 0.3, None]),
            affine=rng.random() < 0.7,
            track_running_stats=rng.random() < 0.7,
        )

    return make


def _group_norm(rng: random.Random, shape: Shape) -> Any:
    groups = rng.choice([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])
    if torch.Size(shape).numel() // groups < 4:
        return None
    return m.GroupNorm(groups, eps=rng.choice([1e-5, 1e-3]), affine=rng.random() < 0.7)


def _layer_norm(rng: random.Random, shape: Shape) -> Any:
    normalized = shape[rng.randrange(len(shape)) :]
    if torch.Size(normalized).numel() < 4:
        return None
    return m.LayerNorm(normalized, affine=rng.random() < 0.7, bias=rng.random() < 0.5)


def _activation(rng: random.Random, shape: Shape) -> Any:
    return rng.choice(
        [
            *(m.ReLU(), m.ReLU(), m.LeakyReLU(rng.choice([0.01, 0.1, 0.3])), m.Tanh(), m.Sigmoid(), m.SiLU()),
            *(m.GELU(), m.GELU("tanh"), m.ELU(rng.choice([1.0, 0.5])), m.ReLU6(), m.Hardswish()),
            *(m.PReLU(), m.PReLU(shape[0], init=0.1), m.Mish()),
            m.Softplus(rng.choice([1.0, 0.5, 3.0]), rng.choice([20.0, 2.0])),
        ]
    )


def _dropout(rng: random.Random, shape: Shape) -> Any:
    p = rng.choice([0.0, 0.1, 0.25, 0.5])
    return m.Dropout2d(p) if len(shape) == 3 and rng.random() < 0.5 else m.Dropout(p)


def _reshape(rng: random.Random, shape: Shape) -> Any:
    if len(shape) == 1:
        rows = rng.choice([n for n in range(1, shape[0] + 1) if shape[0] % n == 0 and n <= MAX_CHANNELS])
        return m.Reshape((rows, 1, shape[0] // rows))
    return m.Reshape((shape[0], shape[2], shape[1]))


def _pad(rng: random.Random, shape: Shape) -> Any:
    mode = rng.choice(["constant", "reflect", "replicate", "circular"])
    most = [min(3, size - 1 if mode == "reflect" else size) for size in shape[1:]]
    return m.Pad(tuple(rng.randint(0, most[i // 2]) for i in range(4)), mode)


def _gate(rng: random.Random, shape: Shape) -> Any:
    """Multiply each channel, or each element, by a gate."""
    pool = [m.AdaptiveAvgPool2d(1), m.Conv2d(shape[0], 1)] if rng.random() < 0.5 else [m.Conv2d(shape[0], 1)]
    return {
        "here": m.Tanh(),
        "gate": [*pool, m.Sigmoid()],
        "product": m.Node(m.Multiply(), inputs=("here", "gate")),
    }


def _expand(rng: random.Random, shape: Shape) -> Any:
    """Reduce one dimension to size 1, then expand it."""
    dimension, size = rng.randrange(len(shape)), rng.randint(1, 4)
    one = m.Amax(dimension) if rng.random() < 0.5 else m.Slice(dimension, 0, 1)
    return [one, m.Expand((*shape[:dimension], size, *shape[dimension + 1 :]))]


def _ratio(rng: random.Random, shape: Shape) -> Any:
    """Divide by 1 + sigmoid(x), with or without a gradient through the denominator."""
    below = [m.Sigmoid(), m.ScaleShift(1.0, 1.0), m.Reciprocal()]
    return {
        "here": m.Tanh(),
        "below": [m.Detach(), *below] if rng.random() < 0.5 else below,
        "ratio": m.Node(m.Multiply(), inputs=("here", "below")),
    }


def _softmax(rng: random.Random, _: Shape) -> Any:
    return rng.choice([m.LogSoftmax(), m.Softmax()])


def _permute(rng: random.Random, shape: Shape) -> Any:
    return m.Permute(tuple(rng.sample(range(len(shape)), len(shape))))


def _slice(rng: random.Random, shape: Shape) -> Any:
    dimension = rng.randrange(len(shape))
    if shape[dimension] < 2:
        return None
    start = rng.randrange(shape[dimension] - 1)
    return m.Slice(dimension, start, rng.randint(start + 1, shape[dimension]), rng.randint(1, 2))


def _scale_shift(rng: random.Random, _: Shape) -> Any:
    return m.ScaleShift(rng.uniform(-2, 2), rng.uniform(-1, 1))


# ---- branches


def _residual(rng: random.Random, shape: Shape) -> Any:
    channels = rng.choice([shape[0], rng.randint(1, MAX_CHANNELS)])
    body = [_same_conv(rng, channels), _activation(rng, (channels, *shape[1:])), _same_conv(rng, channels)]
    shortcut = () if channels == shape[0] else m.Conv2d(channels, 1, bias=rng.random() < 0.5)
    return m.Residual(body, shortcut=shortcut)


def _branches(rng: random.Random, shape: Shape) -> Any:
    choices: list[Any] = [
        _same_conv(rng, rng.randint(1, 4)),
        [_same_conv(rng, 3), m.BatchNorm2d(), m.ReLU()],
        m.MaxPool2d(3, stride=1, padding=1),
        {"pool": m.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), "act": _activation(rng, shape)},
    ]
    chosen = rng.sample(choices, rng.randint(2, 3))
    return m.Branches(chosen if rng.random() < 0.5 else {f"branch{i}": branch for i, branch in enumerate(chosen)})


def _named_inputs(rng: random.Random, _: Shape) -> Any:
    channels = rng.randint(1, 4)
    return {
        "first": _same_conv(rng, channels),
        "second": m.Node(_same_conv(rng, channels), inputs=("first",)),
        "third": m.Node(m.Tanh(), inputs=("first",)),
        "sum": m.Node(m.Add(), inputs=("first", "second", "third")),
        "both": m.Node(m.Concat(), inputs=("sum", "second")),
    }


def _image_as_second_input(rng: random.Random, _: Shape) -> Any:
    """Concatenate the feature map and the image, both pooled to the same size."""
    size = (rng.randint(1, 4), rng.randint(1, 4))
    return {
        "here": m.AdaptiveAvgPool2d(size),
        "image": m.Node(m.AdaptiveAvgPool2d(size), inputs=("input",)),
        "both": m.Node(m.Concat(), inputs=("here", "image")),
    }


# ---- flat layers


def _linear(rng: random.Random, _: Shape) -> Any:
    return m.Linear(rng.randint(2, 16), bias=rng.random() < 0.7)


def _flat_residual(rng: random.Random, shape: Shape) -> Any:
    return m.Residual([m.Linear(shape[0]), _activation(rng, shape)]) if shape[0] <= 64 else None


Maker = Callable[[random.Random, Shape], Any]
ANYWHERE: list[Maker] = [
    *(_activation, _activation, _dropout, _group_norm, _layer_norm, _slice, _scale_shift, _expand, _ratio),
]
MAP_MAKERS: list[Maker] = [
    *ANYWHERE,
    *(_conv, _conv, _conv, _conv, _max_pool, _max_pool, _avg_pool, _avg_pool, _adaptive_pool, _permute, _softmax),
    *(_running_norm(m.BatchNorm2d), _running_norm(m.BatchNorm2d), _running_norm(m.InstanceNorm2d)),
    *(_residual, _branches, _named_inputs, _image_as_second_input, _reshape, _pad, _gate),
]
FLAT_MAKERS: list[Maker] = [*ANYWHERE, _linear, _linear, _linear, _running_norm(m.BatchNorm1d), _flat_residual]


# ---- comparison with torch.nn


def compare(graph: RandomGraph, engine: str = "aten") -> bool:
    """Compare outputs, gradients and running statistics in float32 with torch.nn in float64.

    Return False if the engine does not support the network.

    Some networks amplify rounding errors: norms over few, nearly equal elements, or ReLUs of values near 0. The
    tolerance of a tensor is therefore the sum of

    - ten times the error of torch.nn in float32;
    - 2e-5 of the norm of the tensor (a few hundred roundings of 6e-8 each);
    - for gradients, of which some are exactly 0 and consist of rounding errors only (a bias before a batch norm):
      1e-5 of the largest gradient, 1e-6 of the output gradients (norms over a few elements cancel most of them), and
      twice the largest error of torch.nn in any gradient of the network, since the errors of single gradients vary
      with the number of threads.
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
        for network in (twin, exact):  # statistics of few elements amplify earlier rounding errors
            network.load_state_dict(model.state_dict())
        for network in (model, twin, exact):
            network.train(training)
            if isinstance(network, Twin) and training:
                network.draw_masks(seed, 0, graph.batch)
            dtype = torch.float64 if network is exact else torch.float32
            results.append(_forward_and_backward(network, graph.seed, images.to(dtype), output_gradients.to(dtype)))
        _check(
            *results,
            length(output_gradients),
            f"seed {graph.seed}, engine {engine}, {'training' if training else 'evaluation'}",
        )
    return True


def stir(model: mnistcnn.Model, generator: torch.Generator) -> None:
    """Perturb all tensors, so that none has a value that hides errors, such as the 1 and 0 of norms."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand(buffer.shape, generator=generator))


def _dropout_seed(seed: int) -> int:
    """Return the seed that a model draws for dropout after torch.manual_seed(seed)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return int(torch.randint(2**62, ()).item())


def _forward_and_backward(
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


def _check(
    ours: dict[str, Any], single: dict[str, Any], double: dict[str, Any], output_gradient_norm: float, where: str
) -> None:
    assert list(ours) == list(double), where
    gradients = [name for name in double if name.startswith("gradient")]
    longest = max(length(double[name]) for name in gradients)
    noise = max(distance(single[name], double[name]) for name in gradients)
    for name, wanted in double.items():
        assert ours[name].shape == wanted.shape, f"{name}, {where}"
        floor = 1e-5 * longest + 1e-6 * output_gradient_norm + 2 * noise if name in gradients else 0.0
        if name.endswith("running_mean"):  # the error is relative to the standard deviation, not to the mean
            floor = 2e-7 * length(double[name.replace("running_mean", "running_var")].sqrt())
        allowed = 2e-5 * length(wanted) + 10 * distance(single[name], wanted) + floor
        found = distance(ours[name], wanted)
        assert found <= allowed, f"{name}: error {found:.3g} exceeds {allowed:.3g}; {where}"


if __name__ == "__main__":
    first, count = int(sys.argv[1]), int(sys.argv[2])
    for number in range(first, first + count):
        compare(random_graph(number), *sys.argv[3:])
    print(f"{count} random graphs from seed {first} agree with torch.nn")

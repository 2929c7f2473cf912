"""Simple reference implementations: networks in torch.nn, and the random numbers of the core in Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn

GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "golden" / "architectures.json").read_text(encoding="utf-8")
)
GOLDEN_BY_NAME = {entry["name"]: entry for entry in GOLDEN}
ENGINES = ("aten", "lanes")  # engines that are compared with torch.nn


# ---- layers that torch.nn has no module for


class PaddedConv2d(nn.Conv2d):
    """Convolution with different padding at opposite sides."""

    border: tuple[int, int, int, int]  # top, bottom, left, right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top, bottom, left, right = self.border
        return super().forward(F.pad(x, (left, right, top, bottom)))


class Dropout(nn.Dropout):
    """Dropout with a given mask of 0 and 1 / (1 - p), shape [batch, ...]. Without a mask, PyTorch's dropout."""

    mask: torch.Tensor | None = None
    whole_channels = False
    always = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training or self.always) or self.p == 0 or self.mask is None:
            return F.dropout(x, self.p, self.training or self.always)
        mask = self.mask.to(x.dtype)
        return x * (mask[:, :, None, None] if self.whole_channels else mask)


class Add(nn.Module):
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack(inputs).sum(0)


class Concat(nn.Module):
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat(inputs, dim=1)


class Multiply(nn.Module):
    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return first * second


class Reshape(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), *self.shape)


class Reciprocal(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 / x


class Expand(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(len(x), *self.shape, dtype=x.dtype)


class Amax(nn.Module):
    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.amax(self.dimension + 1, keepdim=True)


class Detach(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()


class Pad(nn.Module):
    def __init__(self, padding: tuple[int, int, int, int], mode: str) -> None:
        super().__init__()
        self.padding, self.mode = padding, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top, bottom, left, right = self.padding
        return F.pad(x, (left, right, top, bottom), mode=self.mode)


class Permute(nn.Module):
    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Inputs and output gradients are made contiguous: PyTorch 2.13's batch norm returns wrong gradients for some
        # permuted feature maps of width 1 and for output gradients that are not contiguous (checked by finite
        # differences).
        if x.requires_grad:
            x.register_hook(torch.Tensor.contiguous)
        return x.permute(0, *(dimension + 1 for dimension in self.order)).contiguous()


class Slice(nn.Module):
    def __init__(self, dimension: int, start: int, stop: int, step: int) -> None:
        super().__init__()
        self.dimension, self.positions = dimension, range(start, stop, step)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.index_select(self.dimension + 1, torch.tensor(self.positions))


class ScaleShift(nn.Module):
    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


# ---- node -> torch module


def _conv(f: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
    top, bottom, left, right = f["padding"]
    options = {name: f[name] for name in ("stride", "dilation", "groups", "bias")}
    if (top, left) == (bottom, right):
        return nn.Conv2d(shape[0], f["out_channels"], f["kernel"], padding=(top, left), **options)
    conv = PaddedConv2d(shape[0], f["out_channels"], f["kernel"], **options)
    conv.border = f["padding"]
    return conv


def _running(kind: type[nn.Module]) -> Any:
    def make(f: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
        momentum = None if f["momentum"] < 0 else f["momentum"]
        return kind(shape[0], f["eps"], momentum, f["affine"], f["track_running_stats"])  # type: ignore[call-arg]

    return make


def _dropout(whole_channels: bool) -> Any:
    def make(f: dict[str, Any], _: tuple[int, ...]) -> nn.Module:
        module = Dropout(f["probability"])
        module.whole_channels, module.always = whole_channels, f["always"]
        return module

    return make


MAKERS: dict[str, Any] = {
    "conv2d": _conv,
    "linear": lambda f, shape: nn.Linear(shape[0], f["out_features"], bias=f["bias"]),
    "batchnorm2d": _running(nn.BatchNorm2d),
    "batchnorm1d": _running(nn.BatchNorm1d),
    "instancenorm2d": _running(nn.InstanceNorm2d),
    "groupnorm": lambda f, shape: nn.GroupNorm(f["groups"], shape[0], f["eps"], f["affine"]),
    "layernorm": lambda f, _: nn.LayerNorm(f["normalized_shape"], f["eps"], f["affine"], f["bias"]),
    "maxpool2d": lambda f, _: nn.MaxPool2d(
        f["kernel"], f["stride"], f["padding"], f["dilation"], ceil_mode=f["ceil_mode"]
    ),
    "avgpool2d": lambda f, _: nn.AvgPool2d(
        f["kernel"], f["stride"], f["padding"], f["ceil_mode"], f["count_include_pad"]
    ),
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
    "reciprocal": lambda *_: Reciprocal(),
    "dropout": _dropout(whole_channels=False),
    "dropout2d": _dropout(whole_channels=True),
    "log_softmax": lambda *_: nn.LogSoftmax(1),
    "softmax": lambda *_: nn.Softmax(1),
    "add": lambda *_: Add(),
    "multiply": lambda *_: Multiply(),
    "concat": lambda *_: Concat(),
    "reshape": lambda f, _: Reshape(f["shape"]),
    "expand": lambda f, _: Expand(f["shape"]),
    "pad": lambda f, _: Pad(f["padding"], f["mode"]),
    "permute": lambda f, _: Permute(f["order"]),
    "slice": lambda f, _: Slice(f["dimension"], f["start"], f["stop"], f["step"]),
    "amax": lambda f, _: Amax(f["dimension"]),
    "detach": lambda *_: Detach(),
    "scale_shift": lambda f, _: ScaleShift(f["scale"], f["shift"]),
}


class Twin(nn.Module):
    """Network of a model in torch.nn, with the same names and weights."""

    def __init__(self, model: mnistcnn.Model) -> None:
        super().__init__()
        self._nodes = model._network.nodes
        self._steps = [MAKERS[node["op"]](node["fields"], node["input_shapes"][0]) for node in self._nodes]
        for node, step in zip(self._nodes, self._steps, strict=True):
            add_module_by_path(self, node["name"], step)
        self.load_state_dict(model.state_dict())
        self.train(model.training)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values: dict[int, torch.Tensor] = {-1: images}
        for index, (node, step) in enumerate(zip(self._nodes, self._steps, strict=True)):
            values[index] = step(*(values[each] for each in node["inputs"]))
        return values[len(self._nodes) - 1]

    def draw_masks(self, seed: int, step: int, batch: int) -> None:
        """Set the dropout masks of a training step."""
        for index, (node, module) in enumerate(zip(self._nodes, self._steps, strict=True)):
            if isinstance(module, Dropout) and module.p > 0:
                shape = node["input_shapes"][0][:1] if module.whole_channels else node["input_shapes"][0]
                module.mask = dropout_mask(seed, step, index, (batch, *shape), module.p)


def add_module_by_path(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a name with dots."""
    *blocks, last = name.split(".")
    for block in blocks:
        if block not in root._modules:
            root.add_module(block, nn.Module())
        root = root.get_submodule(block)
    root.add_module(last, module)


# ---- golden table


def golden_module(entry: dict[str, Any], in_channels: int = 1) -> tuple[nn.Module, list[nn.Module]]:
    """Return a module for an entry of the golden table, and its layers in order."""
    root = nn.Module()
    steps = list(_golden_layers(entry, in_channels))
    for index, (layer, step) in enumerate(zip(entry["layers"], steps, strict=True)):
        add_module_by_path(root, layer.get("name", f"layer{index}"), step)
    return root, steps


def _golden_layers(entry: dict[str, Any], in_channels: int) -> Iterator[nn.Module]:
    shape = [in_channels, 28, 28]
    for layer in entry["layers"]:
        yield _golden_layer(layer, shape)
        shape = layer["output_shape"]


def _golden_layer(layer: dict[str, Any], shape: list[int]) -> nn.Module:
    makers = {
        "conv2d": lambda: nn.Conv2d(
            shape[0],
            layer["out"],
            layer["kernel"],
            layer["stride"],
            layer["padding"],
            groups=layer.get("groups", 1),
            bias=layer["bias"],
        ),
        "batchnorm2d": lambda: nn.BatchNorm2d(shape[0]),
        "linear": lambda: nn.Linear(shape[0], layer["out"], bias=layer["bias"]),
        "relu": nn.ReLU,
        "silu": nn.SiLU,
        "leaky_relu": lambda: nn.LeakyReLU(layer["slope"]),
        "maxpool2d": lambda: nn.MaxPool2d(layer["kernel"], layer["stride"]),
        "avgpool2d": lambda: nn.AvgPool2d(layer["kernel"], layer["stride"]),
        "adaptive_avgpool2d": lambda: nn.AdaptiveAvgPool2d(layer["output"]),
        "dropout": lambda: nn.Dropout(layer["p"]),
        "flatten": nn.Flatten,
        "log_softmax": lambda: nn.LogSoftmax(1),
    }
    return makers[layer["op"]]()


# ---- common/random.h in Python

_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_GOLDEN_RATIO = 0x9E3779B97F4A7C15
_DROPOUT = 3  # common::Purpose::kDropout


def _mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


def _mix32(x: int) -> int:
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK32
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def stream_key(seed: int, purpose: int, first: int = 0, second: int = 0) -> int:
    """Return the key of common::Stream."""
    key = _mix64((seed + _GOLDEN_RATIO) & _MASK64)
    for word in (purpose, first, second):
        key = _mix64(key ^ _mix64((word + _GOLDEN_RATIO) & _MASK64))
    return key


def dropout_mask(seed: int, step: int, node: int, shape: tuple[int, ...], probability: float) -> torch.Tensor:
    """Return the mask of common::DropoutKey, of 0 and 1 / (1 - probability)."""
    key = stream_key(seed, _DROPOUT, step, node)
    low, high = key & _MASK32, key >> 32
    threshold = int(probability * 65536 + 0.5)
    elements = torch.Size(shape[1:]).numel()
    kept = []
    for image in range(shape[0]):
        for element in range(elements):
            pair_key = (_mix32((element // 2 + high) & _MASK32) + low) & _MASK32
            word = _mix32((pair_key + image) & _MASK32)
            half = word & 0xFFFF if element % 2 == 0 else word >> 16
            kept.append(half >= threshold)
    scale = 1 / (1 - probability) if probability < 1 else 0.0
    return torch.tensor(kept).view(shape) * torch.tensor(scale)


# ---- comparisons


def distance(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the Euclidean norm of the difference."""
    return (actual.detach().double() - wanted.detach().double()).norm().item()


def length(tensor: torch.Tensor) -> float:
    return tensor.detach().double().norm().item()


def without_dropout(model: mnistcnn.Model) -> mnistcnn.Model:
    """Return a copy of a model in which all dropout probabilities are 0."""
    rows = [(n, op, i, {**f, "probability": 0.0} if "probability" in f else f) for n, op, i, f in model.rows]
    copied = mnistcnn.Model.from_rows(rows, model.input_shape, name=model.name, normalization=model.normalization)
    copied.engine = model.engine
    copied.load_state_dict(model.state_dict())
    return copied


def pixels_as_input(model: mnistcnn.Model, images: Any) -> torch.Tensor:
    """Convert uint8 pixels [N, C, H, W] to normalized float32 with the arithmetic of the core."""
    normalization = model.pixel_normalization
    mean, std = (torch.tensor(each).double().view(1, -1, 1, 1) for each in (normalization.mean, normalization.std))
    return torch.as_tensor(np.array(images)).float() * (1 / (255 * std)).float() + (-mean / std).float()

"""Parameters that a forward uses outside of layers: same outputs and gradients as in PyTorch."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from messages import own_message
from mnistcnn._internal.native import core
from reference import distance, length

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")
Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """Feature maps [N, 4, 8, 8] are passed to a function, which may use the parameters g and b."""

    def __init__(self, function: Forward, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.fc = nn.Conv2d(1, 4, 5, 3, bias=False), nn.Linear(256, 10, bias=False)
        self.function = function
        for name, shape in zip("gb", shapes, strict=False):
            setattr(self, name, nn.Parameter(torch.randn(shape)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.function(self, self.conv(x))
        return x if x.dim() == 2 and x.shape[1] == 10 else self.fc(x.flatten(1))


def out(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.fc(x.flatten(1))


SUPPORTED: dict[str, tuple[Forward, tuple[tuple[int, ...], ...]]] = {
    "scaled residual": (lambda net, x: x + net.g * x.tanh(), ((1,),)),
    "a number": (lambda net, x: net.g * x, ((),)),
    "in place": (lambda net, x: x.tanh().mul(2).mul_(net.g), ((1,),)),
    "channels": (lambda net, x: x.tanh() * net.g, ((4, 1, 1),)),
    "channels, with the batch": (lambda net, x: net.g * x.tanh(), ((1, 4, 1, 1),)),
    "channels, seen so": (lambda net, x: x.tanh() * net.g.view(1, -1, 1, 1), ((4,),)),
    "channels, by index": (lambda net, x: x.tanh() * net.g[None, :, None, None], ((4,),)),
    "channels last": (lambda net, x: x.tanh().permute(0, 2, 3, 1) * net.g, ((4,),)),
    "positions": (lambda net, x: x.tanh() + net.g, ((1, 4, 8, 8),)),
    "rows": (lambda net, x: x.tanh() * net.g, ((8, 1),)),
    "columns": (lambda net, x: x.tanh() + net.g, ((8,),)),
    "tokens": (lambda net, x: x.tanh().flatten(2).transpose(1, 2) * net.g + net.b, ((4,), (4,))),
    "scale and shift": (lambda net, x: x.tanh() * net.g[:, None, None] + net.b[:, None, None], ((4,), (4,))),
    "a shift of channels": (lambda net, x: x.tanh() + net.g, ((4, 1, 1),)),
    "a shift of all": (lambda net, x: x.tanh() + net.g, ((1,),)),
    "minus": (lambda net, x: x.tanh() - net.g, ((4, 1, 1),)),
    "from": (lambda net, x: net.g - x.tanh(), ((4, 1, 1),)),
    "bias of a convolution": (lambda net, x: x + net.g.reshape(1, 4, 1, 1), ((4,),)),
    "with a bias and without": (lambda net, x: x + (x + net.g).tanh(), ((4, 1, 1),)),
    "bias of a linear layer": (lambda net, x: out(net, x) + net.g, ((10,),)),
    "features": (lambda net, x: torch.tanh(out(net, x)) * net.g - net.b, ((10,), (1, 10))),
    "weighted sum": (lambda net, x: (x.tanh() * net.g.view(1, -1, 1, 1)).sum(1).flatten(1)[:, :10], ((4,),)),
    "temperature": (lambda net, x: torch.multiply(out(net, x), net.g), ((1,),)),
}  # fmt: skip


@pytest.mark.parametrize("case", SUPPORTED)
def test_outputs_and_gradients_match_pytorch(case: str):
    """Compare outputs and gradients with float64. The model alone computes the same outputs."""
    function, shapes = SUPPORTED[case]
    module = Net(function, *shapes)
    exact = copy.deepcopy(module).double()
    model = mnistcnn.from_torch(module)
    assert core.lanes_unsupported_reason(model._network) is None
    mnistcnn.accelerate(module)
    images = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    results = []
    for network, leaf in ((module, images.clone().requires_grad_()), (exact, images.double().requires_grad_())):
        outputs = network(leaf)
        (outputs * torch.linspace(-1, 2, 60, dtype=outputs.dtype).view(6, 10)).sum().backward()
        results.append([outputs, leaf.grad, *(parameter.grad for parameter in network.parameters())])
    longest = max(length(each) for each in results[1] if each is not None)
    for actual, desired in zip(*results, strict=True):
        assert (actual is None) == (desired is None)
        assert actual is None or distance(actual, desired) <= 2e-5 * length(desired) + 1e-6 * longest
    torch.testing.assert_close(model(images), module(images))
    torch.testing.assert_close(copy.deepcopy(model)(images), module(images))


def test_a_bias_adds_no_node():
    function, shapes = SUPPORTED["scale and shift"]
    assert [op for _, op, _, _ in mnistcnn.from_torch(Net(function, *shapes)).rows][1:3] == ["tanh", "conv2d"]
    rows = mnistcnn.from_torch(Net(*SUPPORTED["bias of a convolution"][:1], (4,))).rows
    assert rows[0][0] == "conv"
    assert rows[0][3]["bias"]


def test_native_training_updates_the_parameter(digits: Any):
    """Native training updates the parameter as well."""
    module = Net(*SUPPORTED["scaled residual"][:1], (1,))
    with torch.no_grad():
        module.g.zero_()
    mnistcnn.train(module, digits[0][:200], epochs=1, batch_size=50, progress=False)
    assert module.g.item() != 0.0


class Block(nn.Module):
    """Step of a random kind; some contain further blocks."""

    KINDS = ("conv", "scale", "affine", "shift", "minus", "dropout", "in training", "residual", "absolute", "act")

    def __init__(self, draw: random.Random, channels: int, depth: int = 0) -> None:
        super().__init__()
        self.kind = draw.choice(self.KINDS if depth < 2 else self.KINDS[:7])
        self.act = draw.choice([torch.tanh, F.elu, F.silu])
        wide = draw.choice([(channels, 1, 1), (1, channels, 1, 1)])
        if self.kind == "conv":
            self.inner = nn.Conv2d(channels, channels, 3, padding=1, bias=draw.random() < 0.5)
        if self.kind in ("scale", "residual"):
            self.g = nn.Parameter(torch.randn(draw.choice([(1,), (), (1, 1, 1)])))
        if self.kind in ("affine", "shift", "minus"):
            self.g = nn.Parameter(torch.randn(wide))
        if self.kind == "affine":
            self.b = nn.Parameter(torch.randn(channels))
        if self.kind == "residual":
            self.inner = nn.Sequential(*(Block(draw, channels, depth + 1) for _ in range(draw.randint(1, 2))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {
            "conv": lambda: self.inner(x),
            "scale": lambda: x * self.g,
            "affine": lambda: self.g * x + self.b[:, None, None],
            "shift": lambda: x + self.g,
            "minus": lambda: x - self.g,
            "dropout": lambda: F.dropout(x, 0.0, training=self.training),
            "in training": lambda: self.act(F.dropout2d(x, 0.0) if self.training else x),
            "residual": lambda: x + self.g * self.inner(x),
            "absolute": lambda: torch.abs(x),
            "act": lambda: self.act(x),
        }[self.kind]()


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed: int):
    """Chained and nested blocks, in both modes."""
    print("seed", seed)
    torch.manual_seed(seed)
    draw = random.Random(seed)
    channels = draw.choice([2, 3, 8])
    blocks = [Block(draw, channels) for _ in range(draw.randint(1, 5))]
    module = nn.Sequential(
        nn.Conv2d(1, channels, 5, 4, bias=draw.random() < 0.5), *blocks, nn.Flatten(), nn.Linear(36 * channels, 10)
    )
    exact = copy.deepcopy(module).double()
    model = mnistcnn.accelerate(module)
    assert core.lanes_unsupported_reason(mnistcnn.from_torch(model)._network) is None
    images = torch.randn(6, 1, 28, 28)
    for training in (True, False):
        results = []
        for network, given in ((model.train(training), images), (exact.train(training), images.double())):
            network.zero_grad()
            outputs = network(given)
            outputs.cos().mean().backward()
            results.append([outputs, *(parameter.grad for parameter in network.parameters())])
        longest = max(length(each) for each in results[1][1:])
        for actual, desired in zip(*results, strict=True):
            assert distance(actual, desired) <= 2e-5 * length(desired) + 1e-5 * longest


UNSUPPORTED: dict[str, tuple[Forward, tuple[tuple[int, ...], ...], str]] = {
    "a function": (lambda net, x: x * torch.sigmoid(net.g), ((1,),), r"sigmoid: .*parameter 'g' directly; .* x \*"),
    "arithmetic": (lambda net, x: x * (1 - net.g), ((1,),), "parameter 'g' directly"),
    "two": (lambda net, x: x * (net.g * net.b), ((1,), (1,)), "parameter 'g' directly|parameter 'b' directly"),
    "quotient": (lambda net, x: x / net.g, ((1,),), "function div: .*parameter 'g' directly"),
    "a part": (lambda net, x: x * net.g[0], ((2,),), "function getitem: .*parameter 'g' directly"),
    "with holes": (lambda net, x: x * net.g, ((4, 1, 8),), r"'g' has shape \[4, 1, 8\], and the values \[N, 4, 8, 8\]"),
    "larger": (lambda net, x: (x[:, :1] * net.g), ((4, 1, 1),), r"'g' has shape \[4, 1, 1\], and the values \[N, 1, 8"),
    "of the batch": (lambda net, x: x * net.g, ((5, 1, 1, 1),), r"'g' has shape \[5, 1, 1, 1\]"),
    "product": (lambda net, x: out(net, x) @ net.g, ((10, 10),), "matmul; matrix products are .* nn.Linear only"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_the_error_names_the_unsupported_operation(case: str):
    function, shapes, message = UNSUPPORTED[case]
    with pytest.raises(mnistcnn.ConversionError) as caught:
        mnistcnn.from_torch(Net(function, *shapes))
    assert re.search(message, own_message(caught.value, __file__))
    assert "test_direct.py:" in str(caught.value)

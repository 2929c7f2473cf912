"""Of several equal maxima in a window, the first in row-major order gets the gradient, as in PyTorch.

On the constant background of a digit, all elements of a window are equal, so that the choice determines the position of
the image's gradient.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import mnistcnn
from isolated import call_with_instruction_set
from reference import ENGINES

# A gradient at a wrong position is an error of 1; rounding of float32 sums of a few thousand terms is about 1e-6.
TOLERANCE = 1e-5

ORDERS = {
    "relu, pool": lambda channels: [nn.ReLU(), nn.MaxPool2d(2)],
    "pool, relu": lambda channels: [nn.MaxPool2d(2), nn.ReLU()],
    "norm, relu, pool": lambda channels: [nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)],
    "relu, norm, pool": lambda channels: [nn.ReLU(), nn.BatchNorm2d(channels), nn.MaxPool2d(2)],
    "tanh, pool": lambda channels: [nn.Tanh(), nn.MaxPool2d(2)],
    "overlapping pool": lambda channels: [nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)],
}


# Orders after which the input of the second convolution has few digits, so that its outputs are exact too.
EXACT = ("relu, pool", "pool, relu", "overlapping pool")


def two_blocks(order: str, kernel: int, padding: int, widths: tuple[int, int] = (8, 16)) -> nn.Module:
    """Return a network that computes the inputs of each max pool exactly in float32, for images of `digit_images`.

    Otherwise the order of summation would decide which of several almost equal values is the maximum, and in PyTorch
    that order depends on the position and on the CPU. The weights of the convolutions are multiples of 1/64. The second
    block has a max pool only after an exact convolution.
    """
    torch.manual_seed(1)
    first, second = widths
    net = nn.Sequential(
        nn.Conv2d(1, first, kernel, padding=padding),
        *ORDERS[order](first),
        nn.Conv2d(first, second, kernel, padding=padding),
        *(ORDERS[order](second) if order in EXACT else ()),
        nn.Flatten(),
        nn.LazyLinear(10),
    )
    net(torch.zeros(2, 1, 28, 28))
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Conv2d):
                for parameter in layer.parameters():
                    parameter.mul_(64).round_().div_(64)
    return net


def image_gradient(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    leaf = images.clone().requires_grad_()
    (net(leaf) * torch.linspace(-1, 1, 10, dtype=images.dtype)).sum().backward()
    assert leaf.grad is not None
    return leaf.grad.double()


def largest_difference(net: nn.Module, images: torch.Tensor, engine: str) -> float:
    """Return the largest difference from PyTorch in float64, relative to the largest gradient."""
    model = mnistcnn.from_torch(copy.deepcopy(net))
    model.engine = engine
    wanted = image_gradient(copy.deepcopy(net).double(), images.double())
    return float((image_gradient(model, images) - wanted).abs().max() / wanted.abs().max())


def digit_images(images: mnistcnn.ImageSet, count: int = 32) -> torch.Tensor:
    """Return normalized images whose pixels are multiples of 1/16. The background is not 0."""
    return torch.from_numpy(np.array(images.images[:count])).float().div(16).floor().sub(2).div(16)


def differences_on_digits() -> list[float]:
    images = digit_images(mnistcnn.load("digits")[0])
    return [largest_difference(two_blocks(order, 3, 1), images, "lanes") for order in ORDERS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("kernel", "padding"), [(3, 0), (3, 1), (5, 2)])
def test_gradients_of_synthetic_digits(order: str, kernel: int, padding: int, engine: str, digits) -> None:
    images = digit_images(digits[0])
    assert largest_difference(two_blocks(order, kernel, padding), images, engine) < TOLERANCE


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_of_mnist_images(order: str, engine: str, mnist) -> None:
    assert largest_difference(two_blocks(order, 3, 0, (8, 16)), digit_images(mnist[0]), engine) < TOLERANCE


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_gradients_with_each_instruction_set(isa: str) -> None:
    found = call_with_instruction_set("test_max_pool_ties.differences_on_digits()", isa)
    assert max(map(float, found.strip("[]").split(","))) < TOLERANCE


class LayerNormNetwork(nn.Module):
    """Network with a layer norm over whole feature maps before max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.LayerNorm([8, 28, 28]),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 14 * 14, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_gradients_of_a_layer_norm_before_max_pooling(digits) -> None:
    """The gradient of the layer norm depends on the choice too, even without a gradient of the image."""
    images = digit_images(digits[0])
    torch.manual_seed(1)
    net = LayerNormNetwork()
    found = []
    for network, inputs in (
        (mnistcnn.from_torch(copy.deepcopy(net)), images),
        (copy.deepcopy(net).double(), images.double()),
    ):
        (network(inputs) * torch.linspace(-1, 1, 10, dtype=inputs.dtype)).sum().backward()
        found.append(network.get_parameter("layers.1.weight").grad.double())
    assert (found[0] - found[1]).abs().max() / found[1].abs().max() < TOLERANCE

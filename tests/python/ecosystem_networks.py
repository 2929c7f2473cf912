"""Two small networks for tests of other libraries, an accelerated module and a Model, and comparisons with PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn

IMAGES = torch.rand(24, 1, 28, 28, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(24) % 10


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(F.relu(self.norm(self.conv(x))).mean((2, 3))), 1)


def accelerated() -> nn.Module:
    torch.manual_seed(1)
    return mnistcnn.accelerate(Net())


def of_layers() -> nn.Module:
    """Return a model without dropout, so that its outputs can be compared with PyTorch."""
    layers = [
        mnistcnn.layers.Conv2d(6, 3),
        mnistcnn.layers.BatchNorm2d(),
        mnistcnn.layers.ReLU(),
        mnistcnn.layers.AdaptiveAvgPool2d(1),
        mnistcnn.layers.Flatten(),
        mnistcnn.layers.Linear(10),
        mnistcnn.layers.LogSoftmax(),
    ]
    return mnistcnn.Model(layers, seed=1)


every_kind = pytest.mark.parametrize("make", [accelerated, of_layers])


def plain(net: nn.Module) -> nn.Module:
    """Return a copy that PyTorch computes."""
    return net.to_torch() if isinstance(net, mnistcnn.Model) else copy.deepcopy(net)


def convolution(net: nn.Module) -> nn.Conv2d:
    return next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))


def close(actual: torch.Tensor, desired: torch.Tensor) -> None:
    """Check that tensors are equal up to the order of float32 sums: a relative error of 1e-6 of the sum."""
    torch.testing.assert_close(actual, desired, rtol=1e-4, atol=1e-5)


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    F.nll_loss(net(IMAGES), LABELS).backward()
    optimizer.step()

"""Outputs that a loss does not use: their parameters get no gradient, as in PyTorch, and are not updated."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")
IMAGES = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(3))


class Heads(nn.Module):
    """A trunk that two heads share, a head on another layer, and a parameter outside of layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.trunk = nn.Conv2d(1, 2, 5, 3), nn.Linear(128, 8)
        self.digit, self.parity, self.aside = nn.Linear(8, 10), nn.Linear(8, 2), nn.Linear(128, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> Any:
        maps = torch.tanh(self.conv(x))
        features = torch.tanh(self.trunk(maps.flatten(1)))
        return self.digit(features), {
            "parity": self.parity(features),
            "aside": self.aside(maps.flatten(1)) * self.scale,
        }


def parts(returned: Any) -> list[torch.Tensor]:
    return [returned[0], *returned[1].values()]


def loss_of(returned: Any, used: tuple[int, ...]) -> torch.Tensor:
    return torch.stack([parts(returned)[index].cos().mean() * (index + 1) for index in used]).sum()


def both() -> tuple[nn.Module, nn.Module]:
    module = Heads()
    return module, mnistcnn.accelerate(copy.deepcopy(module))


def check_same_gradients(module: nn.Module, net: nn.Module) -> None:
    for (name, desired), actual in zip(module.named_parameters(), net.parameters(), strict=True):
        assert (actual.grad is None) == (desired.grad is None), name
        if actual.grad is not None:
            torch.testing.assert_close(actual.grad, desired.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("used", [u for count in (1, 2, 3) for u in itertools.combinations(range(3), count)])
def test_gradients_of_some_outputs(used: tuple[int, ...]):
    module, net = both()
    for network in (module, net):
        loss_of(network(IMAGES), used).backward()
    check_same_gradients(module, net)


def test_one_loss_after_the_other():
    """Several backward passes of one graph, and several forward passes of which only the first has a backward pass."""
    module, net = both()
    for network in (module, net):
        returned = network(IMAGES)
        loss_of(returned, (0,)).backward(retain_graph=True)
        network(IMAGES.flip(0))
    check_same_gradients(module, net)
    for network in (module, net):
        network.zero_grad()
        returned = network(IMAGES)
        loss_of(returned, (2,)).backward(retain_graph=True)
        loss_of(returned, (2, 0)).backward()
    check_same_gradients(module, net)


def test_a_second_backward_without_retain_graph_raises():
    _, net = both()
    returned = net(IMAGES)
    loss_of(returned, (0,)).backward()
    with pytest.raises(RuntimeError, match=r"second output of model 'Heads'.* or pass retain_graph"):
        loss_of(returned, (2,)).backward()


def test_a_loss_weight_of_zero_gives_zero_gradients():
    module, net = both()
    for network in (module, net):
        returned = network(IMAGES)
        (loss_of(returned, (0,)) + 0.0 * parts(returned)[1].sum()).backward()
    check_same_gradients(module, net)
    assert torch.equal(net.parity.weight.grad, torch.zeros(2, 8))


@pytest.mark.parametrize("make", [lambda p: torch.optim.AdamW(p, weight_decay=0.5), lambda p: torch.optim.SGD(
    p, lr=0.1, momentum=0.9, weight_decay=0.1)])  # fmt: skip
def test_weight_decay_does_not_change_an_unused_head(make: Any):
    module, net = both()
    before = net.aside.weight.detach().clone()
    for network in (module, net):
        optimizer = make(network.parameters())
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(network(IMAGES)[0], torch.arange(6)).backward()
            optimizer.step()
    assert torch.equal(net.aside.weight, before)
    for (name, desired), actual in zip(module.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(actual, desired, rtol=1e-3, atol=1e-5, msg=name)


def test_outputs_may_be_changed_in_place():
    module, net = both()
    for network in (module, net):
        digit, others = network(IMAGES)
        digit.mul_(2.0)
        (digit.cos().mean() + others["parity"].relu_().sum()).backward()
    check_same_gradients(module, net)


def test_outputs_without_gradients():
    module, net = both()
    with torch.no_grad():
        for actual, desired in zip(parts(net(IMAGES)), parts(module(IMAGES)), strict=True):
            torch.testing.assert_close(actual, desired)
            assert not actual.requires_grad


def test_gradients_of_images():
    module, net = both()
    gradients = []
    for network in (module, net):
        leaf = IMAGES.clone().requires_grad_()
        loss_of(network(leaf), (2,)).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("detach", [True, False])
def test_an_output_of_frozen_parameters_requires_no_gradient(detach: bool):
    """Unless the images require one."""

    class Partial(Heads):
        def forward(self, x: torch.Tensor) -> Any:
            maps = self.conv(x)
            features = maps.detach() if detach else maps
            return self.digit(self.trunk(maps.flatten(1))), features

    module = Partial()
    if not detach:
        module.conv.requires_grad_(False)
    net = mnistcnn.accelerate(copy.deepcopy(module))
    for images in (IMAGES, IMAGES.clone().requires_grad_()):
        found, expected = net(images), module(images)
        assert [each.requires_grad for each in found] == [each.requires_grad for each in expected]
    torch.testing.assert_close(net(IMAGES)[1].numpy(), module(IMAGES)[1].numpy(), rtol=1e-4, atol=1e-5)
    for network in (module, net):
        network(IMAGES)[0].cos().sum().backward()
    check_same_gradients(module, net)

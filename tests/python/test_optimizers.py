"""Optimizers beside torch.optim on random gradients, what they leave alone, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mnistcnn import SGD, Adagrad, Adam, AdamW, BatchNorm2d, Conv2d, Flatten, Linear, Model, NAdam, PReLU, RMSprop
from mnistcnn._native import core
from mnistcnn.optimizers import Optimizer, settings, undecayed_ranges

STEPS = 50


def network(seed: int = 0) -> Model:
    layers = [Conv2d(6, 3, stride=2), BatchNorm2d(), PReLU(6), Conv2d(4, 3), Flatten(), Linear(10)]
    return Model(layers, input_shape=(1, 12, 12), seed=seed)


class Pair:
    """One model stepped natively, and its parameters in double, stepped by torch.optim."""

    def __init__(self, optimizer: Optimizer, seed: int = 0) -> None:
        self.model = network(seed)
        self.optimizer = optimizer
        self.dice = torch.Generator().manual_seed(seed)
        self.twin = {name: each.detach().double().requires_grad_(True) for name, each in self.model.named_parameters()}
        native = self.model._network
        self.native = core.Optimizer(
            native,
            settings(optimizer),
            trainable=self.model.trainable_ranges(),
            undecayed=undecayed_ranges(optimizer, native),
        )

    def draw(self, scale: float = 1.0) -> None:
        gradients = self.model._network.gradients
        gradients.copy_(torch.randn(gradients.shape, generator=self.dice) * scale)
        offset = 0
        for each in self.twin.values():
            part = gradients[offset : offset + each.numel()].view(each.shape)
            each.grad = part.double() if each.requires_grad else None
            offset += each.numel()

    def step(self, lr: float | None = None, momentum: float | None = None) -> None:
        self.native.step(self.model._network, learning_rate=lr or self.optimizer.lr, momentum=momentum)

    def check(self, tolerance: float = 1e-6) -> None:
        for name, wanted in self.twin.items():
            found = self.model.get_parameter(name).detach().double()
            error = ((found - wanted).norm() / wanted.norm()).item()
            assert error <= tolerance, (name, error)


CASES: list[tuple[Optimizer, Any, dict[str, Any]]] = [
    (SGD(lr=0.02), torch.optim.SGD, {}),
    (SGD(lr=0.02, weight_decay=0.1), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.9), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.8, dampening=0.3, weight_decay=0.05), torch.optim.SGD, {}),
    (SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.05), torch.optim.SGD, {}),
    (Adam(lr=0.01), torch.optim.Adam, {}),
    (Adam(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1), torch.optim.Adam, {}),
    (Adam(lr=0.01, amsgrad=True, weight_decay=0.1), torch.optim.Adam, {}),
    (AdamW(lr=0.01, weight_decay=0.1), torch.optim.AdamW, {}),
    (AdamW(lr=0.01, amsgrad=True), torch.optim.AdamW, {}),
    (NAdam(lr=0.01), torch.optim.NAdam, {}),
    (NAdam(lr=0.01, weight_decay=0.1, momentum_decay=0.02), torch.optim.NAdam, {}),
    (NAdam(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True), torch.optim.NAdam, {}),
    (RMSprop(lr=0.005), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.002, alpha=0.9, eps=1e-4, weight_decay=0.1, centered=True), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.001, momentum=0.9), torch.optim.RMSprop, {}),
    (RMSprop(lr=0.001, momentum=0.9, centered=True, eps=1e-3), torch.optim.RMSprop, {}),
    (Adagrad(lr=0.02), torch.optim.Adagrad, {}),
    (Adagrad(lr=0.02, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5), torch.optim.Adagrad, {}),
]


def torchs(kind: Any, optimizer: Optimizer, parameters: Any) -> torch.optim.Optimizer:
    names = {name for name in vars(optimizer) if name not in ("decay_exclude", "l1", "clip_norm", "clip_value")}
    return kind(parameters, **{name: getattr(optimizer, name) for name in names}, foreach=False)


@pytest.mark.parametrize(("optimizer", "kind", "_"), CASES, ids=lambda case: repr(case) if case else "")
@pytest.mark.parametrize("seed", [0, 1])
def test_fifty_steps_beside_torch(optimizer: Optimizer, kind: Any, _: Any, seed: int):
    pair = Pair(optimizer, seed)
    reference = torchs(kind, optimizer, pair.twin.values())
    for _ in range(STEPS):
        pair.draw()
        pair.step()
        reference.step()
    pair.check()

"""Hints for PyTorch users: error messages suggest the equivalent call of mnistcnn."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

import mnistcnn

WEIGHTS = torch.tensor([0.1, 1.0, 2.5])


def adam(**options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam([nn.Parameter(torch.zeros(2))], **options)


def error_message(**field: Any) -> str:
    with pytest.raises(TypeError) as caught:
        mnistcnn.Recipe(**field)
    return str(caught.value)


@pytest.mark.parametrize(
    ("loss", "hint"),
    [
        (nn.CrossEntropyLoss(), "write loss='cross_entropy'"),
        (nn.CrossEntropyLoss, "write loss='cross_entropy'"),
        (functional.cross_entropy, "write loss='cross_entropy'"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "write loss=mnistcnn.losses.CrossEntropy(label_smoothing=0.1)"),
        (nn.CrossEntropyLoss(WEIGHTS), "write loss=mnistcnn.losses.CrossEntropy(class_weights=[0.1, 1.0, 2.5])"),
        (nn.CrossEntropyLoss(reduction="sum"), "write loss='cross_entropy' (reduction='sum' is not supported)"),
        (nn.NLLLoss(), "write loss='nll'"),
        (functional.nll_loss, "write loss='nll'"),
        (nn.NLLLoss(WEIGHTS), "write loss=mnistcnn.losses.NLL(class_weights=[0.1, 1.0, 2.5])"),
    ],
    ids=str,
)
def test_hints_for_losses(loss: Any, hint: str):
    text = error_message(loss=loss)
    assert text.startswith("loss must be 'auto', 'nll', 'cross_entropy' or one of CrossEntropy, Distillation, NLL, got")
    assert text.endswith(f"; {hint}")
    assert " at 0x" not in text
    written = hint.removeprefix("write loss=").partition(" (reduction")[0]
    mnistcnn.Recipe(loss=eval(written, {"mnistcnn": mnistcnn}))


def test_mixing_as_loss_and_loss_as_mixing_raise():
    assert error_message(loss=mnistcnn.losses.Mixup()).endswith(
        "or one of CrossEntropy, Distillation, NLL, got Mixup()"
    )
    assert error_message(mixing=mnistcnn.losses.NLL()) == "mixing must be None or one of CutMix, Mixup, got NLL()"


@pytest.mark.parametrize(
    ("make", "ours"),
    [
        (lambda: torch.optim.AdamW, mnistcnn.optim.AdamW()),
        (lambda: adam(lr=0.02, betas=(0.8, 0.9)), mnistcnn.optim.Adam(lr=0.02, betas=(0.8, 0.9))),
        (lambda: adam(lr=torch.tensor(0.02)), mnistcnn.optim.Adam(lr=0.02)),
        (lambda: lr_scheduler.ExponentialLR(lr_scheduler.StepLR(adam(lr=0.5), 1).optimizer, 0.1).optimizer, None),
    ],
)
def test_hints_for_optimizers(make: Callable[[], Any], ours: Any):
    text = error_message(optimizer=make())
    assert text.startswith(
        "optimizer must be an optimizer such as mnistcnn.optim.SGD(lr=0.01), or a name such as 'adam', got "
    )
    assert text.endswith(f"; write mnistcnn.optim.{ours or mnistcnn.optim.Adam(lr=0.5)!r}")


def test_optimizers_without_an_equivalent():
    lbfgs = torch.optim.LBFGS([nn.Parameter(torch.zeros(2))])
    assert error_message(optimizer=lbfgs).endswith(
        "LBFGS; optimizers of torch.optim can be used in your own training loop"
    )
    assert (
        error_message(optimizer=mnistcnn.optim.SGD) == "optimizer must be an instance, got the class SGD; write SGD()"
    )


def test_hint_shows_the_first_parameter_group_only():
    two = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(2))], "lr": 0.3}, {"params": [nn.Parameter(torch.zeros(2))]}], lr=0.1
    )
    assert error_message(optimizer=two).endswith(
        "write mnistcnn.optim.SGD(lr=0.3) (values of its first parameter group)"
    )


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: "cosine", "CosineAnnealing()"),
        (lambda: "step", "StepLR(step_size=...)"),
        (lambda: lr_scheduler.StepLR, "StepLR(step_size=...)"),
        (lambda: lr_scheduler.StepLR(adam(), 6, 0.5), "StepLR(step_size=6, gamma=0.5)"),
        (lambda: lr_scheduler.MultiStepLR(adam(), [3, 5]), "MultiStepLR(milestones=[3, 5])"),
        (lambda: lr_scheduler.CosineAnnealingLR(adam(), 10), "CosineAnnealing(t_max=10, per_step=False)"),
        (lambda: lr_scheduler.OneCycleLR(adam(), 0.1, total_steps=9), "OneCycleLR(max_lr=...)"),
        (lambda: lr_scheduler.LambdaLR(adam(), lambda epoch: 1), "LambdaLR(function=...)"),
        (
            lambda: lr_scheduler.ReduceLROnPlateau(adam(), mode="max", patience=3),
            "ReduceLROnPlateau(patience=3, monitor='validation_accuracy')",
        ),
    ],
)
def test_hints_for_schedules(make: Callable[[], Any], hint: str):
    text = error_message(schedule=make())
    assert re.match(r"schedule must be None or one of ConstantLR, CosineAnnealing, .*StepLR.*, got", text)
    assert text.endswith(f"; write mnistcnn.optim.{hint}")
    assert " at 0x" not in text


@pytest.mark.parametrize("schedule", ["", "xyz", 3, lr_scheduler.PolynomialLR])
def test_schedules_without_an_equivalent_get_no_hint(schedule: Any):
    assert "write" not in error_message(schedule=schedule)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, _: mnistcnn.optim.SGD(net.parameters(), lr=0.1), r"SGD takes no parameters.*write SGD\(lr="),
        (lambda net, _: mnistcnn.optim.Adam(list(net.parameters()), 0.1), "Adam takes no parameters"),
        (lambda net, _: mnistcnn.optim.AdamW(net), "AdamW takes no parameters"),
        (lambda *_: mnistcnn.optim.SGD(torch.tensor(0.1)), r"lr must be a number, got tensor\(0.1"),
        (lambda _, sgd: mnistcnn.optim.OneCycleLR(sgd, max_lr=0.1), "OneCycleLR takes no optimizer.*leave it out"),
        (lambda *_: mnistcnn.optim.StepLR(mnistcnn.optim.SGD(), 3), "StepLR takes no optimizer"),
    ],
)
def test_first_arguments_of_torch_raise(call: Callable[[nn.Module, torch.optim.Optimizer], Any], message: str):
    net = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=message):
        call(net, torch.optim.SGD(net.parameters(), lr=0.1))

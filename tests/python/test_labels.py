"""Labels that change while they are used: no call may read out of bounds or train with an invalid label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from isolated import run_script
from mnistcnn._internal.native import core
from mnistcnn.layers import Flatten, Linear, LogSoftmax
from mnistcnn.optim import losses
from runs import CoreRun, fit, random_set, small, weights

INVALID = (10**6, 10, -5, -100)


def classifier(seed: int = 1) -> mnistcnn.Model:
    return mnistcnn.Model([Flatten(), Linear(10), LogSoftmax()], (1, 8, 8), seed=seed)


def weighted(model: mnistcnn.Model) -> dict[str, Any]:
    return {"loss": losses.native(mnistcnn.losses.NLL(class_weights=[1.0] * 9 + [2.0]), model)}


def distilled(model: mnistcnn.Model) -> dict[str, Any]:
    return {"loss": losses.native(mnistcnn.losses.Distillation(classifier(2)), model)}


OBJECTIVES: dict[str, Callable[[mnistcnn.Model], dict[str, Any]]] = {
    "plain": lambda model: {},
    "mixup": lambda model: {"mixing": core.Mixing("mixup", alpha=0.3)},
    "cutmix": lambda model: {"mixing": core.Mixing("cutmix", alpha=0.3)},
    "class weights": weighted,
    "distillation": distilled,
}
CASES = [f"{objective}, {engine}" for objective in OBJECTIVES for engine in ("lanes", "aten")]


def error_of_changed_labels(case: str, label: int) -> str:
    """Train, change all labels after the first step, and return the error."""
    objective, _, engine = case.partition(", ")
    model = classifier()
    run = CoreRun(model, random_set(), engine=engine, **OBJECTIVES[objective](model))
    try:
        run.epochs(on_step=lambda steps, loss: run._labels.fill_(label))
    except ValueError as error:
        return str(error)
    return "no error"


def print_errors() -> None:
    for case in CASES:
        for label in INVALID:
            print(f"{case}; {label}; {error_of_changed_labels(case, label)}", flush=True)


@pytest.fixture(scope="module")
def errors() -> dict[tuple[str, str], str]:
    """Return the error of each case. A new process runs them, because a wrong read may end it."""
    result = run_script("import test_labels; test_labels.print_errors()")
    rows = [line.split("; ", 2) for line in result.stdout.splitlines()]
    return {(case, label): error for case, label, error in rows}


@pytest.mark.parametrize("label", map(str, INVALID))
@pytest.mark.parametrize("case", CASES)
def test_the_core_checks_the_labels_of_every_batch(errors: dict[tuple[str, str], str], case: str, label: str):
    assert f"label {label} of image" in errors.get((case, label), "the process crashed")
    assert "10 outputs" in errors[case, label]


def test_a_callback_that_changes_the_callers_labels_has_no_effect(data: mnistcnn.ImageSet):
    class Change:
        def on_step(self, *_: Any) -> None:
            labels[:] = 5

    def train(*callbacks: Change) -> torch.Tensor:
        model = small()
        mine = mnistcnn.ImageSet.from_arrays(np.array(data.images), labels, classes=10)
        fit(model, mine, mixing=mnistcnn.losses.Mixup(0.3), callbacks=callbacks)
        return weights(model)

    labels = np.array(data.labels)
    expected = train()
    changed = train(Change())
    assert (labels == 5).all()
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("label", INVALID)
def test_score_checks_each_label(label: int):
    with pytest.raises(ValueError, match=f"label {label} of image 1 is out of range for a network with 3 outputs"):
        core.score(torch.zeros(2, 3), torch.tensor([0, label]), kind="logits")

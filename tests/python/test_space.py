"""Search spaces of sweeps: nested fields, kinds of choices, and errors."""

from __future__ import annotations

from typing import Any

import pytest

import mnistcnn
from mnistcnn._internal.plain_values import describe
from mnistcnn.study.space import Choice, Range, changed, checked_space
from mnistcnn.training.recipes import Recipe

RECIPE = Recipe(optimizer=mnistcnn.optim.SGD(lr=0.01, momentum=0.9))


def test_nested_fields_are_replaced():
    result = changed(RECIPE, {"optimizer.lr": 0.5, "batch_size": 32})
    assert result == RECIPE.replace(batch_size=32, optimizer=mnistcnn.optim.SGD(lr=0.5, momentum=0.9))
    optimizer = mnistcnn.optim.SGD(lr=0.2)
    assert changed(RECIPE, {"optimizer.lr": 0.5, "optimizer": optimizer}).optimizer == mnistcnn.optim.SGD(lr=0.5)


def test_ranges_and_lists():
    space = checked_space({"optimizer.lr": (1e-3, 1e-1, "log"), "epochs": (2, 5), "batch_size": [32, 64]}, RECIPE)
    assert space == {
        "optimizer.lr": Range(1e-3, 1e-1, True),
        "epochs": Range(2, 5, False),
        "batch_size": Choice((32, 64)),
    }
    optimizers = (mnistcnn.optim.SGD(lr=0.1), mnistcnn.optim.SGD(lr=0.2))
    assert Choice(optimizers).value(repr(describe(optimizers[1]))) is optimizers[1]
    assert Choice((0.12345678, 0.12345679)).value("0.12345679") == 0.12345679


class LastChoice:
    """Stand-in for an Optuna trial that samples the last choice."""

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        assert len(set(choices)) == len(choices)
        return choices[-1]


def test_choices_with_the_same_repr_are_distinguished():
    losses = [mnistcnn.losses.Distillation(mnistcnn.create_model("budget_model3", seed=seed)) for seed in (1, 2)]
    assert repr(losses[0]) == repr(losses[1])
    assert Choice(tuple(losses)).suggest(LastChoice(), "loss") is losses[1]


def test_choices_that_are_functions_have_the_same_description_in_all_processes():
    choice = Choice((mnistcnn.optim.LambdaLR(lambda epoch: 0.9**epoch),))
    assert " at 0x" not in str(describe(choice))


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({}, ValueError, "space must be a non-empty mapping"),
        ([], ValueError, "space must be a non-empty mapping"),
        (
            {"batch_size": (64,)},
            ValueError,
            r"space\['batch_size'\] must be a non-empty list of choices, \(low, high\)",
        ),
        ({"batch_size": (64, 32)}, ValueError, "must be a non-empty list of choices"),
        ({"batch_size": []}, ValueError, "must be a non-empty list of choices"),
        ({"optimizer.lr": (0, 1, "log")}, ValueError, "0 < low < high"),
        ({"optimizer.lr": (0.1, 1, "linear")}, ValueError, "must be a non-empty list of choices"),
        ({"optimizer.lr": ("a", "b")}, ValueError, "must be a non-empty list of choices"),
        (
            {"optimizer.lr": (-1.0, 1.0)},
            ValueError,
            r"space\['optimizer.lr'\]: lr must be a finite number of at least 0",
        ),
        ({"optimizer.rate": (0.1, 1.0)}, ValueError, r"has no field 'rate'; its fields: lr, .*momentum"),
        ({"batch_size.lr": (0.1, 1.0)}, ValueError, "batch_size is 128 and has no field 'lr'; its fields: none"),
        ({"batch": [3]}, TypeError, r"space\['batch'\]: .*'batch'.* did you mean 'batch_size'"),
        (
            {"lr": (0.1, 1.0)},
            ValueError,
            r"space\['lr'\]: a Recipe has no field 'lr'; did you mean 'optimizer.lr'\?",
        ),
        ({"batch_size": [0]}, ValueError, r"space\['batch_size'\]: batch_size must be an integer of at least 1, got 0"),
        ({"seed": (0, 100)}, ValueError, "space must not contain 'seed'"),
    ],
)
def test_invalid_spaces_raise(space: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        checked_space(space, RECIPE)

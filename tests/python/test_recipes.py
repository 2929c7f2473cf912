"""Recipes: one value, as text and JSON and back; refused in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn import Recipe

FULL = Recipe(
    epochs=7,
    batch_size=64,
    optimizer=mnistcnn.AdamW(lr=0.003, weight_decay=0.05, decay_exclude=("bias", "norm")),
    schedule=mnistcnn.MultiStepLR((3, 5), 0.3),
    augment=(mnistcnn.RandomApply((mnistcnn.CenterCrop(22), mnistcnn.Resize(28)), p=0.1), mnistcnn.Rotation(7, fill=1)),
    loss=mnistcnn.CrossEntropy(label_smoothing=0.1),
    mixing=mnistcnn.Mixup(0.3),
    averaging=mnistcnn.EMA(decay=0.99),
    shuffle=False,
    seed=11,
)


def test_json_comes_back():
    text = FULL.to_json()
    assert json.loads(text)["optimizer"]["kind"] == "AdamW"
    back = Recipe.from_json(text)
    assert back == FULL
    assert back.digest() == FULL.digest()
    assert repr(back) == repr(FULL)


@pytest.mark.parametrize("change", [{"epochs": 8}, {"optimizer": mnistcnn.Adam()}, {"augment": ()}, {"seed": 1}])
def test_the_digest_tells_recipes_apart(change: dict[str, Any]):
    assert FULL.replace(**change).digest() != FULL.digest()
    assert FULL.replace(**change) != FULL


def test_about_decides_nothing():
    published = mnistcnn.recipe("session7_net2")
    plain = published.replace(about=None)
    assert published == plain
    assert published.digest() == plain.digest()
    assert hash(published) == hash(plain)
    assert Recipe.from_json(published.to_json()).about == published.about


def test_a_changed_recipe_says_so():
    changed = mnistcnn.recipe("session7_net2").replace(epochs=3)
    assert "after 'session7_net2', with another epochs" in repr(changed)
    assert "99.22" not in repr(changed)
    assert mnistcnn.recipe("session7_net2").replace(seed=4).about == mnistcnn.recipe("session7_net2").about


def test_all_fields_are_printed():
    for name in ("epochs", "batch_size", "optimizer", "schedule", "augment", "loss", "label_smoothing", "mixing"):
        assert f"  {name} " in repr(FULL)
    assert "averaging         EMA(decay=0.99)" in repr(FULL)


def test_numbers_of_numpy_become_plain():
    recipe = Recipe(epochs=np.int64(3), batch_size=np.int32(8), seed=np.uint8(2), label_smoothing=np.float32(0.5))
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_lambda_is_refused_only_when_written():
    recipe = Recipe(schedule=mnistcnn.LambdaLR(lambda epoch: 0.9**epoch))
    assert "function" in json.dumps(recipe.described())
    for write in (recipe.to_json, recipe.to_dict, recipe.digest):
        with pytest.raises(ValueError, match=r"schedule.function holds the function .* can't be written as JSON"):
            write()


REFUSALS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "field": ({"epoch": 3}, TypeError, "a Recipe has no field 'epoch'; did you mean 'epochs'"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
    "class": ({"optimizer": mnistcnn.SGD}, TypeError, "optimizer must be one of mnistcnn's"),
    "torch": ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, TypeError, "torch.optim's work in a loop of your own"),
    "schedule": ({"schedule": "step"}, TypeError, "schedule must be None or one of ConstantLR, .* got 'step'"),
    "schedule's class": ({"schedule": mnistcnn.StepLR}, TypeError, r"got the class StepLR; write StepLR\(...\)"),
    "torch's schedule": ({"schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "schedule must be"),
    "augment": ({"augment": "rotation"}, TypeError, "augment must be a list of steps"),
    "step": ({"augment": [3]}, TypeError, "augment must hold steps"),
    "loss": ({"loss": "mse"}, ValueError, "loss must be 'auto', 'nll' or 'cross_entropy', got 'mse'"),
    "mixing": ({"mixing": 0.2}, TypeError, "mixing must be None or one of"),
    "averaging": ({"averaging": mnistcnn.SGD()}, TypeError, "averaging must be None or one of EMA"),
    "shuffle": ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
    "smoothing twice": (
        {"loss": mnistcnn.NLL(), "label_smoothing": 0.1},
        ValueError,
        "label_smoothing=0.1 belongs to a loss given by its name; say it in NLL",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_recipe_refuses(case: str):
    changes, error, text = REFUSALS[case]
    with pytest.raises(error, match=text):
        Recipe().replace(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is not the JSON of a recipe"),
        ("[]", "the JSON of a recipe is an object, got a list"),
        ('{"epoch": 1}', "a Recipe has no field 'epoch'; did you mean 'epochs'"),
        ('{"optimizer": {"kind": "SDG"}}', "optimizer: there is no kind 'SDG'; did you mean 'SGD'"),
        ('{"optimizer": {"kind": "SGD", "rate": 1}}', "optimizer: SGD has no field 'rate'"),
    ],
)
def test_json_of_something_else(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(text)

"""Recipes: one value, as text and JSON and back; refused in words."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn import Recipe
from mnistcnn._internal.values import kinds
from mnistcnn.optim.optimizers import Optimizer
from mnistcnn.optim.schedules import Plan, Schedule
from mnistcnn.transforms.steps import Step

FULL = Recipe(
    epochs=7,
    batch_size=64,
    optimizer=mnistcnn.optim.AdamW(lr=0.003, weight_decay=0.05, decay_exclude=("bias", "norm")),
    schedule=mnistcnn.optim.MultiStepLR((3, 5), 0.3),
    augment=(
        mnistcnn.transforms.RandomApply((mnistcnn.transforms.CenterCrop(22), mnistcnn.transforms.Resize(28)), p=0.1),
        mnistcnn.transforms.Rotation(7, fill=1),
    ),
    loss=mnistcnn.losses.CrossEntropy(label_smoothing=0.1),
    mixing=mnistcnn.losses.Mixup(0.3),
    averaging=mnistcnn.optim.EMA(decay=0.99),
    shuffle=False,
    seed=11,
)


def test_json_round_trip(tmp_path):
    text = FULL.to_json(tmp_path / "recipe.json")
    assert json.loads(text)["optimizer"]["kind"] == "AdamW"
    back = Recipe.from_json(tmp_path / "recipe.json")
    assert back == FULL
    assert back.digest() == FULL.digest()
    assert repr(back) == repr(FULL)


@pytest.mark.parametrize("change", [{"epochs": 8}, {"optimizer": mnistcnn.optim.Adam()}, {"augment": ()}, {"seed": 1}])
def test_the_digest_tells_recipes_apart(change: dict[str, Any]):
    assert FULL.replace(**change).digest() != FULL.digest()
    assert FULL.replace(**change) != FULL


def test_about_decides_nothing():
    published = mnistcnn.recipe("session7_net2")
    plain = published.replace(about=None)
    assert published == plain
    assert published.digest() == plain.digest()
    assert hash(published) == hash(plain)
    assert Recipe.from_dict(json.loads(published.to_json())).about == published.about


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
    assert Recipe.from_dict(json.loads(recipe.to_json())) == recipe


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": mnistcnn.optim.StepLR(np.int64(6))},
        {"schedule": mnistcnn.optim.MultiStepLR(np.array([3, 4]))},
        {
            "schedule": mnistcnn.optim.CosineAnnealing(
                t_max=np.int64(6), warmup_epochs=np.int8(1), per_step=np.bool_(False)
            )
        },
        {"schedule": mnistcnn.optim.ReduceLROnPlateau(patience=np.int64(2), cooldown=np.uint8(1))},
        {"optimizer": mnistcnn.optim.SGD(momentum=np.float32(0.5), nesterov=np.bool_(True))},
        {"averaging": mnistcnn.optim.EMA(warm_up=np.bool_(False), every=np.int16(2))},
        {
            "augment": (
                mnistcnn.transforms.Rotation(np.float32(5), expand=np.bool_(True)),
                mnistcnn.transforms.CenterCrop(np.int64(28)),
            )
        },
    ],
    ids=lambda changes: str(*changes.values()),
)
def test_numbers_of_numpy_inside_values_become_plain(changes: dict[str, Any]):
    recipe = Recipe(**changes)
    assert Recipe.from_dict(json.loads(recipe.to_json())) == recipe


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mnistcnn.optim.SGD, "nesterov"),
        (mnistcnn.optim.Adam, "amsgrad"),
        (mnistcnn.optim.NAdam, "decoupled_weight_decay"),
        (mnistcnn.optim.RMSprop, "centered"),
        (mnistcnn.optim.EMA, "warm_up"),
        (mnistcnn.optim.CosineAnnealing, "per_step"),
        (partial(mnistcnn.optim.OneCycleLR, 0.1), "cycle_momentum"),
        (partial(mnistcnn.transforms.Rotation, 5), "expand"),
    ],
    ids=str,
)
def test_a_word_is_neither_true_nor_false(make: Any, name: str):
    with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
        make(**{name: "no"})


@pytest.mark.parametrize("base", [Optimizer, Schedule, Step])
def test_abstract_classes_can_not_be_made(base: type):
    with pytest.raises(TypeError, match=f"{base.__name__} is an abstract class; choose one of "):
        base()


def test_lambda_is_refused_only_when_written():
    recipe = Recipe(schedule=mnistcnn.optim.LambdaLR(lambda epoch: 0.9**epoch))
    assert "function" in json.dumps(recipe.described())
    for write in (recipe.to_json, recipe.to_dict, recipe.digest):
        with pytest.raises(ValueError, match=r"schedule.function holds the function .* can't be written as JSON"):
            write()


def test_a_teacher_is_compared_by_what_it_computes():
    def digest(seed: int, name: str = "teacher") -> str:
        teacher = mnistcnn.create_model("budget_model3", seed=seed)
        teacher.name = name
        return Recipe(loss=mnistcnn.losses.Distillation(teacher)).digest()

    assert digest(1) == digest(1) != digest(2)
    two = mnistcnn.Ensemble([mnistcnn.create_model("budget_model3", seed=seed) for seed in (1, 2)])
    recipe = Recipe(loss=mnistcnn.losses.Distillation(two))
    assert recipe.described()["loss"]["teacher"].count("budget_model3 (") == 2
    with pytest.raises(ValueError, match=r"loss.teacher holds a mnistcnn.study.ensemble.Ensemble, which can't be"):
        recipe.to_json()


REFUSALS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "field": ({"epoch": 3}, TypeError, "a Recipe has no field 'epoch'; did you mean 'epochs'"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
    "class": (
        {"optimizer": mnistcnn.optim.SGD},
        TypeError,
        r"optimizer must be a value, got the class SGD; write SGD\(\)",
    ),
    "torch": ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, TypeError, r"write mnistcnn.optim.SGD\(lr=0.001\)"),
    "schedule": ({"schedule": "step"}, TypeError, "schedule must be None or one of ConstantLR, .* got 'step'"),
    "schedule's class": ({"schedule": mnistcnn.optim.StepLR}, TypeError, r"got the class StepLR; write StepLR\(...\)"),
    "no schedule but of its module": (
        {"schedule": Plan(0.1, 1, 1)},
        TypeError,
        "schedule must be None or one of ConstantLR, .*LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR,",
    ),
    "torch's schedule": ({"schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "schedule must be"),
    "augment": ({"augment": "rotation"}, TypeError, "augment must be a list"),
    "step": ({"augment": [3]}, TypeError, "augment must hold"),
    "loss": ({"loss": "mse"}, ValueError, "loss must be one of 'auto', 'nll', 'cross_entropy', got 'mse'"),
    "mixing": ({"mixing": 0.2}, TypeError, "mixing must be None or one of"),
    "averaging": ({"averaging": mnistcnn.optim.SGD()}, TypeError, "averaging must be None or one of EMA"),
    "shuffle": ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
    "smoothing twice": (
        {"loss": mnistcnn.losses.NLL(), "label_smoothing": 0.1},
        ValueError,
        "label_smoothing=0.1 belongs to a loss given by its name; say it in NLL",
    ),
}


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "epoch": ({"epoch": 3}, "'epoch'; did you mean 'epochs'? Choose from: epochs,"),
    "lr": ({"lr": 0.1}, "'lr'; say optimizer=mnistcnn.optim.SGD(lr=0.1). Choose from: epochs,"),
    "two": (
        {"learning_rate": 0.1, "momentum": 0},
        "'learning_rate'; say optimizer=mnistcnn.optim.SGD(lr=0.1, momentum=0). ",
    ),
    "betas": (
        {"betas": (0.8, 0.9), "epoch": 1},
        "'betas'; say optimizer=mnistcnn.optim.Adam(betas=(0.8, 0.9)). Choose from",
    ),
    "unclear": ({"workers": 2}, "'workers'. Choose from: epochs,"),
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("make", [Recipe, Recipe().replace], ids=["Recipe", "replace"])
def test_a_field_that_there_is_not_names_the_one_that_was_meant(make: Any, case: str):
    given, text = UNKNOWN[case]
    with pytest.raises(TypeError) as caught:
        make(**given)
    assert str(caught.value).startswith(f"a Recipe has no field {text}")


def test_a_recipe_keeps_its_signature_and_can_be_copied():
    assert list(inspect.signature(Recipe).parameters)[:3] == ["epochs", "batch_size", "optimizer"]
    assert copy.deepcopy(FULL) == pickle.loads(pickle.dumps(FULL)) == FULL


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_recipe_refuses(case: str):
    changes, error, text = REFUSALS[case]
    with pytest.raises(error, match=text):
        Recipe().replace(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the JSON of a recipe"),
        ("[]", r"a Recipe is described by an object with fields, got \[\]"),
        ('{"about": 5}', "about is described by an object with fields, got 5"),
        ('{"about": {}}', "about must name a published network"),
        ('{"schedule": {"kind": "StepLR"}}', "schedule: StepLR lacks the field 'step_size'"),
        ('{"schedule": {"kind": "Plan"}}', "schedule: there is no kind 'Plan'"),
        ('{"optimizer": {"kind": "Optimizer"}}', "optimizer: there is no kind 'Optimizer'"),
        ('{"epoch": 1}', "a Recipe has no field 'epoch'; did you mean 'epochs'"),
        ('{"optimizer": {"kind": "SDG"}}', "optimizer: there is no kind 'SDG'; did you mean 'SGD'"),
        ('{"optimizer": {"kind": "SGD", "rate": 1}}', "optimizer: SGD has no field 'rate'"),
    ],
)
def test_json_of_something_else(text: str, message: str, tmp_path):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(tmp_path / "recipe.json")


def test_from_json_reads_a_file():
    with pytest.raises(ValueError, match=r"reads a file, got JSON text; write Recipe.from_dict\(json.loads\(text\)\)"):
        Recipe.from_json(Recipe().to_json())


def test_classes_of_the_user_are_written_and_read(tmp_path):
    """Every subclass of a base class is registered under its name; a redefinition replaces it."""

    def define(factor: float) -> type[Schedule]:
        @dataclasses.dataclass(frozen=True, repr=False)
        class Shrinking(Schedule):
            by: float = factor

            def epoch_rate(self, plan: Any, epoch: int, records: Any) -> float:
                return float(plan.learning_rate * self.by**epoch)

        return Shrinking

    define(0.5)
    kind = define(0.25)
    recipe = Recipe(schedule=kind(0.75))  # type: ignore[call-arg]
    recipe.to_json(tmp_path / "recipe.json")
    assert Recipe.from_json(tmp_path / "recipe.json") == recipe
    assert Recipe.from_dict({"schedule": {"kind": "Shrinking"}}).schedule == kind()


def test_a_class_of_the_user_does_not_replace_one_of_ours():
    @dataclasses.dataclass(frozen=True, repr=False)
    class StepLR(mnistcnn.optim.Schedule):
        step_size: int = 1

    assert kinds(Schedule)["StepLR"] is mnistcnn.optim.StepLR
    with pytest.raises(ValueError, match=r"schedule holds a .*StepLR, which can't be written as JSON"):
        Recipe(schedule=StepLR()).to_json()


@pytest.mark.parametrize(("name", "kind"), [("adam", mnistcnn.optim.Adam), ("SGD", mnistcnn.optim.SGD)])
def test_optimizer_by_name(name: Any, kind: type):
    assert Recipe(optimizer=name).optimizer == kind()
    assert Recipe(optimizer=name) == Recipe(optimizer=kind())


def test_first_arguments_by_position_as_in_torch():
    assert mnistcnn.optim.SGD(0.1) == mnistcnn.optim.SGD(lr=0.1)
    assert mnistcnn.optim.Adam(0.1) == mnistcnn.optim.Adam(lr=0.1)
    assert mnistcnn.optim.EMA(0.99) == mnistcnn.optim.EMA(decay=0.99)
    assert mnistcnn.optim.SWA(3) == mnistcnn.optim.SWA(start_epoch=3)


def test_names_of_torch_are_answered_with_the_call():
    for module, name, call in (
        (mnistcnn.optim, "CosineAnnealingLR", r"mnistcnn.optim.CosineAnnealing\(t_max=..., per_step=False\)"),
        (mnistcnn.losses, "NLLLoss", r"mnistcnn.losses.NLL\("),
        (mnistcnn, "CrossEntropyLoss", r"mnistcnn.losses.CrossEntropy\("),
    ):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; write {call}"):
            getattr(module, name)
    with pytest.raises(TypeError, match="CosineAnnealing has no argument 'T_max'; did you mean 't_max'"):
        mnistcnn.optim.CosineAnnealing(T_max=3)  # type: ignore[call-arg]

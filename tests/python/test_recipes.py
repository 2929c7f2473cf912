"""Recipes: text, JSON round trip, digest, and errors for invalid fields."""

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
from mnistcnn.optim.schedules import Schedule, SchedulePlan
from mnistcnn.transforms.steps import Transform

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
def test_digest_depends_on_every_field(change: dict[str, Any]):
    assert FULL.replace(**change).digest() != FULL.digest()
    assert FULL.replace(**change) != FULL


def test_about_is_ignored_in_comparisons():
    published = mnistcnn.recipe("session7_net2")
    plain = published.replace(about=None)
    assert published == plain
    assert published.digest() == plain.digest()
    assert hash(published) == hash(plain)
    assert Recipe.from_dict(json.loads(published.to_json())).about == published.about


def test_changed_published_recipe_lists_its_changes():
    changed = mnistcnn.recipe("session7_net2").replace(epochs=3)
    assert "based on 'session7_net2', with changed epochs" in repr(changed)
    assert "99.22" not in repr(changed)
    assert mnistcnn.recipe("session7_net2").replace(seed=4).about == mnistcnn.recipe("session7_net2").about


def test_repr_shows_all_fields():
    for name in ("epochs", "batch_size", "optimizer", "schedule", "augment", "loss", "label_smoothing", "mixing"):
        assert f"  {name} " in repr(FULL)
    assert "averaging         EMA(decay=0.99)" in repr(FULL)


def test_numpy_numbers_are_converted():
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
def test_numpy_numbers_inside_values_are_converted(changes: dict[str, Any]):
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
def test_string_for_a_flag_raises(make: Any, name: str):
    with pytest.raises(TypeError, match=f"{name} must be True or False, got 'no'"):
        make(**{name: "no"})


@pytest.mark.parametrize("base", [Optimizer, Schedule, Transform])
def test_abstract_classes_can_not_be_instantiated(base: type):
    with pytest.raises(TypeError, match=f"{base.__name__} is an abstract class; choose one of "):
        base()


def test_function_raises_only_when_converted_to_json():
    recipe = Recipe(schedule=mnistcnn.optim.LambdaLR(lambda epoch: 0.9**epoch))
    assert "function" in json.dumps(recipe.describe())
    for write in (recipe.to_json, recipe.to_dict):
        with pytest.raises(ValueError, match=r"schedule.function .*function .*JSON"):
            write()


def test_lambda_functions_are_compared_by_their_factors():
    def compared(function: Any) -> Any:
        recipe = Recipe(schedule=mnistcnn.optim.LambdaLR(function))
        return recipe.describe(), recipe.digest()

    assert compared(lambda epoch: 0.9**epoch) == compared(lambda epoch: 0.9**epoch)
    assert compared(lambda epoch: 0.9**epoch) != compared(lambda epoch: 0.8**epoch)
    assert compared([1.0, 0.5].__getitem__) == compared([1.0, 0.5].__getitem__)


def test_digest_depends_on_the_weights_of_a_teacher():
    def digest(seed: int, name: str = "teacher") -> str:
        teacher = mnistcnn.create_model("budget_model3", seed=seed)
        teacher.name = name
        return Recipe(loss=mnistcnn.losses.Distillation(teacher)).digest()

    assert digest(1) == digest(1) != digest(2)
    two = mnistcnn.Ensemble([mnistcnn.create_model("budget_model3", seed=seed) for seed in (1, 2)])
    recipe = Recipe(loss=mnistcnn.losses.Distillation(two))
    assert recipe.describe()["loss"]["teacher"].count("budget_model3 (") == 2
    with pytest.raises(ValueError, match=r"loss.teacher .*mnistcnn.study.ensemble.Ensemble"):
        recipe.to_json()


INVALID: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "field": ({"epoch": 3}, TypeError, "a Recipe has no field 'epoch'; did you mean 'epochs'"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
    "class": (
        {"optimizer": mnistcnn.optim.SGD},
        TypeError,
        r"optimizer must be an instance, got the class SGD; write SGD\(\)",
    ),
    "torch": ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, TypeError, r"write mnistcnn.optim.SGD\(lr=0.001\)"),
    "name": (
        {"optimizer": "adamm"},
        ValueError,
        "optimizer must be one of 'adagrad', 'adam', .*'sgd', got 'adamm'; did you mean 'adam'",
    ),
    "unknown name": ({"optimizer": "lion"}, ValueError, "optimizer must be one of 'adagrad', .* got 'lion'$"),
    "schedule": ({"schedule": "step"}, TypeError, "schedule must be None or one of ConstantLR, .* got 'step'"),
    "schedule's class": ({"schedule": mnistcnn.optim.StepLR}, TypeError, r"got the class StepLR; write StepLR\(...\)"),
    "not a schedule, though of the same module": (
        {"schedule": SchedulePlan(0.1, 1, 1)},
        TypeError,
        "schedule must be None or one of ConstantLR, .*LambdaLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR,",
    ),
    "torch's schedule": ({"schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "schedule must be"),
    "augment": ({"augment": "rotation"}, TypeError, "augment must be"),
    "step": ({"augment": [3]}, TypeError, "augment must"),
    "loss": ({"loss": "mse"}, ValueError, "loss must be one of 'auto', 'nll', 'cross_entropy', got 'mse'"),
    "mixing": ({"mixing": 0.2}, TypeError, "mixing must be None or one of"),
    "averaging": ({"averaging": mnistcnn.optim.SGD()}, TypeError, "averaging must be None or one of EMA"),
    "shuffle": ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
    "smoothing twice": (
        {"loss": mnistcnn.losses.NLL(), "label_smoothing": 0.1},
        ValueError,
        "label_smoothing=0.1 requires a loss given by name.* NLL",
    ),
}


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "epoch": ({"epoch": 3}, "'epoch'; did you mean 'epochs'? Choose from: epochs,"),
    "lr": ({"lr": 0.1}, "'lr'; write optimizer=mnistcnn.optim.SGD(lr=0.1). Choose from: epochs,"),
    "two": (
        {"learning_rate": 0.1, "momentum": 0},
        "'learning_rate'; write optimizer=mnistcnn.optim.SGD(lr=0.1, momentum=0). ",
    ),
    "betas": (
        {"betas": (0.8, 0.9), "epoch": 1},
        "'betas'; write optimizer=mnistcnn.optim.Adam(betas=(0.8, 0.9)). Choose from",
    ),
    "unclear": ({"workers": 2}, "'workers'. Choose from: epochs,"),
}


@pytest.mark.parametrize("case", UNKNOWN)
@pytest.mark.parametrize("make", [Recipe, Recipe().replace], ids=["Recipe", "replace"])
def test_unknown_field_suggests_a_known_one(make: Any, case: str):
    given, text = UNKNOWN[case]
    with pytest.raises(TypeError) as caught:
        make(**given)
    assert str(caught.value).startswith(f"a Recipe has no field {text}")


def test_recipe_has_an_explicit_signature_and_can_be_copied():
    assert list(inspect.signature(Recipe).parameters)[:3] == ["epochs", "batch_size", "optimizer"]
    assert copy.deepcopy(FULL) == pickle.loads(pickle.dumps(FULL)) == FULL


@pytest.mark.parametrize("case", INVALID)
def test_invalid_fields_raise(case: str):
    changes, error, text = INVALID[case]
    with pytest.raises(error, match=text):
        Recipe().replace(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "recipe.json: not valid JSON"),
        ("[]", r"a Recipe must be .*, got \[\]"),
        ("{}", "recipe.json: the file contains no field of a recipe; the fields are epochs, "),
        ('{"about": 5}', "about must be .*, got 5"),
        ('{"about": {}}', "recipe.json: about has no field 'name'"),
        ('{"about": {"name": "session7_net", "chosen": 5}}', "recipe.json: about.chosen must be a list, got 5"),
        ('{"about": {"name": "session7_net", "accuracy": NaN}}', "recipe.json: about.accuracy must be a finite number"),
        ('{"epochs": "5"}', "recipe.json: epochs must be an integer"),
        ('{"optimizer": 5}', "recipe.json: optimizer must be an optimizer"),
        ('{"schedule": {"kind": ["StepLR"]}}', r"recipe.json: schedule: unknown type \['StepLR'\]"),
        ('{"schedule": {"kind": "StepLR", "step_size": {"kind": "SGD"}}}', "recipe.json: schedule: StepLR .*step_size"),
        ('{"augment": [{"kind": "RandomApply", "transforms": 5}]}', "recipe.json: augment: RandomApply"),
        ('{"augment": ' + "[" * 100 + "]" * 100 + "}", "recipe.json: the JSON is nested more than 64 levels"),
        ('{"augment": ' + "[" * 100_000, "recipe.json: the JSON is nested more than 64 levels"),
        ('{"label_smoothing": 1' + "0" * 400 + "}", "recipe.json: label_smoothing must be .*"),
        ('{"schedule": {"kind": "StepLR"}}', "schedule: StepLR .*'step_size'"),
        ('{"schedule": {"kind": "SchedulePlan"}}', "schedule: .*'SchedulePlan'"),
        ('{"optimizer": {"kind": "Optimizer"}}', "optimizer: .*'Optimizer'"),
        ('{"epoch": 1}', "a Recipe has no field 'epoch'; did you mean 'epochs'"),
        ('{"optimizer": {"kind": "SDG"}}', "optimizer: .*'SDG'; did you mean 'SGD'"),
        ('{"optimizer": {"kind": "SGD", "rate": 1}}', "optimizer: SGD .*'rate'"),
    ],
)
def test_invalid_json_raises(text: str, message: str, tmp_path):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(tmp_path / "recipe.json")


def test_missing_file_raises():
    with pytest.raises(FileNotFoundError, match=r"^file nofile.json does not exist$"):
        Recipe.from_json("nofile.json")


def test_from_json_raises_for_json_text():
    with pytest.raises(ValueError, match=r"path must be .*, got JSON text; use Recipe.from_dict\(json.loads\(text\)\)"):
        Recipe.from_json(Recipe().to_json())


def test_custom_classes_are_written_and_read(tmp_path):
    """A subclass is registered under its name; a redefinition replaces it."""

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


@pytest.mark.parametrize(
    "base",
    [
        Optimizer,
        mnistcnn.optim.SGD,
        mnistcnn.optim.EMA,
        mnistcnn.losses.NLL,
        mnistcnn.losses.Mixing,
        mnistcnn.transforms.Rotation,
    ],
)
def test_classes_of_the_core_cannot_be_subclassed(base: type):
    with pytest.raises(
        TypeError, match=f"Mine cannot be a subclass of {base.__name__}: the C\\+\\+ core implements only"
    ):
        type("Mine", (base,), {})


def test_custom_class_does_not_replace_a_built_in_class():
    @dataclasses.dataclass(frozen=True, repr=False)
    class StepLR(mnistcnn.optim.Schedule):
        step_size: int = 1

    assert kinds(Schedule)["StepLR"] is mnistcnn.optim.StepLR
    with pytest.raises(ValueError, match=r"schedule .*StepLR.*JSON"):
        Recipe(schedule=StepLR()).to_json()


@pytest.mark.parametrize(("name", "kind"), [("adam", mnistcnn.optim.Adam), ("SGD", mnistcnn.optim.SGD)])
def test_name_selects_an_optimizer(name: Any, kind: type):
    assert Recipe(optimizer=name).optimizer == kind()
    assert Recipe(optimizer=name) == Recipe(optimizer=kind())


def test_first_argument_can_be_positional_as_in_torch():
    assert mnistcnn.optim.SGD(0.1) == mnistcnn.optim.SGD(lr=0.1)
    assert mnistcnn.optim.Adam(0.1) == mnistcnn.optim.Adam(lr=0.1)
    assert mnistcnn.optim.EMA(0.99) == mnistcnn.optim.EMA(decay=0.99)
    assert mnistcnn.optim.SWA(3) == mnistcnn.optim.SWA(start_epoch=3)


def test_names_of_torch_raise_with_the_equivalent_call():
    for module, name, call in (
        (mnistcnn.optim, "CosineAnnealingLR", r"mnistcnn.optim.CosineAnnealing\(t_max=..., per_step=False\)"),
        (mnistcnn.losses, "NLLLoss", r"mnistcnn.losses.NLL\("),
        (mnistcnn.transforms, "RandomRotation", r"mnistcnn.transforms.Rotation\(degrees=...\)$"),
        (mnistcnn, "CrossEntropyLoss", r"mnistcnn.losses.CrossEntropy\("),
    ):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; write {call}"):
            getattr(module, name)
    with pytest.raises(
        AttributeError, match=r"'Adamax'; optimizers: Adagrad, Adam, .*; schedules: .*StepLR.*; averaging: EMA"
    ):
        _ = mnistcnn.optim.Adamax
    with pytest.raises(AttributeError, match=r"has no attribute 'Compose'; pass a list of transforms: augment="):
        _ = mnistcnn.transforms.Compose
    with pytest.raises(TypeError, match="CosineAnnealing has no argument 'T_max'; did you mean 't_max'"):
        mnistcnn.optim.CosineAnnealing(T_max=3)  # type: ignore[call-arg]

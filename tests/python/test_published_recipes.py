"""Published recipes: settings, sources and reported accuracies."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import mnistcnn
from mnistcnn.nn.zoo import published_network
from mnistcnn.optim import SGD, Adam, ExponentialLR, ReduceLROnPlateau, StepLR
from mnistcnn.training.published_recipes import variants
from mnistcnn.training.recipes import TRAINING_FIELDS
from mnistcnn.transforms import CenterCrop, RandomApply, Resize, Rotation

COMMON = {"batch_size": 128, "optimizer": SGD(lr=0.01, momentum=0.9)}
PLATEAU = ReduceLROnPlateau(0.1, 3, "validation_accuracy")
UNSTATED = {"batch_size", "optimizer", "loss", "shuffle", "seed"}
NEVER_STATED = {"loss", "shuffle", "seed"}

FAST = {
    "batch_size": 64,
    "optimizer": SGD(lr=0.01, momentum=0.9, nesterov=True),
    "schedule": mnistcnn.optim.OneCycleLR(max_lr=0.1),
    "loss": "cross_entropy",
}

COMPACT = {
    "epochs": 15,
    "batch_size": 32,
    "augment": (
        mnistcnn.transforms.Affine(7, translate=(0.08, 0.08), scale=(0.92, 1.08), interpolation="bilinear", p=0.5),
    ),
    "loss": "cross_entropy",
    "averaging": mnistcnn.optim.EMA(decay=0.998),
}
# (name, variant): reported accuracy, fields, fields chosen by us
TABLE: dict[tuple[str, str | None], tuple[float | None, dict[str, Any], set[str]]] = {
    ("assignment7_model1", None): (99.21, {**COMMON, "epochs": 20}, UNSTATED),
    ("assignment7_model2", None): (99.20, {**COMMON, "epochs": 20}, UNSTATED),
    ("assignment7_model3", None): (None, {**COMMON, "epochs": 20}, UNSTATED | {"epochs"}),
    ("assignment7_model4", None): (99.30, {**COMMON, "epochs": 20}, UNSTATED),
    ("assignment7_model5", None): (99.40, {**COMMON, "epochs": 20}, UNSTATED),
    ("assignment7_model6", None): (99.06, {**COMMON, "augment": (Rotation(7, fill=1),)}, UNSTATED | {"augment.fill"}),
    ("assignment7_model7", None): (
        99.11,
        {**COMMON, "augment": (Rotation(7, fill=1),), "schedule": StepLR(6, 0.1)},
        UNSTATED | {"augment", "schedule"},
    ),
    ("assignment7_model8", None): (
        99.38,
        {**COMMON, "epochs": 16, "batch_size": 32, "schedule": ExponentialLR(0.9)},
        NEVER_STATED,
    ),
    ("era5_net", None): (
        99.33,
        {
            **COMMON,
            "epochs": 20,
            "batch_size": 512,
            "schedule": StepLR(15, 0.1),
            "augment": (RandomApply((CenterCrop(22), Resize(28)), p=0.1), Rotation(15, fill=0)),
            "loss": "nll",
        },
        NEVER_STATED - {"loss"},
    ),
    ("budget_model1", None): (
        98.63,
        {"epochs": 10, "optimizer": Adam(lr=0.01), "schedule": PLATEAU, "loss": "cross_entropy"},
        NEVER_STATED - {"loss"},
    ),
    ("budget_model2", None): (
        98.80,
        {"epochs": 12, "optimizer": Adam(lr=0.005), "schedule": PLATEAU, "loss": "cross_entropy"},
        NEVER_STATED - {"loss"},
    ),
    ("budget_model3", None): (
        97.90,
        {"epochs": 15, "optimizer": Adam(lr=0.001), "schedule": PLATEAU, "loss": "cross_entropy"},
        NEVER_STATED - {"loss"},
    ),
    ("session7_net1", None): (99.30, COMMON, NEVER_STATED),
    ("session7_net2", None): (99.22, COMMON, NEVER_STATED),
    ("session7_net", None): (99.20, COMMON, NEVER_STATED),
    ("session7_net", "rotation"): (99.26, {**COMMON, "augment": (Rotation(10, fill=1),)}, NEVER_STATED),
    ("session7_net", "rotation_step"): (
        99.45,
        {**COMMON, "augment": (Rotation(10, fill=1),), "schedule": StepLR(6, 0.1)},
        NEVER_STATED,
    ),
    ("recognition_cnn", None): (None, {}, set(TRAINING_FIELDS)),
    ("compact_net", None): (None, {**COMPACT, "schedule": mnistcnn.optim.OneCycleLR(max_lr=0.05)}, set()),
    ("record_small", None): (
        None,
        {
            **COMPACT,
            "optimizer": mnistcnn.optim.AdamW(lr=0.001, weight_decay=0.01),
            "schedule": mnistcnn.optim.OneCycleLR(max_lr=0.02),
        },
        set(),
    ),
    ("record_8k", None): (None, {**COMPACT, "schedule": mnistcnn.optim.OneCycleLR(max_lr=0.1)}, set()),
    ("record_single", None): (
        None,
        {
            **COMPACT,
            "epochs": 42,
            "batch_size": 64,
            "schedule": mnistcnn.optim.OneCycleLR(max_lr=0.1),
            "augment": (
                mnistcnn.transforms.Affine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear", p=1.0),
            ),
        },
        set(),
    ),
    ("fast_99", None): (None, {**FAST, "epochs": 3}, set()),
    ("fast_99_4", None): (
        None,
        {
            **FAST,
            "epochs": 10,
            "augment": (
                mnistcnn.transforms.Affine(
                    8, translate=(0.07, 0.07), scale=(0.92, 1.08), interpolation="bilinear", p=0.5
                ),
            ),
        },
        set(),
    ),
}


@pytest.mark.parametrize(("name", "variant"), TABLE)
def test_published_recipe(name: str, variant: str | None):
    accuracy, fields, chosen = TABLE[name, variant]
    recipe = mnistcnn.recipe(name, variant)
    assert recipe == mnistcnn.Recipe(**fields)
    assert recipe.about is not None
    assert (recipe.about.name, recipe.about.variant, recipe.about.accuracy) == (name, variant, accuracy)
    assert set(recipe.about.chosen) == chosen
    assert mnistcnn.Recipe.from_dict(json.loads(recipe.to_json())).about == recipe.about


def test_every_network_has_a_recipe():
    assert {name for name, _ in TABLE} == set(mnistcnn.list_models())
    assert {(name, each) for name in mnistcnn.list_models() for each in variants(name)} == set(TABLE)


@pytest.mark.parametrize(("name", "variant"), TABLE)
def test_sources_match_the_citations_of_the_zoo(name: str, variant: str | None):
    about = mnistcnn.recipe(name, variant).about
    assert about is not None
    assert about.source.startswith(published_network(name).citation.project)


def test_every_variant_cites_its_notebook():
    sources = [mnistcnn.recipe("session7_net", variant).about.source for variant in variants("session7_net")]
    assert sources == [f"ShikhaERAV2/Session7, S7_Model_{number}.ipynb" for number in (1, 2, 3)]


def test_changed_recipe_keeps_its_source():
    changed = mnistcnn.recipe("session7_net").replace(epochs=3)
    assert changed.about is not None
    assert changed.about.source == "ShikhaERAV2/Session7, S7_Model_1.ipynb"


def test_recipe_does_not_import_torch():
    """Tables of runs print recipes and must not wait for the import of torch, which takes seconds."""
    code = "import sys, mnistcnn; mnistcnn.recipe('session7_net'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_model8_has_no_normalization():
    """The author does not normalize pixels; the recipe relies on the normalization of the network."""
    assert mnistcnn.create_model("assignment7_model8").normalization == mnistcnn.Normalization(0.0, 1.0)
    assert mnistcnn.create_model("era5_net").normalization == mnistcnn.Normalization(0.1307, 0.3081)


def test_repr_marks_chosen_settings_with_stars():
    text = repr(mnistcnn.recipe("assignment7_model6"))
    assert text.startswith("Recipe 'assignment7_model6': 99.06 % reported")
    assert "  batch_size      * 128" in text
    assert "  epochs            15" in text
    assert "fill=1 *" in text
    assert text.endswith("* chosen by us: the author does not state it")
    assert "no accuracy reported" in repr(mnistcnn.recipe("recognition_cnn"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("session7",), r"there is no model 'session7'; did you mean 'session7_net"),
        (("session7_net", "rotation_steps"), "no variant 'rotation_steps'; did you mean 'rotation_step'"),
        (("session7_net", "x"), "Choose from: None, 'rotation', 'rotation_step'"),
        (("era5_net", "plain"), "no variant 'plain'.* None"),
    ],
)
def test_unknown_names_raise(arguments: tuple[str, ...], text: str):
    with pytest.raises(ValueError, match=text):
        mnistcnn.recipe(*arguments)

"""Short descriptions of recipes, as shown in the table of experiments."""

from __future__ import annotations

import json
from typing import Any

import pytest

import mnistcnn
from mnistcnn import Recipe
from mnistcnn.study.recipe_words import recipe_words
from mnistcnn.training.recipes import About

PUBLISHED = mnistcnn.recipe("session7_net", "rotation_step")
CASES: dict[str, tuple[Recipe, str]] = {
    "default": (Recipe(), "default"),
    "other seed": (Recipe(seed=3), "default"),
    "nested fields": (
        Recipe(epochs=5, optimizer=mnistcnn.optim.SGD(lr=0.1, momentum=0.5)),
        "epochs 5, lr 0.1, momentum 0.5",
    ),
    "other optimizer": (Recipe(optimizer=mnistcnn.optim.Adam(lr=0.002)), "Adam(lr=0.002)"),
    "steps": (
        Recipe(augment=[mnistcnn.transforms.GaussianNoise(3.0), mnistcnn.transforms.Rotation(5, fill=1)]),
        "GaussianNoise(std=3.0) + Rotation(degrees=(-5.0, 5.0), fill=1)",
    ),
    "a function": (
        Recipe(schedule=mnistcnn.optim.LambdaLR(lambda epoch: 1.0), shuffle=False),
        "LambdaLR, shuffle False",
    ),
    "loss by name": (Recipe(loss="nll"), "loss nll"),
    "published": (PUBLISHED, "published"),
    "published, changed": (PUBLISHED.replace(batch_size=64, schedule=None), "published, batch_size 64, no schedule"),
    "published, without augmentation": (PUBLISHED.replace(augment=()), "published, no augment"),
    "unknown published network": (Recipe(epochs=2, about=About("a network of tomorrow")), "epochs 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_description(case: str):
    recipe, expected = CASES[case]
    assert recipe_words(recipe.describe()) == expected
    assert recipe_words(json.loads(json.dumps(recipe.describe()))) == expected  # as read from a log


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_published_recipes_are_recognised(name: str):
    assert recipe_words(mnistcnn.recipe(name).describe()) == "published"


@pytest.mark.parametrize("recipe", [{}, {"epochs": 15}, {"about": None, "unknown": 1}])
def test_recipes_of_other_versions(recipe: dict[str, Any]):
    assert recipe_words(recipe) == "default"

"""Options that select a recipe: a published one, a JSON file, and single values that override its fields."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe


def check_fraction(value: float | None) -> float | None:
    """Return ``value``. Raise typer.BadParameter unless it is None or in [0, 1)."""
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter(f"it must be at least 0 and below 1, got {value:g}")
    return value


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe: 'published', a variant of the published recipe (such as rotation_step), or a JSON file that "
        "Recipe.to_json wrote.",
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Number of epochs. Default: that of the recipe, otherwise 15.")
]
BatchOption = Annotated[
    int | None, typer.Option(min=1, help="Number of images per step. Default: that of the recipe, otherwise 128.")
]
LrOption = Annotated[float | None, typer.Option(help="Learning rate. Default: that of the recipe, otherwise 0.01.")]
MomentumOption = Annotated[
    float | None, typer.Option(help="Momentum of SGD. Default: that of the recipe, otherwise 0.9.")
]
ValidationOption = Annotated[
    float | None,
    typer.Option(
        callback=check_fraction,
        help="Fraction of the training set (below 1) to hold out as a validation set. Default: 0.1 if the schedule of "
        "the recipe monitors the validation set, otherwise 0.",
    ),
]
_DEFAULT_VALIDATION_FRACTION = 0.1


def validation_fraction(recipe: Recipe, given: float | None) -> float | None:
    """Return the fraction to hold out: ``given``, or a default if the schedule monitors the validation set, or None.

    The test set is never used for a schedule.
    """
    if given:
        return given
    monitored = (recipe.schedule and recipe.schedule.monitored) or ""
    return _DEFAULT_VALIDATION_FRACTION if monitored.startswith("validation") else None


def recipe_from_options(
    model: str,
    recipe: str | None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    seed: int | None = None,
) -> Recipe:
    """Return the recipe that the options select, with the fields that they override."""
    selected = _recipe_by_name(model, recipe)
    given = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    rates: dict[str, Any] = {name: value for name, value in (("lr", lr), ("momentum", momentum)) if value is not None}
    for name in rates:
        if name not in {each.name for each in fields(selected.optimizer)}:
            raise ValueError(
                f"--{name} is not supported by the optimizer of the recipe, {type(selected.optimizer).__name__}"
            )
    if rates:
        changes["optimizer"] = replace(selected.optimizer, **rates)
    return selected.replace(**changes) if changes else selected


def _recipe_by_name(model: str, recipe: str | None) -> Recipe:
    import mnistcnn

    if recipe is None:
        return mnistcnn.Recipe()
    if recipe == "published":
        return mnistcnn.recipe(model)
    path = Path(recipe)
    if path.suffix == ".json" or path.is_file():
        if not path.is_file():
            raise FileNotFoundError(f"file {path} does not exist")
        try:
            return mnistcnn.Recipe.from_json(path)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None
    return mnistcnn.recipe(model, _check_variant(model, recipe))


def _check_variant(model: str, variant: str) -> str:
    """Raise typer.BadParameter unless ``variant`` is a variant of the model's published recipe."""
    from mnistcnn._internal.checks import did_you_mean
    from mnistcnn.training.published_recipes import variants

    names = ["published", *(each for each in variants(model) if each is not None)]
    if variant not in names:
        hint = did_you_mean(variant, names) or "."
        raise typer.BadParameter(
            f"the recipe of {model!r} has no variant {variant!r}{hint} Choose from: {', '.join(names)}; or give a path "
            "that ends in .json"
        )
    return variant

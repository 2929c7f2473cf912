"""How a command is told to train: a published recipe, a file, and single numbers that win over both."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mnistcnn.training.recipes import Recipe


def checked_part(value: float | None) -> float | None:
    """A part of a set, of which something must be left."""
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter(f"it must be at least 0 and below 1, got {value:g}")
    return value


RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="'published' for the network's published recipe, the name of one of its variants (such as rotation_step), "
        "or a JSON file that Recipe.to_json wrote.",
    ),
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="By default the recipe's; 15 without one.")]
BatchOption = Annotated[int | None, typer.Option(min=1, help="By default the recipe's; 128 without one.")]
LrOption = Annotated[float | None, typer.Option(help="Learning rate; by default the recipe's, or 0.01.")]
MomentumOption = Annotated[float | None, typer.Option(help="Momentum of SGD; by default the recipe's, or 0.9.")]
ValidationOption = Annotated[
    float | None,
    typer.Option(
        callback=checked_part,
        help="The part of the training set to look at after every epoch, not trained on, below 1; by default 0.1 if "
        "the recipe's schedule follows it, else none.",
    ),
]
_WATCHED_PART = 0.1


def validation_part(recipe: Recipe, given: float | None) -> float | None:
    """What a schedule may follow is never the test set."""
    if given:
        return given
    monitored = (recipe.schedule and recipe.schedule.monitored) or ""
    return _WATCHED_PART if monitored.startswith("validation") else None


def chosen_recipe(
    model: str,
    recipe: str | None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    seed: int | None = None,
) -> Recipe:
    """The recipe of a run of a published network."""
    made = _named(model, recipe)
    given = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    rates: dict[str, Any] = {name: value for name, value in (("lr", lr), ("momentum", momentum)) if value is not None}
    for name in rates:
        if name not in {each.name for each in fields(made.optimizer)}:
            raise ValueError(f"--{name} has no meaning for the recipe's optimizer {type(made.optimizer).__name__}")
    if rates:
        changes["optimizer"] = replace(made.optimizer, **rates)
    return made.replace(**changes) if changes else made


def _named(model: str, recipe: str | None) -> Recipe:
    import mnistcnn

    if recipe is None:
        return mnistcnn.Recipe()
    if recipe == "published":
        return mnistcnn.recipe(model)
    path = Path(recipe)
    if path.suffix == ".json" or path.is_file():
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        try:
            return mnistcnn.Recipe.from_json(path)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None
    return mnistcnn.recipe(model, _checked_variant(model, recipe))


def _checked_variant(model: str, variant: str) -> str:
    """One of those that there are; the plain one is called 'published' here."""
    from mnistcnn._internal.checks import did_you_mean
    from mnistcnn.training.published_recipes import variants

    names = ["published", *(each for each in variants(model) if each is not None)]
    if variant not in names:
        hint = did_you_mean(variant, names) or "."
        raise typer.BadParameter(
            f"the recipe of {model!r} has no variant {variant!r}{hint} Choose from: {', '.join(names)}; or name a file "
            "that ends in .json"
        )
    return variant

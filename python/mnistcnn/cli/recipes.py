"""Options that select a recipe: a published one, a JSON file, and single values that override its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from mnistcnn.optim.optimizers import Optimizer
    from mnistcnn.training.recipes import Recipe
    from mnistcnn.transforms.steps import Transform


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
OptimizerOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:ARGUMENTS]",
        help="Optimizer: adam, sgd:momentum=0.9,nesterov=true, ... Other arguments have their defaults. Default: that "
        "of the recipe, otherwise sgd:0.01,momentum=0.9.",
    ),
]
ScheduleOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:ARGUMENTS]",
        help="Learning rate schedule: step:6,gamma=0.1, onecycle:0.1, cosineannealing, ..., or none. Default: that of "
        "the recipe, otherwise none.",
    ),
]
AugmentOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:ARGUMENTS]",
        help="Transform of the training images: rotation:10, randomcrop:28,padding=2, ..., or none. Can be repeated. "
        "Default: those of the recipe, otherwise none.",
    ),
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
_NONE = "none"  # value of --schedule and --augment


def validation_fraction(recipe: Recipe, given: float | None) -> float | None:
    """Return the fraction to hold out, or None: ``given``, by default 0.1 if the schedule monitors the validation set.

    Raise typer.BadParameter if it is 0 although the schedule monitors the validation set. The test set is never used
    for a schedule.
    """
    monitors = recipe.schedule is not None and recipe.schedule.monitors_validation
    if given is None:
        return _DEFAULT_VALIDATION_FRACTION if monitors else None
    if given == 0 and monitors:
        raise typer.BadParameter(
            f"it must be above 0, got 0: the schedule {type(recipe.schedule).__name__} monitors the validation set",
            param_hint="'--validation'",
        )
    return given or None


@dataclass(frozen=True, kw_only=True)
class RecipeChanges:
    """Values of the options that override fields of a recipe; None for an option that is not given."""

    epochs: EpochsOption = None
    batch_size: BatchOption = None
    lr: LrOption = None
    momentum: MomentumOption = None
    optimizer: OptimizerOption = None
    schedule: ScheduleOption = None
    augment: AugmentOption = None


NO_CHANGES = RecipeChanges()


def with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``changes: RecipeChanges`` of a command by an option for each field, as typer needs it."""
    hints = get_type_hints(RecipeChanges, include_extras=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=hint)
        for name, hint in hints.items()
    ]
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options if each.name == "changes" else [each]

    @wraps(command)
    def with_options(**values: Any) -> None:
        command(changes=RecipeChanges(**{name: values.pop(name) for name in hints}), **values)

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def recipe_from_options(
    model: str, recipe: str | None, changes: RecipeChanges = NO_CHANGES, *, seed: int | None = None
) -> Recipe:
    """Return the recipe that the options select, with the fields that they override."""
    from mnistcnn.cli.values import parse_value
    from mnistcnn.optim.schedules import Schedule

    selected = _recipe_by_name(model, recipe)
    given = {"epochs": changes.epochs, "batch_size": changes.batch_size, "seed": seed}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values["optimizer"] = _optimizer(selected.optimizer, changes.optimizer, lr=changes.lr, momentum=changes.momentum)
    if changes.schedule is not None:
        without = changes.schedule == _NONE
        values["schedule"] = None if without else parse_value(changes.schedule, Schedule, "--schedule")
    if changes.augment:
        values["augment"] = _transforms(changes.augment)
    return selected.replace(**values)


def _optimizer(selected: Optimizer, text: str | None, **rates: float | None) -> Optimizer:
    """Return the optimizer of --optimizer, by default that of the recipe, with the values of --lr and --momentum."""
    from mnistcnn.cli.values import parse_value
    from mnistcnn.optim.optimizers import Optimizer

    optimizer: Optimizer = selected if text is None else parse_value(text, Optimizer, "--optimizer")
    given = {name: value for name, value in rates.items() if value is not None}
    for name in given:
        if name not in {each.name for each in fields(optimizer)}:
            raise ValueError(f"--{name} is not supported by the optimizer {type(optimizer).__name__}")
    return replace(optimizer, **given)  # type: ignore[arg-type]


def _transforms(texts: list[str]) -> list[Transform]:
    """Return the transforms of --augment; none if its only value is "none"."""
    from mnistcnn.cli.values import parse_value
    from mnistcnn.transforms.steps import Transform

    if texts == [_NONE]:
        return []
    if _NONE in texts:
        raise typer.BadParameter(f"{_NONE} cannot be combined with other transforms", param_hint="'--augment'")
    return [parse_value(text, Transform, "--augment") for text in texts]


def _recipe_by_name(model: str, recipe: str | None) -> Recipe:
    import mnistcnn

    if recipe is None:
        return mnistcnn.Recipe()
    if recipe == "published":
        return mnistcnn.recipe(model)
    path = Path(recipe)
    if path.suffix == ".json" or path.is_file():
        return mnistcnn.Recipe.from_json(path)
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

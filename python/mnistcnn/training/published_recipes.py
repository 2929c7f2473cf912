"""Recipes of the published networks, as stated by their authors.

Each recipe cites its source: the project, as named in the zoo, and the file if it is known. ``chosen`` lists the
settings that the author does not state and that we chose. Schedule, augmentation and averaging are off unless the
author mentions them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mnistcnn._internal.checks import did_you_mean
from mnistcnn.nn.zoo import check_name
from mnistcnn.optim.averaging import EMA
from mnistcnn.optim.optimizers import SGD, Adam, AdamW, Optimizer
from mnistcnn.optim.schedules import ExponentialLR, OneCycleLR, ReduceLROnPlateau, StepLR
from mnistcnn.training.recipes import TRAINING_FIELDS, About, Recipe
from mnistcnn.transforms.steps import Affine, CenterCrop, RandomApply, Resize, Rotation

_NEVER_STATED = ("shuffle", "seed")
_ASSIGNMENT7 = "Assignment 7, models 1 to 8"
_ERA5 = "ERA session 5 (The School of AI)"
_BUDGET = "Networks for small budgets of parameters, models 1 to 3"
_SESSION7 = "ShikhaERAV2/Session7"
_RECOGNITION = "Digit recognition"
_OURS = "mnistcnn"
_SGD = SGD(lr=0.01, momentum=0.9)


def _published(recipe: Recipe, source: str, accuracy: float | None = None, *, ours: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe with its source. ``ours`` lists the fields that the author does not state."""
    loss = () if recipe.loss != "auto" else ("loss",)
    chosen = tuple(sorted({*ours, *loss, *_NEVER_STATED}, key=_place))
    return recipe.replace(about=About("", None, accuracy, chosen, source=source))


def _place(field: str) -> tuple[int, str]:
    return TRAINING_FIELDS.index(field.partition(".")[0]), field


def _assignment7(accuracy: float | None, *more_of_ours: str) -> Recipe:
    recipe = Recipe(epochs=20, batch_size=128, optimizer=_SGD)
    return _published(recipe, _ASSIGNMENT7, accuracy, ours=("batch_size", "optimizer", *more_of_ours))


def _assignment7_model6() -> Recipe:
    recipe = Recipe(epochs=15, batch_size=128, optimizer=_SGD, augment=(Rotation(7, fill=1),))
    return _published(recipe, _ASSIGNMENT7, 99.06, ours=("batch_size", "optimizer", "augment.fill"))


def _assignment7_model7() -> Recipe:
    recipe = Recipe(epochs=15, batch_size=128, optimizer=_SGD, augment=(Rotation(7, fill=1),), schedule=StepLR(6, 0.1))
    return _published(recipe, _ASSIGNMENT7, 99.11, ours=("batch_size", "optimizer", "augment", "schedule"))


def _assignment7_model8() -> Recipe:
    """Return the recipe of model 8, whose division of pixels by 255 is part of the model's normalization."""
    recipe = Recipe(epochs=16, batch_size=32, optimizer=_SGD, schedule=ExponentialLR(0.9))
    return _published(recipe, _ASSIGNMENT7, 99.38)


def _era5_net() -> Recipe:
    crop = RandomApply((CenterCrop(22), Resize(28)), p=0.1)
    recipe = Recipe(
        epochs=20,
        batch_size=512,
        optimizer=_SGD,
        schedule=StepLR(15, 0.1),
        augment=(crop, Rotation(15, fill=0)),
        loss="nll",
    )
    return _published(recipe, _ERA5, 99.33)


def _budget(lr: float, epochs: int, accuracy: float) -> Recipe:
    plateau = ReduceLROnPlateau(factor=0.1, patience=3, monitor="validation_accuracy")
    recipe = Recipe(epochs=epochs, batch_size=128, optimizer=Adam(lr=lr), schedule=plateau, loss="cross_entropy")
    return _published(recipe, _BUDGET, accuracy)


def _session7(accuracy: float) -> Recipe:
    source = f"{_SESSION7}, S7_Model_1.ipynb"
    return _published(Recipe(epochs=15, batch_size=128, optimizer=_SGD), source, accuracy)


def _session7_rotation(file: str, accuracy: float, schedule: StepLR | None = None) -> Recipe:
    augment = (Rotation(10, fill=1),)
    recipe = Recipe(epochs=15, batch_size=128, optimizer=_SGD, augment=augment, schedule=schedule)
    return _published(recipe, f"{_SESSION7}, {file}", accuracy)


def _small(rate: float, optimizer: Optimizer = _SGD) -> Recipe:
    """Return the recipe of compact_net and the small records, which differ in optimizer and rate."""
    return Recipe(
        epochs=15,
        batch_size=32,
        optimizer=optimizer,
        schedule=OneCycleLR(rate),
        augment=(Affine(7, translate=(0.08, 0.08), scale=(0.92, 1.08), interpolation="bilinear", p=0.5),),
        loss="cross_entropy",
        averaging=EMA(0.998),
        about=About("", source=_OURS),
    )


def _fast(epochs: int, *augment: Affine) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer=SGD(lr=0.01, momentum=0.9, nesterov=True),
        schedule=OneCycleLR(0.1),
        augment=augment,
        loss="cross_entropy",
        about=About("", source=_OURS),
    )


def _fast_99_4() -> Recipe:
    affine = Affine(8, translate=(0.07, 0.07), scale=(0.92, 1.08), interpolation="bilinear", p=0.5)
    return _fast(10, affine)


def _record_single() -> Recipe:
    """Return a recipe that takes about ten minutes on two cores."""
    affine = Affine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear", p=1.0)
    return _small(0.1).replace(epochs=42, batch_size=64, augment=(affine,), about=About("", source=_OURS))


def _recognition_cnn() -> Recipe:
    return _published(Recipe(), _RECOGNITION, ours=TRAINING_FIELDS)


# Recipes by network and variant; None is the default variant. Functions, so that recipes are created on demand.
_RECIPES: dict[str, dict[str | None, Callable[[], Recipe]]] = {
    "assignment7_model1": {None: lambda: _assignment7(99.21)},
    "assignment7_model2": {None: lambda: _assignment7(99.20)},
    "assignment7_model3": {None: lambda: _assignment7(None, "epochs")},
    "assignment7_model4": {None: lambda: _assignment7(99.30)},
    "assignment7_model5": {None: lambda: _assignment7(99.40)},
    "assignment7_model6": {None: _assignment7_model6},
    "assignment7_model7": {None: _assignment7_model7},
    "assignment7_model8": {None: _assignment7_model8},
    "era5_net": {None: _era5_net},
    "budget_model1": {None: lambda: _budget(0.01, 10, 98.63)},
    "budget_model2": {None: lambda: _budget(0.005, 12, 98.80)},
    "budget_model3": {None: lambda: _budget(0.001, 15, 97.90)},
    "session7_net1": {None: lambda: _session7(99.30)},
    "session7_net2": {None: lambda: _session7(99.22)},
    "session7_net": {
        None: lambda: _session7(99.20),
        "rotation": lambda: _session7_rotation("S7_Model_2.ipynb", 99.26),
        "rotation_step": lambda: _session7_rotation("S7_Model_3.ipynb", 99.45, StepLR(6, 0.1)),
    },
    "recognition_cnn": {None: _recognition_cnn},
    "compact_net": {None: lambda: _small(0.05)},
    "fast_99": {None: lambda: _fast(3)},
    "fast_99_4": {None: _fast_99_4},
    "record_small": {None: lambda: _small(0.02, AdamW(lr=0.001))},
    "record_8k": {None: lambda: _small(0.1)},
    "record_single": {None: _record_single},
}


def variants(name: str) -> tuple[str | None, ...]:
    """Return the variants of a network's published recipe; None is the default variant."""
    if name not in _RECIPES:
        check_name(name)  # raises; called for unknown names only, since it loads the core
    return tuple(_RECIPES[name])


def recipe(name: str, variant: str | None = None) -> Recipe:
    """Return the published recipe of a network of the zoo, with the accuracy that its author reports.

    The printed recipe marks settings that the author does not state with a star.

    Parameters
    ----------
    name
        Name of a network in `mnistcnn.list_models`.
    variant
        Variant of the recipe, such as ``"rotation"`` for ``"session7_net"``. Default: None, the default variant.

    Returns
    -------
    Recipe
        Recipe whose ``about`` holds the source and the reported accuracy.

    Raises
    ------
    ValueError
        If there is no network or variant of this name.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.recipe("session7_net2")
    Recipe 'session7_net2': 99.22 % reported
      epochs            15
      batch_size        128
      optimizer         SGD(lr=0.01, momentum=0.9)
      schedule          None
      augment           ()
      loss            * 'auto'
      label_smoothing   0.0
      mixing            None
      averaging         None
      shuffle         * True
      seed            * 0
    * chosen by us: the author does not state it
    """
    if variant not in variants(name):
        named = [each for each in variants(name) if each is not None]
        hint = did_you_mean(variant, named) or "."
        choices = f"Choose from: None, {', '.join(map(repr, named))}" if named else "The only variant is None"
        raise ValueError(f"the recipe of {name!r} has no variant {variant!r}{hint} {choices}")
    made = _RECIPES[name][variant]()
    about = made.about or About(name)
    return made.replace(about=replace(about, name=name, variant=variant))

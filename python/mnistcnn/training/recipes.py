"""Recipes: all settings of a training run except for the model and the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, TypedDict

from mnistcnn._internal.checks import any_number, choice, did_you_mean, finite_number, flag, seed_number, whole_number
from mnistcnn._internal.json_data import errors_naming, read_json, typed
from mnistcnn._internal.plain_values import describe, from_plain, shown, to_plain
from mnistcnn._internal.tables import json_text
from mnistcnn._internal.values import Value, is_kind, kinds
from mnistcnn.data.image_set import ImageSet
from mnistcnn.optim.averaging import Averaging
from mnistcnn.optim.losses import NAMES as LOSS_NAMES
from mnistcnn.optim.losses import Loss, Mixing
from mnistcnn.optim.optimizers import SGD, Optimizer
from mnistcnn.optim.schedules import Schedule
from mnistcnn.training import torch_hints
from mnistcnn.transforms.steps import Transform, checked_transforms

_DEFAULT_OPTIMIZER = SGD(lr=0.01, momentum=0.9)
_ALIASES = {"learning_rate": "lr"}


@dataclass(frozen=True)
class About:
    """Source of a published recipe.

    Attributes
    ----------
    name
        Name of the network.
    variant
        Variant of the recipe; None for the default variant.
    accuracy
        Accuracy on the test set that the author reports, in %; None if there is none.
    chosen
        Fields that the author does not state and that we chose. ``"augment.fill"`` is the field ``fill`` of
        ``augment``.
    changed
        Fields whose values differ from the published recipe.
    source
        Project and file of the author.
    """

    name: str
    variant: str | None = None
    accuracy: float | None = None
    chosen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    source: str = ""

    def without(self, different: set[str]) -> About:
        """Return a copy for a recipe in which the given fields have been changed."""
        kept = tuple(each for each in self.chosen if each.partition(".")[0] not in different)
        changed = tuple(name for name in TRAINING_FIELDS if name in different or name in self.changed)
        return replace(self, accuracy=None, chosen=kept, changed=changed)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {each.name: to_plain(getattr(self, each.name), "about") for each in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> About:
        """Create an instance from a dictionary of `to_dict`."""
        about: About = typed(values, cls, "about")
        if about.accuracy is not None:
            any_number("about.accuracy", about.accuracy)
        return about

    def __str__(self) -> str:
        variant = f", variant {self.variant!r}" if self.variant else ""
        if self.changed:
            return f"based on {self.name!r}{variant}, with changed {', '.join(self.changed)}"
        reported = f"{self.accuracy:.2f} % reported" if self.accuracy is not None else "no accuracy reported"
        return f"{self.name!r}{variant}: {reported}"


class _CheckedFieldNames:
    def __new__(cls, *_: Any, **fields_by_name: Any) -> Any:
        """Raise TypeError with a hint for unknown fields."""
        _check_names(fields_by_name, TypeError)
        return super().__new__(cls)


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe(_CheckedFieldNames):
    """All settings of a training run except for the model and the data.

    Parameters
    ----------
    epochs
        Number of passes over the training set.
    batch_size
        Images per step. The last batch of an epoch may be smaller; it is used as well.
    optimizer
        Optimizer such as ``optim.SGD(lr=0.01, momentum=0.9)``, or a name such as ``"adam"`` for one with default
        arguments.
    schedule
        Learning rate schedule such as ``optim.StepLR(6, 0.1)``; None for a constant rate.
    augment
        Transforms such as ``transforms.Rotation(10)``, applied to every training image in this order.
    loss
        ``"auto"`` selects by the model's outputs: ``"nll"`` for log-probabilities, ``"cross_entropy"`` for logits. Or
        a loss such as ``losses.CrossEntropy(class_weights=...)``.
    label_smoothing
        Fraction of the target that is spread evenly over all classes, from 0 to 1.
    mixing
        ``losses.Mixup(...)``, ``losses.CutMix(...)`` or None.
    averaging
        ``optim.EMA(...)``, ``optim.SWA(...)``, ``optim.Lookahead(...)`` or None.
    shuffle
        Whether every epoch uses a new random order of the images.
    seed
        Seed of the order of the images, the dropout masks and the augmentation. The same seed gives a bit-identical
        run.
    about
        Source of a published recipe. It does not influence the run and is ignored when recipes are compared.

    Examples
    --------
    >>> import mnistcnn
    >>> recipe = mnistcnn.Recipe(epochs=5, schedule=mnistcnn.optim.StepLR(2, 0.1))
    >>> recipe
    Recipe
      epochs            5
      batch_size        128
      optimizer         SGD(lr=0.01, momentum=0.9)
      schedule          StepLR(step_size=2)
      augment           ()
      loss              'auto'
      label_smoothing   0.0
      mixing            None
      averaging         None
      shuffle           True
      seed              0
    >>> mnistcnn.Recipe.from_dict(recipe.to_dict()) == recipe
    True
    """

    epochs: int = 15
    batch_size: int = 128
    optimizer: Optimizer = _DEFAULT_OPTIMIZER  # a name such as "adam" is converted
    schedule: Schedule | None = None
    augment: Sequence[Transform] = ()
    loss: str | Loss = "auto"
    label_smoothing: float = 0.0
    mixing: Mixing | None = None
    averaging: Averaging | None = None
    shuffle: bool = True
    seed: int = 0
    about: About | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        checked = {
            "epochs": whole_number("epochs", self.epochs),
            "batch_size": whole_number("batch_size", self.batch_size),
            "seed": seed_number(self.seed),
            "label_smoothing": finite_number("label_smoothing", self.label_smoothing, maximum=1),
            "augment": checked_transforms(self.augment),
            "optimizer": _optimizer(self.optimizer),
            "shuffle": flag("shuffle", self.shuffle),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        _check_loss(self.loss, self.label_smoothing)
        bases: dict[str, type[Value]] = {"schedule": Schedule, "mixing": Mixing, "averaging": Averaging}
        for name, base in bases.items():
            if getattr(self, name) is not None:
                hint = torch_hints.schedule_hint if name == "schedule" else None
                _check_value(name, getattr(self, name), base, "None", hint=hint)

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with other values for some fields. ``about.changed`` lists them if the recipe is published."""
        _check_names(changes, TypeError)
        changed = replace(self, **changes)
        if self.about is None or "about" in changes:
            return changed
        different = {
            name for name in TRAINING_FIELDS if name != "seed" and getattr(self, name) != getattr(changed, name)
        }
        return replace(changed, about=self.about.without(different)) if different else changed

    # ---- JSON

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON data; an optimizer, for example, becomes ``{"kind": "SGD", "lr": ...}``.

        Raise ValueError if the recipe holds a function or a model, which cannot be written as JSON.
        """
        plain = {name: to_plain(getattr(self, name), name) for name in TRAINING_FIELDS}
        return plain if self.about is None else {**plain, "about": self.about.to_dict()}

    def describe(self) -> dict[str, Any]:
        """Return JSON data for comparisons and logs.

        Unlike in `to_dict`, functions and models are replaced by descriptions, so `from_dict` may not be able to read
        the result.
        """
        plain = {name: describe(getattr(self, name)) for name in TRAINING_FIELDS}
        return plain if self.about is None else {**plain, "about": self.about.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Create a recipe from a dictionary of `to_dict`; raise ValueError if a field is wrong."""
        _check_names(values, ValueError)
        about = values.get("about")
        settings = {name: from_plain(value, name) for name, value in values.items() if name != "about"}
        try:
            return cls(**settings, about=None if about is None else About.from_dict(about))
        except TypeError as error:  # a value of the wrong type: here it comes from a file, not from the caller's code
            raise ValueError(str(error)) from None

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text (see `to_dict`), and write it to a file if ``path`` is given."""
        return json_text(self.to_dict(), path)

    @classmethod
    def from_json(cls, path: str | Path) -> Recipe:
        """Read a file that `to_json` wrote; raise ValueError if it is not one."""
        if isinstance(path, str) and path.lstrip()[:1] == "{":
            raise ValueError(
                "path must be the path of a JSON file, got JSON text; use Recipe.from_dict(json.loads(text))"
            )
        with errors_naming(path):
            values = read_json(path)
            if values == {}:
                raise ValueError(f"the file contains no field of a recipe; the fields are {', '.join(_FIELDS)}")
            return cls.from_dict(values)

    def digest(self) -> str:
        """Return the SHA-256 of all fields except ``about``, in hexadecimal; a teacher's weights are included."""
        data = {name: describe(getattr(self, name)) for name in TRAINING_FIELDS}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def __repr__(self) -> str:
        chosen = self.about.chosen if self.about else ()
        lines = [f"Recipe {self.about}" if self.about else "Recipe"]
        for name in TRAINING_FIELDS:
            inner = {each.partition(".")[2] for each in chosen if each.startswith(f"{name}.")}
            star = "*" if name in chosen else ""
            lines.append(f"  {name:<15} {star:<1} {shown(getattr(self, name), inner)}".rstrip())
        return "\n".join([*lines, *(["* chosen by us: the author does not state it"] if chosen else [])])


_FIELDS = tuple(each.name for each in fields(Recipe))
TRAINING_FIELDS = tuple(name for name in _FIELDS if name != "about")  # fields that influence the run


class RecipeData(TypedDict, total=False):
    """Types of the fields of a recipe in a file; `Recipe.from_dict` checks the values."""

    epochs: int
    batch_size: int
    optimizer: dict[str, Any] | str
    schedule: dict[str, Any] | None
    augment: list[dict[str, Any]]
    loss: dict[str, Any] | str
    label_smoothing: float
    mixing: dict[str, Any] | None
    averaging: dict[str, Any] | None
    shuffle: bool
    seed: int
    about: About | None


def recipe_with(recipe: Recipe | None, changes: dict[str, Any], function: Callable[..., Any] | None = None) -> Recipe:
    """Return a recipe, by default ``Recipe()``, with changes to some of its fields.

    ``function`` is the function whose unknown keywords are the changes, for errors.
    """
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe must be a Recipe, for example mnistcnn.recipe('session7_net'), got {type(recipe).__name__}"
            + ("; pass a validation set as validation=" if isinstance(recipe, ImageSet) else "")
        )
    if function is not None:
        check_keywords(changes, function)
    return recipe.replace(**changes)


def check_keywords(changes: dict[str, Any], function: Callable[..., Any]) -> None:
    """Raise TypeError unless each keyword, which is no argument of the function, is a field of a recipe."""
    unknown = {name: value for name, value in changes.items() if name not in _FIELDS}
    if unknown:
        known = [*(name for name in signature(function).parameters if name != "changes"), *TRAINING_FIELDS]
        hint = hint_for(unknown, list(dict.fromkeys(known)))
        raise TypeError(f"{function.__name__} has no argument {next(iter(unknown))!r}{hint}")


# ---- checks


def _check_names(values: object, error: type[Exception]) -> None:
    if not isinstance(values, dict):
        raise error(f"a Recipe must be a dictionary of fields, got {values!r}")
    unknown = {str(name): value for name, value in values.items() if name not in _FIELDS}
    if unknown:
        raise error(f"a Recipe has no field {next(iter(unknown))!r}{hint_for(unknown, _FIELDS)}")


def hint_for(unknown: dict[str, Any], known: Sequence[str]) -> str:
    """Return the end of an error message about unknown names: a suggestion, and the list of known names.

    The suggestion is the equivalent of a keyword of Keras or PyTorch, the most similar name, or an optimizer if the
    unknown names are its fields.
    """
    first, value = next(iter(unknown.items()))
    hint = torch_hints.keyword_hint(first, value) or did_you_mean(first, known) or "."
    if "optimizer" in known and is_optimizer_field(_ALIASES.get(first, first)):
        hint = f"; write optimizer=mnistcnn.optim.{_optimizer_with(unknown)}."
    return f"{hint} Choose from: {', '.join(known)}"


def _optimizer_with(unknown: dict[str, Any]) -> str:
    """Return the call that creates the first optimizer with all of these fields, as source code."""
    named = {_ALIASES.get(name, name): value for name, value in unknown.items()}
    arguments = {name: value for name, value in named.items() if is_optimizer_field(name)}
    kind = next(
        (each for each in kinds(Optimizer).values() if {field.name for field in fields(each)} >= set(arguments)), SGD
    )
    return f"{kind.__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


def is_optimizer_field(name: str) -> bool:
    """Return whether an optimizer has a field of this name."""
    return any(name == each.name for kind in kinds(Optimizer).values() for each in fields(kind))


def _check_value(
    what: str, value: object, base: type[Value], *others: str, hint: Callable[..., str] | None = None
) -> None:
    if isinstance(value, base):
        return
    _check_not_class(what, value)
    known = kinds(base)
    choices = " or ".join([*others, f"one of {', '.join(sorted(known))}"])
    got = describe(value) if " at 0x" in repr(value) else repr(value)
    raise TypeError(f"{what} must be {choices}, got {got}{hint(value, known) if hint else ''}")


def _check_not_class(what: str, value: object) -> None:
    """Raise TypeError if a class is given instead of an instance."""
    if isinstance(value, type) and is_kind(value):
        needs_arguments = any(each.default is MISSING for each in fields(value))
        call = f"{value.__name__}(...)" if needs_arguments else f"{value.__name__}()"
        raise TypeError(f"{what} must be an instance, got the class {value.__name__}; write {call}")


def _optimizer(optimizer: object) -> Optimizer:
    """Return an optimizer; convert a name such as "adam" to the optimizer with default arguments."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    known = kinds(Optimizer)
    named = {name.lower(): kind for name, kind in known.items()}
    if isinstance(optimizer, str):
        choice("optimizer", optimizer.lower(), tuple(sorted(named)))
        return named[optimizer.lower()]()
    _check_not_class("optimizer", optimizer)
    hint = torch_hints.optimizer_hint(optimizer, known)
    raise TypeError(
        "optimizer must be an optimizer such as mnistcnn.optim.SGD(lr=0.01), or a name such as 'adam', got "
        f"{_class_of(optimizer)}{hint}"
    )


def _class_of(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _check_loss(loss: object, label_smoothing: float) -> None:
    if isinstance(loss, str):
        choice("loss", loss, LOSS_NAMES)
        return
    _check_value("loss", loss, Loss, ", ".join(map(repr, LOSS_NAMES)), hint=torch_hints.loss_hint)
    if label_smoothing:
        raise ValueError(
            f"label_smoothing={label_smoothing} requires a loss given by name; pass it to {type(loss).__name__} instead"
        )

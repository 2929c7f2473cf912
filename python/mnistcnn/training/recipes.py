"""Recipes: everything that decides a training run, as one value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mnistcnn._internal.checks import choice, did_you_mean, finite_number, flag, seed_number, whole_number
from mnistcnn._internal.plain_values import described, from_plain, shown, to_plain
from mnistcnn._internal.tables import json_text
from mnistcnn._internal.values import Value, is_kind, kinds
from mnistcnn.optim.averaging import Averaging
from mnistcnn.optim.losses import NAMES as LOSS_NAMES
from mnistcnn.optim.losses import Loss, Mixing
from mnistcnn.optim.optimizers import SGD, Optimizer
from mnistcnn.optim.schedules import Schedule
from mnistcnn.training import torch_hints
from mnistcnn.transforms.steps import Step, checked_steps

_USUAL = SGD(lr=0.01, momentum=0.9)
_ALIASES = {"learning_rate": "lr"}
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class About:
    """Where a published recipe comes from.

    ``chosen`` names the fields that the author does not state and we chose, a field of a field with a dot:
    ``"augment.fill"``.
    """

    name: str
    variant: str | None = None
    accuracy: float | None = None  # on the test set, in %, as the author reports it
    chosen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()  # fields that are no longer the published ones
    source: str = ""  # the author's project and file

    def without(self, different: set[str]) -> About:
        """The same when some fields have been changed."""
        kept = tuple(each for each in self.chosen if each.partition(".")[0] not in different)
        changed = tuple(name for name in DECIDING if name in different or name in self.changed)
        return replace(self, accuracy=None, chosen=kept, changed=changed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {each.name: to_plain(getattr(self, each.name), "about") for each in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> About:
        """What `to_dict` described."""
        _refuse_unknown("about", values, tuple(each.name for each in fields(cls)), ValueError)
        if "name" not in values:
            raise ValueError(f"about must name a published network, got {values!r}")
        given: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}
        return cls(**given)

    def __str__(self) -> str:
        variant = f", variant {self.variant!r}" if self.variant else ""
        if self.changed:
            return f"after {self.name!r}{variant}, with another {', '.join(self.changed)}"
        reported = f"{self.accuracy:.2f} % reported" if self.accuracy is not None else "no accuracy reported"
        return f"{self.name!r}{variant}: {reported}"


class _Named:
    def __new__(cls, *_: Any, **fields_by_name: Any) -> Any:
        """Refuses fields that there aren't, with the one that was meant."""
        _refuse_unknown("a Recipe", fields_by_name, _FIELDS, TypeError)
        return super().__new__(cls)


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe(_Named):
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
    optimizer: Optimizer = _USUAL  # or a name, such as "adam"
    schedule: Schedule | None = None
    augment: Sequence[Step] = ()
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
            "label_smoothing": finite_number("label_smoothing", self.label_smoothing, most=1),
            "augment": checked_steps(self.augment),
            "optimizer": _optimizer(self.optimizer),
            "shuffle": flag("shuffle", self.shuffle),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        _check_loss(self.loss, self.label_smoothing)
        bases: dict[str, type[Value]] = {"schedule": Schedule, "mixing": Mixing, "averaging": Averaging}
        for name, base in bases.items():
            if getattr(self, name) is not None:
                hint = torch_hints.schedule_instead if name == "schedule" else None
                _check_value(name, getattr(self, name), base, "None", hint=hint)

    def replace(self, **changes: Any) -> Recipe:
        """The same with other values for some fields; ``about`` then says which ones are no longer the published."""
        _refuse_unknown("a Recipe", changes, _FIELDS, TypeError)
        changed = replace(self, **changes)
        if self.about is None or "about" in changes:
            return changed
        different = {name for name in DECIDING if name != "seed" and getattr(self, name) != getattr(changed, name)}
        return replace(changed, about=self.about.without(different)) if different else changed

    # ---- as plain data

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts and lists; a value such as SGD becomes ``{"kind": "SGD", "lr": ...}``."""
        plain = {name: to_plain(getattr(self, name), name) for name in DECIDING}
        return plain if self.about is None else {**plain, "about": self.about.to_dict()}

    def described(self) -> dict[str, Any]:
        """As `to_dict`, but a function or a model is only named: to be compared and kept, not to be read back."""
        plain = {name: described(getattr(self, name)) for name in DECIDING}
        return plain if self.about is None else {**plain, "about": self.about.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` described."""
        _refuse_unknown("a Recipe", values, _FIELDS, ValueError)
        about = values.get("about")
        deciding = {name: from_plain(value, name) for name, value in values.items() if name != "about"}
        return cls(**deciding, about=None if about is None else About.from_dict(about))

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text (see `to_dict`), and write it to a file if ``path`` is given."""
        return json_text(self.to_dict(), path)

    @classmethod
    def from_json(cls, path: str | Path) -> Recipe:
        """Read the file that `to_json` wrote."""
        if isinstance(path, str) and path.lstrip()[:1] == "{":
            raise ValueError("Recipe.from_json reads a file, got JSON text; write Recipe.from_dict(json.loads(text))")
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"not the JSON of a recipe: {error}") from None
        return cls.from_dict(values)

    def digest(self) -> str:
        """SHA-256 of all that decides the run, in hexadecimal; without ``about``, with a teacher's weights."""
        deciding = {name: to_plain(getattr(self, name), name, compared=True) for name in DECIDING}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()

    def __repr__(self) -> str:
        chosen = self.about.chosen if self.about else ()
        lines = [f"Recipe {self.about}" if self.about else "Recipe"]
        for name in DECIDING:
            inner = {each.partition(".")[2] for each in chosen if each.startswith(f"{name}.")}
            star = "*" if name in chosen else ""
            lines.append(f"  {name:<15} {star:<1} {shown(getattr(self, name), inner)}".rstrip())
        return "\n".join([*lines, *(["* chosen by us: the author does not state it"] if chosen else [])])


_FIELDS = tuple(each.name for each in fields(Recipe))
DECIDING = tuple(name for name in _FIELDS if name != "about")


def complete(recipe: Recipe | None, changes: dict[str, Any]) -> Recipe:
    """What a run is made by: a recipe, by default the usual one, with changes to some of its fields."""
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe must be a Recipe, such as mnistcnn.recipe('session7_net') gives, got {type(recipe).__name__}"
        )
    return recipe.replace(**changes)


# ---- checks


def _refuse_unknown(what: str, values: object, known: tuple[str, ...], error: type[Exception]) -> None:
    if not isinstance(values, dict):
        raise error(f"{what} is described by an object with fields, got {values!r}")
    unknown = {str(name): value for name, value in values.items() if name not in known}
    if unknown:
        raise error(f"{what} has no field {next(iter(unknown))!r}{hint_for(unknown, known)}")


def hint_for(unknown: dict[str, Any], known: Sequence[str]) -> str:
    """What was meant by names that no field has: a field, or numbers of the optimizer; and which there are."""
    first = next(iter(unknown))
    hint = did_you_mean(first, known) or "."
    if "optimizer" in known and is_number_of_an_optimizer(_ALIASES.get(first, first)):
        hint = f"; say optimizer=mnistcnn.optim.{_optimizer_with(unknown)}."
    return f"{hint} Choose from: {', '.join(known)}"


def _optimizer_with(unknown: dict[str, Any]) -> str:
    """The first optimizer that has these numbers, as it would be written."""
    named = {_ALIASES.get(name, name): value for name, value in unknown.items()}
    numbers = {name: value for name, value in named.items() if is_number_of_an_optimizer(name)}
    kind = next(
        (each for each in kinds(Optimizer).values() if {field.name for field in fields(each)} >= set(numbers)), SGD
    )
    return f"{kind.__name__}({', '.join(f'{name}={value!r}' for name, value in numbers.items())})"


def is_number_of_an_optimizer(name: str) -> bool:
    """Whether it is a field of one of them."""
    return any(name == each.name for kind in kinds(Optimizer).values() for each in fields(kind))


def explaining(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """For a function that takes fields of a recipe as keywords: one that it has not gets a hint."""
    known = tuple(signature(function).parameters)

    @wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        unknown = {name: value for name, value in kwargs.items() if name not in known}
        if unknown:
            first = next(iter(unknown))
            raise TypeError(f"{function.__name__} has no argument {first!r}{hint_for(unknown, known)}")
        return function(*args, **kwargs)

    return call


def _check_value(
    what: str, value: object, base: type[Value], *others: str, hint: Callable[..., str] | None = None
) -> None:
    if isinstance(value, base):
        return
    _refuse_class(what, value)
    known = kinds(base)
    choices = " or ".join([*others, f"one of {', '.join(sorted(known))}"])
    got = described(value) if " at 0x" in repr(value) else repr(value)
    raise TypeError(f"{what} must be {choices}, got {got}{hint(value, known) if hint else ''}")


def _refuse_class(what: str, value: object) -> None:
    """Raise TypeError for a class where an instance of it is wanted."""
    if isinstance(value, type) and is_kind(value):
        needs_arguments = any(each.default is MISSING for each in fields(value))
        call = f"{value.__name__}(...)" if needs_arguments else f"{value.__name__}()"
        raise TypeError(f"{what} must be a value, got the class {value.__name__}; write {call}")


def _optimizer(optimizer: object) -> Optimizer:
    """Return an optimizer, or the one of a name such as "adam" with its default arguments."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    known = kinds(Optimizer)
    named = {name.lower(): kind for name, kind in known.items()}
    if isinstance(optimizer, str) and optimizer.lower() in named:
        return named[optimizer.lower()]()
    _refuse_class("optimizer", optimizer)
    got = repr(optimizer) if isinstance(optimizer, str) else f"{_class_of(optimizer)}"
    hint = torch_hints.optimizer_instead(optimizer, known)
    raise TypeError(
        "optimizer must be one of mnistcnn's, such as mnistcnn.optim.SGD(lr=0.01), or a name such as 'adam', got "
        f"{got}{hint}"
    )


def _class_of(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _check_loss(loss: object, label_smoothing: float) -> None:
    if isinstance(loss, str):
        choice("loss", loss, LOSS_NAMES)
        return
    _check_value("loss", loss, Loss, ", ".join(map(repr, LOSS_NAMES)), hint=torch_hints.loss_instead)
    if label_smoothing:
        raise ValueError(
            f"label_smoothing={label_smoothing} belongs to a loss given by its name; say it in {type(loss).__name__}"
        )

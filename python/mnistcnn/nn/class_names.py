"""Names of the classes of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


def class_names(model: Model) -> tuple[str, ...]:
    """Return a name for each class of a model: ``model.class_names``, or the numbers from 0 if that is None."""
    return _numbers(model.num_classes) if model.class_names is None else checked(model.class_names, model)


def names_after_training(model: Model, classes: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names for a model that was trained on these classes. Outputs without a class get their number.

    Return None if all names are numbers, so that files of networks for digits do not contain names.
    """
    numbers = _numbers(model.num_classes)
    names = (*classes, *numbers[len(classes) :])
    return None if names == numbers else names


def checked(names: Sequence[str], model: Model) -> tuple[str, ...]:
    """Return the names as a tuple. Raise ValueError unless there is one string per class."""
    if len(names) != model.num_classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names must be {model.num_classes} strings, one per class, got {names}")
    return tuple(names)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))

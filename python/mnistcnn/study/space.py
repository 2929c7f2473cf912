"""Search space of a sweep: fields of a recipe, including nested ones, and their candidate values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.plain_values import describe
from mnistcnn.training.recipes import Recipe

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Range:
    """Numeric interval, sampled uniformly or log-uniformly."""

    low: float
    high: float
    log: bool

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Sample a number for an Optuna trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def value(self, suggested: Any) -> Any:
        """Return the number itself, as stored by Optuna."""
        return suggested

    @property
    def values(self) -> tuple[Any, ...]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """Finite set of values of any type."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Sample a value for an Optuna trial."""
        return self.value(trial.suggest_categorical(name, [_key(value) for value in self.values]))

    def value(self, suggested: Any) -> Any:
        """Return the value whose key is stored by Optuna."""
        return next(value for value in self.values if _key(value) == suggested)


def _key(value: Any) -> str:
    """Return a text that identifies a value in all processes, also a teacher by its weights, or a function."""
    return repr(describe(value))


Space = dict[str, Range | Choice]


def checked_space(space: Mapping[str, Any], recipe: Recipe) -> Space:
    """Return the parsed search space. Raise TypeError or ValueError unless the recipe accepts each value."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(
            f'space must be a non-empty mapping such as {{"optimizer.lr": (1e-3, 1e-1, "log")}}, got {space!r}'
        )
    choices: Space = {}
    for name, values in space.items():
        _check_not_nested(name, recipe)
        choices[name] = _checked_choice(name, values)
        for value in choices[name].values:
            try:
                changed(recipe, {name: value})
            except (TypeError, ValueError) as error:
                raise type(error)(f"space[{name!r}]: {error}") from None
    if "seed" in space:
        raise ValueError("space must not contain 'seed': the best of many seeds is due to chance")
    return choices


def _check_not_nested(name: str, recipe: Recipe) -> None:
    """Raise ValueError if ``name`` is a nested field without its prefix, such as "lr" for "optimizer.lr"."""
    known = [each.name for each in fields(recipe)]
    for outer in known if name not in known else ():
        value = getattr(recipe, outer)
        if is_dataclass(value) and name in {each.name for each in fields(value)}:
            raise ValueError(f"space[{name!r}]: a Recipe has no field {name!r}; did you mean '{outer}.{name}'?")


def _checked_choice(name: str, values: Any) -> Range | Choice:
    values = type(values)(map(_python_number, values)) if isinstance(values, list | tuple) else values
    if isinstance(values, list) and values:
        return Choice(tuple(values))
    if isinstance(values, tuple) and len(values) in (2, 3) and (len(values) == 2 or values[2] == "log"):
        low, high = values[:2]
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if numbers and low < high and (len(values) == 2 or low > 0):
            return Range(low, high, len(values) == 3)
    raise ValueError(
        f'space[{name!r}] must be a non-empty list of choices, (low, high) with low < high, or (low, high, "log") with '
        f"0 < low < high, got {values!r}"
    )


def _python_number(value: Any) -> Any:
    """Return a number of NumPy as a number of Python, which Optuna and JSON support, and any other value unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def changed(recipe: Recipe, choices: Mapping[str, Any]) -> Recipe:
    """Return the recipe with fields replaced, including nested ones: ``{"optimizer.lr": 0.1}``."""
    for name in sorted(choices, key=lambda each: each.count(".")):  # outer fields first
        head, _, rest = name.partition(".")
        value = choices[name]
        recipe = recipe.replace(**{head: _replaced(getattr(recipe, head, None), rest, value, head) if rest else value})
    return recipe


def _replaced(nested: Any, name: str, value: Any, path: str) -> Any:
    head, _, rest = name.partition(".")
    known = [each.name for each in fields(nested)] if is_dataclass(nested) else []
    if head not in known:
        raise ValueError(f"{path} is {nested!r} and has no field {head!r}; its fields: {', '.join(known) or 'none'}")
    assert is_dataclass(nested) and not isinstance(nested, type)
    return replace(nested, **{head: _replaced(getattr(nested, head), rest, value, f"{path}.{head}") if rest else value})

"""What a sweep varies: fields of a recipe, and of its parts, with the values they may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from mnistcnn.training.recipes import Recipe

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Range:
    """Numbers between two ends."""

    low: float
    high: float
    log: bool

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """What a trial shall try."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def value(self, suggested: Any) -> Any:
        """The storage keeps the number itself."""
        return suggested


@dataclass(frozen=True)
class Choice:
    """Values of any kind."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """What a trial shall try."""
        return self.value(trial.suggest_categorical(name, [repr(value) for value in self.values]))

    def value(self, suggested: Any) -> Any:
        """The storage keeps words; the value is found by them."""
        return next(value for value in self.values if repr(value) == suggested)


Space = dict[str, Range | Choice]


def checked_space(space: Mapping[str, Any], recipe: Recipe) -> Space:
    """The choices of a search, each tried on the recipe, so that a wrong name is told before any work."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError('space must say what to vary, such as {"optimizer.lr": (1e-3, 1e-1, "log")}')
    choices: Space = {}
    for name, what in space.items():
        _refuse_a_part(name, recipe)
        choices[name] = _checked_choice(name, what)
        for value in what[:2] if isinstance(what, tuple) else what:
            try:
                changed(recipe, {name: value})
            except (TypeError, ValueError) as error:
                raise type(error)(f"space[{name!r}]: {error}") from None
    if "seed" in space:
        raise ValueError("the seed is not searched for: the best of many seeds is luck, not skill")
    return choices


def _refuse_a_part(name: str, recipe: Recipe) -> None:
    """A field of a recipe's part, such as the optimizer's lr, is named with its part."""
    known = [each.name for each in fields(recipe)]
    for whole in known if name not in known else ():
        part = getattr(recipe, whole)
        if is_dataclass(part) and name in {each.name for each in fields(part)}:
            raise ValueError(f"space[{name!r}]: a Recipe has no field {name!r}; did you mean '{whole}.{name}'?")


def _checked_choice(name: str, what: Any) -> Range | Choice:
    if isinstance(what, list) and what:
        return Choice(tuple(what))
    if isinstance(what, tuple) and len(what) in (2, 3) and (len(what) == 2 or what[2] == "log"):
        low, high = what[:2]
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if numbers and low < high and (len(what) == 2 or low > 0):
            return Range(low, high, len(what) == 3)
    raise ValueError(
        f'space[{name!r}] must be a list of choices, or (low, high), or (low, high, "log") with 0 < low < high, '
        f"got {what!r}"
    )


def changed(recipe: Recipe, choices: Mapping[str, Any]) -> Recipe:
    """The recipe with fields changed, also those of its parts: ``{"optimizer.lr": 0.1}``."""
    for name in sorted(choices, key=lambda each: each.count(".")):  # a whole part before its fields
        head, _, rest = name.partition(".")
        value = choices[name]
        recipe = recipe.replace(**{head: _inside(getattr(recipe, head, None), rest, value, head) if rest else value})
    return recipe


def _inside(part: Any, name: str, value: Any, whole: str) -> Any:
    head, _, rest = name.partition(".")
    known = [each.name for each in fields(part)] if is_dataclass(part) else []
    if head not in known:
        raise ValueError(f"{whole} is {part!r}, which has no field {head!r}; it has: {', '.join(known) or 'none'}")
    assert is_dataclass(part) and not isinstance(part, type)
    return replace(part, **{head: _inside(getattr(part, head), rest, value, f"{whole}.{head}") if rest else value})

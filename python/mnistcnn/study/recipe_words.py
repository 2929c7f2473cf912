"""Short description of a recipe: its differences from the published recipe, or from the default one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.plain_values import from_plain, shown
from mnistcnn.training.published_recipes import recipe as published
from mnistcnn.training.recipes import TRAINING_FIELDS, Recipe

if TYPE_CHECKING:
    from mnistcnn.study.trials import Setting


def recipe_words(recipe: dict[str, Any]) -> str:
    """Return a short description such as "published, lr 0.1, epochs 5".

    ``recipe`` is the result of `Recipe.describe`, or the same read back from the JSON of a log.
    """
    return ", ".join(_parts(recipe)) or "default"


def distinct_titles(settings: Iterable[Setting]) -> list[str]:
    """Return the title of each setting, and the differences of its recipe from recipes of the same title."""
    named = [(each.title, _parts(each.recipe)) for each in settings]
    titles = []
    for title, parts in named:
        others = [each for name, each in named if name == title]
        differing = [part for part in parts if not all(part in each for each in others)]
        titles.append(f"{title}: {', '.join(differing)}" if differing else title)
    return titles


def _parts(recipe: dict[str, Any]) -> list[str]:
    """Return "published" if the recipe is based on a published one, and each difference from its base."""
    base = _published(recipe.get("about") or {})
    parts = [] if base is None else ["published"]
    before = (base or Recipe()).describe()
    for name in TRAINING_FIELDS:
        if name != "seed" and name in recipe:
            parts += _changes(name, before[name], recipe[name])
    return parts


def _published(about: dict[str, Any]) -> Recipe | None:
    """Return the published recipe, or None if it is unknown to this version of mnistcnn."""
    try:
        return published(about["name"], about.get("variant"))
    except (KeyError, ValueError):
        return None


def _changes(name: str, before: Any, now: Any) -> list[str]:
    if now == before:
        return []
    if isinstance(now, dict) and isinstance(before, dict) and now.get("kind") == before.get("kind"):
        return [change for field in now for change in _changes(field, before.get(field), now[field])]
    if now is None or now == []:
        return [f"no {name}"]
    named = isinstance(now, dict) or (isinstance(now, list) and all(isinstance(each, dict) for each in now))
    return [_value(now) if named else f"{name} {_value(now)}"]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(_value, value)) if value and isinstance(value[0], dict) else str(value)
    if not isinstance(value, dict):
        return f"{value:g}" if isinstance(value, float) else str(value)
    try:
        return shown(from_plain(value, "recipe"))
    except (TypeError, ValueError):  # it contains a value that is described by name only, such as a function
        return str(value.get("kind"))

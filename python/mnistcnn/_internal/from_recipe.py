"""Default of arguments that override a field of a recipe."""

from __future__ import annotations

from enum import Enum


class FromRecipe(Enum):
    """Type of `FROM_RECIPE`; None cannot be the default, since it is a value of some fields."""

    FROM_RECIPE = "the recipe's value"

    def __repr__(self) -> str:
        return self.name


FROM_RECIPE = FromRecipe.FROM_RECIPE

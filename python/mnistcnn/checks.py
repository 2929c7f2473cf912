"""Checks of plain arguments that more than one function makes."""

from __future__ import annotations

import operator
from numbers import Real


def whole_number(name: str, value: object, *, least: int = 1, most: int = 2**31 - 1) -> int:
    """A Python or NumPy integer within bounds, as an int."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        bounds = f"of at most {most}" if number > most else f"of at least {least}"
        raise ValueError(f"{name} must be an integer {bounds}, got {value!r}")
    return number


def seed_number(value: object) -> int:
    """A seed: 64 bits."""
    try:
        return whole_number("seed", value, least=0, most=2**64 - 1)
    except ValueError:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {value!r}") from None


def finite_number(name: str, value: object, *, most: float = float("inf")) -> float:
    """A real number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not (0 <= number <= most and number < float("inf")):
        limit = "a finite number of at least 0" if most == float("inf") else f"a number between 0 and {most:g}"
        raise ValueError(f"{name} must be {limit}, got {value!r}")
    return number

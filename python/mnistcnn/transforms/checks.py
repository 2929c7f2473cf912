"""Checks of the arguments of transforms; each returns the value in its final form or raises an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mnistcnn._internal.checks import any_number, finite_number, whole_number, without_array

LARGEST_SIDE = 4096  # pixels; must equal kLargestSide in augmentation/steps.h
_INTERPOLATIONS = ("nearest", "bilinear")


def is_number(value: object) -> bool:
    """Return whether a value is a single number, not a sequence or an array."""
    return not isinstance(without_array(value), Sequence)


def numbers(name: str, value: object, counts: tuple[int, ...]) -> tuple[float, ...]:
    """Return a sequence of finite numbers as floats; its length must be one of ``counts``."""
    wanted = " or ".join(str(count) for count in counts)
    value = without_array(value)
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) not in counts:
        raise ValueError(f"{name} must hold {wanted} numbers, got {value!r}")
    return tuple(signed(name, each) for each in value)


def signed(name: str, value: Any) -> float:
    """Return a finite number of either sign as a float."""
    try:
        return any_number(name, value)
    except TypeError:
        raise ValueError(f"{name} must be a finite number, got {value!r}") from None


def bounds(
    name: str, value: object, *, above: float | None = None, minimum: float = 0.0, maximum: float = float("inf")
) -> tuple[float, float]:
    """Return a range (smallest, largest) with both ends above ``above`` and between ``minimum`` and ``maximum``."""
    low, high = numbers(name, value, (2,))
    if low > high:
        raise ValueError(f"{name}={value!r} must be (smallest, largest)")
    if above is not None and low <= above:
        raise ValueError(f"{name} must be above {above:g}, got {value!r}")
    if low < minimum or high > maximum:
        limits = f"between {minimum:g} and {maximum:g}" if maximum < float("inf") else f"at least {minimum:g}"
        raise ValueError(f"{name} must be {limits}, got {value!r}")
    return low, high


def symmetric_range(name: str, value: Any, maximum: float = float("inf")) -> tuple[float, float]:
    """Return (-d, d) for a number d of at least 0; return a range unchanged."""
    if isinstance(value, str):
        raise ValueError(f"{name} must be a number, or a range (smallest, largest), got {value!r}")
    if not is_number(value):
        return bounds(name, value, minimum=-maximum, maximum=maximum)
    number = signed(name, value)
    if not 0 <= number <= maximum:
        limit = "at least 0" if maximum == float("inf") else f"between 0 and {maximum:g}"
        raise ValueError(f"{name} must be {limit}, or a range (smallest, largest), got {value!r}")
    return -number, number


def factors(name: str, value: Any) -> tuple[float, float]:
    """Return (max(0, 1 - b), 1 + b) for a number b; return a range unchanged."""
    if not is_number(value):
        return bounds(name, value)
    number = finite_number(name, value)
    return max(0.0, 1 - number), 1 + number


def fractions(name: str, value: object) -> tuple[float, ...]:
    """Return two numbers from 0 to 1."""
    pair = numbers(name, value, (2,))
    if not all(0 <= each <= 1 for each in pair):
        raise ValueError(f"{name} must be two fractions between 0 and 1, got {value!r}")
    return pair


def shear(value: Any) -> tuple[float, ...] | None:
    """Return four angles in degrees: the range along x and the range along y; None for no shear."""
    if value is None:
        return None
    if is_number(value):
        return *symmetric_range("shear", value, maximum=89), 0.0, 0.0
    given = numbers("shear", value, (2, 4))
    four = given if len(given) == 4 else (*given, 0.0, 0.0)
    for pair in (four[:2], four[2:]):
        bounds("shear", pair, minimum=-89, maximum=89)
    return four


def center(value: Any) -> tuple[float, float] | None:
    """Return (x, y), or None for the centre of the image."""
    if value is None:
        return None
    x, y = numbers("center", value, (2,))
    return x, y


def height_and_width(value: Any) -> tuple[int, int]:
    """Return (height, width); a single number means a square."""
    pair = (value, value) if is_number(value) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"size must be a number or (height, width), got {value!r}")
    height, width = (whole_number("size", each, maximum=LARGEST_SIDE) for each in pair)
    return height, width


def padding(value: Any) -> tuple[int, ...]:
    """Return (left, top, right, bottom) from one, two or four numbers."""
    given = (value,) if is_number(value) else tuple(value)
    if len(given) not in (1, 2, 4):
        raise ValueError(f"padding must be one, two or four numbers, got {value!r}")
    return tuple(whole_number("padding", each, minimum=0, maximum=LARGEST_SIDE) for each in given * (4 // len(given)))


def grey_level(name: str, value: Any) -> int:
    """Return an integer from 0 to 255."""
    try:
        return whole_number(name, value, minimum=0, maximum=255)
    except ValueError:
        raise ValueError(f"{name} must be a grey level from 0 to 255, got {value!r}") from None


def probability(value: Any) -> float:
    """Return a number from 0 to 1 as a float."""
    return finite_number("p", value, maximum=1)


def interpolation(value: Any) -> str:
    """Return "nearest" or "bilinear"; raise ValueError for other values."""
    if value not in _INTERPOLATIONS:
        raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {value!r}")
    return str(value)


def check_warp(step: Any) -> None:
    """Check and set fill, interpolation and p, the fields that all geometric transforms have."""
    step._set_fields(
        fill=grey_level("fill", step.fill), interpolation=interpolation(step.interpolation), p=probability(step.p)
    )

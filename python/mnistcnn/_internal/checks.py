"""Checks of arguments: return the value in its final type, or raise an error that names the argument."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from numbers import Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

ITEM_HINT = "an item of an ImageSet is (image, label): pass its image"  # for images that are a tuple
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def whole_number(name: str, value: object, *, minimum: int = 1, maximum: int = 2**31 - 1) -> int:
    """Return an integer from ``minimum`` to ``maximum`` as an int; accept Python and NumPy integers, but no bool."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or not minimum <= number <= maximum:
        bounds = f"of at most {maximum}" if number > maximum else f"of at least {minimum}"
        raise ValueError(f"{name} must be an integer {bounds}, got {value!r}")
    return number


def seed_number(value: object) -> int:
    """Return a seed as an int, from 0 to 2**64 - 1."""
    try:
        return whole_number("seed", value, minimum=0, maximum=2**64 - 1)
    except ValueError:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {value!r}") from None


# The largest and the smallest positive normal float32: the core computes with float32, in which larger numbers are
# infinite and smaller ones are 0 or inexact.
LARGEST = 3.4028234663852886e38
SMALLEST = 1.1754943508222875e-38


def any_number(name: str, value: object, *, minimum: float = -LARGEST, maximum: float = LARGEST) -> float:
    """Return a finite real number from ``minimum`` to ``maximum`` as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int above the range of float
        number = math.inf
    if not minimum <= number <= maximum:
        raise ValueError(f"{name} must be {_limits(number, minimum, maximum)}, got {value!r}")
    return number


def _limits(number: float, minimum: float, maximum: float) -> str:
    """Return the allowed range as text. The limits of float32 are named only if a finite number exceeds them."""
    if number <= 0 < minimum:
        return "above 0"
    if maximum < LARGEST:
        return f"a number between {minimum:g} and {maximum:g}"
    largest = f" and at most {maximum:.3g}" if LARGEST < abs(number) < math.inf else ""
    if minimum == SMALLEST and not 0 < number < SMALLEST:
        return f"a finite number above 0{largest}"
    return f"a finite number{largest}" if minimum == -LARGEST else f"a finite number of at least {minimum:.3g}{largest}"


def finite_number(name: str, value: object, *, maximum: float = LARGEST) -> float:
    """Return a finite real number from 0 to ``maximum`` as a float."""
    return any_number(name, value, minimum=0, maximum=maximum)


def positive_number(name: str, value: object, *, minimum: float = SMALLEST, maximum: float = LARGEST) -> float:
    """Return a finite real number above 0, from ``minimum`` to ``maximum``, as a float."""
    return any_number(name, value, minimum=minimum, maximum=maximum)


def zero_or_positive(name: str, value: object) -> float:
    """Return 0 or a finite real number that is positive in float32 as a float."""
    number = finite_number(name, value)
    return number if number == 0 else positive_number(name, number)


def fraction(name: str, value: object) -> float:
    """Return a real number of at least 0 and below 1 as a float."""
    number = finite_number(name, value)
    if number >= 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    return number


def numbers(
    name: str, values: object, count: int | None = None, *, minimum: float = -LARGEST, maximum: float = LARGEST
) -> tuple[float, ...]:
    """Return finite real numbers from an iterable, such as a list or an array; check the length if given."""
    wanted = "numbers" if count is None else f"{count} numbers"
    values = without_array(values)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be {wanted}, got {values!r}")
    found = tuple(any_number(name, value, minimum=minimum, maximum=maximum) for value in values)
    if count is not None and len(found) != count:
        raise ValueError(f"{name} must be {wanted}, got {values!r}")
    return found


def without_array(value: Any) -> Any:
    """Return an array or a tensor as a number or a list of numbers, and any other value unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value


def flag(name: str, value: object) -> bool:
    """Return a Python or NumPy bool as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def image_shape(name: str, value: object) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of an image."""
    try:
        channels, height, width = (whole_number(name, size) for size in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be (channels, height, width), integers from 1 to {2**31 - 1}, got {value!r}"
        ) from None
    return channels, height, width


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Return a hint with the most similar known name, to append to an error message; "" if none is similar.

    If no name is similar, return the first name that starts with the value, provided that the value has at least three
    characters.
    """
    known = list(known)
    close = difflib.get_close_matches(str(value), known, n=1)
    close = close or [each for each in known if len(str(value)) > 2 and each.startswith(str(value))]
    return f"; did you mean {close[0]!r}?" if close else ""


def choice(name: str, value: object, choices: tuple[str | None, ...]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        guess = did_you_mean(value, [each for each in choices if each])
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{guess}")


def with_hints(
    hint: Callable[[dict[str, Any], Sequence[str]], str],
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Return a decorator: unknown keywords of the function raise TypeError, with a hint for a known argument.

    ``hint`` receives the unknown keywords and the names of the arguments, and returns the end of the message.
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        known = tuple(signature(function).parameters)

        @wraps(function)
        def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            unknown = {name: value for name, value in kwargs.items() if name not in known}
            if unknown:
                first = next(iter(unknown))
                raise TypeError(f"{function.__name__} has no argument {first!r}{hint(unknown, known)}")
            return function(*args, **kwargs)

        return call

    return decorate

"""Base class of the layers: settings, without weights and computation.

Input sizes are not arguments: they are inferred from the previous layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields
from numbers import Integral
from typing import Any, ClassVar, TypeAlias

from mnistcnn._internal.checks import LARGEST, SMALLEST, any_number

POSITIVE = (SMALLEST, LARGEST)
Size: TypeAlias = int | tuple[int, int]
LAYER_KINDS: dict[str, type[Layer]] = {}  # each kind of layer by its name in the core


def pair(name: str, value: Size) -> tuple[int, int]:
    """Return an integer as a pair, and a pair of integers unchanged."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value), int(value)
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(each, Integral) for each in value):
        return int(value[0]), int(value[1])
    raise TypeError(f"{name} must be an integer or a pair of integers (height, width), got {value!r}")


def only(name: str, value: object, supported: int, meaning: str) -> None:
    """Raise ValueError for a setting of ``torch.nn`` that has one supported value only."""
    if value != supported:
        raise ValueError(f"{name} must be {supported} ({meaning}), got {value!r}")


class Layer:
    """Base class of all layers."""

    op: ClassVar[str]
    _limits: ClassVar[dict[str, tuple[float, float]]] = {}  # of numbers: (smallest, largest); others must be finite

    def __post_init__(self) -> None:
        """Raise unless every number is finite and within its limits."""
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if each.type == "float" or (each.type == "float | None" and value is not None):
                minimum, maximum = self._limits.get(each.name, (-LARGEST, LARGEST))
                any_number(each.name, value, minimum=minimum, maximum=maximum)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "op" in vars(cls):
            LAYER_KINDS[cls.op] = cls

    def __new__(cls, *values: Any, **_: Any) -> Layer:
        """Raise TypeError if a call gives an input size, as ``torch.nn`` requires."""
        names = [each.name for each in fields(cls) if not each.kw_only]  # type: ignore[arg-type]
        if len(values) > len(names):
            takes = f"takes {', '.join(names)} by position" if names else "takes nothing by position"
            raise TypeError(
                f"{cls.__name__} {takes}, got {', '.join(map(repr, values))}; leave out the size of the input: "
                "it is inferred from the previous layer"
            )
        return super().__new__(cls)

    def fields(self) -> dict[str, Any]:
        """Return the settings under the core's names, without those that exist for compatibility only."""
        return {each.name: _plain(each, getattr(self, each.name)) for each in fields(self) if each.compare}  # type: ignore[arg-type]


def _plain(field: Field[Any], value: Any) -> Any:
    if field.type == "float":
        return float(value)
    return list(value) if isinstance(value, tuple) else value

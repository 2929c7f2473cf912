"""Base class of the frozen dataclasses that describe a run: optimizers, schedules, losses, transforms and so on."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar, TypeVar

from mnistcnn._internal.checks import did_you_mean, flag

_V = TypeVar("_V", bound="Value")


class Value:
    """Base class of frozen dataclasses that describe part of a run.

    An unknown argument raises `TypeError` with a list of the known ones. ``repr`` shows the fields that differ from
    their defaults. Each subclass is registered under its name, which identifies it in JSON (see `kinds`). Abstract
    subclasses are not registered: ``class Optimizer(Value, abstract=True)``. The core implements the subclasses of a
    ``native`` class, so users cannot subclass them.
    """

    _registry: ClassVar[dict[str, type[Value]]] = {}
    _abstract: ClassVar[bool] = True
    _is_native: ClassVar[bool] = False

    def __init_subclass__(cls, *, abstract: bool = False, native: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls._is_native and cls.__module__.partition(".")[0] != "mnistcnn":
            raise TypeError(
                f"{cls.__name__} cannot be a subclass of {cls.__mro__[1].__name__}: the C++ core implements only the "
                "classes of mnistcnn; for other arithmetic, write your own loop in PyTorch with an accelerated module "
                "(mnistcnn.accelerate)"
            )
        cls._abstract, cls._is_native = abstract, cls._is_native or native
        known = Value._registry.get(cls.__name__)
        redefined = known is not None and known.__module__ == cls.__module__  # for example by a notebook cell
        if not abstract and cls.__name__[0] != "_" and (known is None or redefined):
            Value._registry[cls.__name__] = cls

    def __new__(cls, *positional: Any, **arguments: Any) -> Any:
        """Raise TypeError for an abstract class or an unknown argument."""
        if cls._abstract:
            raise TypeError(f"{cls.__name__} is an abstract class; choose one of {', '.join(sorted(kinds(cls)))}")
        if positional:
            cls._check_first(positional[0])
        known = {each.name: each for each in fields(cls) if each.init}  # type: ignore[arg-type]
        for name in arguments:
            if name not in known:
                inherited = getattr(cls.__mro__[1], "__dataclass_fields__", {})
                names = sorted(known, key=lambda each: each in inherited)  # those of the class itself first
                hint = did_you_mean(name, names) or "."
                raise TypeError(f"{cls.__name__} has no argument {name!r}{hint} Choose from: {', '.join(names)}")
        return super().__new__(cls)

    @classmethod
    def _check_first(cls, value: object) -> None:
        """Raise TypeError for a first argument that only the class of PyTorch takes, such as a model's parameters."""

    def __repr__(self) -> str:
        """Return the class name, and the learning rate and all fields that have no default or differ from it."""
        chosen = [
            each.name
            for each in fields(self)  # type: ignore[arg-type]
            if each.name == "lr" or getattr(self, each.name) != each.default
        ]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in chosen)})"

    def _check_flags(self) -> None:
        """Convert NumPy bools to Python's; raise TypeError if a field of type bool holds anything else."""
        for each in fields(self):  # type: ignore[arg-type]
            if each.type == "bool":
                self._set(each.name, flag(each.name, getattr(self, each.name)))

    def _compared(self, name: str) -> Any:
        """Return the value of a field for the comparison of recipes, such as a digest instead of a model's weights."""
        return getattr(self, name)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def kinds(base: type[_V]) -> dict[str, type[_V]]:
    """Return the registered subclasses of a class by their names."""
    return {name: kind for name, kind in Value._registry.items() if issubclass(kind, base)}


def is_kind(value: object) -> bool:
    """Return whether an object is a registered class (not an instance of one)."""
    return isinstance(value, type) and Value._registry.get(value.__name__) is value

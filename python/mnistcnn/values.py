"""What optimizers, losses and other descriptions of a run have in common: they are plain, frozen values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mnistcnn.checks import flag


class Value:
    """The base of frozen dataclasses: an unknown argument names the choices, and ``repr`` shows what was chosen.

    A class that says ``_is_base = True`` is what its subclasses have in common, and no value by itself.
    """

    def __new__(cls, *_: Any, **arguments: Any) -> Any:
        """Refuses arguments that the class hasn't."""
        if vars(cls).get("_is_base"):
            raise TypeError(f"{cls.__name__} is what all of its kind have in common; choose one of them")
        known = [each.name for each in fields(cls)]  # type: ignore[arg-type]
        for name in arguments:
            if name not in known:
                raise TypeError(f"{cls.__name__} has no argument {name!r}; choose from {', '.join(known)}")
        return super().__new__(cls)

    def __repr__(self) -> str:
        """The fields without a default, and those that differ from theirs."""
        chosen = [each.name for each in fields(self) if getattr(self, each.name) != each.default]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in chosen)})"

    def _check_flags(self) -> None:
        """Every field that is a bool holds one; NumPy's become Python's."""
        for each in fields(self):  # type: ignore[arg-type]
            if each.type == "bool":
                self._set(each.name, flag(each.name, getattr(self, each.name)))

    def _compared(self, name: str) -> Any:
        """What stands for a field where recipes are compared; a kind that holds no plain value names its content."""
        return getattr(self, name)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

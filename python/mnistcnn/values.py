"""What optimizers, losses and other descriptions of a run have in common: they are plain, frozen values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Value:
    """The base of frozen dataclasses: an unknown argument names the choices, and ``repr`` shows what was chosen."""

    def __new__(cls, *_: Any, **arguments: Any) -> Any:
        """Refuses arguments that the class hasn't."""
        known = [each.name for each in fields(cls)]  # type: ignore[arg-type]
        for name in arguments:
            if name not in known:
                raise TypeError(f"{cls.__name__} has no argument {name!r}; choose from {', '.join(known)}")
        return super().__new__(cls)

    def __repr__(self) -> str:
        """The fields without a default, and those that differ from theirs."""
        chosen = [each.name for each in fields(self) if getattr(self, each.name) != each.default]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in chosen)})"

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

"""Public names of a package that are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


class Exports:
    """Public names of a package, each with the module of the package that defines it."""

    def __init__(self, package: str, modules: Mapping[str, tuple[str, ...]]) -> None:
        self._package = package
        self._module_of = {name: module for module, names in modules.items() for name in names}
        self.names = sorted(self._module_of)

    def module_of(self, name: str) -> str:
        """Return the full name of the module that defines a public name."""
        return f"{self._package}.{self._module_of[name]}"

    def load(self, name: str) -> Any:
        """Import the module that defines a public name and return the value."""
        return getattr(import_module(self.module_of(name)), name)


def missing(module: str, name: str, instead: str = "", *, advice: str = "") -> AttributeError:
    """Return the error for a name that a module does not have.

    ``instead`` is the name of the module to write, if there is one; ``advice`` is what to do otherwise.
    """
    hint = f"; write {module}.{instead}" if instead else f"; {advice}" if advice else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}", name=name, obj=sys.modules[module])

"""Record which attributes of its modules a ``forward`` method reads."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from mnistcnn.nn.engine_rule import MODULE_STATE, Reads

_MISSING = object()


class AttributeReads:
    """Attributes of the modules in a tree that are read while `recorded` is active.

    A read of a value that ``forward`` itself has set is not recorded.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._modules: dict[int, tuple[str, dict[str, Any]]] = {}  # by id: path, and attributes before `forward`
        self._found: dict[tuple[str, str], None] = {}

    @property
    def found(self) -> Reads:
        """Return (module path, attribute name) for each attribute that was read."""
        return tuple(self._found)

    def add(self, path: str, key: str) -> None:
        """Add a parameter of which ``forward`` reads whether it requires a gradient."""
        self._found[path, key] = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the reads of the current thread."""
        thread = threading.get_ident()
        self._modules = {id(module): (path, dict(vars(module))) for path, module in self._root.named_modules()}

        def getattribute(module: nn.Module, name: str) -> Any:
            if threading.get_ident() == thread:
                self._record_read(module, name)
            return object.__getattribute__(module, name)

        nn.Module.__getattribute__ = getattribute  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            del nn.Module.__getattribute__

    def _record_read(self, module: nn.Module, name: str) -> None:
        if id(module) not in self._modules or name.startswith("__"):
            return
        if name == "_buffers":  # for example by `named_buffers` and `state_dict`
            for key in object.__getattribute__(module, name):
                self._record_read(module, key)
        if name in MODULE_STATE:
            return
        path, before = self._modules[id(module)]
        own = object.__getattribute__(module, "__dict__")
        if own.get(name, _MISSING) is not before.get(name, _MISSING):
            return
        if name not in own:
            if name in own["_parameters"] or name in own["_modules"]:
                return
            if name in own["_buffers"] and isinstance(module, nn.modules.batchnorm._NormBase):
                return  # running statistics, which the engine updates
            found = inspect.getattr_static(type(module), name, _MISSING)
            if found is not _MISSING and found is inspect.getattr_static(nn.Module, name, _MISSING):
                return
        self._found[path, name] = None

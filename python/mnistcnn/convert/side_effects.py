"""Run a ``forward`` method without lasting changes, and list its side effects."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import sys
import warnings
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MemberDescriptorType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from mnistcnn._internal import checks
from mnistcnn.convert.errors import ConversionError
from mnistcnn.nn.engine_rule import MODULE_STATE, Reads
from mnistcnn.nn.model import place_of

_MISSING = object()
_CONTAINERS = (list, dict, set, deque)
_MAX_DEPTH = 4  # of objects in objects
_MAX_VALUES = 1000  # of one object that are examined
_MAX_BYTES = 2**24  # of the arrays and tensors in one attribute that are copied
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_PACKAGES = tuple(str(Path(str(each.__file__)).parents[level]) for each, level in ((torch, 0), (np, 0), (checks, 1)))
_FROM_TORCH_CPP = "Triggered internally at"  # part of the warnings of PyTorch's C++ code


@dataclass(frozen=True)
class SideEffect:
    """Something that a ``forward`` method does in addition to computing its outputs."""

    what: str  # as in "it sets 'features'"
    attribute: tuple[str, str] | None = None  # (path of the module, name of the changed attribute)
    is_state: bool = False  # whether later outputs may depend on it


class SideEffectError(ConversionError):
    """Error for a ``forward`` method whose later outputs may depend on its side effects."""

    def __init__(self, message: str, effects: Iterable[SideEffect]) -> None:
        super().__init__(message)
        self._written = {each.attribute for each in effects}

    def without_writes(self, reads: Reads) -> Reads:
        """Return the attributes that are read and not written."""
        return tuple(each for each in reads if each not in self._written)


@contextlib.contextmanager
def without_side_effects(module: nn.Module, seed: int = 0) -> Iterator[list[SideEffect]]:
    """Restore modes, attributes, tensors and random number generators at exit, and suppress output and warnings.

    The list that the context manager yields holds the side effects after the exit.
    """
    effects: list[SideEffect] = []
    stdout, stderr, caught_warnings = io.StringIO(), io.StringIO(), _Warnings()
    modules = [(path, each) for path, each in module.named_modules() if not isinstance(each, torch.jit.ScriptModule)]
    attributes = [_Attributes(path, each) for path, each in modules]
    tensors = [
        _Tensor(path, key, each) for path, each in modules for key in (*each._parameters.keys(), *each._buffers.keys())
    ]
    devices = list({each.device for each in (*module.parameters(), *module.buffers()) if each.is_cuda})
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=devices),
        _python_generators() as generators_changed,
        caught_warnings.suppressed(),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        torch.default_generator.manual_seed(seed)
        before = torch.get_rng_state()
        try:
            yield effects
            if generators_changed() or not torch.get_rng_state().equal(before):
                effects.append(SideEffect("it draws random numbers", is_state=True))
        finally:
            effects += [effect for each in attributes for effect in each.restore()]
            effects += [effect for each in tensors for effect in each.restore()]
    if stdout.getvalue() or stderr.getvalue():
        effects.append(SideEffect("it prints"))
    if caught_warnings.emitted:
        effects.append(SideEffect("it emits a warning"))


class _Attributes:
    """Mode, attributes and layers of a module, and the contents of objects in its attributes."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self._path, self._module, self._training = path, module, module.training
        self._layers = dict(module._modules)
        self._tensor_names = {*module._parameters, *module._buffers}
        self._values = {key: value for key, value in vars(module).items() if key not in MODULE_STATE}
        self._contents = [(key, each) for key, value in self._values.items() for each in _contents_of(value, _Budget())]

    def restore(self) -> Iterator[SideEffect]:
        """Restore them, and yield a side effect for each that was changed."""
        own, prefix = vars(self._module), f"{self._path}." if self._path else ""
        self._module.training = self._training
        for key in self._restore_layers():
            yield SideEffect(f"it sets '{prefix}{key}'", (self._path, key), is_state=True)
        for key in [key for key in own if key not in MODULE_STATE and key not in self._values]:
            del own[key]
            yield SideEffect(f"it sets '{prefix}{key}'", (self._path, key))
        for key, value in self._values.items():
            if own.get(key, _MISSING) is not value:
                own[key] = value
                yield SideEffect(f"it sets '{prefix}{key}'", (self._path, key))
        for key, contents in self._contents:
            if contents.changed():
                with contextlib.suppress(Exception):  # for example of a read-only container
                    contents.restore()
                is_generator, name = isinstance(contents, _GeneratorState), f"'{prefix}{key}'"
                article = f"the {contents.kind}" if contents.value is self._values[key] else f"a {contents.kind} in"
                what = f"it draws random numbers from {name}" if is_generator else f"it changes {article} {name}"
                yield SideEffect(what, (self._path, key), is_state=is_generator)

    def _restore_layers(self) -> list[str]:
        """Restore the layers, remove new parameters and buffers, and return the names of all that were changed."""
        layers, changed = self._module._modules, []
        if layers != self._layers:
            changed = [key for key in {**layers, **self._layers} if layers.get(key) is not self._layers.get(key)]
            layers.clear()
            layers.update(self._layers)
        for held in (self._module._parameters, self._module._buffers):
            for key in [key for key in held if key not in self._tensor_names]:
                del held[key]
                self._module._non_persistent_buffers_set.discard(key)
                changed.append(key)
        return changed


class _Tensor:
    """Parameter or buffer of a module."""

    def __init__(self, path: str, key: str, module: nn.Module) -> None:
        self._path, self._key = path, key
        self._members, _ = place_of(module, key)
        self._tensor = self._members[key]
        self._is_statistic = isinstance(module, nn.modules.batchnorm._NormBase)  # the engine updates these as well
        self._existed = self._tensor is not None and not nn.parameter.is_lazy(self._tensor)
        if self._existed:
            self._data, self._copy = self._tensor.data, self._tensor.detach().clone()

    def restore(self) -> Iterator[SideEffect]:
        """Restore it, and yield a side effect if it was changed."""
        changed = self._members.get(self._key) is not self._tensor
        self._members[self._key] = self._tensor
        if self._existed and self._is_written():
            changed = True
            with torch.no_grad():
                if self._tensor.data_ptr() != self._data.data_ptr():
                    self._tensor.data = self._data
                self._tensor.copy_(self._copy)
        if changed and not self._is_statistic:
            name = f"{self._path}.{self._key}" if self._path else self._key
            kind = "parameter" if isinstance(self._tensor, nn.Parameter) else "buffer"
            yield SideEffect(f"it changes the {kind} '{name}'", (self._path, self._key), is_state=True)

    def _is_written(self) -> bool:
        now = self._tensor.detach()
        return now.shape != self._copy.shape or not _equal_or_nan(now, self._copy)


def _equal_or_nan(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) or bool(((a == b) | (a.isnan() & b.isnan())).all())


class _Contents:
    """Contents of an object, which ``forward`` may change."""

    def __init__(self, value: Any, *, copies_elements: bool) -> None:
        self.value, self.kind, self.copies_elements = value, type(value).__name__, copies_elements
        self._saved = self._read()

    def _read(self) -> Any:
        """Return a copy of the contents."""
        raise NotImplementedError

    def changed(self) -> bool:
        """Return whether the object has other contents now."""
        return bool(self._read() != self._saved)

    def restore(self) -> None:
        """Restore the contents."""
        raise NotImplementedError

    def children(self) -> Iterable[Any]:
        """Return the objects in this one."""
        return ()


class _Elements(_Contents):
    """Elements of a container."""

    def _read(self) -> Any:
        return (dict if isinstance(self.value, dict) else set if isinstance(self.value, set) else list)(self.value)

    def changed(self) -> bool:
        return not _same_elements(self.value, self._saved)

    def restore(self) -> None:
        self.value.clear()
        if isinstance(self.value, dict):
            for key, each in self._saved.items():
                self.value[key] = each
        elif isinstance(self.value, set):
            self.value.update(self._saved)
        else:
            self.value.extend(self._saved)

    def children(self) -> Iterable[Any]:
        return list(self._saved.values() if isinstance(self._saved, dict) else self._saved)


class _ObjectAttributes(_Contents):
    """Attributes of an object of a user's class, or of a namespace."""

    def _read(self) -> dict[str, Any]:
        names = (name for base in type(self.value).__mro__ for name, each in vars(base).items() if _is_slot(each))
        slots = {name: getattr(self.value, name) for name in names if hasattr(self.value, name)}
        return {**slots, **getattr(self.value, "__dict__", {})}

    def changed(self) -> bool:
        return not _same_elements(self._read(), self._saved)

    def restore(self) -> None:
        for name in self._read().keys() - self._saved.keys():
            object.__delattr__(self.value, name)
        for name, each in self._saved.items():
            object.__setattr__(self.value, name, each)

    def children(self) -> Iterable[Any]:
        return list(self._saved.values())


class _GeneratorState(_Contents):
    """State of a random number generator."""

    def _read(self) -> bytes | None:
        return _state_of(self.value)

    def restore(self) -> None:
        _set_state(self.value, self._saved)


class _ArrayElements(_Contents):
    """Elements of a NumPy array of numbers."""

    def _read(self) -> Any:
        return self.value.copy()

    def changed(self) -> bool:
        return not np.array_equal(self.value, self._saved, equal_nan=self.value.dtype.kind in "fc")

    def restore(self) -> None:
        self.value[...] = self._saved


class _TensorElements(_Contents):
    """Elements of a tensor that is not registered. If they are not copied, only the version counter is compared."""

    def _read(self) -> Any:
        self._version = _version_of(self.value)
        return self.value.detach().clone() if self.copies_elements else None

    def changed(self) -> bool:
        if _version_of(self.value) != self._version:
            return True
        now = self.value.detach()
        return self._saved is not None and (now.shape != self._saved.shape or not _equal_or_nan(now, self._saved))

    def restore(self) -> None:
        if self._saved is not None:
            self.value.data = (
                self._saved if self.value.shape != self._saved.shape else self.value.data.copy_(self._saved)
            )


class _Budget:
    """Objects of one attribute that were examined, and the number of bytes that may still be copied."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._bytes_left = _MAX_BYTES

    def contents(self, value: Any) -> _Contents | None:
        """Return the contents of an object, or None if they are not examined, or were already."""
        kind = None if id(value) in self._seen else _kind_of_contents(value)
        size = value.nbytes if kind in (_ArrayElements, _TensorElements) else 0
        is_small = size <= self._bytes_left
        if kind is None or (kind is _ArrayElements and not is_small):
            return None
        self._seen.add(id(value))
        self._bytes_left -= size if is_small else 0
        try:
            return kind(value, copies_elements=is_small)
        except Exception:  # of a user's class
            return None


def _contents_of(value: Any, budget: _Budget, depth: int = 0) -> Iterator[_Contents]:
    """Yield the contents of an object, and of the objects in it."""
    children: Iterable[Any] = value if isinstance(value, tuple) else ()
    contents = budget.contents(value)
    if contents is not None:
        yield contents
        children = contents.children()
    if depth < _MAX_DEPTH:
        for each in islice(children, _MAX_VALUES):
            yield from _contents_of(each, budget, depth + 1)


def _kind_of_contents(value: Any) -> type[_Contents] | None:
    if value is None or isinstance(value, bool | int | float | str | tuple | type | nn.Module):
        return None
    if isinstance(value, _CONTAINERS):
        return _Elements
    if isinstance(value, torch.Tensor):
        is_ordinary = value.layout is torch.strided and not value.is_meta and not nn.parameter.is_lazy(value)
        return _TensorElements if is_ordinary else None
    if isinstance(value, np.ndarray):
        return _ArrayElements if value.dtype.kind in "biufc" else None
    if isinstance(value, _GENERATORS):
        return _GeneratorState
    return _ObjectAttributes if _is_of_user(value) else None


def _is_of_user(value: object) -> bool:
    """Return whether an object is a namespace, or its class belongs neither to Python nor to an installed package.

    Objects of packages may change in every use, for example a cache.
    """
    if isinstance(value, SimpleNamespace | Namespace):
        return True
    module = type(value).__module__
    if module.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        return False
    file = str(getattr(sys.modules.get(module), "__file__", None))
    return not any(folder in file for folder in ("site-packages", "dist-packages", *_PACKAGES))


def _is_slot(value: object) -> bool:
    return isinstance(value, MemberDescriptorType)


def _version_of(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _state_of(value: Any) -> bytes | None:
    """Return the state of a random number generator; None for any other object."""
    if isinstance(value, torch.Generator):
        return pickle.dumps(value.get_state())
    if isinstance(value, np.random.Generator):
        return pickle.dumps(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return pickle.dumps(value.get_state())
    return pickle.dumps(value.getstate()) if isinstance(value, random.Random) else None


def _set_state(value: Any, state: bytes) -> None:
    held = pickle.loads(state)  # made by `_state_of`
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = held
    elif isinstance(value, random.Random):
        value.setstate(held)
    else:
        value.set_state(held)


def _same_elements(value: Any, elements: Any) -> bool:
    if len(value) != len(elements):
        return False
    if isinstance(value, dict):
        return all(key in value and _is_same(value[key], each) for key, each in elements.items())
    if isinstance(value, set):
        return bool(value == elements)
    return all(map(_is_same, value, elements))


def _is_same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str | bool) and a == b)


@contextlib.contextmanager
def _python_generators() -> Iterator[Callable[[], bool]]:
    """Restore the generators of Python and NumPy at exit. The yielded function returns whether they have been used."""
    python, numpy = random.getstate(), _numpy_state()

    def changed() -> bool:
        now = _numpy_state()
        return random.getstate() != python or now[2:] != numpy[2:] or not np.array_equal(now[1], numpy[1])

    try:
        yield changed
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _numpy_state() -> tuple[Any, ...]:
    return tuple(np.random.get_state(legacy=True))


class _Warnings:
    """Warnings that a ``forward`` method emits by itself, as opposed to those of PyTorch functions that it calls."""

    def __init__(self) -> None:
        self.emitted = False

    @contextlib.contextmanager
    def suppressed(self) -> Iterator[None]:
        """Suppress all warnings, and record whether ``forward`` emitted one."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._show
            yield

    def _show(self, message: Warning | str, *_: Any, **__: Any) -> None:
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") == "warnings" and frame.f_back is not None:
            frame = frame.f_back
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith(("torch.", "mnistcnn.")) and _FROM_TORCH_CPP not in str(message):
            self.emitted = True

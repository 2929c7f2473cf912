"""Decide before each forward pass whether it runs in the engine or in PyTorch.

The engine computes the network that was recorded when the model was created. It may run if the modules have not
changed since then, and if no hook or mode of PyTorch must intercept the operations of single layers.
"""

from __future__ import annotations

import copy
import inspect
import sys
import threading
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import islice
from pathlib import Path
from types import MemberDescriptorType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from mnistcnn._internal.native import core

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
CACHE_ATTRIBUTE = "_mnistcnn"  # attribute of a module that holds its conversions
# Attributes of every module that do not affect `forward` or are compared separately.
MODULE_STATE = frozenset((*vars(nn.Module()), "_compiled_call_impl", "forward", CACHE_ATTRIBUTE))
_MAX_VALUES = 200  # that are compared in each call for one attribute
_MAX_DEPTH = 3  # of objects in attributes of objects
_CONTAINERS = (list, dict, set, tuple, deque)  # attributes that are compared by value
_CHANGES = ("is", "equal", "size", "type", "shape", "version", "tied", "distinct")
_LIBRARY_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
Reads = tuple[tuple[str, str], ...]  # (path of the module, name of the attribute, or of a parameter: `requires_grad`)


class EngineForward:
    """Temporary ``forward`` of an instance while PyTorch calls the hooks around the engine, for one thread."""

    def __init__(self, module: nn.Module, compute: Callable[..., Any]) -> None:
        self._module, self._compute, self._thread = module, compute, threading.get_ident()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the engine in that thread, and the ``forward`` of the class in any other thread."""
        if threading.get_ident() == self._thread:
            return self._compute(*args, **kwargs)
        return type(self._module).forward(self._module, *args, **kwargs)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the first parameter of a module, or the CPU if it has none."""
    return next((each.device for each in module.parameters()), torch.device("cpu"))


def caller_level() -> int:
    """Return the ``stacklevel`` that names the innermost line outside of PyTorch and this package in a warning.

    It is valid for a call of `warnings.warn` in the function that calls this one.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LIBRARY_FOLDERS):
        level, frame = level + 1, frame.f_back
    return level


class Violation(NamedTuple):
    """Reason why the engine may not run."""

    reason: str
    is_change: bool  # the module may compute something else and can be converted again


def hooks_on(module: nn.Module) -> Violation | None:
    """Return a violation if there are hooks on a module itself, which a native run does not call; else None."""
    if any(getattr(module, name) for name in _HOOKS):
        return Violation("there are hooks on it", is_change=False)
    return None


def has_backward_hooks(module: nn.Module) -> bool:
    """Return whether a backward pass through a module calls hooks on it, on its parts, or on all modules."""
    functions = vars(torch.nn.modules.module)
    return any(
        functions[f"_global{name}"] or any(getattr(each, name) for each in module.modules())
        for name in ("_backward_hooks", "_backward_pre_hooks")
    )


class _Entry(NamedTuple):
    reason: str
    check: str  # see cpp/bindings/bind_guard.cpp
    owner: Any
    key: Any = None
    expected: Any = None

    @property
    def is_change(self) -> bool:
        """Whether the module may compute something else now, which a new conversion could record."""
        if self.check == "class attribute":  # a conversion does not detect a replaced `forward` of torch.nn
            return isinstance(self.owner, torch.Tensor) or not str(self.owner.__module__).startswith("torch.nn.")
        return self.check in _CHANGES or (self.check == "absent" and self.key != "forward")


class EngineRule:
    """Snapshot of a tree of modules, to compare with its later state.

    Parameters
    ----------
    root
        Module whose ``forward`` the engine computes. Hooks on it are allowed: they are called around the engine.
    followers
        Paths of the modules that must be in the mode (training or evaluation) of ``root``.
    parameters
        Parameters of the network: the name of each, the dictionary that holds it, and its key there.
    reads
        Attributes that ``forward`` reads. None: all numbers, strings and tuples of the layers below ``root``, whose own
        ``forward`` is not used.
    compare_tensors
        Whether a change in place of a tensor that ``forward`` reads, such as a buffer, is a change of the module.
    """

    def __init__(
        self,
        root: nn.Module,
        followers: Collection[str],
        parameters: Collection[tuple[str, dict[str, Any], str]],
        *,
        reads: Reads | None,
        compare_tensors: bool = True,
    ) -> None:
        entries = [*_entries(root, frozenset(followers), reads), *_tie_entries(root), *_tensor_entries(parameters)]
        if not compare_tensors:
            entries = [entry for entry in entries if entry.check != "version"]
        self._entries = entries
        self._guard = core.Guard([entry[1:] for entry in entries])
        self._changes = [entry for entry in entries if entry.is_change]
        self._change_guard = core.Guard([entry[1:] for entry in self._changes])

    def violation(self, training: bool) -> Violation | None:
        """Return why the engine may not run, or None."""
        found = self._guard.first_violation(training=training)
        if found < 0:
            return None
        entry = self._entries[found]
        return Violation(entry.reason, entry.is_change)

    def change(self) -> str | None:
        """Return which change may affect what the modules compute, or None."""
        found = self._change_guard.first_violation(training=False)
        return None if found < 0 else self._changes[found].reason


def circumstance(device_type: str) -> str | None:
    """Return which context of a forward pass requires PyTorch's own operations, or None."""
    if torch._C._get_tracing_state() is not None:
        return "torch.jit or torch.onnx is tracing it"
    if torch.is_autocast_enabled(device_type):
        return "autocast is enabled"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "it is called inside a transform of torch.func"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch._C._len_torch_dispatch_stack() > 0:
        return "a TorchDispatchMode is active"
    if torch._C._len_torch_function_stack() > 0 and not all(
        isinstance(mode, DeviceContext)
        for mode in _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    ):
        return "a TorchFunctionMode is active"
    return None


def _entries(root: nn.Module, followers: frozenset[str], reads: Reads | None) -> Iterator[_Entry]:
    functions = vars(torch.nn.modules.module)
    for name in _GLOBAL_HOOKS:
        yield _Entry("there are hooks on all modules", "empty", functions, name)
    modules = _python_modules(root)
    for path, module in modules.items():
        yield from _tree_entries(path, module, is_root=module is root, follows=path in followers)
        if module is not root or reads is not None:
            name = _module_name(path)
            yield _Entry(f"the class of {name} has changed", "type", module, None, type(module))
            yield _Entry(f"{name} has an overridden `forward`", "absent", vars(module), "forward", EngineForward)
    yield from _layer_settings(root) if reads is None else _read_attributes(modules, reads)
    yield from _class_entries({path: each for path, each in modules.items() if reads is not None or each is not root})
    for path, module in modules.items():
        yield from _tensor_set_entries(path, module, sizes=reads is not None)


def _python_modules(root: nn.Module) -> dict[str, nn.Module]:
    """Return the modules by path, without ScriptModules, which have no Python attributes and cannot be converted."""
    return {path: each for path, each in root.named_modules() if not isinstance(each, torch.jit.ScriptModule)}


def _tree_entries(path: str, module: nn.Module, *, is_root: bool, follows: bool) -> Iterator[_Entry]:
    own, name, prefix = vars(module), _module_name(path), f"{path}." if path else ""
    for key, child in module._modules.items():
        yield _Entry(f"'{prefix}{key}' was replaced", "is", module._modules, key, child)
    yield _Entry(f"layers of {name} were added or removed", "size", module._modules, None, len(module._modules))
    if is_root:
        return
    for key in _HOOKS:
        yield _Entry(f"there are hooks on {name}", "empty", own, key)
    if follows:
        yield _Entry(f"{name} is in another mode (training or evaluation) than the model", "mode", own, "training")


def _tensor_set_entries(path: str, module: nn.Module, *, sizes: bool) -> Iterator[_Entry]:
    """Yield the entries of the parameters and buffers that are None, and of their numbers if ``sizes``."""
    name, prefix = _module_name(path), f"{path}." if path else ""
    for kind, tensors in (("parameters", module._parameters), ("buffers", module._buffers)):
        if sizes:
            yield _Entry(f"{kind} of {name} were added or removed", "size", tensors, None, len(tensors))
        for key, tensor in tensors.items():
            if tensor is None:
                yield _Entry(f"'{prefix}{key}' was set", "is", tensors, key, None)


def _module_name(path: str) -> str:
    return f"'{path}'" if path else "the model"


def _class_entries(modules: dict[str, nn.Module]) -> Iterator[_Entry]:
    """Yield the entries of the ``forward`` function of each class."""
    classes: dict[type, str] = {}
    for path, module in modules.items():
        classes.setdefault(type(module), path)
    for kind, path in classes.items():
        yield from _function_entries(
            kind, "forward", f"the `forward` of class {kind.__name__}, of {_module_name(path)},"
        )


def _function_entries(kind: type, name: str, what: str) -> Iterator[_Entry]:
    """Yield the entries of a function of a class, and of the functions of its bases that it may call."""
    functions = [(kind, name, what)]
    functions += [(base, key, f"'{base.__name__}.{key}'") for base, key in _functions_of_bases(kind, name)]
    for owner, key, label in functions:
        value = getattr(owner, key, None)
        if getattr(owner, key, None) is value:  # false for a class method
            yield _Entry(f"{label} was replaced", "class attribute", owner, key, value)
        code = getattr(value, "__code__", None)
        if code is not None:  # IPython's autoreload replaces it
            yield _Entry(f"{label} was replaced", "class attribute", value, "__code__", code)


def _functions_of_bases(kind: type, name: str) -> list[tuple[type, str]]:
    """Return the functions that a function of a class may call as ``Base.name(self)`` or by ``super()``."""
    bases = [base for base in kind.__mro__[:-1] if not base.__module__.startswith("torch.")]
    found, names = [], [name]
    for key in names:
        defining = [base for base in bases if callable(vars(base).get(key))]
        found += [(base, key) for base in (defining[1:] if key == name else defining)]
        for base in defining:
            code = getattr(vars(base)[key], "__code__", None)
            if code is not None and "__class__" in code.co_freevars:  # it uses super()
                names += [each for each in code.co_names if each not in names and any(each in vars(b) for b in bases)]
    return found


def _layer_settings(root: nn.Module) -> Iterator[_Entry]:
    for path, module in root.named_modules():
        if module is not root:
            for key, value in vars(module).items():
                if key not in MODULE_STATE and _is_plain(value):
                    yield _Entry(f"'{path}.{key}' was changed", "equal", vars(module), key, value)


def _read_attributes(modules: dict[str, nn.Module], reads: Reads) -> Iterator[_Entry]:
    """Yield the entries of the attributes that were read: of the instance, or of its class."""
    classes: set[tuple[type, str]] = set()
    registered = {id(each) for each in modules.values()}
    for path, key in reads:
        module = modules.get(path)
        if module is None:
            continue
        own, name = vars(module), f"'{path}.{key}'" if path else f"'{key}'"
        reason = f"{name} was changed"
        if key in module._parameters:  # `forward` reads its `requires_grad`
            parameter = module._parameters[key]
            yield _Entry(f"{name} was replaced", "is", module._parameters, key, parameter)
            wanted = getattr(parameter, "requires_grad", None)
            yield _Entry(
                f"`requires_grad` of {name} was changed", "class attribute", parameter, "requires_grad", wanted
            )
            continue
        if key in own or key in module._buffers:
            held = own if key in own else module._buffers
            yield from islice(_value_entries(reason, held, key, held[key]), _MAX_VALUES)
            yield from islice(_unregistered_entries(name, held[key], registered), _MAX_VALUES)
            continue
        yield _Entry(reason, "absent", own, key)
        kind = type(module)
        if hasattr(kind, key) and (kind, key) not in classes:
            classes.add((kind, key))
            yield from _function_entries(kind, key, f"'{kind.__name__}.{key}'")
            value = inspect.getattr_static(kind, key)
            if not callable(value) and not isinstance(value, property):
                yield from islice(_value_entries(reason, {key: value}, key, value), _MAX_VALUES)


def _unregistered_entries(name: str, value: Any, registered: set[int]) -> Iterator[_Entry]:
    """Yield the entries of modules in a list or another container, which PyTorch does not register."""
    for module in _modules_in(value):
        if id(module) not in registered:
            own = vars(module)
            for key in _HOOKS:
                yield _Entry(f"there are hooks on a module in {name}", "empty", own, key)
            yield _Entry(f"the mode of a module in {name} was changed", "equal", own, "training", module.training)
            yield _Entry(f"a module in {name} has an overridden `forward`", "absent", own, "forward", EngineForward)


def _modules_in(value: Any, depth: int = 0) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield from _python_modules(value).values()
    elif depth <= _MAX_DEPTH and (isinstance(value, _CONTAINERS) or _holds_settings(value)):
        parts = value if isinstance(value, _CONTAINERS) else getattr(value, "__dict__", {})
        for each in islice(parts.values() if isinstance(parts, dict) else parts, _MAX_VALUES):
            yield from _modules_in(each, depth + 1)


def _value_entries(reason: str, owner: Mapping[str, Any], key: str, value: Any) -> Iterator[_Entry]:
    """Yield entries that compare a plain value or a container by value, and an object by identity and attributes."""
    if _is_plain(value):
        yield _Entry(reason, "equal", owner, key, value)
    elif isinstance(value, _CONTAINERS):
        yield _Entry(reason, "equal", owner, key, _copy_containers(value))
        for each in islice(value.values() if isinstance(value, dict) else value, _MAX_VALUES):
            yield from _object_entries(reason, each)
    else:
        yield _Entry(reason, "is", owner, key, value)
        yield from _object_entries(reason, value)


def _object_entries(reason: str, value: Any, depth: int = 0) -> Iterator[_Entry]:
    """Yield entries that compare a tensor by its version, and an object or class by its plain attributes.

    Containers in attributes are not compared: they may be logs, which grow in every step.
    """
    if isinstance(value, torch.Tensor):
        if not value.is_inference():
            yield _Entry(reason, "version", {"": value}, "", value._version)
        return
    if _is_plain(value) or isinstance(value, _CONTAINERS):
        return
    inner = getattr(value, "__dict__", None)
    if isinstance(inner, dict):
        skipped = MODULE_STATE if isinstance(value, nn.Module) else ()
        for name, each in inner.items():
            if _is_plain(each) and name not in skipped:
                yield _Entry(reason, "equal", inner, name, each)
            elif depth < _MAX_DEPTH and _holds_settings(each):
                yield _Entry(reason, "is", inner, name, each)
                yield from _object_entries(reason, each, depth + 1)
    for name in _class_level_names(value if isinstance(value, type) else type(value)):
        if not isinstance(inner, dict) or name not in inner:
            yield _Entry(reason, "class attribute", value, name, getattr(value, name, None))


def _holds_settings(value: Any) -> bool:
    """Return whether an object probably holds settings: a dataclass or a namespace."""
    return isinstance(value, SimpleNamespace | Namespace) or (is_dataclass(value) and not isinstance(value, type))


def _class_level_names(kind: type) -> Iterator[str]:
    """Yield the names of the plain values and slots of a user's class and its bases."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package not in ("torch", "numpy") and package not in sys.stdlib_module_names - {"__main__"}:
            for name, each in vars(base).items():
                if not name.startswith("__") and (_is_plain(each) or isinstance(each, MemberDescriptorType)):
                    yield name


def _copy_containers(value: Any) -> Any:
    """Copy nested containers. Everything else is compared by identity or value."""
    if not isinstance(value, _CONTAINERS):
        return value
    if isinstance(value, tuple):
        elements = map(_copy_containers, value)
        return value._make(elements) if hasattr(value, "_make") else tuple(elements)
    copied: Any = value
    with suppress(Exception):  # a set has no positions; a subclass may refuse to be copied or changed
        copied = copy.copy(value)
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            copied[key] = _copy_containers(each)
    return copied


def _tensor_entries(parameters: Collection[tuple[str, dict[str, Any], str]]) -> Iterator[_Entry]:
    for name, held, key in parameters:
        tensor = held.get(key)
        yield _Entry(f"'{name}' is not an ordinary float32 tensor", "float", held, key)
        if tensor is not None and not nn.parameter.is_lazy(tensor):
            shape = tuple(tensor.shape)
            yield _Entry(f"'{name}' no longer has the shape {list(shape)}", "shape", held, key, shape)


def _tie_entries(root: nn.Module) -> Iterator[_Entry]:
    """Yield entries for parameters that must remain one tensor, and for all others, which must remain distinct."""
    first: dict[int, tuple[str, dict[str, Any], str]] = {}
    for path, module in _python_modules(root).items():
        for key, tensor in module._parameters.items():
            name, held = f"{path}.{key}" if path else key, module._parameters
            if tensor is None:
                continue
            if id(tensor) in first:
                other, *place = first[id(tensor)]
                yield _Entry(f"'{name}' and '{other}' are no longer one tensor", "tied", held, key, tuple(place))
            else:
                first[id(tensor)] = name, held, key
    places = [(held, key) for _, held, key in first.values()]
    yield _Entry("two parameters have become one tensor", "distinct", places)


def _is_plain(value: object) -> bool:
    """Return whether a value is a number, a string, None, or a tuple of them."""
    if isinstance(value, tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)

"""Decide before a forward whether an engine may compute it, or PyTorch must.

The engine computes the network that was found when the model was made. It may run as long as the modules have not
changed since, and no hook or mode of PyTorch has to see the operation of each layer.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from mnistcnn._internal.native import core

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
KEPT = "_mnistcnn"  # the one attribute in which a module keeps what this package knows of it
# What is in every module, and decides nothing by itself or is compared separately.
MODULE_STATE = frozenset((*vars(nn.Module()), "_compiled_call_impl", "forward", KEPT))
_CHANGES = ("is", "equal", "size", "type", "shape", "tied", "distinct")
Reads = tuple[tuple[str, str], ...]  # attributes: the path of a module, and a name


class EngineForward:
    """The forward that an instance has while PyTorch calls the hooks around its engine, for one thread."""

    def __init__(self, module: nn.Module, compute: Callable[..., Any]) -> None:
        self._module, self._compute, self._thread = module, compute, threading.get_ident()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the engine in that thread, and the forward of the class in any other."""
        if threading.get_ident() == self._thread:
            return self._compute(*args, **kwargs)
        return type(self._module).forward(self._module, *args, **kwargs)


class Violation(NamedTuple):
    """Why the engine may not run."""

    reason: str
    is_change: bool  # of what the module computes, so that it may be converted again


class _Entry(NamedTuple):
    reason: str
    check: str  # see cpp/bindings/bind_guard.cpp
    owner: Any
    key: Any = None
    expected: Any = None

    @property
    def is_change(self) -> bool:
        """Whether the module may compute something else now, which another conversion could find."""
        if self.check == "class attribute":  # a replaced forward of PyTorch's own layers is not seen by a conversion
            return not str(self.owner.__module__).startswith("torch.nn.")
        return self.check in _CHANGES or (self.check == "absent" and self.key != "forward")


class EngineRule:
    """Compare a tree of modules with what it was when this was made.

    Parameters
    ----------
    root
        The module whose forward the engine computes. Hooks on it are allowed: they are called around the engine.
    followers
        Paths of the modules whose mode, training or evaluation, must be that of ``root``.
    parameters
        The parameters of the network: the name of each, the dictionary that holds it, and its key there.
    reads
        The attributes that decide what the forward computes. None: all numbers, texts and tuples of the layers below
        ``root``, whose own forward is not used.
    """

    def __init__(
        self,
        root: nn.Module,
        followers: Collection[str],
        parameters: Collection[tuple[str, dict[str, Any], str]],
        *,
        reads: Reads | None,
    ) -> None:
        entries = [*_entries(root, frozenset(followers), reads), *_tie_entries(root), *_tensor_entries(parameters)]
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
        """Return what has changed so that the modules may compute something else, or None."""
        found = self._change_guard.first_violation(training=False)
        return None if found < 0 else self._changes[found].reason


def circumstance(device_type: str) -> str | None:
    """Return what around a forward needs PyTorch's own operations, or None."""
    if torch._C._get_tracing_state() is not None:
        return "torch.jit or torch.onnx traces it"
    if torch.is_autocast_enabled(device_type):
        return "autocast is enabled"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "it is inside a transform of torch.func"
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
    modules = _ordinary_modules(root)
    for path, module in modules.items():
        yield from _tree_entries(path, module, is_root=module is root, follows=path in followers)
        if module is not root or reads is not None:
            reason = f"{_named(path)} has a forward of its own"
            yield _Entry(reason, "absent", vars(module), "forward", EngineForward)
    yield from _layer_settings(root) if reads is None else _read_attributes(modules, reads)
    yield from _class_entries({path: each for path, each in modules.items() if reads is not None or each is not root})


def _ordinary_modules(root: nn.Module) -> dict[str, nn.Module]:
    """The modules whose members are in dictionaries of Python, by path; no conversion contains others."""
    return {path: each for path, each in root.named_modules() if not isinstance(each, torch.jit.ScriptModule)}


def _tree_entries(path: str, module: nn.Module, *, is_root: bool, follows: bool) -> Iterator[_Entry]:
    own, name, prefix = vars(module), _named(path), f"{path}." if path else ""
    for key, child in module._modules.items():
        yield _Entry(f"'{prefix}{key}' was replaced", "is", module._modules, key, child)
    yield _Entry(f"layers of {name} were added or removed", "size", module._modules, None, len(module._modules))
    if is_root:
        return
    yield _Entry(f"the class of {name} has changed", "type", module, None, type(module))
    for key in _HOOKS:
        yield _Entry(f"there are hooks on {name}", "empty", own, key)
    if follows:
        yield _Entry(f"{name} is in another mode, training or evaluation, than the model", "mode", own, "training")


def _named(path: str) -> str:
    return f"'{path}'" if path else "the model"


def _class_entries(modules: dict[str, nn.Module]) -> Iterator[_Entry]:
    """The forward function of each class."""
    kinds: dict[type, str] = {}
    for path, module in modules.items():
        kinds.setdefault(type(module), path)
    for kind, path in kinds.items():
        yield from _function_entries(kind, "forward", f"the forward of class {kind.__name__}, of {_named(path)},")


def _function_entries(kind: type, name: str, what: str) -> Iterator[_Entry]:
    value = getattr(kind, name, None)
    yield _Entry(f"{what} was replaced", "class attribute", kind, name, value)
    code = getattr(value, "__code__", None)
    if code is not None:  # which IPython's autoreload replaces
        yield _Entry(f"{what} was replaced", "class attribute", value, "__code__", code)


def _layer_settings(root: nn.Module) -> Iterator[_Entry]:
    for path, module in root.named_modules():
        if module is not root:
            for key, value in vars(module).items():
                if key not in MODULE_STATE and _is_plain(value):
                    yield _Entry(f"'{path}.{key}' was changed", "equal", vars(module), key, value)


def _read_attributes(modules: dict[str, nn.Module], reads: Reads) -> Iterator[_Entry]:
    """The attributes of the instance, and of the class where the instance has none of this name."""
    kinds: set[tuple[type, str]] = set()
    for path, key in reads:
        module = modules.get(path)
        if module is None:
            continue
        own, reason = vars(module), f"'{path}.{key}' was changed" if path else f"'{key}' was changed"
        if key in own:
            yield from _value_entries(reason, own, key, own[key])
            continue
        yield _Entry(reason, "absent", own, key)
        kind = type(module)
        if hasattr(kind, key) and (kind, key) not in kinds:
            kinds.add((kind, key))
            yield from _function_entries(kind, key, f"'{kind.__name__}.{key}'")


def _value_entries(reason: str, owner: dict[str, Any], key: str, value: Any) -> Iterator[_Entry]:
    """Compare a plain value, the elements of a container, or the identity of an object and its plain attributes."""
    if _is_plain(value):
        yield _Entry(reason, "equal", owner, key, value)
    elif type(value) in (list, dict, set, tuple):
        yield _Entry(reason, "equal", owner, key, _copied(value))
    else:
        yield _Entry(reason, "is", owner, key, value)
        inner = getattr(value, "__dict__", None)
        if isinstance(inner, dict) and not isinstance(value, nn.Module | torch.Tensor | type):
            for name, each in inner.items():
                if _is_plain(each):
                    yield _Entry(reason, "equal", inner, name, each)


def _copied(value: Any) -> Any:
    """Copy containers within containers; everything else is compared by identity or value."""
    if type(value) is dict:
        return {key: _copied(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return copy.copy(value) if type(value) is set else value


def _tensor_entries(parameters: Collection[tuple[str, dict[str, Any], str]]) -> Iterator[_Entry]:
    for name, held, key in parameters:
        tensor = held.get(key)
        yield _Entry(f"'{name}' is not an ordinary float32 tensor", "float", held, key)
        if tensor is not None and not nn.parameter.is_lazy(tensor):
            shape = tuple(tensor.shape)
            yield _Entry(f"'{name}' has no longer the shape {list(shape)}", "shape", held, key, shape)


def _tie_entries(root: nn.Module) -> Iterator[_Entry]:
    """Parameters that are one tensor must stay so, and no others may become one."""
    first: dict[int, tuple[str, dict[str, Any], str]] = {}
    for path, module in _ordinary_modules(root).items():
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
    """Whether a value is a setting that can be compared: a number, a text, or a tuple of them."""
    if isinstance(value, tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)

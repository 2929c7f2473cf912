"""Decide before a forward whether an engine may compute it, or PyTorch must.

The engine computes the network that was found when the model was made. It may run as long as the modules have not
changed since, and no hook or mode of PyTorch has to see the operation of each layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from mnistcnn._native import core

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
_NO_SETTINGS = frozenset((*vars(nn.Module()), "_compiled_call_impl"))  # what PyTorch itself keeps in every module


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
        """Whether a forward converted after it may be another one."""
        if self.check == "attribute":  # a replaced forward of PyTorch's own layers may do what no conversion sees
            return not self.owner.__module__.startswith("torch.nn.")
        return self.check in ("is", "equal", "size", "type")


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
    own_settings
        Whether attributes of ``root`` itself may decide what its forward computes.
    """

    def __init__(
        self,
        root: nn.Module,
        followers: Collection[str],
        parameters: Collection[tuple[str, dict[str, Any], str]],
        *,
        own_settings: bool,
    ) -> None:
        self._entries = list(_entries(root, frozenset(followers), own_settings))
        self._entries += [
            _Entry(f"'{name}' is not an ordinary float32 tensor", "float", held, key) for name, held, key in parameters
        ]
        self._guard = core.Guard([entry[1:] for entry in self._entries])

    def violation(self, training: bool) -> Violation | None:
        """Return what has changed in the modules, or None."""
        found = self._guard.first_violation(training=training)
        if found < 0:
            return None
        entry = self._entries[found]
        return Violation(entry.reason, entry.is_change)


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


def _entries(root: nn.Module, followers: frozenset[str], own_settings: bool) -> Iterator[_Entry]:
    functions = vars(torch.nn.modules.module)
    for name in _GLOBAL_HOOKS:
        yield _Entry("there are hooks on all modules", "empty", functions, name)
    kinds: dict[type, str] = {}
    for path, module in root.named_modules():
        own, name = vars(module), f"'{path}'" if path else "the model"
        prefix = f"{path}." if path else ""
        for key, child in module._modules.items():
            yield _Entry(f"'{prefix}{key}' was replaced", "is", module._modules, key, child)
        yield _Entry(f"layers of {name} were added or removed", "size", module._modules, None, len(module._modules))
        if module is not root or own_settings:
            yield from _settings(own, prefix)
            yield _Entry(f"{name} has a forward of its own", "absent", own, "forward")
        if module is not root or own_settings:
            kinds.setdefault(type(module), name)
        if module is root:
            continue
        yield _Entry(f"the class of {name} has changed", "type", module, None, type(module))
        for key in _HOOKS:
            yield _Entry(f"there are hooks on {name}", "empty", own, key)
        if path in followers:
            yield _Entry(f"{name} is in another mode, training or evaluation, than the model", "mode", own, "training")
    for kind, name in kinds.items():
        reason = f"the forward of class {kind.__name__}, of {name}, was replaced"
        forward = getattr(kind, "forward", None)
        yield _Entry(reason, "attribute", kind, "forward", forward)
        if forward is not None and hasattr(forward, "__code__"):  # which IPython's autoreload replaces
            yield _Entry(reason, "attribute", forward, "__code__", forward.__code__)


def _settings(own: dict[str, Any], prefix: str) -> Iterator[_Entry]:
    for key, value in own.items():
        if key not in _NO_SETTINGS and _is_plain(value):
            yield _Entry(f"'{prefix}{key}' was changed", "equal", own, key, value)


def _is_plain(value: object) -> bool:
    """Whether a value is a setting that can be compared: a number, a text, or a tuple of them."""
    if isinstance(value, tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)

"""Attach the engine to a user's own module: it stays the same object, and its calls run in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from mnistcnn.convert.conversion import Conversion, FailedConversion, conversion_of
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.from_torch import checked
from mnistcnn.convert.inputs import entrance
from mnistcnn.convert.outputs import chosen
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.nn.engine_rule import KEPT
from mnistcnn.nn.model import Model, warn_of_torch

Module = TypeVar("Module", bound=nn.Module)


def accelerate(module: Module, input_shape: Sequence[int] = (1, 28, 28), *, output: int | str | None = None) -> Module:
    """Run the calls of a module in mnistcnn's engine, and return the module itself.

    It stays an object of your class, with its parameters, attributes, methods and hooks. Your loop, loss and
    ``torch.optim`` stay as they are, also an optimizer that you made before. Where the engine may not run (hooks on a
    layer, autocast, tracing, ...), PyTorch does, with one `EngineWarning`. Copies and unpickled modules run in PyTorch
    until they are accelerated themselves; so does ``module.forward(images)``. `remove_acceleration` undoes it, and
    `from_torch` returns the model that runs, for its settings.

    Parameters
    ----------
    module, input_shape, output
        As for `mnistcnn.from_torch`.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10))
    >>> mnistcnn.accelerate(net) is net
    True
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> loss = nn.functional.cross_entropy(net(torch.zeros(2, 1, 28, 28)), torch.tensor([3, 7]))
    >>> loss.backward()
    >>> optimizer.step()
    """
    if isinstance(module, Model):
        return module
    if isinstance(module, nn.Module) and not _reaches_the_engine(module):
        raise ConversionError(
            f"class {type(module).__name__} has a __call__ of its own, which the engine would bypass; let it call the "
            "module in a forward instead"
        )
    net: Module = checked(module)  # type: ignore[assignment]
    conversion = conversion_of(net, entrance(input_shape), output)
    if isinstance(conversion, FailedConversion) and not isinstance(conversion.error, SideEffectError):
        raise conversion.error
    net._compiled_call_impl = _EngineCall(net, conversion)
    return net


def remove_acceleration(module: Module) -> Module:
    """Run the calls of a module in PyTorch again, and return it. A module that is not accelerated stays as it is."""
    if isinstance(module.__dict__.get("_compiled_call_impl"), _EngineCall):
        del module._compiled_call_impl
    module.__dict__.pop(KEPT, None)
    return module


def _reaches_the_engine(module: nn.Module) -> bool:
    """Whether a call of the module arrives at ``nn.Module.__call__``."""
    return type(module).__call__ is nn.Module.__call__ or isinstance(module, torch.fx.GraphModule)


class _EngineCall:
    """What ``nn.Module.__call__`` calls instead of PyTorch's own; the attribute exists for ``Module.compile``."""

    def __init__(self, net: nn.Module, conversion: Conversion | FailedConversion) -> None:
        self._net, self._conversion = net, conversion
        self._change = ""  # what the latest conversion was made for
        self._warned: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return self._net._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        violation = self._conversion.violation()
        if violation is not None and violation.is_change:
            then, self._change = self._conversion, f"{violation.reason}; "
            self._conversion = conversion_of(self._net, then.shape, then.output)
            violation = self._conversion.violation()
        reason = self._conversion.reason_for_torch
        if isinstance(self._conversion, Conversion) and reason is None:
            return self._conversion.call(args, kwargs, violation)
        self._warn(f"{self._change}{reason}")
        return chosen(self._net._call_impl(*args, **kwargs), self._conversion.output)  # type: ignore[no-untyped-call]

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            warn_of_torch(type(self._net).__name__, reason, stacklevel=4)

    # A copy of the module, whose class may copy its whole dictionary, has no engine.
    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

"""Run the calls of a user's module in the engine, without changing its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from mnistcnn.convert.conversion import Conversion, FailedConversion, NotCopied, conversion_of
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.from_torch import check_module
from mnistcnn.convert.inputs import input_spec
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.nn.engine_choice import warn_of_torch
from mnistcnn.nn.engine_rule import CACHE_ATTRIBUTE, caller_level, circumstance, device_of
from mnistcnn.nn.model import Model

Module = TypeVar("Module", bound=nn.Module)


def accelerate(module: Module, input_shape: Sequence[int] = (1, 28, 28), *, output: int | str | None = None) -> Module:
    """Run the calls of a module in mnistcnn's engine, and return the module itself.

    The module keeps its class, parameters, attributes, methods and hooks. Training loops, losses and ``torch.optim``
    work as before, including optimizers created earlier. A call runs in PyTorch, with one `EngineWarning` per reason,
    if the engine cannot run it: hooks on a layer, autocast, tracing. Copies and unpickled modules run in PyTorch until
    they are accelerated. ``module.forward(images)`` always runs in PyTorch.

    `remove_acceleration` reverts this. `from_torch` returns the model that computes the calls, for example to set its
    ``engine`` or ``threads``.

    Parameters
    ----------
    module
        Module whose ``forward`` takes a batch of images; see `mnistcnn.from_torch`.
    input_shape
        (channels, height, width) of an image, or the shape in which ``forward`` takes one: (784,) or (28, 28).
        Default: (1, 28, 28).
    output
        Position or key of the tensor to return, if ``forward`` returns several. Default: None, all of them.

    Returns
    -------
    Module
        The same object, or the module that was compiled if it is the result of ``torch.compile``.

    Raises
    ------
    ConversionError
        If an operation is not supported, a parameter is not float32, the class overrides ``__call__``, or the engine's
        outputs or gradients differ from PyTorch's. A module with side effects raises no error; its calls run in
        PyTorch.

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
    net: Module = check_module(module)  # type: ignore[assignment]
    if not _uses_module_call(net):
        raise ConversionError(
            f"class {type(net).__name__} overrides __call__, which the engine would bypass; move the code into "
            "`forward`"
        )
    conversion = conversion_of(net, input_spec(input_shape), output)
    if isinstance(conversion, FailedConversion) and not isinstance(conversion.error, SideEffectError):
        raise conversion.error
    net._compiled_call_impl = _EngineCall(conversion)
    return net


def remove_acceleration(module: Module) -> Module:
    """Run the calls of a module in PyTorch again, and return the module.

    Parameters
    ----------
    module
        Accelerated module. Any other module is returned unchanged.

    Returns
    -------
    Module
        The same object.

    Examples
    --------
    >>> import mnistcnn
    >>> from torch import nn
    >>> net = mnistcnn.accelerate(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    >>> mnistcnn.remove_acceleration(net) is net
    True
    """
    if isinstance(module.__dict__.get("_compiled_call_impl"), _EngineCall):
        del module._compiled_call_impl
    module.__dict__.pop(CACHE_ATTRIBUTE, None)
    return module


def _uses_module_call(module: nn.Module) -> bool:
    """Return whether a call of the module runs ``nn.Module.__call__``."""
    return type(module).__call__ is nn.Module.__call__ or isinstance(module, torch.fx.GraphModule)


class _EngineCall(NotCopied):
    """Replacement for the implementation of ``nn.Module.__call__``, stored in the attribute of ``Module.compile``."""

    def __init__(self, conversion: Conversion | FailedConversion) -> None:
        self._conversion = conversion
        self._change = ""  # that caused the latest conversion
        self._warned: set[str] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or isinstance(args[0] if args else None, torch.fx.Proxy):
            return self._conversion.call_in_torch(args, kwargs)
        violation = self._conversion.violation()
        if violation is not None and violation.is_change:
            module = self._conversion.module
            if circumstance(device_of(module).type) is not None:
                return self._conversion.call_in_torch(args, kwargs)  # a conversion's operations would be intercepted
            self._change = f"{violation.reason}; "
            self._conversion = conversion_of(module, self._conversion.shape, self._conversion.output)
            violation = self._conversion.violation()
        reason = self._conversion.reason_for_torch
        if isinstance(self._conversion, Conversion) and reason is None:
            return self._conversion.call(args, kwargs, violation)
        self._warn(f"{self._change}{reason}")
        return self._conversion.call_in_torch(args, kwargs)

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            warn_of_torch(type(self._conversion.module).__name__, reason, stacklevel=caller_level() + 1)

"""A PyTorch module becomes a `Model` that shares its parameters' memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.conversion import Conversion, FailedConversion, conversion_of, conversions, latest_conversion
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.inputs import Entrance, entrance
from mnistcnn.convert.outputs import Choice
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.model import Model


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int] = (1, 28, 28),
    *,
    normalization: Normalization | None = None,
    output: int | str | None = None,
) -> Model:
    """Return a model that computes what a feed-forward module does, with the module's parameters.

    The forward is run twice and observed, so it may be written in any style. The model has layers of its own, named
    after those of the module. They hold the module's parameters and buffers, so training the model trains the module.
    The model does not follow later changes of the module's structure or mode; `accelerate` does.

    Parameters
    ----------
    module
        Its forward takes a batch of images and returns a tensor, or several in a tuple, list or dictionary. It may
        take images flat, [N, 784], or without their channel, [N, 28, 28]; the model takes them as [N, C, H, W].
    input_shape
        (channels, height, width) of an image, or the shape in which the forward takes one: (784,) or (28, 28).
    normalization
        How uint8 pixels are normalised; see `mnistcnn.Model`.
    output
        The position or key of the tensor that the model returns. Required if the forward returns several.

    Raises
    ------
    ConversionError
        If the module does something that mnistcnn can't compute. The message names it, the line of your source, and
        what to do.
    ValueError
        If the forward returns several tensors and ``output`` does not choose one.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> model = mnistcnn.from_torch(net)
    >>> model
    Model 'Sequential': 7,850 parameters, input 1x28x28
      flatten: flatten()
      1: linear(out_features=10)
    >>> model(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """
    model = _converted(checked(module), entrance(input_shape), output).model_alone()
    if normalization is not None:
        model.normalization = normalization.for_channels(model.input_shape[0])
    return model


def as_model(model: Model | nn.Module) -> Model:
    """Return a model as it is, and of any other module the model that computes what the module does now.

    The module is converted if it has changed, for the shape and the output of its latest conversion.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be an mnistcnn.Model or a torch.nn.Module, got {type(model).__name__}{_model_hint(model)}"
        )
    if isinstance(model, Model):
        return model
    module = checked(model)
    kept = conversions(module)
    asked = (kept[-1].shape, kept[-1].output) if kept else (entrance((1, 28, 28)), None)
    conversion = _converted(module, *asked)
    conversion.check_engine_may_run()
    return conversion.model_alone()


def model_of(module: nn.Module) -> Model | None:
    """Return a model as it is, for an accelerated or converted module its latest model, and None for any other."""
    if isinstance(module, Model):
        return module
    conversion = latest_conversion(module)
    return None if conversion is None else conversion.model


def _converted(module: nn.Module, shape: Entrance, output: Choice) -> Conversion:
    conversion = conversion_of(module, shape, output)
    if isinstance(conversion, FailedConversion):
        raise conversion.error
    return conversion


def _model_hint(given: object) -> str:
    """What was probably meant."""
    if isinstance(given, str):
        return f"; mnistcnn.create_model({given!r}) makes a published network"
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"; make one of the class: {given.__name__}()"
    return ""


def checked(module: Any) -> nn.Module:
    """The module itself, without what torch.compile put around it."""
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise TypeError(f"{module.__name__} is a class; give a module: {module.__name__}()")
    if not isinstance(module, nn.Module):
        hint = "; give the module that was exported" if isinstance(module, torch.export.ExportedProgram) else ""
        raise TypeError(f"a torch.nn.Module is needed, got {type(module).__name__}{hint}")
    found: nn.Module = getattr(module, "_orig_mod", module)
    for name, parameter in found.named_parameters():
        if not nn.parameter.is_lazy(parameter) and parameter.dtype != torch.float32:
            raise ConversionError(f"'{name}' is {parameter.dtype}; mnistcnn computes in float32: call module.float()")
    return found

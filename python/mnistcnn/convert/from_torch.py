"""Convert a PyTorch module to a `Model` that shares its parameters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.conversion import Conversion, FailedConversion, conversion_of, conversions, latest_conversion
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.inputs import InputSpec, input_spec
from mnistcnn.convert.outputs import OutputKey
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.model import Model


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int] = (1, 28, 28),
    *,
    normalization: Normalization | None = None,
    output: int | str | None = None,
) -> Model:
    """Return a model that computes the outputs of a feed-forward module, with the module's own parameters.

    ``forward`` is executed twice and its operations are recorded, so it may be written in any style. The layers of the
    model are named after those of the module. They hold the module's parameters and buffers: training the model trains
    the module. Later changes to the module's structure or mode do not affect the model; `accelerate` follows them.

    Parameters
    ----------
    module
        Module whose ``forward`` takes a batch of images and returns a tensor, or several in a tuple, list or
        dictionary. It may take images as [N, 784] or [N, 28, 28]; the model takes [N, C, H, W]. A `Model` is returned
        unchanged, apart from its normalization.
    input_shape
        (channels, height, width) of an image, or the shape in which ``forward`` takes one: (784,) or (28, 28).
        Default: (1, 28, 28).
    normalization
        Normalization of uint8 pixels. Default: None, see `mnistcnn.Model`.
    output
        Position or key of the tensor that the model returns. Required if ``forward`` returns several. Default: None.

    Returns
    -------
    Model
        The same object for each call until the module changes.

    Raises
    ------
    ConversionError
        If the module contains an operation that mnistcnn does not support. The message states the operation, the line
        of your source, and what to do.
    ValueError
        If ``forward`` returns several tensors and ``output`` does not select one.

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
    if isinstance(module, Model):
        model = module
    else:
        model = _convert(check_module(module), input_spec(input_shape), output).standalone_model()
    if normalization is not None:
        model.normalization = normalization
    return model


def as_model(model: Model | nn.Module) -> Model:
    """Return the given model, or the model of any other module in its current state.

    A module that has changed is converted again, with the input shape and output of its latest conversion.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be an mnistcnn.Model or a torch.nn.Module, got {type(model).__name__}{_model_hint(model)}"
        )
    if isinstance(model, Model):
        return model
    module = check_module(model)
    latest = latest_conversion(module) or next(iter(reversed(conversions(module))), None)
    settings = (input_spec((1, 28, 28)), None) if latest is None else (latest.shape, latest.output)
    conversion = _convert(module, *settings)
    conversion.check_engine_may_run()
    return conversion.standalone_model()


def warn_without_normalization(module: nn.Module, model: Model, *, stacklevel: int = 3) -> None:
    """Warn if the model of a module has no normalization: other code may have trained the module on normalized images.

    A `Model` does not need the warning: it shows and saves its normalization.
    """
    if module is not model and model.normalization is None:
        warnings.warn(
            f"{model.name} has no normalization, so its uint8 pixels are divided by 255 only. Set that of its training "
            "images: mnistcnn.from_torch(module, normalization=mnistcnn.Normalization(0.1307, 0.3081)), or (0, 1) for "
            "pixels / 255",
            stacklevel=stacklevel,
        )


def model_of(module: nn.Module) -> Model | None:
    """Return the given model, the latest model of an accelerated or converted module, or None for any other module."""
    if isinstance(module, Model):
        return module
    conversion = latest_conversion(module)
    return None if conversion is None else conversion.model


def _convert(module: nn.Module, shape: InputSpec, output: OutputKey) -> Conversion:
    part = next((path for path, each in module.named_modules() if isinstance(each, Model)), None)
    if part is not None:
        raise ConversionError(
            f"'{part}' of {type(module).__name__} is an mnistcnn.Model, which cannot be part of another network; use "
            "its layers in PyTorch: model.to_torch()"
        )
    conversion = conversion_of(module, shape, output)
    if isinstance(conversion, FailedConversion):
        raise conversion.error
    return conversion


def _model_hint(given: object) -> str:
    """Return advice for an argument that is not a module."""
    if isinstance(given, str):
        return f"; to create a published network, call mnistcnn.create_model({given!r})"
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"; create an instance: {given.__name__}()"
    return ""


def check_module(module: Any) -> nn.Module:
    """Return the module, unwrapped if it is the result of torch.compile.

    Raise TypeError if it is not a module, and ConversionError if a parameter is not float32.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise TypeError(f"{module.__name__} is a class; pass an instance: {module.__name__}()")
    if not isinstance(module, nn.Module):
        hint = "; pass the module that was exported" if isinstance(module, torch.export.ExportedProgram) else ""
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}{hint}")
    found: nn.Module = getattr(module, "_orig_mod", module)
    for name, parameter in found.named_parameters():
        if not nn.parameter.is_lazy(parameter) and parameter.dtype != torch.float32:
            raise ConversionError(f"'{name}' is {parameter.dtype}; mnistcnn supports float32 only: call module.float()")
    return found

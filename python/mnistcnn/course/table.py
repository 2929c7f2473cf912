"""Table of the layers of a network in the format of torchsummary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.conversion import latest_conversion
from mnistcnn.nn.model import Model

_WIDTH = 64
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_MEGABYTE = 2**20


@dataclass(frozen=True)
class _Row:
    name: str
    shapes: tuple[tuple[int, ...], ...]  # shape of each output for one image
    parameters: int

    def line(self, batch_size: int) -> str:
        shapes = [[batch_size, *shape] for shape in self.shapes]
        return _line(self.name, str(shapes[0] if len(shapes) == 1 else shapes), f"{self.parameters:,}")


def summary(
    model: nn.Module, input_size: Sequence[int] = (1, 28, 28), batch_size: int = -1, device: object = None
) -> None:
    """Print the layers with their output shapes and parameters, in the order in which they are called.

    Parameters
    ----------
    model
        Network of the zoo, accelerated network or any ``torch.nn.Module``. It is run once on two blank images in
        evaluation mode, and is not changed.
    input_size
        Channels, height and width of an image, as for torchsummary. With a batch size before them, as for torchinfo,
        it has the effect of ``batch_size``.
    batch_size
        First dimension of the output shapes, and factor of the sizes in MB; -1 for any batch size, with the sizes of
        one image.
    device
        Ignored: the model runs on its own device.

    Examples
    --------
    >>> from mnistcnn.course import nn, summary
    >>> summary(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    ----------------------------------------------------------------
            Layer (type)               Output Shape         Param #
    ================================================================
               Flatten-1                  [-1, 784]               0
                Linear-2                   [-1, 10]           7,850
    ================================================================
    Total params: 7,850
    Trainable params: 7,850
    Non-trainable params: 0
    ----------------------------------------------------------------
    Input size (MB): 0.00
    Forward/backward pass size (MB): 0.01
    Params size (MB): 0.03
    Estimated Total Size (MB): 0.04
    ----------------------------------------------------------------
    """
    print(text(model, input_size, batch_size))


def text(model: nn.Module, input_size: Sequence[int] = (1, 28, 28), batch_size: int = -1) -> str:
    """Return the table that `summary` prints."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    size = tuple(int(each) for each in input_size)
    if len(size) == 4:
        if batch_size not in (-1, size[0]):
            raise ValueError(f"batch_size must be -1 or {size[0]}, as in input_size {size}, got {batch_size}")
        batch_size, size = size[0], size[1:]
    rows = _rows(_as_torch_module(model), _input_shape(model, size))
    thin, thick = "-" * _WIDTH, "=" * _WIDTH
    numbers = [(each.numel(), each.requires_grad) for each in model.parameters()]
    total, trained = sum(count for count, _ in numbers), sum(count for count, wanted in numbers if wanted)
    outputs = sum(math.prod(shape) for row in rows for shape in row.shapes)
    images = abs(batch_size)
    megabytes = [
        ("Input size", 4 * images * math.prod(size) / _MEGABYTE),
        ("Forward/backward pass size", 2 * 4 * images * outputs / _MEGABYTE),  # activations and gradients
        ("Params size", 4 * total / _MEGABYTE),
    ]
    megabytes.append(("Estimated Total Size", sum(each for _, each in megabytes)))
    return "\n".join(
        [
            thin,
            _line("Layer (type)", "Output Shape", "Param #"),
            thick,
            *(row.line(batch_size) for row in rows),
            thick,
            f"Total params: {total:,}",
            f"Trainable params: {trained:,}",
            f"Non-trainable params: {total - trained:,}",
            thin,
            *(f"{name} (MB): {each:0.2f}" for name, each in megabytes),
            thin,
        ]
    )


def _line(layer: str, shape: str, parameters: str) -> str:
    return f"{layer:>20}  {shape:>25} {parameters:>15}"


def _as_torch_module(model: nn.Module) -> nn.Module:
    """Return a module whose layers are all modules that are called, so that hooks see them."""
    return model.to_torch() if isinstance(model, Model) else model


def _input_shape(model: nn.Module, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the image shape that the original ``forward`` of an accelerated module expects; it may be flat."""
    conversion = None if isinstance(model, Model) else latest_conversion(model)
    if conversion is not None and size == conversion.graph.input_shape:
        return conversion.graph.image_shape
    return size


def _rows(module: nn.Module, size: tuple[int, ...]) -> list[_Row]:
    """Run the module, and return a row for each call of a submodule that is not a container."""
    rows: list[_Row] = []

    def record(called: nn.Module, _: Any, outputs: Any) -> None:
        tensors = outputs if isinstance(outputs, list | tuple) else (outputs,)
        shapes = tuple(tuple(each.shape[1:]) for each in tensors if isinstance(each, torch.Tensor))
        own = sum(each.numel() for each in called.parameters(recurse=False))
        rows.append(_Row(f"{type(called).__name__}-{len(rows) + 1}", shapes, own))

    hooked = [each for each in module.modules() if not isinstance(each, _CONTAINERS) and each is not module]
    if not hooked:  # a single layer
        hooked = [module]
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    hooks = [each.register_forward_hook(record) for each in hooked]
    try:
        with torch.no_grad(), _eval_mode(module):
            module._call_impl(torch.zeros(2, *size, device=device))  # type: ignore[no-untyped-call]  # bypasses the engine
    finally:
        for hook in hooks:
            hook.remove()
    return rows


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Switch all submodules to evaluation mode, and restore the mode of each of them afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    for each, _ in modes:
        each.training = False
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode

"""A network's table in the form that the courses know from torchsummary."""

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
    shapes: tuple[tuple[int, ...], ...]  # of the outputs for one image
    parameters: int

    def line(self, batch_size: int) -> str:
        shapes = [[batch_size, *shape] for shape in self.shapes]
        return _line(self.name, str(shapes[0] if len(shapes) == 1 else shapes), f"{self.parameters:,}")


def summary(
    model: nn.Module, input_size: Sequence[int] = (1, 28, 28), batch_size: int = -1, device: object = None
) -> None:
    """Prints layers, output shapes and parameters, in the order in which the layers are called.

    Parameters
    ----------
    model
        A network of the zoo, an accelerated one or any ``torch.nn.Module``. It is run once on empty images, in
        evaluation mode, and not changed.
    input_size
        (channels, height, width) of an image.
    batch_size
        What is shown as the first size, and multiplies the sizes in MB; -1 leaves it open.
    device
        Taken, and not needed: the model is run where it lies.

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
    """What `summary` prints."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    size = tuple(int(each) for each in input_size)
    rows = _rows(_in_torch(model), _entered(model, size))
    thin, thick = "-" * _WIDTH, "=" * _WIDTH
    numbers = [(each.numel(), each.requires_grad) for each in model.parameters()]
    total, trained = sum(count for count, _ in numbers), sum(count for count, wanted in numbers if wanted)
    outputs = sum(math.prod(shape) for row in rows for shape in row.shapes)
    images = abs(batch_size)
    megabytes = [
        ("Input size", 4 * images * math.prod(size) / _MEGABYTE),
        ("Forward/backward pass size", 2 * 4 * images * outputs / _MEGABYTE),  # twice, for the gradients
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
            *(f"{what} (MB): {each:0.2f}" for what, each in megabytes),
            thin,
        ]
    )


def _line(layer: str, shape: str, parameters: str) -> str:
    return f"{layer:>20}  {shape:>25} {parameters:>15}"


def _in_torch(model: nn.Module) -> nn.Module:
    """Return a module in which every layer is a module that is called."""
    return model.to_torch() if isinstance(model, Model) else model


def _entered(model: nn.Module, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image as the author's forward takes it, perhaps flat."""
    conversion = None if isinstance(model, Model) else latest_conversion(model)
    if conversion is not None and size == conversion.plan.input_shape:
        return conversion.plan.image_shape
    return size


def _rows(module: nn.Module, size: tuple[int, ...]) -> list[_Row]:
    """One for every call of a module that is no container."""
    rows: list[_Row] = []

    def note(called: nn.Module, _: Any, outputs: Any) -> None:
        given = outputs if isinstance(outputs, list | tuple) else (outputs,)
        shapes = tuple(tuple(each.shape[1:]) for each in given if isinstance(each, torch.Tensor))
        own = sum(each.numel() for each in called.parameters(recurse=False))
        rows.append(_Row(f"{type(called).__name__}-{len(rows) + 1}", shapes, own))

    watched = [each for each in module.modules() if not isinstance(each, _CONTAINERS) and each is not module]
    if not watched:  # a single layer
        watched = [module]
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    hooks = [each.register_forward_hook(note) for each in watched]
    try:
        with torch.no_grad(), _evaluating(module):
            module._call_impl(torch.zeros(2, *size, device=device))  # type: ignore[no-untyped-call]  # past an engine
    finally:
        for hook in hooks:
            hook.remove()
    return rows


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """So that no running statistics change; every part is in its own mode again afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    for each, _ in modes:
        each.training = False
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode

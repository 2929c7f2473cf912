"""The tensors of a model as flat arrays, in the order of the core."""

from __future__ import annotations

import torch

import mnistcnn


def values_of(model: mnistcnn.Model) -> torch.Tensor:
    """Return a copy of all parameters."""
    return torch.cat([each.detach().flatten() for each in model.tensors()[0]])


def buffers_of(model: mnistcnn.Model) -> torch.Tensor:
    """Return a copy of all running statistics."""
    return torch.cat([each.flatten() for each in model.tensors()[1]])


def write_values(model: mnistcnn.Model, values: torch.Tensor) -> None:
    _write(model.tensors()[0], values)


def add_to_values(model: mnistcnn.Model, change: torch.Tensor | float) -> None:
    write_values(model, values_of(model) + change)


def add_to_buffers(model: mnistcnn.Model, change: torch.Tensor) -> None:
    _write(model.tensors()[1], buffers_of(model) + change)


def _write(tensors: list[torch.Tensor], values: torch.Tensor) -> None:
    with torch.no_grad():
        for each, part in zip(tensors, values.split([each.numel() for each in tensors]), strict=True):
            each.copy_(part.view(each.shape))

"""Compute the outputs of an empty batch, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


def empty_outputs(model: Model, images: torch.Tensor) -> torch.Tensor:
    """Return outputs [0, ...] with zero gradients, as PyTorch does. A batch norm in training counts the batch."""
    parameters, _, counters = model.tensors()
    if model.training:
        for node, counter in zip(model._network.counter_nodes, counters, strict=True):
            if model._network.nodes[node]["op"].startswith("batchnorm"):
                counter += 1
    outputs: torch.Tensor = _EmptyBatch.apply(images, model, *parameters)  # type: ignore[no-untyped-call]
    return outputs


class _EmptyBatch(torch.autograd.Function):
    """Function of images and parameters whose gradients are all zero."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, model: Model, *parameters: torch.Tensor | None) -> torch.Tensor:
        """Return f32 [0, *output_shape]."""
        ctx.unused = ctx.detached = model._detached  # as in EngineFunction
        ctx.image_shape = images.shape
        ctx.shapes = [None if each is None else each.shape for each in parameters]
        return images.new_zeros(0, *model.output_shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return zeros for the images and for each parameter that has a gradient."""
        gradients = [
            output_gradients.new_zeros(shape) if wanted and place not in ctx.unused else None
            for place, (shape, wanted) in enumerate(zip(ctx.shapes, ctx.needs_input_grad[2:], strict=True))
        ]
        return output_gradients.new_zeros(ctx.image_shape), None, *gradients

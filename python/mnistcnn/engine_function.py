"""The one place where PyTorch's autograd meets our engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from mnistcnn.model import Model


class EngineFunction(torch.autograd.Function):
    """A whole network as one differentiable function of its images and its parameters."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, model: Model, seed: int, *parameters: torch.Tensor) -> torch.Tensor:
        """Runs the engine and keeps what a repetition of this very forward would need."""
        with model._lock:
            outputs = model.engine_forward(images, seed, keep=True)
            ctx.forward_number, ctx.engine = model._forwards, model._latest_engine
        ctx.model, ctx.seed, ctx.training = model, seed, model.training
        ctx.unused = ctx.detached = model._detached  # positions of parameters on which no used output depends
        ctx.save_for_backward(images, *parameters)  # autograd then notices weights changed in between
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of the images and of every parameter that wants one."""
        model: Model = ctx.model
        images, *parameters = ctx.saved_tensors
        with model._lock:
            if ctx.forward_number != model._forwards:
                _repeat_forward(ctx, images)
                ctx.engine = model._latest_engine
            model._forget_forward()  # its record is used up
            ctx.forward_number = -1  # and a second backward repeats the forward
            image_gradients = ctx.engine.backward(output_gradients.contiguous())
            wanted = [want and place not in ctx.unused for place, want in enumerate(ctx.needs_input_grad[3:])]
            gradients = model._network.gradient_copies(parameters, wanted)  # autograd may keep what it is given
        return image_gradients, None, None, *gradients


def _repeat_forward(ctx: Any, images: torch.Tensor) -> None:
    """Another forward came in between: the same one again, masks included, running statistics left alone."""
    model: Model = ctx.model
    network = model._network
    kept = network.buffers.clone(), network.counters.clone()
    mode = model.training
    model.training = ctx.training
    try:
        model.engine_forward(images, ctx.seed, keep=True)
    finally:
        model.training = mode
        network.buffers.data.copy_(kept[0])  # through .data, as the engine's record must not take it for a change
        network.counters.data.copy_(kept[1])

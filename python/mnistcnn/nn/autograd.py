"""The one place where PyTorch's autograd meets our engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model, Tensors


class EngineFunction(torch.autograd.Function):
    """A whole network as one differentiable function of its images and its parameters."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, model: Model, seed: int, tensors: Tensors, *parameters: torch.Tensor
    ) -> torch.Tensor:
        """Run the engine and keep what a repetition of this very forward would need."""
        training = model.training
        with model._lock:
            outputs = model.engine_forward(images, seed, keep=True, tensors=tensors)
            ctx.forward_number, ctx.engine = model._forwards, model._latest_engine
        ctx.model, ctx.seed, ctx.training = model, seed, training
        ctx.unused = ctx.detached = model._detached  # positions of parameters on which no used output depends
        ctx.counters = tensors[2]
        # Autograd then notices tensors that were changed in between. In training mode the forward itself updates the
        # running statistics, and its gradients do not depend on them.
        ctx.parameter_count = len(parameters)
        ctx.buffers = tensors[1] if training else []
        ctx.save_for_backward(images, *parameters, *([] if training else tensors[1]))
        return outputs

    @staticmethod
    def backward(ctx: Any, output_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the images and of every parameter that wants one."""
        model: Model = ctx.model
        images, *saved = ctx.saved_tensors
        parameters, buffers = saved[: ctx.parameter_count], saved[ctx.parameter_count :] or ctx.buffers
        if torch.is_grad_enabled():  # create_graph=True
            return _differentiable_gradients(ctx, images, parameters, output_gradients)
        with model._lock:
            if ctx.forward_number != model._forwards:
                _repeat_forward(ctx, images, parameters, buffers)
                ctx.engine = model._latest_engine
            model._forget_forward()  # its record is used up
            ctx.forward_number = -1  # and a second backward repeats the forward
            image_gradients, gradients = ctx.engine.backward(parameters, output_gradients.contiguous())
        wanted = [want and place not in ctx.unused for place, want in enumerate(ctx.needs_input_grad[4:])]
        given = [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]
        return image_gradients, None, None, None, *given


def _repeat_forward(
    ctx: Any, images: torch.Tensor, parameters: list[torch.Tensor], buffers: list[torch.Tensor]
) -> None:
    """Run the same forward again, masks included, because another one came in between.

    It works on copies of the running statistics, so that the model's stay as they are.
    """
    copies = [buffer.clone() for buffer in buffers], [counter.clone() for counter in ctx.counters]
    ctx.model.engine_forward(images, ctx.seed, keep=True, training=ctx.training, tensors=(parameters, *copies))


def _differentiable_gradients(
    ctx: Any, images: torch.Tensor, parameters: list[torch.Tensor], output_gradients: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    """Compute the gradients by PyTorch from a second forward, so that they can be differentiated again."""
    model: Model = ctx.model
    if model.draws_dropout(ctx.training):
        raise RuntimeError("second derivatives are not available with active dropout; call model.eval() before")
    if model.training != ctx.training:
        raise RuntimeError("second derivatives need the model in the mode of the forward, training or evaluation")
    outputs = model.outputs_in_torch(images, parameters)
    wanted = [images if ctx.needs_input_grad[0] else None]
    pairs = zip(parameters, ctx.needs_input_grad[4:], strict=True)
    wanted += [each if want and place not in ctx.unused else None for place, (each, want) in enumerate(pairs)]
    given = [each for each in wanted if each is not None]
    found = iter(torch.autograd.grad(outputs, given, output_gradients, create_graph=True, allow_unused=True))
    gradients = [None if each is None else next(found) for each in wanted]
    return gradients[0], None, None, None, *gradients[1:]

"""PyTorch autograd function that runs a model in one of the engines."""

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
        """Run the engine, and save what repeating this forward pass requires."""
        training = model.training
        with model._lock:
            outputs = model.engine_forward(images, seed, keep=True, tensors=tensors)
            ctx.forward_number, ctx.engine = model._forwards, model._latest_engine
        ctx.model, ctx.seed, ctx.training = model, seed, training
        ctx.unused = ctx.detached = model._detached  # positions of the parameters that get no gradient
        ctx.counters = tensors[2]
        ctx.output_count = 1  # set by `split_outputs`
        # Autograd raises if a saved tensor is changed before the backward pass. In training mode the forward pass
        # updates the running statistics, and the gradients do not depend on them.
        ctx.parameter_count = len(parameters)
        ctx.buffers = tensors[1] if training else []
        ctx.save_for_backward(images, *parameters, *([] if training else tensors[1]))
        return outputs

    @staticmethod
    def backward(ctx: Any, output_gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the images and of each parameter that requires one."""
        model: Model = ctx.model
        images, *saved = _saved_tensors(ctx)
        parameters, buffers = saved[: ctx.parameter_count], saved[ctx.parameter_count :] or ctx.buffers
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(output_gradients):
            return _gradients_of_torch(ctx, images, parameters, output_gradients)
        with model._lock:
            if ctx.forward_number != model._forwards:
                _repeat_forward(ctx, images, parameters, buffers)
                ctx.engine = model._latest_engine
            model._forget_forward()  # the backward consumes it
            ctx.forward_number = -1  # a second backward pass repeats the forward pass
            image_gradients, gradients = ctx.engine.backward(parameters, output_gradients.contiguous())
        wanted = [want and place not in ctx.unused for place, want in enumerate(ctx.needs_input_grad[4:])]
        inputs = [gradient if want else None for gradient, want in zip(gradients, wanted, strict=True)]
        return image_gradients, None, None, None, *inputs


def _saved_tensors(ctx: Any) -> tuple[torch.Tensor, ...]:
    try:
        saved: tuple[torch.Tensor, ...] = ctx.saved_tensors
    except RuntimeError as error:
        if "second time" in str(error) and ctx.output_count > 1:
            raise RuntimeError(
                f"backward() was called for a second output of model '{ctx.model.name}'; one engine run computes all "
                "outputs of a call, so call backward() once, on the sum of their losses, or pass retain_graph=True"
            ) from None
        if "modified by an inplace operation" not in str(error):
            raise
        raise RuntimeError(
            f"the images or tensors of model '{ctx.model.name}' changed between the forward and the backward pass, for "
            "example by optimizer.step(), or because another thread trains the model. Call backward() first, or give "
            f"each thread a copy of the model (copy.deepcopy). PyTorch reports: {error}"
        ) from None
    return saved


def _repeat_forward(
    ctx: Any, images: torch.Tensor, parameters: list[torch.Tensor], buffers: list[torch.Tensor]
) -> None:
    """Repeat the forward pass with the same dropout masks, because another one has replaced it in the engine.

    It updates copies of the running statistics, so those of the model do not change.
    """
    copies = [buffer.clone() for buffer in buffers], [counter.clone() for counter in ctx.counters]
    ctx.model.engine_forward(images, ctx.seed, keep=True, training=ctx.training, tensors=(parameters, *copies))


def _gradients_of_torch(
    ctx: Any, images: torch.Tensor, parameters: list[torch.Tensor], output_gradients: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    """Return gradients that PyTorch computes from a second forward pass: differentiable ones, or a batch of them.

    ``create_graph=True`` requests the former, ``is_grads_batched=True`` the latter.
    """
    model: Model = ctx.model
    if model.draws_dropout(ctx.training):
        raise RuntimeError(
            "second derivatives and batches of gradients are not supported with active dropout; call model.eval() first"
        )
    if model.training != ctx.training:
        raise RuntimeError(
            "second derivatives and batches of gradients require the model in the mode of the forward pass (training "
            "or evaluation)"
        )
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = model.outputs_in_torch(images, parameters)
    wanted = [images if ctx.needs_input_grad[0] else None]
    pairs = zip(parameters, ctx.needs_input_grad[4:], strict=True)
    wanted += [each if want and place not in ctx.unused else None for place, (each, want) in enumerate(pairs)]
    inputs = [each for each in wanted if each is not None]
    results = iter(torch.autograd.grad(outputs, inputs, output_gradients, create_graph=create_graph, allow_unused=True))
    gradients = [None if each is None else next(results) for each in wanted]
    return gradients[0], None, None, None, *gradients[1:]

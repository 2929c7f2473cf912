"""Split the outputs of one engine run, each with its own gradient. An output that the loss does not use has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from mnistcnn.nn.graph import Row, parameters_of

Shape = tuple[int, ...]


def split_outputs(
    outputs: torch.Tensor, shapes: Sequence[Shape], dependencies: Sequence[frozenset[int]]
) -> list[torch.Tensor]:
    """Return the outputs that are concatenated in ``outputs``.

    ``dependencies`` holds the positions of the parameters that each output depends on.
    """
    rows = outputs.flatten(1)
    if rows.requires_grad:
        outputs.grad_fn.output_count = len(shapes)  # type: ignore[union-attr]
        found: tuple[torch.Tensor, ...] = _SplitOutputs.apply(rows, shapes, outputs.grad_fn, dependencies)  # type: ignore[no-untyped-call]
        return list(found)
    return _parts(rows, shapes)


def parameters_of_outputs(rows: Sequence[Row], users: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, for each output, the positions of the parameters on which it depends."""
    return [parameters_of(rows, output, users, through_detach=False) for output in rows[-1][2]]


def _parts(rows: torch.Tensor, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    parts = torch.split(rows, [math.prod(shape) for shape in shapes], 1)
    return [part.reshape(len(rows), *shape).clone() for part, shape in zip(parts, shapes, strict=True)]


class _SplitOutputs(torch.autograd.Function):
    """Split of the outputs. Its backward pass lists for the engine the parameters on which no loss depends.

    As in PyTorch, these parameters get no gradient, so weight decay and momentum do not change them.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, shapes: Sequence[Shape], run: Any, dependencies: Sequence[frozenset[int]]
    ) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.run, ctx.dependencies, ctx.sizes = run, dependencies, [math.prod(shape) for shape in shapes]
        return tuple(_parts(rows, shapes))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None, None]:
        used_gradients = [gradient for gradient in gradients if gradient is not None]
        if not used_gradients:
            return None, None, None, None
        used = frozenset().union(*(each for each, g in zip(ctx.dependencies, gradients, strict=True) if g is not None))
        ctx.run.unused = frozenset().union(*ctx.dependencies) - used | ctx.run.detached
        count = len(used_gradients[0])
        complete = [
            used_gradients[0].new_zeros(count, size) if gradient is None else gradient.reshape(count, size)
            for gradient, size in zip(gradients, ctx.sizes, strict=True)
        ]
        return torch.cat(complete, 1), None, None, None

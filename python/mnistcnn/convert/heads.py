"""Split the outputs of one engine run into tensors, each with its own gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from mnistcnn.nn.graph import INPUT, Row, parameters_of
from mnistcnn.nn.layers import Detach

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Head:
    """Output of a ``forward`` method."""

    shape: Shape  # for one image
    parameters: frozenset[int]  # positions of the parameters from which it gets a gradient
    depends_on_images: bool  # whether the images get a gradient from it

    @property
    def size(self) -> int:
        """Number of elements for one image."""
        return math.prod(self.shape)

    def is_constant(self, images: torch.Tensor, parameters: Sequence[torch.Tensor]) -> bool:
        """Return whether the output does not require a gradient: parts of the network may be frozen."""
        if self.depends_on_images and images.requires_grad:
            return False
        return not any(parameters[place].requires_grad for place in self.parameters)


def heads_of(rows: Sequence[Row], shapes: Sequence[Shape], users: Sequence[frozenset[int]]) -> list[Head]:
    """Return the heads of a graph. If there are several, the last node concatenates them."""
    nodes = rows[-1][2] if len(shapes) > 1 else [len(rows) - 1]
    return [
        Head(shape, parameters_of(rows, node, users, through_detach=False), _depends_on_images(rows, node))
        for shape, node in zip(shapes, nodes, strict=True)
    ]


def split_outputs(outputs: torch.Tensor, heads: Sequence[Head], are_constant: Sequence[bool]) -> list[torch.Tensor]:
    """Return the outputs that are concatenated in ``outputs``. Constant ones do not require a gradient."""
    rows, run = outputs.flatten(1), outputs.grad_fn
    if rows.requires_grad:
        run.output_count = len(heads)  # type: ignore[union-attr]
        found: tuple[torch.Tensor, ...] = _SplitOutputs.apply(rows, heads, run, are_constant)  # type: ignore[no-untyped-call]
        return list(found)
    return _parts(rows, heads)


def _depends_on_images(rows: Sequence[Row], output: int) -> bool:
    """Return whether a path from the images to a node contains no `Detach`."""
    wanted = {output}
    for node in range(output, -1, -1):
        if node in wanted and rows[node][1] != Detach.op:
            wanted.update(rows[node][2])
    return INPUT in wanted


def _parts(rows: torch.Tensor, heads: Sequence[Head]) -> list[torch.Tensor]:
    parts = torch.split(rows, [head.size for head in heads], 1)
    return [part.reshape(len(rows), *head.shape).clone() for part, head in zip(parts, heads, strict=True)]


class _SplitOutputs(torch.autograd.Function):
    """Split of the outputs. Its backward pass lists for the engine the parameters on which no loss depends.

    As in PyTorch, these parameters get no gradient, so weight decay and momentum do not change them.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, heads: Sequence[Head], run: Any, are_constant: Sequence[bool]
    ) -> tuple[torch.Tensor, ...]:
        parts = _parts(rows, heads)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(part for part, constant in zip(parts, are_constant, strict=True) if constant))
        ctx.run, ctx.heads = run, heads
        return tuple(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None, None]:
        used_gradients = [gradient for gradient in gradients if gradient is not None]
        if not used_gradients:
            return None, None, None, None
        pairs = list(zip(ctx.heads, gradients, strict=True))
        used = frozenset().union(*(head.parameters for head, gradient in pairs if gradient is not None))
        ctx.run.unused = frozenset().union(*(head.parameters for head in ctx.heads)) - used | ctx.run.detached
        like, count = used_gradients[0], len(used_gradients[0])
        complete = [
            like.new_zeros(count, head.size) if gradient is None else gradient.reshape(count, head.size)
            for head, gradient in pairs
        ]
        return torch.cat(complete, 1), None, None, None

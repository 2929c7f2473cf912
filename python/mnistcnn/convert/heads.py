"""Several outputs of one run of an engine, each with a gradient of its own, or none where the loss ignores it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from mnistcnn.nn.graph import Row, parameters_of

Shape = tuple[int, ...]


def separated(outputs: torch.Tensor, shapes: Sequence[Shape], behind: Sequence[frozenset[int]]) -> list[torch.Tensor]:
    """The parts of rows that hold all outputs side by side; ``behind`` says which parameters each one depends on."""
    rows = outputs.flatten(1)
    if rows.requires_grad:
        found: tuple[torch.Tensor, ...] = _Separate.apply(rows, shapes, outputs.grad_fn, behind)  # type: ignore[no-untyped-call]
        return list(found)
    return _parts(rows, shapes)


def parameters_behind(rows: Sequence[Row], users: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, for each of the outputs that the last node joins, the positions of the parameters it depends on."""
    return [parameters_of(rows, output, users, through_detach=False) for output in rows[-1][2]]


def _parts(rows: torch.Tensor, shapes: Sequence[Shape]) -> list[torch.Tensor]:
    parts = torch.split(rows, [math.prod(shape) for shape in shapes], 1)
    return [part.reshape(len(rows), *shape).clone() for part, shape in zip(parts, shapes, strict=True)]


class _Separate(torch.autograd.Function):
    """Tells the engine's run, before its backward, which parameters no loss depends on: as in PyTorch they get no
    gradient at all, so that weight decay and momentum leave them alone.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, shapes: Sequence[Shape], run: Any, behind: Sequence[frozenset[int]]
    ) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.run, ctx.behind, ctx.sizes = run, behind, [math.prod(shape) for shape in shapes]
        return tuple(_parts(rows, shapes))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None, None]:
        given = [gradient for gradient in gradients if gradient is not None]
        if not given:
            return None, None, None, None
        used = frozenset().union(*(each for each, g in zip(ctx.behind, gradients, strict=True) if g is not None))
        ctx.run.unused = frozenset().union(*ctx.behind) - used | ctx.run.detached
        count = len(given[0])
        filled = [
            given[0].new_zeros(count, size) if gradient is None else gradient.reshape(count, size)
            for gradient, size in zip(gradients, ctx.sizes, strict=True)
        ]
        return torch.cat(filled, 1), None, None, None

"""Layers that change the shape or the order of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mnistcnn.nn.layers.base import Layer, Size, only, pair


@dataclass(frozen=True)
class Flatten(Layer):
    """Feature map [channels, height, width] flattened to [features]; equivalent to ``torch.nn.Flatten``.

    Parameters
    ----------
    start_dim
        Must be 1; accepted for compatibility with ``torch.nn``.
    end_dim
        Must be -1; accepted for compatibility with ``torch.nn``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Flatten()
    Flatten()
    """

    op: ClassVar[str] = "flatten"
    start_dim: int = field(default=1, repr=False, compare=False)
    end_dim: int = field(default=-1, repr=False, compare=False)

    def __post_init__(self) -> None:
        only("start_dim", self.start_dim, 1, "all dimensions but the batch")
        only("end_dim", self.end_dim, -1, "all dimensions but the batch")


@dataclass(frozen=True)
class Reshape(Layer):
    """Same elements in another shape, in row-major order.

    Parameters
    ----------
    shape
        New shape of an image's tensor: (channels, height, width) or (features,).

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Reshape((784,))
    Reshape(shape=(784,))
    """

    op: ClassVar[str] = "reshape"
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pad(Layer):
    """Padding around a feature map.

    Parameters
    ----------
    padding
        Width of the border: an integer, a pair (height, width), or (top, bottom, left, right).
    mode
        Values of the border: ``"constant"`` (zeros), ``"reflect"`` (mirrored), ``"replicate"`` (nearest pixel) or
        ``"circular"`` (opposite side).

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Pad(2, "reflect")
    Pad(padding=2, mode='reflect')
    """

    op: ClassVar[str] = "pad"
    padding: Size | tuple[int, int, int, int]
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"

    def fields(self) -> dict[str, Any]:
        border = self.padding
        if not isinstance(border, Sequence) or len(border) != 4:
            height, width = pair("padding", border)
            border = (height, height, width, width)
        return {"padding": tuple(border), "mode": self.mode}


@dataclass(frozen=True)
class Permute(Layer):
    """Dimensions of an image's tensor in another order.

    Parameters
    ----------
    order
        Old positions in the new order, without the batch: (1, 2, 0) turns [C, H, W] into [H, W, C].

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Permute((1, 2, 0))
    Permute(order=(1, 2, 0))
    """

    op: ClassVar[str] = "permute"
    order: tuple[int, ...]


@dataclass(frozen=True)
class Slice(Layer):
    """Elements ``start:stop:step`` of one dimension.

    Parameters
    ----------
    dimension
        Dimension to slice, counted from 0 without the batch.
    start
        Index of the first element.
    stop
        Index after the last element.
    step
        Distance between elements.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Slice(0, 0, 4)
    Slice(dimension=0, start=0, stop=4, step=1)
    """

    op: ClassVar[str] = "slice"
    dimension: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True)
class Expand(Layer):
    """Broadcast of dimensions of size 1 to a given shape, as in ``torch.Tensor.expand``.

    Parameters
    ----------
    shape
        New shape of an image's tensor, without the batch.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Expand((8, 28, 28))
    Expand(shape=(8, 28, 28))
    """

    op: ClassVar[str] = "expand"
    shape: tuple[int, ...]

"""Elementwise arithmetic, and layers that combine several inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mnistcnn.nn.layers.base import Layer


@dataclass(frozen=True)
class Add(Layer):
    """Elementwise sum of two or more inputs of the same shape.

    Use it in a `Node`. `Residual` is a shorter form for residual blocks.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Add(), inputs=("a", "b"))
    Node(layer=Add(), inputs=('a', 'b'))
    """

    op: ClassVar[str] = "add"


@dataclass(frozen=True)
class Multiply(Layer):
    """Elementwise product of two inputs; dimensions of size 1 in the second are broadcast.

    Use it in a `Node`. For example, gates of shape [C, 1, 1] scale the channels of a feature map [C, H, W].

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Multiply(), inputs=("x", "gates"))
    Node(layer=Multiply(), inputs=('x', 'gates'))
    """

    op: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Concat(Layer):
    """Concatenation of several inputs along the channels or features.

    Use it in a `Node`. `Branches` is a shorter form for parallel branches.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Node(mnistcnn.layers.Concat(), inputs=("a", "b"))
    Node(layer=Concat(), inputs=('a', 'b'))
    """

    op: ClassVar[str] = "concat"


@dataclass(frozen=True)
class Reciprocal(Layer):
    """Elementwise reciprocal: ``1 / x``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Reciprocal()
    Reciprocal()
    """

    op: ClassVar[str] = "reciprocal"


@dataclass(frozen=True)
class ScaleShift(Layer):
    """Affine map with constants: ``x * scale + shift``.

    Used for networks that rescale their input in ``forward``.

    Parameters
    ----------
    scale
        Constant factor.
    shift
        Constant added after scaling.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.ScaleShift(2.0, -1.0)
    ScaleShift(scale=2.0, shift=-1.0)
    """

    op: ClassVar[str] = "scale_shift"
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Detach(Layer):
    """Identity in the forward pass that stops the gradient in the backward pass, as in ``torch.Tensor.detach``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Detach()
    Detach()
    """

    op: ClassVar[str] = "detach"

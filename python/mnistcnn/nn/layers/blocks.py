"""Blocks of layers, and layers with named inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mnistcnn.nn.layers.base import Layer


@dataclass(frozen=True)
class Node:
    """Layer with explicitly named inputs, for graphs that are not a chain.

    Parameters
    ----------
    layer
        Layer to apply.
    inputs
        Names of earlier nodes. A name is looked up in the same block, then in the enclosing blocks. ``"input"`` is
        the image.

    Examples
    --------
    >>> import mnistcnn
    >>> layers = {"a": mnistcnn.layers.Conv2d(4, 3, padding=1), "b": mnistcnn.layers.Conv2d(4, 3, padding=1),
    ...           "sum": mnistcnn.layers.Node(mnistcnn.layers.Add(), inputs=("a", "b"))}
    >>> mnistcnn.Model(layers).output_shape
    (4, 28, 28)
    """

    layer: Layer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Residual:
    """Residual block: ``layers(x) + shortcut(x)``.

    Parameters
    ----------
    layers
        Layers of the main branch.
    shortcut
        Layers of the shortcut. Default: the identity.

    Examples
    --------
    >>> import mnistcnn
    >>> block = mnistcnn.layers.Residual([mnistcnn.layers.Conv2d(8, 3, padding=1), mnistcnn.layers.ReLU()],
    ...                           shortcut=mnistcnn.layers.Conv2d(8, 1))
    >>> mnistcnn.Model([block]).output_shape
    (8, 28, 28)
    """

    layers: Layers
    shortcut: Layers = ()


@dataclass(frozen=True)
class Branches:
    """Parallel branches of one input, with their outputs concatenated along the channels.

    Parameters
    ----------
    branches
        Layers of each branch: a list, or a mapping whose keys name the branches.

    Examples
    --------
    >>> import mnistcnn
    >>> block = mnistcnn.layers.Branches([mnistcnn.layers.Conv2d(4, 1), mnistcnn.layers.Conv2d(8, 3, padding=1)])
    >>> mnistcnn.Model([block]).output_shape
    (12, 28, 28)
    """

    branches: tuple[Layers, ...] | list[Layers] | Mapping[str, Layers]


Layers: TypeAlias = "Layer | Node | Residual | Branches | Sequence[Layers] | Mapping[str, Layers]"

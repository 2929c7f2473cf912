"""Build the recorded graph: its nodes, and the shape in which each value is viewed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mnistcnn.convert.errors import UnsupportedError
from mnistcnn.nn.graph import INPUT, Row
from mnistcnn.nn.layers import Add, Concat, Expand, Flatten, Layer, Multiply, Permute, Reshape, ScaleShift, Slice

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TracedValue:
    """Output of a node, viewed in another shape (of one image).

    A view adds no node until a layer needs that shape.
    """

    node: int
    shape: Shape


@dataclass
class TracedNode:
    """Node of the recorded graph."""

    name: str
    layer: Layer
    inputs: list[int]
    shape: Shape  # of one image
    tensors: Mapping[str, str] = field(default_factory=dict)  # suffix of the tensor -> its name in the user's module
    training: bool | None = None  # mode of the run, for layers that depend on it
    owner: str | None = None  # path of the module that has this mode
    location: str = ""

    def row(self) -> Row:
        """Return the node as a row for the core."""
        return self.name, self.layer.op, self.inputs, self.layer.fields()

    def describe(self) -> str:
        """Return the name of the node and the line of the user's source that created it."""
        return f"'{self.name}'" + (f" ({self.location})" if self.location else "")


class Builder:
    """Builder of the recorded graph. It reshapes values as layers require: [channels, height, width] or [features]."""

    def __init__(self, input_shape: Shape, module_names: Iterable[str], *, fuse_bias: bool = True) -> None:
        self.nodes: list[TracedNode] = []
        self.fuse_bias = fuse_bias  # whether to add a bias parameter to the layer before it
        self.input_shape = input_shape
        self._modules = set(module_names)  # names reserved for the nodes of the modules
        self._used: set[str] = set()
        self._reshaped: dict[tuple[int, Shape], int] = {}

    def shape_of(self, node: int) -> Shape:
        """Return the shape of a node's output in the core."""
        return self.input_shape if node == INPUT else self.nodes[node].shape

    def add(self, layer: Layer, inputs: list[int], shape: Shape, name: str, **more: Any) -> TracedValue:
        """Add a node and return its output, in the shape of the node."""
        self.nodes.append(TracedNode(self._unused(name), layer, inputs, shape, **more))
        return TracedValue(len(self.nodes) - 1, shape)

    def replace_node(self, node: int, layer: Layer, tensors: Mapping[str, str]) -> TracedValue:
        """Add a node with another layer, and the name and inputs of an existing node.

        The existing node is renamed. It is dropped later if nothing else uses it.
        """
        old = self.nodes[node]
        self.nodes.append(replace(old, layer=layer, tensors={**old.tensors, **tensors}))
        old.name = self._unused(old.name)
        return TracedValue(len(self.nodes) - 1, old.shape)

    def pointwise(self, layer: Layer, value: TracedValue, name: str, **more: Any) -> TracedValue:
        """Add a layer that does not depend on the shape of its input."""
        node = self.add(layer, [value.node], self.shape_of(value.node), name, **more).node
        return replace(value, node=node)

    def node_in_shape(self, value: TracedValue, shape: Shape) -> int:
        """Return a node that holds a value in exactly this shape. Add a reshape if required."""
        if self.shape_of(value.node) == shape:
            return value.node
        key = (value.node, shape)
        if key not in self._reshaped:
            layer = Flatten() if len(shape) == 1 else Reshape(shape)
            self._reshaped[key] = self.add(layer, [value.node], shape, "flatten" if len(shape) == 1 else "reshape").node
        return self._reshaped[key]

    def _unused(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._used or (count > 1 and candidate in self._modules):
            count += 1
            candidate = f"{name}_{count}"
        self._used.add(candidate)
        return candidate

    # ---- operations of several nodes

    def as_map(self, value: TracedValue, what: str) -> int:
        """Return a node that holds the value as [channels, height, width]. Raise UnsupportedError for another rank."""
        if len(value.shape) != 3:
            raise UnsupportedError(
                f"{what} requires an input [N, channels, height, width], got [N, {listed(value.shape)}]"
            )
        return self.node_in_shape(value, value.shape)

    def channels_first(self, value: TracedValue) -> int:
        """Return a node that holds the value. Reshape to [first dimension, the others, 1] if its rank is not 1 or 3."""
        shape = value.shape
        if len(shape) not in (1, 3):
            shape = (shape[0], math.prod(shape[1:]), 1)
        return self.node_in_shape(value, shape)

    def node_in_3d(self, value: TracedValue, first: int, count: int = 1) -> int:
        """Return a node that holds the value in 3-D: dimensions before ``first``, the next ``count``, and the rest."""
        shape = value.shape
        end = first + count
        wanted = (math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:]))
        return self.node_in_shape(value, wanted)

    def slice(self, value: TracedValue, dimension: int, start: int, stop: int, step: int, name: str) -> TracedValue:
        """Return the elements start, start + step, ... below stop of one dimension."""
        size = value.shape[dimension]
        if (start, stop, step) == (0, size, 1):
            return value
        count = len(range(start, stop, step))
        shape = (*value.shape[:dimension], count, *value.shape[dimension + 1 :])
        if len(value.shape) in (1, 3):
            node, axis = self.node_in_shape(value, value.shape), dimension
            node_shape = shape
        else:
            node, axis = self.node_in_3d(value, dimension), 1
            before, _, after = self.shape_of(node)
            node_shape = (before, count, after)
        return replace(self.add(Slice(axis, start, stop, step), [node], node_shape, name), shape=shape)

    def permute(self, value: TracedValue, order: list[int], name: str) -> TracedValue:
        """Return a value with its dimensions in a new order. Merge dimensions that stay adjacent, to at most three."""
        groups: list[list[int]] = []
        for dimension in order:
            if groups and groups[-1][-1] == dimension - 1:
                groups[-1].append(dimension)
            else:
                groups.append([dimension])
        if len(groups) > 3:
            raise UnsupportedError(
                f"a permutation of {len(order)} dimensions is supported only if it reorders at most 3 groups of them"
            )
        shape = tuple(value.shape[each] for each in order)
        if len(groups) == 1:
            return replace(value, shape=shape)
        sorted_groups = sorted(groups)
        sizes = [math.prod(value.shape[each] for each in group) for group in sorted_groups]
        permutation = [sorted_groups.index(group) for group in groups]
        if len(groups) == 2:
            sizes, permutation = [*sizes, 1], [*permutation, 2]
        node = self.node_in_shape(value, tuple(sizes))
        permuted = self.add(Permute(tuple(permutation)), [node], tuple(sizes[each] for each in permutation), name)
        return replace(permuted, shape=shape)

    def apply_along(self, value: TracedValue, dimension: int, layer: Layer, name: str) -> TracedValue:
        """Apply a layer that works along the first dimension to another dimension."""
        if dimension == 0:
            node = self.channels_first(value)
            return replace(self.add(layer, [node], self.shape_of(node), name), shape=value.shape)
        front = [dimension, *(each for each in range(len(value.shape)) if each != dimension)]
        permuted = self.apply_along(self.permute(value, front, f"{name}_front"), 0, layer, name)
        back = [front.index(each) for each in range(len(front))]
        return self.permute(permuted, back, f"{name}_back")

    def concat(self, values: list[TracedValue], dimension: int, name: str) -> TracedValue:
        """Concatenate values along one dimension."""
        if len(values) == 1:
            return values[0]
        if dimension != 0:
            front = [dimension, *(each for each in range(len(values[0].shape)) if each != dimension)]
            permuted = [self.permute(each, front, f"{name}_front") for each in values]
            back = [front.index(each) for each in range(len(front))]
            return self.permute(self.concat(permuted, 0, name), back, f"{name}_back")
        nodes = [self.channels_first(each) for each in values]
        channels = sum(each.shape[0] for each in values)
        node_shape = (channels, *self.shape_of(nodes[0])[1:])
        return replace(self.add(Concat(), nodes, node_shape, name), shape=(channels, *values[0].shape[1:]))

    def nodes_in_one_shape(self, values: list[TracedValue]) -> list[int]:
        """Return nodes that hold values of equal shape in one shape of the core."""
        shapes_in_core = [self.shape_of(each.node) for each in values]
        if all(node_in_shape == shapes_in_core[0] for node_in_shape in shapes_in_core):
            return [each.node for each in values]
        shape = values[0].shape if len(values[0].shape) in (1, 3) else (math.prod(values[0].shape),)
        return [self.node_in_shape(each, shape) for each in values]

    def sum(self, values: list[TracedValue], name: str) -> TracedValue:
        """Return the sum of values, broadcast to one shape."""
        values = self.broadcast(values, "adds")
        nodes = self.nodes_in_one_shape(values)
        return replace(values[0], node=self.add(Add(), nodes, self.shape_of(nodes[0]), name).node)

    def product(self, first: TracedValue, second: TracedValue, name: str) -> TracedValue:
        """Return the product of two values. `Multiply` broadcasts the second value to the shape of the first."""
        narrow, other = self._before_expand(second), self._before_expand(first)
        if math.prod(other.shape) < math.prod(narrow.shape):
            first, second, narrow = second, first, other
        if narrow.shape != first.shape and len(first.shape) <= 3 and _broadcasts_to(first.shape, narrow.shape):
            nodes = [self.node_in_shape(each, _without_rank_2(each.shape)) for each in (first, narrow)]
        else:
            first, second = self.broadcast([first, second], "multiplies")
            nodes = self.nodes_in_one_shape([first, second])
        return replace(first, node=self.add(Multiply(), nodes, self.shape_of(nodes[0]), name).node)

    def expand(self, value: TracedValue, shape: Shape, name: str) -> TracedValue:
        """Repeat the dimensions of size 1 until the value has this shape of the same rank."""
        if value.shape == shape:
            return value
        if len(shape) <= 3:
            node = self.node_in_shape(value, _without_rank_2(value.shape))
            return replace(self.add(Expand(_without_rank_2(shape)), [node], _without_rank_2(shape), name), shape=shape)
        for dimension, size in enumerate(shape):
            if value.shape[dimension] != size:
                value = self.repeat(value, dimension, size, name)
        return value

    def repeat(self, value: TracedValue, dimension: int, count: int, name: str) -> TracedValue:
        """Repeat all elements of one dimension ``count`` times, as ``torch.Tensor.repeat`` does."""
        before, after = math.prod(value.shape[:dimension]), math.prod(value.shape[dimension:])
        node = self.node_in_shape(value, (before, 1, after))
        wide = (before, count, after)
        shape = (*value.shape[:dimension], count * value.shape[dimension], *value.shape[dimension + 1 :])
        return replace(self.add(Expand(wide), [node], wide, name), shape=shape)

    def broadcast(self, values: list[TracedValue], verb: str) -> list[TracedValue]:
        """Expand values of equal rank to one shape. ``verb`` names the operation in an error."""
        shape = _broadcast_shape([each.shape for each in values])
        if shape is None:
            shapes = " and ".join(f"[N, {listed(each.shape)}]" for each in values)
            raise UnsupportedError(
                f"it {verb} values of shapes {shapes}, which mnistcnn does not broadcast: the sizes of each "
                "dimension must be equal or 1"
            )
        return [self.expand(each, shape, "expand") for each in values]

    def _before_expand(self, value: TracedValue) -> TracedValue:
        """Return the input of an expand, with the rank of the value, or the value itself if it was not expanded."""
        if value.node >= 0 and isinstance(self.nodes[value.node].layer, Expand):
            node_shape = self.nodes[value.node].inputs[0]
            if _without_rank_2(value.shape) == self.shape_of(value.node):
                return TracedValue(node_shape, self.shape_of(node_shape)[: len(value.shape)])
        return value

    def scaled(self, value: TracedValue, scale: float, shift: float, name: str) -> TracedValue:
        """Return ``value * scale + shift``."""
        if (scale, shift) == (1.0, 0.0):
            return value
        return self.pointwise(ScaleShift(scale, shift), value, name)


def _broadcasts_to(shape: Shape, other: Shape) -> bool:
    return len(shape) == len(other) and all(b in (a, 1) for a, b in zip(shape, other, strict=True))


def _without_rank_2(shape: Shape) -> Shape:
    """Append a dimension of size 1 to a shape of rank 2."""
    return (*shape, 1) if len(shape) == 2 else shape


def _broadcast_shape(shapes: list[Shape]) -> Shape | None:
    """Return the shape to which shapes of equal rank broadcast, or None."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    sizes = [set(column) - {1} or {1} for column in zip(*shapes, strict=True)]
    return tuple(size.pop() for size in sizes) if all(len(size) == 1 for size in sizes) else None


def listed(shape: Shape) -> str:
    """Return the sizes of a shape, separated by commas."""
    return ", ".join(map(str, shape))

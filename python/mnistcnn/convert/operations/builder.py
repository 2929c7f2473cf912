"""The network that is found while a module's forward runs: nodes, and in which shape each value is seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mnistcnn.convert.errors import RefusalError
from mnistcnn.nn.graph import INPUT, Row
from mnistcnn.nn.layers import Add, Concat, Expand, Flatten, Layer, Multiply, Permute, Reshape, ScaleShift, Slice

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A node's output, seen row by row in a shape of its own (of one image): views cost nothing until they matter."""

    node: int
    shape: Shape


@dataclass
class Found:
    """One node of the network."""

    name: str
    layer: Layer
    inputs: list[int]
    shape: Shape  # of one image
    tensors: Mapping[str, str] = field(default_factory=dict)  # our suffix -> the author's name of the tensor
    training: bool | None = None  # the mode in which a layer ran that cares
    owner: str | None = None  # the module whose mode it is
    where: str = ""

    def row(self) -> Row:
        """As the core reads it."""
        return self.name, self.layer.op, self.inputs, self.layer.fields()

    def described(self) -> str:
        """Its name, and where in the author's source it is made."""
        return f"'{self.name}'" + (f" ({self.where})" if self.where else "")


class Builder:
    """Collects nodes, and puts values into the shapes that layers want: [channels, height, width] or [features]."""

    def __init__(self, input_shape: Shape, module_names: Iterable[str], *, joins: bool = True) -> None:
        self.found: list[Found] = []
        self.joins = joins  # whether a bias of its own goes into the layer before
        self.input_shape = input_shape
        self._modules = set(module_names)  # a module's name is for its own node
        self._used: set[str] = set()
        self._placed: dict[tuple[int, Shape], int] = {}

    def shape_of(self, node: int) -> Shape:
        """The shape in which the core sees a node's output."""
        return self.input_shape if node == INPUT else self.found[node].shape

    def add(self, layer: Layer, inputs: list[int], shape: Shape, name: str, **more: Any) -> Value:
        """A new node; its output in the node's own shape."""
        self.found.append(Found(self._unused(name), layer, inputs, shape, **more))
        return Value(len(self.found) - 1, shape)

    def instead(self, node: int, layer: Layer, tensors: Mapping[str, str]) -> Value:
        """Another layer of the same name and inputs; what stood there goes where nothing else needs it."""
        old = self.found[node]
        self.found.append(replace(old, layer=layer, tensors={**old.tensors, **tensors}))
        old.name = self._unused(old.name)
        return Value(len(self.found) - 1, old.shape)

    def pointwise(self, layer: Layer, value: Value, name: str, **more: Any) -> Value:
        """A layer for which the shape doesn't matter."""
        node = self.add(layer, [value.node], self.shape_of(value.node), name, **more).node
        return replace(value, node=node)

    def place(self, value: Value, shape: Shape, name: str = "reshape") -> int:
        """The node that holds a value in exactly this shape, made if need be."""
        if self.shape_of(value.node) == shape:
            return value.node
        key = (value.node, shape)
        if key not in self._placed:
            layer = Flatten() if len(shape) == 1 else Reshape(shape)
            self._placed[key] = self.add(layer, [value.node], shape, "flatten" if len(shape) == 1 else name).node
        return self._placed[key]

    def _unused(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._used or (count > 1 and unique in self._modules):
            count += 1
            unique = f"{name}_{count}"
        self._used.add(unique)
        return unique

    # ---- what needs several nodes

    def as_map(self, value: Value, what: str) -> int:
        """The value as a map [channels, height, width]."""
        if len(value.shape) != 3:
            raise RefusalError(
                f"{what} needs maps [N, channels, height, width], but its input is [N, {_listed(value.shape)}]"
            )
        return self.place(value, value.shape)

    def channels_first(self, value: Value) -> int:
        """The value as [features] or as a map whose first dimension stays what it is."""
        shape = value.shape
        if len(shape) not in (1, 3):
            shape = (shape[0], math.prod(shape[1:]), 1)
        return self.place(value, shape)

    def three(self, value: Value, first: int, count: int = 1) -> int:
        """The value as a map [before, dimensions first..first+count-1 as one, behind]."""
        shape = value.shape
        end = first + count
        wanted = (math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:]))
        return self.place(value, wanted)

    def slice(self, value: Value, dimension: int, start: int, stop: int, step: int, name: str) -> Value:
        """Elements of one dimension."""
        size = value.shape[dimension]
        if (start, stop, step) == (0, size, 1):
            return value
        count = len(range(start, stop, step))
        shape = (*value.shape[:dimension], count, *value.shape[dimension + 1 :])
        if len(value.shape) in (1, 3):
            node, at = self.place(value, value.shape), dimension
            inner = shape
        else:
            node, at = self.three(value, dimension), 1
            before, _, behind = self.shape_of(node)
            inner = (before, count, behind)
        return replace(self.add(Slice(at, start, stop, step), [node], inner, name), shape=shape)

    def permute(self, value: Value, order: list[int], name: str) -> Value:
        """Dimensions of an image in a new order; neighbours that stay neighbours count as one."""
        groups: list[list[int]] = []
        for dimension in order:
            if groups and groups[-1][-1] == dimension - 1:
                groups[-1].append(dimension)
            else:
                groups.append([dimension])
        if len(groups) > 3:
            raise RefusalError(f"a permutation of {len(order)} dimensions that no three groups of dimensions describe")
        shape = tuple(value.shape[each] for each in order)
        if len(groups) == 1:
            return replace(value, shape=shape)
        by_place = sorted(groups)
        sizes = [math.prod(value.shape[each] for each in group) for group in by_place]
        turn = [by_place.index(group) for group in groups]
        if len(groups) == 2:
            sizes, turn = [*sizes, 1], [*turn, 2]
        node = self.place(value, tuple(sizes))
        turned = self.add(Permute(tuple(turn)), [node], tuple(sizes[each] for each in turn), name)
        return replace(turned, shape=shape)

    def over_first(self, value: Value, dimension: int, layer: Layer, name: str) -> Value:
        """A layer that works along the first dimension, applied to another one."""
        if dimension == 0:
            node = self.channels_first(value)
            return replace(self.add(layer, [node], self.shape_of(node), name), shape=value.shape)
        front = [dimension, *(each for each in range(len(value.shape)) if each != dimension)]
        turned = self.over_first(self.permute(value, front, f"{name}_front"), 0, layer, name)
        back = [front.index(each) for each in range(len(front))]
        return self.permute(turned, back, f"{name}_back")

    def concat(self, values: list[Value], dimension: int, name: str) -> Value:
        """Values side by side along one dimension."""
        if len(values) == 1:
            return values[0]
        if dimension != 0:
            front = [dimension, *(each for each in range(len(values[0].shape)) if each != dimension)]
            turned = [self.permute(each, front, f"{name}_front") for each in values]
            back = [front.index(each) for each in range(len(front))]
            return self.permute(self.concat(turned, 0, name), back, f"{name}_back")
        nodes = [self.channels_first(each) for each in values]
        channels = sum(each.shape[0] for each in values)
        inner = (channels, *self.shape_of(nodes[0])[1:])
        return replace(self.add(Concat(), nodes, inner, name), shape=(channels, *values[0].shape[1:]))

    def same_place(self, values: list[Value]) -> list[int]:
        """Nodes that hold values of one shape in one shape of the core's."""
        places = [self.shape_of(each.node) for each in values]
        if all(place == places[0] for place in places):
            return [each.node for each in values]
        shape = values[0].shape if len(values[0].shape) in (1, 3) else (math.prod(values[0].shape),)
        return [self.place(each, shape) for each in values]

    def sum(self, values: list[Value], name: str) -> Value:
        """Return the sum of values, broadcast to one shape."""
        values = self.broadcast(values, "adds")
        nodes = self.same_place(values)
        return replace(values[0], node=self.add(Add(), nodes, self.shape_of(nodes[0]), name).node)

    def product(self, first: Value, second: Value, name: str) -> Value:
        """Return the product of two values; `Multiply` itself broadcasts the second to the shape of the first."""
        narrow, other = self._before_expand(second), self._before_expand(first)
        if math.prod(other.shape) < math.prod(narrow.shape):
            first, second, narrow = second, first, other
        if narrow.shape != first.shape and len(first.shape) <= 3 and _covers(first.shape, narrow.shape):
            nodes = [self.place(each, _padded(each.shape)) for each in (first, narrow)]
        else:
            first, second = self.broadcast([first, second], "multiplies")
            nodes = self.same_place([first, second])
        return replace(first, node=self.add(Multiply(), nodes, self.shape_of(nodes[0]), name).node)

    def expand(self, value: Value, shape: Shape, name: str) -> Value:
        """Repeat the dimensions of size 1 until the value has this shape of the same rank."""
        if value.shape == shape:
            return value
        if len(shape) <= 3:
            node = self.place(value, _padded(value.shape))
            return replace(self.add(Expand(_padded(shape)), [node], _padded(shape), name), shape=shape)
        for dimension, size in enumerate(shape):
            if value.shape[dimension] != size:
                value = self.repeat(value, dimension, size, name)
        return value

    def repeat(self, value: Value, dimension: int, count: int, name: str) -> Value:
        """Repeat all elements of one dimension ``count`` times, as ``torch.Tensor.repeat`` does."""
        before, behind = math.prod(value.shape[:dimension]), math.prod(value.shape[dimension:])
        node = self.place(value, (before, 1, behind))
        wide = (before, count, behind)
        shape = (*value.shape[:dimension], count * value.shape[dimension], *value.shape[dimension + 1 :])
        return replace(self.add(Expand(wide), [node], wide, name), shape=shape)

    def broadcast(self, values: list[Value], verb: str) -> list[Value]:
        """Expand values of equal rank to one shape; ``verb`` says what the caller does with them."""
        shape = _common([each.shape for each in values])
        if shape is None:
            shapes = " and ".join(f"[N, {_listed(each.shape)}]" for each in values)
            raise RefusalError(
                f"it {verb} values of shapes {shapes}, which mnistcnn does not broadcast: each dimension must have "
                "equal sizes, or size 1"
            )
        return [self.expand(each, shape, "expand") for each in values]

    def _before_expand(self, value: Value) -> Value:
        """Return what was expanded to this value in the shape of the value, or the value itself."""
        if value.node >= 0 and isinstance(self.found[value.node].layer, Expand):
            inner = self.found[value.node].inputs[0]
            if _padded(value.shape) == self.shape_of(value.node):
                return Value(inner, self.shape_of(inner)[: len(value.shape)])
        return value

    def scaled(self, value: Value, scale: float, shift: float, name: str) -> Value:
        """``value * scale + shift``."""
        if (scale, shift) == (1.0, 0.0):
            return value
        return self.pointwise(ScaleShift(scale, shift), value, name)


def _covers(shape: Shape, other: Shape) -> bool:
    return len(shape) == len(other) and all(b in (a, 1) for a, b in zip(shape, other, strict=True))


def _padded(shape: Shape) -> Shape:
    """Return a shape of rank 1 or 3 as it is; append dimensions of size 1 to a shape of rank 2."""
    return (*shape, 1) if len(shape) == 2 else shape


def _common(shapes: list[Shape]) -> Shape | None:
    """Return the shape to which shapes of equal rank broadcast, or None."""
    if len({len(shape) for shape in shapes}) > 1:
        return None
    sizes = [set(column) - {1} or {1} for column in zip(*shapes, strict=True)]
    return tuple(size.pop() for size in sizes) if all(len(size) == 1 for size in sizes) else None


def _listed(shape: Shape) -> str:
    return ", ".join(map(str, shape))

"""Flattening of nested layers into the list of named nodes that the core executes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnistcnn.nn.layers import Add, Branches, Concat, Detach, Layer, Layers, Node, Residual

INPUT = -1  # the image, in a node's list of inputs
Row = tuple[str, str, list[int], dict[str, Any]]  # a node: name, op, indices of its inputs, fields
Spec = tuple[str, tuple[int, ...], int, int]  # of a parameter or buffer of the core: name, shape, node, ...
Shared = tuple[int, str, int]  # node, tensor name ("weight"), earlier node that owns the tensor


def build_rows(layers: Layers) -> list[Row]:
    """Return the nodes of a network in topological order.

    Layers in a list are named "0", "1", ... as in ``torch.nn.Sequential``. Layers in a mapping are named by its keys.
    Nested names are joined by dots.
    """
    builder = _Builder()
    if isinstance(layers, Layer | Node | Residual | Branches):
        layers = [layers]
    builder.add(layers, "", INPUT)
    return builder.rows


def tensor_places(specs: Sequence[Spec]) -> list[tuple[int, str]]:
    """Return the node and the suffix, such as "weight", of each parameter or buffer of the core."""
    return [(node, name.rpartition(".")[2]) for name, _, node, _ in specs]


def parameter_users(specs: Sequence[Spec], shared: Sequence[Shared]) -> list[frozenset[int]]:
    """Return for each parameter the set of nodes that use it: its owner and the nodes that share it."""
    return [
        frozenset({place[0], *(node for node, suffix, owner in shared if (owner, suffix) == place)})
        for place in tensor_places(specs)
    ]


def parameters_of(
    rows: Sequence[Row], output: int, users: Sequence[frozenset[int]], *, through_detach: bool = True
) -> frozenset[int]:
    """Return the indices of the parameters on which the node ``output`` depends.

    ``users`` is the result of `parameter_users`. ``through_detach=False`` stops at `Detach` nodes.
    """
    wanted = {output}
    for node in range(output, -1, -1):
        if node in wanted and (through_detach or rows[node][1] != Detach.op):
            wanted.update(rows[node][2])
    return frozenset(index for index, nodes in enumerate(users) if nodes & wanted)


def detached_parameters(rows: Sequence[Row], users: Sequence[frozenset[int]]) -> frozenset[int]:
    """Return the indices of the parameters that get no gradient: each path to the output has a `Detach`."""
    if not any(op == Detach.op for _, op, _, _ in rows):
        return frozenset()
    last = len(rows) - 1
    return parameters_of(rows, last, users) - parameters_of(rows, last, users, through_detach=False)


class _Builder:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._positions: dict[str, int] = {"input": INPUT}

    def add(self, item: Layers, name: str, before: int) -> int:
        """Append the nodes of ``item`` after node ``before`` and return the index of its output."""
        if isinstance(item, Layer):
            return self._append(item, name, [before])
        if isinstance(item, Node):
            return self._append(item.layer, name, [self._find(each, name) for each in item.inputs])
        if isinstance(item, Residual):
            return self._residual(item, name, before)
        if isinstance(item, Branches):
            return self._branches(item, name, before)
        for key, each in self._children(item, name):
            before = self.add(each, f"{name}.{key}" if name else key, before)
            self._positions[f"{name}.{key}" if name else key] = before
        return before

    def _append(self, layer: Layer, name: str, inputs: list[int]) -> int:
        try:
            fields = layer.fields()
        except (TypeError, ValueError) as error:
            raise type(error)(f"node '{name}' ({layer.op}): {error}") from None
        self.rows.append((name, layer.op, inputs, fields))
        self._positions[name] = len(self.rows) - 1
        return len(self.rows) - 1

    def _residual(self, item: Residual, name: str, before: int) -> int:
        # Layers of the main branch are named directly under the block, as attributes of an nn.Module are.
        body = self.add(_listed(item.layers), name, before)
        shortcut = self.add(_listed(item.shortcut), f"{name}.shortcut", before)
        return self._append(Add(), f"{name}.add", [body, shortcut])

    def _branches(self, item: Branches, name: str, before: int) -> int:
        ends = [self.add(_listed(each), f"{name}.{key}", before) for key, each in self._children(item.branches, name)]
        return self._append(Concat(), f"{name}.concat", ends)

    def _find(self, wanted: str, name: str) -> int:
        """Return the node named ``wanted``, searched in the block of node ``name`` first, then in enclosing blocks."""
        scope = name
        while scope:
            scope = scope.rpartition(".")[0]
            full = f"{scope}.{wanted}" if scope else wanted
            if full in self._positions:
                return self._positions[full]
        known = ", ".join(sorted(self._positions))
        raise ValueError(f"node '{name}': unknown input '{wanted}'; choose from the earlier nodes: {known}")

    @staticmethod
    def _children(item: object, name: str) -> Iterator[tuple[str, Layers]]:
        if isinstance(item, Mapping):
            for key, each in item.items():
                if not isinstance(key, str) or not key or "." in key:
                    raise ValueError(f"the name of a layer must be a non-empty string without dots, got {key!r}")
                yield key, each
        elif isinstance(item, Sequence) and not isinstance(item, str):
            for index, each in enumerate(item):
                yield str(index), each
        else:
            place = f"at '{name}'" if name else "in the list of layers"
            hint = (
                "; use the layers of mnistcnn, such as mnistcnn.layers.ReLU()"
                if "torch" in type(item).__module__
                else ""
            )
            hint = "; create an instance: add ()" if isinstance(item, type) and issubclass(item, Layer) else hint
            raise TypeError(f"{item!r} {place} is not a layer{hint}")


def _listed(layers: Layers) -> Layers:
    return layers if isinstance(layers, Mapping | Sequence) else [layers]

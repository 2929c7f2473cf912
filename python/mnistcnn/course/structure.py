"""Features of a network's graph that the assignment asks for: batch normalization, dropout, global pooling, Linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mnistcnn._internal.tables import first_names
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.model import Model

FEATURES = ("batchnorm", "dropout", "gap", "linear")  # keys of `features`
_AVERAGING = ("avgpool2d", "adaptive_avgpool2d")
_REARRANGING = ("reshape", "permute", "flatten")  # a mean over height and width is recorded as reshape and average pool


@dataclass(frozen=True)
class Feature:
    """Nodes of a graph that have a feature, and a note about nodes that look similar; "" without a note."""

    nodes: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (first_names(self.nodes, 3) or "none", self.note) if part)


def features(model: Model) -> dict[str, Feature]:
    """Return each feature of the graph by its name: "batchnorm", "dropout", "gap" and "linear".

    The graph holds what ``forward`` computes, so calls of functions count, and modules that are never called do not.
    """
    nodes = [dict(node) for node in model._network.nodes]
    return {
        "batchnorm": Feature(_names(nodes, "batchnorm2d", "batchnorm1d")),
        "dropout": _dropout(nodes),
        "gap": _global_average_pooling(nodes),
        "linear": Feature(_names(nodes, "linear"), _linear_convolutions(nodes)),
    }


def _names(nodes: list[dict[str, Any]], *ops: str) -> tuple[str, ...]:
    return tuple(node["name"] for node in nodes if node["op"] in ops)


def _dropout(nodes: list[dict[str, Any]]) -> Feature:
    dropouts = [node for node in nodes if node["op"] in ("dropout", "dropout2d")]
    used = [node for node in dropouts if node["fields"]["probability"] > 0]
    notes = []
    if len(used) < len(dropouts):
        without = tuple(node["name"] for node in dropouts if node not in used)
        notes.append(f"{first_names(without, 3)} has no effect: p is 0 or training=False")
    always = tuple(node["name"] for node in used if node["fields"]["always"])
    if always:
        notes.append(f"{first_names(always, 3)} drops in evaluation too: pass training=self.training to F.dropout")
    return Feature(tuple(node["name"] for node in used), "; ".join(notes))


def _linear_convolutions(nodes: list[dict[str, Any]]) -> str:
    """Return a note about convolutions with one position whose kernel covers the whole map: they compute a Linear."""
    found = tuple(
        node["name"]
        for node in nodes
        if node["op"] == "conv2d"
        and node["output_shape"][1:] == (1, 1)
        and all(kernel >= size for kernel, size in zip(node["fields"]["kernel"], _map_size(node), strict=True))
    )
    return f"the kernel of {first_names(found, 3)} covers the whole map, which is equivalent to Linear" if found else ""


def _map_size(node: dict[str, Any]) -> tuple[int, ...]:
    return tuple(node["input_shapes"][0][1:])


def _global_average_pooling(nodes: list[dict[str, Any]]) -> Feature:
    pools = [index for index, node in enumerate(nodes) if node["op"] in _AVERAGING]
    found = [nodes[index] for index in pools if _averages_all_positions(nodes, index)]
    notes = [_pool_note(nodes[index]) for index in pools if nodes[index] not in found]
    return Feature(tuple(node["name"] for node in found), "; ".join(filter(None, notes)))


def _pool_note(pool: dict[str, Any]) -> str:
    """Return why an average pool with one output per channel is not a global one; "" for any other pool."""
    size = _map_size(pool)
    if size == (1, 1):
        return f"{pool['name']} has no effect: its input is a 1x1 map"
    if pool["op"] == "avgpool2d" and pool["output_shape"][1:] == (1, 1):
        kernel = pool["fields"]["kernel"]
        return f"{pool['name']} averages {kernel[0]}x{kernel[1]} of a {size[0]}x{size[1]} map"
    return ""


def _averages_all_positions(nodes: list[dict[str, Any]], pool: int) -> bool:
    """Return whether a pool, with the nodes before it, computes the mean over all positions of a map per channel.

    ``x.mean((2, 3))`` is recorded as several nodes, ``x.mean(3).mean(2)`` as two pools. So each sequence of pools and
    reshapes that ends in ``pool`` is computed for random numbers and compared with the mean.
    """
    chain: list[int] = []
    index = pool
    while index != INPUT and nodes[index]["op"] in _AVERAGING + _REARRANGING:
        chain.insert(0, index)
        before = nodes[index]["inputs"][0]
        is_map = before == INPUT or nodes[before]["op"] not in _REARRANGING
        if is_map and _computes_means([nodes[each] for each in chain]):
            return True
        index = before
    return False


def _computes_means(chain: list[dict[str, Any]]) -> bool:
    shape, outputs = chain[0]["input_shapes"][0], chain[-1]["output_shape"]
    if len(shape) != 3 or shape[1:] == (1, 1) or torch.Size(outputs).numel() != shape[0]:
        return False
    rows = [(node["name"], node["op"], [position - 1], node["fields"]) for position, node in enumerate(chain)]
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = Model.from_rows(rows, shape)(images)
    return torch.allclose(pooled.flatten(), images.mean((2, 3)).flatten(), rtol=0, atol=1e-4)

"""Merge the nodes that were traced in training mode and in evaluation mode into one list."""

from __future__ import annotations

from dataclasses import replace

from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.operations.builder import TracedNode
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.layers import Dropout, Dropout2d


def merge_modes(training: list[TracedNode], evaluation: list[TracedNode]) -> list[TracedNode]:
    """Return one list of nodes for both modes. Raise ConversionError at the first difference."""
    nodes: list[TracedNode] = []
    without_dropout = {INPUT: INPUT}  # training node -> the same node, or its input if evaluation skips the dropout
    training_node_of = {INPUT: INPUT}  # evaluation node -> training node
    remaining = iter(evaluation)
    other = next(remaining, None)
    for number, node in enumerate(training):
        if _is_training_only_dropout(node, other):
            without_dropout[number] = without_dropout[node.inputs[0]]
            nodes.append(node)
            continue
        if other is None:
            raise _extra_node_error(node, "training")
        if not _is_same_operation(node, other) or [without_dropout[node] for node in node.inputs] != [
            training_node_of[node] for node in other.inputs
        ]:
            raise ConversionError(
                f"`forward` runs different operations in training and in evaluation, or for different batch sizes: "
                f"{node.describe()} in training, {other.describe()} in evaluation; run the same operations in both "
                "(dropout and batch norm follow the mode by themselves)"
            )
        without_dropout[number] = number
        training_node_of[len(training_node_of) - 1] = number
        nodes.append(_merge_nodes(node, other))
        other = next(remaining, None)
    if other is not None:
        raise _extra_node_error(other, "evaluation")
    return nodes


def _is_training_only_dropout(node: TracedNode, other: TracedNode | None) -> bool:
    """Return whether a dropout runs in training mode only, as in ``if self.training: x = F.dropout(x)``."""
    if not isinstance(node.layer, Dropout | Dropout2d) or not node.training:
        return False
    return other is None or not _is_same_operation(node, other) or node.location != other.location


def _is_active_dropout(node: TracedNode) -> bool:
    """Return whether a node is a dropout that was active in its run."""
    return isinstance(node.layer, Dropout | Dropout2d) and bool(node.training) and node.layer.p > 0


def _is_same_operation(node: TracedNode, other: TracedNode) -> bool:
    """Return whether two nodes are the same operation. The probability of a dropout may differ between the modes."""
    if isinstance(node.layer, Dropout | Dropout2d):
        return type(node.layer) is type(other.layer)
    return node.row()[:2] == other.row()[:2] and node.layer.fields() == other.layer.fields()


def _extra_node_error(extra: TracedNode, mode: str) -> ConversionError:
    return ConversionError(
        f"`forward` runs different operations in training and in evaluation: only in {mode} it ends with "
        f"{extra.describe()}; run the same operations in both, and the others outside `forward`"
    )


def _merge_nodes(training: TracedNode, evaluation: TracedNode) -> TracedNode:
    """Return the node for both modes: its layer follows the mode, or does not depend on it."""
    if isinstance(training.layer, Dropout | Dropout2d):
        return _merge_dropouts(training, evaluation)
    modes = (training.training, evaluation.training)
    if modes in ((None, None), (True, False)):
        return training
    raise _mode_error(training, evaluation)


def _merge_dropouts(training: TracedNode, evaluation: TracedNode) -> TracedNode:
    """Return a dropout that follows the mode, is active in both modes, or never drops."""
    layer, active = training.layer, (_is_active_dropout(training), _is_active_dropout(evaluation))
    if active == (True, False):
        return training
    if active == (False, False):
        return replace(training, layer=replace(layer, p=0.0), owner=None)  # type: ignore[type-var]
    if active == (True, True) and layer == evaluation.layer:
        return replace(training, layer=replace(layer, always=True), owner=None)  # type: ignore[type-var]
    if active == (True, True):
        raise ConversionError(
            f"{training.describe()} drops {layer.p:g} in training and {evaluation.layer.p:g} in evaluation; mnistcnn "  # type: ignore[attr-defined]
            "supports one probability, in training only (training=self.training) or in both"
        )
    raise _mode_error(training, evaluation)


def _mode_error(training: TracedNode, evaluation: TracedNode) -> ConversionError:
    mode, whole = ("training", "evaluation") if training.training else ("evaluation", "training")
    return ConversionError(
        f"{training.describe()} is in {mode} mode while the whole module is in {whole} mode; mnistcnn supports only "
        "layers that follow the module's mode"
    )

"""Outputs of a ``forward`` method: one tensor, or several tensors in nested tuples, lists and dictionaries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mnistcnn.convert.errors import ConversionError

OutputKey = int | str | None  # position or key of an output of `forward`; None: all outputs
_CONTAINERS = (tuple, list, dict, OrderedDict)


@dataclass(frozen=True)
class Leaf:
    """Position of a tensor among the tensors that a ``forward`` method returns."""

    index: int


SINGLE_TENSOR = Leaf(0)  # structure of a single tensor


def flatten_outputs(returned: Any) -> tuple[Any, list[torch.Tensor]]:
    """Return the structure of a ``forward`` method's outputs, with a `Leaf` in place of each tensor, and the tensors.

    Raise ConversionError for an output that is neither a tensor nor None.
    """
    tensors: list[torch.Tensor] = []

    def leaf(each: Any) -> Any:
        if each is None:
            return None
        if not isinstance(each, torch.Tensor):
            raise ConversionError(
                f"`forward` returns {type(each).__name__}, not a tensor; return the logits or log-probabilities, "
                "or a tuple of tensors"
            )
        tensors.append(each)
        return Leaf(len(tensors) - 1)

    structure = _map_tree(leaf, returned)
    if not tensors:
        raise ConversionError("`forward` returns no tensor; return the logits or log-probabilities")
    return structure, tensors


def unflatten_outputs(structure: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """Return tensors in the structure in which the user's ``forward`` returns them."""
    return _map_tree(lambda each: tensors[each.index] if isinstance(each, Leaf) else each, structure)


def select_output(returned: Any, output: OutputKey) -> Any:
    """Return the selected output. A single tensor is returned for any key."""
    if output is None or isinstance(returned, torch.Tensor):
        return returned
    try:
        return returned[output]
    except (LookupError, TypeError):
        raise ConversionError(f"output={output!r}, but `forward` returns {describe(returned)}") from None


def output_entries(returned: Any) -> list[tuple[int | str, Any]]:
    """Return the outputs that can be selected, with their positions or keys."""
    if isinstance(returned, dict):
        return list(returned.items())
    return list(enumerate(returned)) if isinstance(returned, tuple | list) else []


def describe(returned: Any) -> str:
    """Return a description such as ``a tuple of 2``."""
    if isinstance(returned, dict):
        return f"a dictionary of {', '.join(map(repr, returned))}"
    if isinstance(returned, tuple | list):
        return f"a {'list' if isinstance(returned, list) else 'tuple'} of {len(returned)}"
    return "one tensor"


def _map_tree(function: Any, tree: Any) -> Any:
    if type(tree) in _CONTAINERS or hasattr(tree, "_fields"):
        children = [_map_tree(function, each) for each in _children(tree)]
        if isinstance(tree, dict):
            return type(tree)(zip(tree, children, strict=True))
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return function(tree)


def _children(tree: Any) -> Iterator[Any]:
    return iter(tree.values() if isinstance(tree, dict) else tree)

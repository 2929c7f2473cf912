"""What a forward returns: one tensor, or several of them in tuples, lists and dictionaries."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mnistcnn.convert.errors import ConversionError

Choice = int | str | None  # a position or key of what the forward returns; None is all of it
_CONTAINERS = (tuple, list, dict, OrderedDict)


@dataclass(frozen=True)
class Leaf:
    """The place of a tensor in what a forward returns."""

    index: int


ONE = Leaf(0)  # the form of a single tensor


def taken_apart(returned: Any) -> tuple[Any, list[torch.Tensor]]:
    """The form of what a forward returns, with a `Leaf` for every tensor, and the tensors."""
    tensors: list[torch.Tensor] = []

    def leaf(each: Any) -> Any:
        if each is None:
            return None
        if not isinstance(each, torch.Tensor):
            raise ConversionError(
                f"the forward returns {type(each).__name__}, not a tensor; let it return the logits or "
                "log-probabilities, or a tuple of tensors"
            )
        tensors.append(each)
        return Leaf(len(tensors) - 1)

    form = _mapped(leaf, returned)
    if not tensors:
        raise ConversionError("the forward returns no tensor; let it return the logits or log-probabilities")
    return form, tensors


def put_together(form: Any, tensors: Sequence[torch.Tensor]) -> Any:
    """As the author's forward returns them."""
    return _mapped(lambda each: tensors[each.index] if isinstance(each, Leaf) else each, form)


def chosen(returned: Any, output: Choice) -> Any:
    """One of the things that a forward returns; a single tensor is all there is."""
    if output is None or isinstance(returned, torch.Tensor):
        return returned
    try:
        return returned[output]
    except (LookupError, TypeError):
        raise ConversionError(f"output={output!r}, but the forward returns {described(returned)}") from None


def entries(returned: Any) -> list[tuple[int | str, Any]]:
    """The parts that `chosen` can choose, with their positions or keys."""
    if isinstance(returned, dict):
        return list(returned.items())
    return list(enumerate(returned)) if isinstance(returned, tuple | list) else []


def described(returned: Any) -> str:
    """In words, as ``a tuple of 2``."""
    if isinstance(returned, dict):
        return f"a dictionary of {', '.join(map(repr, returned))}"
    if isinstance(returned, tuple | list):
        return f"a {'list' if isinstance(returned, list) else 'tuple'} of {len(returned)}"
    return "one tensor"


def _mapped(function: Any, tree: Any) -> Any:
    if type(tree) in _CONTAINERS or hasattr(tree, "_fields"):
        parts = [_mapped(function, each) for each in _parts(tree)]
        if isinstance(tree, dict):
            return type(tree)(zip(tree, parts, strict=True))
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(tree)


def _parts(tree: Any) -> Iterator[Any]:
    return iter(tree.values() if isinstance(tree, dict) else tree)

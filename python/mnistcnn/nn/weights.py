"""Load weights into a model from state dicts, checkpoints and files of other code."""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn._internal.tables import first_names
from mnistcnn._internal.tensor_files import check_readable, read_safetensors

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

# Keys under which checkpoints hold the state dict, and prefixes that wrappers add to each name.
_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_COUNTER = "num_batches_tracked"


def load_weights(model: Model, weights: str | Path | Mapping[str, Any], *, by_order: bool = False) -> None:
    """Copy weights into a model, by their names.

    Parameters
    ----------
    model
        Model to change. It is unchanged if the weights do not fit.
    weights
        State dict, checkpoint that contains one (under ``"state_dict"``, ``"model_state_dict"``, ...), or path of a
        file written by ``torch.save`` or safetensors. Prefixes added by wrappers, such as ``module.``, are removed.
    by_order
        True: match the tensors by order instead of by name; their shapes must be equal. Default: False.

    Raises
    ------
    ValueError
        If the weights do not fit. The message lists missing, unexpected and differently shaped tensors.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import mnistcnn
    >>> model, other = (mnistcnn.create_model("budget_model3", seed=seed) for seed in (1, 2))
    >>> model.load_weights(other.state_dict()) is model
    True
    """
    state = _state_dict_of(_read(weights) if isinstance(weights, str | Path) else weights)
    expected = model.state_dict()
    state = _renamed_by_order(state, expected) if by_order else _without_prefix(state, expected)
    problems = _problems(state, expected)
    if problems:
        raise ValueError(f"the weights do not fit model '{model.name}': " + "; ".join(problems))
    with torch.no_grad():
        for name, tensor in expected.items():
            if name in state:
                tensor.copy_(state[name])


def _read(path: str | Path) -> Any:
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)[1]
    check_readable(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if found is None:
            raise OSError(f"{path} is damaged, or not a file of torch.save") from None
        raise OSError(
            f"{path} does not contain plain weights, but an object of the class {found[1]}; save model.state_dict() "
            "instead"
        ) from None
    except Exception as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise OSError(f"{path} does not contain plain weights: {reason}; save model.state_dict() instead") from None


def _tensor_of(value: Any) -> torch.Tensor | None:
    """Return a tensor, or an array of numbers as a tensor; None for any other object."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.as_tensor(value)
    return value if isinstance(value, torch.Tensor) else None


def _state_dict_of(weights: Any) -> dict[str, torch.Tensor]:
    """Return the state dict itself, or the one inside a checkpoint."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must be a state dict or the path of a file, got {type(weights).__name__}")
    for key in _STATE_DICT_KEYS:
        inner = weights.get(key)
        if isinstance(inner, Mapping) and any(isinstance(each, torch.Tensor | np.ndarray) for each in inner.values()):
            return _state_dict_of(inner)
    tensors = {str(name): _tensor_of(value) for name, value in weights.items()}
    state = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if not state:
        keys = ", ".join(map(repr, list(weights)[:8])) or "nothing"
        raise ValueError(f"the checkpoint contains no state dict, only {keys}")
    return state


def _without_prefix(state: dict[str, torch.Tensor], expected: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Remove prefixes that all names have in common, unless the names already match the model."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state) and not all(name in expected for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()}, expected)
    return state


def _renamed_by_order(state: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    given = [(name, tensor) for name, tensor in state.items() if not name.endswith(_COUNTER)]
    names = [name for name in expected if not name.endswith(_COUNTER)]
    if len(given) != len(names):
        raise ValueError(f"by_order=True: got {len(given)} tensors, but the model has {len(names)}")
    for (name, tensor), own in zip(given, names, strict=True):
        if tensor.shape != expected[own].shape:
            raise ValueError(
                f"by_order=True: '{name}' has shape {list(tensor.shape)}, but '{own}' has shape "
                f"{list(expected[own].shape)}; the order of the layers differs"
            )
    return {own: tensor for (_, tensor), own in zip(given, names, strict=True)}


def _problems(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Return a description of each mismatch, with a suggestion."""
    missing = [name for name in expected if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in expected]
    shapes = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    problems = [
        f"'{name}' has shape {list(state[name].shape)}, expected {list(expected[name].shape)}" for name in shapes[:4]
    ]
    if missing:
        problems.append(f"missing: {first_names([*map(repr, missing)], 6)}")
    if unexpected:
        problems.append(f"unexpected: {first_names([*map(repr, unexpected)], 6)}")
    for name in missing[:2]:
        close = difflib.get_close_matches(name, unexpected, n=1)
        if close and state[close[0]].shape == expected[name].shape:
            problems.append(f"'{close[0]}' may be '{name}'")
    shapes_match = [list(t.shape) for n, t in state.items() if not n.endswith(_COUNTER)] == [
        list(t.shape) for n, t in expected.items() if not n.endswith(_COUNTER)
    ]
    if problems and shapes_match:
        problems.append("all shapes match in order: use by_order=True to load them")
    return problems

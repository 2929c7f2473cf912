"""Weights that were saved by authors' own code."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

# Under which names checkpoints hold the weights, and what wrappers put in front of every name.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_COUNTER = "num_batches_tracked"


def load_weights(model: Model, weights: str | Path | Mapping[str, Any], *, by_order: bool = False) -> None:
    """Copies weights into a model, by their names.

    Parameters
    ----------
    model
        Takes them; nothing is changed if they don't fit.
    weights
        A state dict, a checkpoint that holds one (under ``"state_dict"``, ``"model_state_dict"``, ...), or a file
        written by ``torch.save`` or safetensors. Prefixes that wrappers leave, such as ``module.``, are taken off.
    by_order
        Where the names differ: tensor after tensor, each of the same shape.

    Raises
    ------
    ValueError
        When they don't fit: what is missing, unexpected, or of another shape.
    """
    state = _state_of(_read(weights) if isinstance(weights, str | Path) else weights)
    wanted = model.state_dict()
    state = _renamed_by_order(state, wanted) if by_order else _without_prefix(state, wanted)
    problems = _problems(state, wanted)
    if problems:
        raise ValueError(f"the weights don't fit '{model.name}': " + "; ".join(problems))
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name in state:
                tensor.copy_(state[name])


def _read(path: str | Path) -> Any:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise OSError(f"{path} is damaged or not a safetensors file: {error}") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise OSError(
            f"{path} holds no plain weights: {reason} (a whole pickled model is not read; its author saves "
            "model.state_dict())"
        ) from None


def _state_of(weights: Any) -> dict[str, torch.Tensor]:
    """The state dict itself, or the one in a checkpoint."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must be a state dict or a file with one, got {type(weights).__name__}")
    for key in _INSIDE:
        inner = weights.get(key)
        if isinstance(inner, Mapping) and any(isinstance(each, torch.Tensor) for each in inner.values()):
            return _state_of(inner)
    state = {str(name): value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    if not state:
        found = ", ".join(map(repr, list(weights)[:8])) or "nothing"
        raise ValueError(f"there is no state dict in the checkpoint, only {found}")
    return state


def _without_prefix(state: dict[str, torch.Tensor], wanted: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Takes off what a wrapper put in front of all names, as long as the names then fit better."""
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state) and not all(name in wanted for name in state):
            return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()}, wanted)
    return state


def _renamed_by_order(state: dict[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theirs = [(name, tensor) for name, tensor in state.items() if not name.endswith(_COUNTER)]
    ours = [name for name in wanted if not name.endswith(_COUNTER)]
    if len(theirs) != len(ours):
        raise ValueError(f"by order: there are {len(theirs)} tensors for the {len(ours)} of the model")
    for (name, tensor), own in zip(theirs, ours, strict=True):
        if tensor.shape != wanted[own].shape:
            raise ValueError(
                f"by order: '{name}' {list(tensor.shape)} meets '{own}' {list(wanted[own].shape)}; the layers come in "
                "another order"
            )
    return {own: tensor for (_, tensor), own in zip(theirs, ours, strict=True)}


def _problems(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """What doesn't fit, each with what may have been meant."""
    missing = [name for name in wanted if name not in state and not name.endswith(_COUNTER)]
    unexpected = [name for name in state if name not in wanted]
    shapes = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    problems = [f"'{name}' is {list(state[name].shape)}, not {list(wanted[name].shape)}" for name in shapes[:4]]
    if missing:
        problems.append(f"missing: {_listed(missing)}")
    if unexpected:
        problems.append(f"unexpected: {_listed(unexpected)}")
    for name in missing[:2]:
        close = difflib.get_close_matches(name, unexpected, n=1)
        if close and state[close[0]].shape == wanted[name].shape:
            problems.append(f"perhaps '{close[0]}' is '{name}'")
    same = [list(t.shape) for n, t in state.items() if not n.endswith(_COUNTER)] == [
        list(t.shape) for n, t in wanted.items() if not n.endswith(_COUNTER)
    ]
    if problems and same:
        problems.append("all shapes agree in order: by_order=True loads them so")
    return problems


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(f"'{name}'" for name in names[:6]) + more

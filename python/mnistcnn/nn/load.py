"""Read a model from the file that `Model.save` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.native import core
from mnistcnn._internal.tensor_files import read_tensors
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.model import Model
from mnistcnn.nn.save import MODEL

if TYPE_CHECKING:
    from mnistcnn.nn.graph import Row


def load_model(path: str | Path) -> Model:
    """Reads what `Model.save` wrote.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    OSError
        When it is damaged, or not a model of this package.
    """
    path = Path(path)
    description, tensors = read_tensors(path, MODEL)
    return model_from_description(path, description, tensors)


def model_from_description(path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Model:
    """The model that a file describes; ``path`` names it in an error."""
    try:
        rows = completed_nodes(description["nodes"])
        model = Model.from_rows(
            rows,
            description["input_shape"],
            seed=description["seed"],
            name=description["name"],
            normalization=normalization_from_description(description["normalization"]),
            shared=[(node, suffix, owner) for node, suffix, owner in description.get("shared", ())],
        )
        for name, tensor in model.state_dict().items():
            if name in tensors:  # a parameter of a converted module may have another shape than its layer
                tensors[name] = tensors[name].reshape(tensor.shape)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise OSError(f"{path}: its description and its weights don't make a model: {error}") from None
    return model


def normalization_from_description(values: dict[str, Any] | None) -> Normalization | None:
    """What `described_normalization` described."""
    return None if values is None else Normalization(values["mean"], values["std"])


def completed_nodes(nodes: Any) -> list[Row]:
    """Stored nodes as a model takes them; what their layers could not say yet when they were stored is as usual."""
    usual = core.layer_kinds()
    return [(name, op, inputs, usual.get(op, {}) | _tuples(fields)) for name, op, inputs, fields in nodes]


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

"""Read a model from a file written by `Model.save`."""

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
    """Read a model from a file written by `Model.save`.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    Model
        Model with the stored network, weights and normalization, in training mode.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    OSError
        If the file is damaged or is not a model of this package.

    Examples
    --------
    >>> import mnistcnn, tempfile
    >>> from pathlib import Path
    >>> model = mnistcnn.create_model("budget_model3", seed=1)
    >>> path = model.save(Path(tempfile.mkdtemp()) / "model.safetensors")
    >>> mnistcnn.load_model(path).parameter_count == model.parameter_count
    True
    """
    path = Path(path)
    description, tensors = read_tensors(path, MODEL)
    return model_from_description(path, description, tensors)


def model_from_description(path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Model:
    """Return the model of a description. ``path`` is the file to name in an error."""
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
        raise OSError(f"{path}: its description and weights are not a valid model: {error}") from None
    return model


def normalization_from_description(values: dict[str, Any] | None) -> Normalization | None:
    """Return the normalization of a description, or None."""
    return None if values is None else Normalization(values["mean"], values["std"])


def completed_nodes(nodes: Any) -> list[Row]:
    """Return stored nodes as rows of a model. Fields that older files lack get their defaults."""
    defaults = core.layer_kinds()
    return [(name, op, inputs, defaults.get(op, {}) | _tuples(fields)) for name, op, inputs, fields in nodes]


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists in fields to tuples, which JSON does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

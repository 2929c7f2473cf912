"""Read a model from a file written by `Model.save`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.checks import image_shape
from mnistcnn._internal.json_data import errors_naming, typed
from mnistcnn._internal.native import core
from mnistcnn._internal.tensor_files import read_tensors
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.class_names import checked
from mnistcnn.nn.model import Model
from mnistcnn.nn.save import MODEL, ModelData, NormalizationData

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
        Model with the stored network, weights, normalization, class names and frozen parameters, in training mode.

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
    with errors_naming(f"{path}: its description is not that of a model", OSError):
        data: ModelData = typed(description, ModelData, "model")
    return model_from_description(path, data, tensors)


def model_from_description(path: Path, description: ModelData, tensors: dict[str, torch.Tensor]) -> Model:
    """Return the model of a description. ``path`` is the file to name in an error."""
    try:
        _check_indices(description)
        rows, shape = completed_nodes(description["nodes"]), image_shape("input_shape", description["input_shape"])
        shared = description.get("shared", [])
        _check_sizes(core.Network(input_shape=list(shape), nodes=rows, shared=shared), tensors)
        model = Model.from_rows(
            rows,
            shape,
            seed=description["seed"],
            name=description["name"],
            normalization=normalization_from_description(description["normalization"]),
            shared=shared,
        )
        for name, tensor in model.state_dict().items():
            if name in tensors:  # a parameter of a converted module may have another shape than its layer
                tensors[name] = tensors[name].reshape(tensor.shape)
        model.load_state_dict(tensors)
        if "class_names" in description:
            model.class_names = checked(description["class_names"], model)
        _freeze(model, description.get("frozen", []))
    except (TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise OSError(f"{path}: its description and weights are not a valid model: {error}") from None
    return model


def _freeze(model: Model, names: list[str]) -> None:
    """Exclude parameters from training."""
    parameters = dict(model.named_parameters())
    for name in names:
        if name not in parameters:
            raise ValueError(f"the frozen parameter {name!r} does not exist")
        parameters[name].requires_grad_(False)


def _check_indices(description: ModelData) -> None:
    """Raise ValueError unless each node refers to earlier nodes; the core accepts no integers of more than 64 bits."""
    for number, (name, _, inputs, _) in enumerate(description["nodes"]):
        for index in inputs:
            if not -1 <= index < number:
                raise ValueError(f"node {name!r}: input {index} must be an earlier node, or -1 for the image")
    for node, suffix, owner in description.get("shared", ()):
        if not 0 <= owner < node < len(description["nodes"]):
            raise ValueError(f"the shared tensor {suffix!r} of node {node} must belong to an earlier node, got {owner}")


def _check_sizes(network: core.Network, tensors: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless the file has the tensors of the network; called before memory is allocated for them."""
    for name, shape, _, _ in [*network.parameter_specs, *network.buffer_specs]:
        if name not in tensors:
            raise ValueError(f"the tensor {name!r} is missing")
        if tensors[name].numel() != math.prod(shape):
            raise ValueError(f"the tensor {name!r} has the shape {list(tensors[name].shape)}, expected {list(shape)}")


def normalization_from_description(values: NormalizationData | None) -> Normalization | None:
    """Return the normalization of a description, or None."""
    return None if values is None else Normalization(tuple(values["mean"]), tuple(values["std"]))


def completed_nodes(nodes: Any) -> list[Row]:
    """Return stored nodes as rows of a model. Fields that older files lack get their defaults."""
    defaults = core.layer_kinds()
    return [(name, op, inputs, defaults.get(op, {}) | _tuples(fields)) for name, op, inputs, fields in nodes]


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists in fields to tuples, which JSON does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

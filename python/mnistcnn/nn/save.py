"""Write a model to one safetensors file: network, weights, normalization, class names and frozen parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from torch import nn

from mnistcnn._internal.suffixes import check_suffix
from mnistcnn._internal.tensor_files import FileFormat, cpu_copies, digest_of, write_tensors
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.class_names import class_names

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

MODEL = FileFormat("mnistcnn model", 1, "model", "Model.save")


class NormalizationData(TypedDict):
    """Normalization in a description."""

    mean: list[float]
    std: list[float]


class _RequiredData(TypedDict):
    name: str
    seed: int
    input_shape: list[int]
    nodes: list[tuple[str, str, list[int], dict[str, Any]]]
    normalization: NormalizationData | None


class ModelData(_RequiredData, total=False):
    """Types of the fields of a model's description in a file."""

    shared: list[tuple[int, str, int]]
    class_names: list[str]  # without them, the names are numbers
    frozen: list[str]  # parameters that do not require gradients; older files do not have them


def save_model(model: Model, path: str | Path) -> Path:
    """Write a model to a file. An existing file is replaced atomically."""
    path = check_suffix(path, ".safetensors")
    with model._lock:  # a training run of another thread may write the weights
        description, tensors = model_description(model), cpu_copies(model.state_dict())
    return write_tensors(path, MODEL, description, tensors)


def model_description(model: Model) -> dict[str, Any]:
    """Return everything but the tensors of a model, as plain data."""
    return {
        "name": model.name,
        "seed": model.seed,
        "input_shape": model.input_shape,
        "nodes": model.rows,
        **({"shared": model.shared} if model.shared else {}),
        "normalization": normalization_description(model.normalization),
        **({} if model.class_names is None else {"class_names": class_names(model)}),
        "frozen": frozen(model),
    }


def frozen(model: nn.Module) -> list[str]:
    """Return the names of the parameters that do not require gradients."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def content_digest(model: Model) -> str:
    """Return a SHA-256 digest of a model's network, normalization and weights."""
    ignored = ("name", "seed", "class_names", "frozen")
    description = {name: each for name, each in model_description(model).items() if name not in ignored}
    return digest_of(json.dumps(description), cpu_copies(model.state_dict()))


def normalization_description(normalization: Normalization | None) -> dict[str, Any] | None:
    """Return a normalization as plain data."""
    return None if normalization is None else {"mean": normalization.mean, "std": normalization.std}

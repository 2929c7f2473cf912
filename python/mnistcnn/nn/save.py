"""Write a model to one safetensors file: network, weights and normalization."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.tensor_files import FileFormat, cpu_copies, digest_of, write_tensors
from mnistcnn.data.normalization import Normalization

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

MODEL = FileFormat("mnistcnn model", 1, "model", "Model.save")


def save_model(model: Model, path: str | Path) -> Path:
    """Writes a model; an existing file is replaced in one moment, and kept if anything fails before."""
    with model._lock:  # not while a training run of another thread writes the weights
        description, tensors = model_description(model), cpu_copies(model.state_dict())
    return write_tensors(Path(path), MODEL, description, tensors)


def model_description(model: Model) -> dict[str, Any]:
    """Everything of a model but its tensors, as plain data."""
    return {
        "name": model.name,
        "seed": model.seed,
        "input_shape": model.input_shape,
        "nodes": model.rows,
        **({"shared": model.shared} if model.shared else {}),
        "normalization": normalization_description(model.normalization),
    }


def content_digest(model: Model) -> str:
    """SHA-256 of what a model computes: network, normalization and weights, under whatever name."""
    description = {name: each for name, each in model_description(model).items() if name not in ("name", "seed")}
    return digest_of(json.dumps(description), cpu_copies(model.state_dict()))


def normalization_description(normalization: Normalization | None) -> dict[str, Any] | None:
    """As plain data."""
    return None if normalization is None else {"mean": normalization.mean, "std": normalization.std}

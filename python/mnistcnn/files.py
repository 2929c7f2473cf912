"""Models on disk: one safetensors file each, network and weights, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn.atomic import write_whole
from mnistcnn.normalization import Normalization

if TYPE_CHECKING:
    from mnistcnn.model import Model

FORMAT, VERSION = "mnistcnn model", 1


def save_model(model: Model, path: str | Path) -> Path:
    """Writes a model; an existing file is replaced in one moment, and kept if anything fails before."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    normalization = model.normalization
    description = {
        "name": model.name,
        "seed": model.seed,
        "input_shape": model.input_shape,
        "nodes": model.rows,
        "normalization": normalization and {"mean": normalization.mean, "std": normalization.std},
    }
    text = json.dumps(description)
    header = {"format": FORMAT, "version": str(VERSION), "model": text, "digest": _digest(text, tensors)}
    return write_whole(Path(path), save(tensors, header))


def load_model(path: str | Path) -> Model:
    """Reads what `Model.save` wrote.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    OSError
        When it is damaged, or not a model of this package.
    """
    from mnistcnn.model import Model

    path = Path(path)
    text, tensors = _read(path)
    try:
        description = json.loads(text)
        values = description["normalization"]
        rows = [(name, op, inputs, _tuples(fields)) for name, op, inputs, fields in description["nodes"]]
        model = Model.from_rows(
            rows,
            description["input_shape"],
            seed=description["seed"],
            name=description["name"],
            normalization=values and Normalization(values["mean"], values["std"]),
        )
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise OSError(f"{path}: its description and its weights don't make a model: {error}") from None
    return model


def _read(path: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """The description as JSON, and the weights."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} is damaged or not a safetensors file: {error}") from None
    if header.get("format") != FORMAT:
        raise OSError(f"{path} holds tensors, but no mnistcnn model; Model.save writes such files")
    if header.get("version") != str(VERSION):
        raise OSError(f"{path} has format version {header.get('version')}; this mnistcnn reads version {VERSION}")
    text = header.get("model", "")
    if header.get("digest") != _digest(text, tensors):
        raise OSError(f"{path} is damaged: its content is not what was written")
    return text, tensors


def _digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

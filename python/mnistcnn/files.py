"""Models on disk: one safetensors file each, network and weights, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._native import core
from mnistcnn.atomic import write_whole
from mnistcnn.normalization import Normalization

if TYPE_CHECKING:
    from mnistcnn.graph import Row
    from mnistcnn.model import Model


@dataclass(frozen=True)
class Kind:
    """A kind of file: a name, a version, and under which name the header holds the description."""

    name: str
    version: int
    key: str
    maker: str


MODEL = Kind("mnistcnn model", 1, "model", "Model.save")


def save_model(model: Model, path: str | Path) -> Path:
    """Writes a model; an existing file is replaced in one moment, and kept if anything fails before."""
    with model._lock:  # not while a training run of another thread writes the weights
        description, tensors = described_model(model), _stored(model.state_dict())
    return write_tensors(Path(path), MODEL, description, tensors)


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
    return made_model(path, description, tensors)


def described_model(model: Model) -> dict[str, Any]:
    """Everything of a model but its tensors, as plain data."""
    return {
        "name": model.name,
        "seed": model.seed,
        "input_shape": model.input_shape,
        "nodes": model.rows,
        **({"shared": model.shared} if model.shared else {}),
        "normalization": described_normalization(model.normalization),
    }


def content_digest(model: Model) -> str:
    """SHA-256 of what a model computes: network, normalization and weights, under whatever name."""
    description = {name: each for name, each in described_model(model).items() if name not in ("name", "seed")}
    return _digest(json.dumps(description), _stored(model.state_dict()))


def described_normalization(normalization: Normalization | None) -> dict[str, Any] | None:
    """As plain data."""
    return None if normalization is None else {"mean": normalization.mean, "std": normalization.std}


def made_normalization(values: dict[str, Any] | None) -> Normalization | None:
    """What `described_normalization` described."""
    return None if values is None else Normalization(values["mean"], values["std"])


def made_model(path: Path, description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Model:
    """The model that a file describes; ``path`` names it in an error."""
    from mnistcnn.model import Model

    try:
        rows = completed(description["nodes"])
        model = Model.from_rows(
            rows,
            description["input_shape"],
            seed=description["seed"],
            name=description["name"],
            normalization=made_normalization(description["normalization"]),
            shared=[(node, suffix, owner) for node, suffix, owner in description.get("shared", ())],
        )
        for name, tensor in model.state_dict().items():
            if name in tensors:  # a parameter of a converted module may have another shape than its layer
                tensors[name] = tensors[name].reshape(tensor.shape)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise OSError(f"{path}: its description and its weights don't make a model: {error}") from None
    return model


def write_tensors(path: Path, kind: Kind, description: Any, tensors: Mapping[str, torch.Tensor]) -> Path:
    """One safetensors file, whole or not at all, with a digest of all it holds."""
    from safetensors.torch import save

    text = json.dumps(description)
    plain = _stored(tensors)
    header = {"format": kind.name, "version": str(kind.version), kind.key: text, "digest": _digest(text, plain)}
    return write_whole(path, save(plain, header))


def read_tensors(path: Path, kind: Kind) -> tuple[Any, dict[str, torch.Tensor]]:
    """The description and the tensors that `write_tensors` wrote; OSError for a damaged file or another kind."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} is damaged or not a safetensors file: {error}{_torch_hint(path)}") from None
    if header.get("format") != kind.name:
        raise OSError(f"{path} holds tensors, but no {kind.name}; {kind.maker} writes such files")
    if header.get("version") != str(kind.version):
        raise OSError(f"{path} has format version {header.get('version')}; this mnistcnn reads version {kind.version}")
    text = header.get(kind.key, "")
    if header.get("digest") != _digest(text, tensors):
        raise OSError(f"{path} is damaged: its content is not what was written")
    try:
        return json.loads(text), tensors
    except ValueError as error:
        raise OSError(f"{path}: its description and its weights don't make a {kind.key}: {error}") from None


def _stored(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies, so that what is written does not change meanwhile and agrees with its digest."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _torch_hint(path: Path) -> str:
    """What to do with a file that looks as if torch.save wrote it."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return ""
    if start != b"PK\x03\x04":
        return ""
    return f"; it looks like a file of torch.save, and a model's load_weights({str(path)!r}) reads those"


def _digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def completed(nodes: Any) -> list[Row]:
    """Stored nodes as a model takes them; what their layers could not say yet when they were stored is as usual."""
    usual = core.layer_kinds()
    return [(name, op, inputs, usual.get(op, {}) | _tuples(fields)) for name, op, inputs, fields in nodes]


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

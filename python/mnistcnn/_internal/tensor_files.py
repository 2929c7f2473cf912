"""Safetensors files with a description in JSON and a SHA-256 digest, written atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.json_data import errors_naming, parsed, typed


@dataclass(frozen=True)
class FileFormat:
    """Kind of file, as identified in the safetensors header."""

    name: str
    version: int
    key: str  # of the description in the header
    writer: str  # function that writes such files, for error messages


def write_tensors(path: Path, kind: FileFormat, description: Any, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write tensors and a description (JSON data) to a safetensors file atomically, with a digest of both."""
    from safetensors.torch import save

    text = json.dumps(description)
    plain = cpu_copies(tensors)
    header = {"format": kind.name, "version": str(kind.version), kind.key: text, "digest": digest_of(text, plain)}
    return write_whole(path, save(plain, header))


def read_tensors(path: Path, kind: FileFormat) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return the description and the tensors of a file that `write_tensors` wrote.

    Raises
    ------
    OSError
        If the file is missing, damaged, or of another kind or version.
    """
    header, tensors = read_safetensors(path)
    if header.get("format") != kind.name:
        raise OSError(f"{path} is a safetensors file, but not a {kind.name}; {kind.writer} writes such files")
    if header.get("version") != str(kind.version):
        raise OSError(f"{path} has format version {header.get('version')}; this mnistcnn reads version {kind.version}")
    text = header.get(kind.key, "")
    if header.get("digest") != digest_of(text, tensors):
        raise OSError(
            f"{path} is damaged: the digest of its content does not match the one in its header; copy it again, or use "
            "a backup"
        )
    with errors_naming(f"{path}: the description of the {kind.key}", OSError):
        return parsed(text), tensors


def check_readable(path: Path) -> None:
    """Raise OSError unless the path is that of a regular file."""
    if not path.exists():
        raise FileNotFoundError(f"file {path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name a file in it")
    if not path.is_file():  # reading a pipe would wait for a writer
        raise OSError(f"{path} is a device or a pipe; name a regular file")


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the metadata and the tensors of any safetensors file; raise OSError if it is damaged.

    The file is read by Python, since the functions of safetensors that open a file accept only paths in UTF-8.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_readable(path)
    content = path.read_bytes()
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        header = typed(parsed(content[8 : 8 + length]).get("__metadata__"), dict[str, str] | None, "__metadata__")
    except (SafetensorError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        raise OSError(f"{path} is damaged or not a safetensors file: {error}{_torch_hint(content, path)}") from None
    return header or {}, tensors


def cpu_copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies on the CPU, so that the tensors cannot change between the digest and the write."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def digest_of(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)  # releases the GIL
    return digest.hexdigest()


def _torch_hint(content: bytes, path: Path) -> str:
    """Return a hint for an error message if the file looks like one that torch.save wrote, otherwise ""."""
    if not content.startswith(b"PK\x03\x04"):
        return ""
    return f"; it looks like a file of torch.save: read it with model.load_weights({str(path)!r})"

"""Suffixes of the files to which models are written."""

from __future__ import annotations

from pathlib import Path

_STATE_DICT = "write a PyTorch file with torch.save(model.to_torch().state_dict(), path)"
# Suffixes of other formats -> how to write a model in this format; "" if there is no such function
_FORMATS = {
    ".safetensors": "write this format with model.save(path)",
    ".onnx": "write this format with mnistcnn.export_onnx(model, path)",
    ".h": "write this format with mnistcnn.export_c(model, path)",
    ".html": "write this format with mnistcnn.export_html(model, path)",
    **dict.fromkeys((".pt", ".pth"), _STATE_DICT),
    **dict.fromkeys((".c", ".h5", ".keras", ".pkl", ".npz", ".json", ".csv", ".txt", ".png", ".svg", ".pdf"), ""),
}


def check_suffix(path: str | Path, *allowed: str) -> Path:
    """Return a path. Raise ValueError if its suffix is that of another format than ``allowed``.

    Other suffixes, which may be part of a name such as ``net-1.0``, and no suffix are accepted.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _FORMATS and suffix not in allowed:
        hint = f"; {_FORMATS[suffix]}" if _FORMATS[suffix] else ""
        raise ValueError(f"path must not have the suffix of another format, got {str(path)!r}; use {allowed[0]}{hint}")
    return path

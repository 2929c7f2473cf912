"""Files to which commands save and export models. Without --overwrite, an existing file is never replaced."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mnistcnn._internal.suffixes import check_suffix
from mnistcnn.cli.options import check_writable

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


def check_model_path(path: Path | None, *, option: str) -> None:
    """Raise typer.BadParameter unless a model can be saved to ``path``. Called before any work."""
    check_writable(path, option=option)
    if path is not None:
        try:
            check_suffix(path, ".safetensors")
        except ValueError:
            raise typer.BadParameter(
                f"it must name a .safetensors file, got {path}; mnistcnn export writes other formats",
                param_hint=f"'{option}'",
            ) from None


def check_new(path: Path | None, *, option: str, overwrite: bool) -> None:
    """Raise typer.BadParameter if a file that the user named exists, unless it may be overwritten."""
    if path is not None and os.path.lexists(path) and not overwrite:
        raise typer.BadParameter(
            f"{path} already exists; pass --overwrite to replace it, or another name", param_hint=f"'{option}'"
        )


def save_model(model: Model, path: Path, *, overwrite: bool = False) -> Path:
    """Save a model to ``path``, or under a numbered name if that file exists, and return the path of the file.

    Parameters
    ----------
    model
        Model to save.
    path
        File to write. If ``net.safetensors`` exists, ``net-2.safetensors`` is written, or the next free number.
    overwrite
        Whether to replace an existing file instead.
    """
    if overwrite:
        return model.save(path)
    path = _created(path)
    try:
        return model.save(path)
    except BaseException:
        path.unlink()
        raise


def interrupted_name(path: Path) -> Path:
    """Return the name for the model of an interrupted run, such as ``net-interrupted.safetensors``."""
    return path.with_stem(f"{path.stem}-interrupted")


def _created(path: Path) -> Path:
    """Create an empty file with the first free name, so that no other process uses the same name, and return it."""
    for number in count(1):
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            os.close(os.open(free, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        return free
    raise AssertionError

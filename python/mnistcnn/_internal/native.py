"""Imports the compiled core, beside a torch it was built for, or says in one sentence why that can't be."""

from __future__ import annotations

import torch

from mnistcnn._built_with import TORCH_VERSION


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_torch(installed: str, built_with: str = TORCH_VERSION) -> None:
    """Refuses another minor version of torch: its C++ interface is another one."""
    if _minor(installed) != _minor(built_with):
        wanted = _minor(built_with)
        raise ImportError(
            f"mnistcnn was built with torch {built_with}, but torch {installed} is installed; install "
            f"torch=={wanted}.*, or build mnistcnn for the installed one: "
            "pip install --no-build-isolation . (in its source folder)"
        )


check_torch(torch.__version__)

from mnistcnn import _core as core  # noqa: E402

__all__ = ["core"]

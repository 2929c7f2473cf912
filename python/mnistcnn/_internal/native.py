"""Import the compiled core, after a check that the installed torch is compatible with it."""

from __future__ import annotations

import atexit
import os

import torch

from mnistcnn._built_with import TORCH_VERSION


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_torch(installed: str, built_with: str = TORCH_VERSION) -> None:
    """Raise ImportError unless the minor versions are equal, because torch's C++ interface differs between them."""
    if _minor(installed) != _minor(built_with):
        wanted = _minor(built_with)
        raise ImportError(
            f"mnistcnn was built for torch {wanted}, but torch {installed} is installed. Install a compatible torch: "
            f'pip install "torch=={wanted}.*". Or build mnistcnn for the installed torch: '
            "pip install --force-reinstall --no-deps . (in its source directory)"
        )


check_torch(torch.__version__)

from mnistcnn import _core as core  # noqa: E402
from mnistcnn._core import DivergedError  # noqa: E402

# A daemon thread may train when the interpreter exits. Its run ends after the current step.
_MAX_WAIT = 10.0  # seconds
atexit.register(core.end_native_calls, seconds=_MAX_WAIT)
os.register_at_fork(after_in_child=core.forget_native_calls)

__all__ = ["DivergedError", "core"]

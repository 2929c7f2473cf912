"""What can't be converted, said with its place in the author's source."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

import torch

ENTRANCE = "_run_forward"  # the function of ours that calls the author's forward
_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)
_CELL = "cell"


class ConversionError(ValueError):
    """A PyTorch module that mnistcnn can't run, and why."""


class RefusalError(Exception):
    """The reason why one operation can't be expressed; it matters only if the outputs depend on that operation."""

    where: str | None = None  # the author's line, once it is known
    value: Any = None  # the same numbers in the same order, where only their shape can't be expressed
    stacked: Any = None  # the values of a stack in front of the images, which a reduction may follow


class DirectParameterError(RefusalError):
    """A parameter outside of a layer. A sum or a product with it can be expressed; anything else is refused so."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"it computes with the parameter '{name}' directly; outside of layers mnistcnn knows x * parameter, "
            "x + parameter and x - parameter, for one number, one for each channel, or one for each number of an image"
        )
        self.name, self.shape = name, shape

    def seen_as(self, shape: tuple[int, ...]) -> DirectParameterError:
        """The same numbers in another shape."""
        return DirectParameterError(self.name, shape)


class ForwardError(Exception):
    """An author's forward failed by itself: with which exception, where, on how many images, after how many nodes."""

    def __init__(self, cause: Exception, images: int, nodes: int = 0) -> None:
        super().__init__(str(cause))
        self.cause, self.images, self.nodes = cause, images, nodes

    @property
    def where(self) -> str:
        """The author's line, the innermost one."""
        found, trace = "", self.cause.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if not _is_machinery(file):
                found = _line(file, trace.tb_lineno)
            trace = trace.tb_next
        return found

    def described(self) -> str:
        """The exception in one line."""
        text: str = str(self.cause).strip().split("\n", maxsplit=1)[0]
        return f"{type(self.cause).__name__}: {text}"


def source_line() -> str:
    """The author's line that is being executed, as ``net.py:33: x = self.rnn(x)``; empty outside of their code."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            if frame.f_code.co_name == ENTRANCE:
                return ""
        elif not _is_machinery(file):
            return _line(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _is_machinery(file: str) -> bool:
    """Whether a file is PyTorch's, Python's or ours."""
    return file.startswith((_TORCH, _OURS, "<frozen"))


def _line(file: str, number: int) -> str:
    text = linecache.getline(file, number).strip()
    name = _CELL if _is_cell(file) else Path(file).name
    return f"{name}:{number}: {text}" if text else f"{name}:{number}"


def _is_cell(file: str) -> bool:
    """Whether it is the temporary file that a notebook keeps of a cell."""
    return "ipykernel_" in file or file.startswith("<ipython-input")

"""Errors of a conversion, with the line of the user's source that caused them."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

import torch

FORWARD_RUNNER = "_run_forward"  # function in recorder.py that calls the `forward` of the user's module
_TORCH_FOLDER = str(Path(torch.__file__).parent)
_CONVERT_FOLDER = str(Path(__file__).parent)
_CELL = "cell"


class ConversionError(ValueError):
    """PyTorch module that mnistcnn cannot convert.

    The message states the operation, its line in the user's source, and what to do.
    """


class UnsupportedError(Exception):
    """Reason why an operation is not supported.

    It becomes a `ConversionError` only if the outputs depend on the operation.
    """

    location: str | None = None  # line of the user's source, once known
    value: Any = None  # the value, if only its shape is not supported
    stacked: Any = None  # values stacked along dimension 0; a reduction over it is supported


class DirectParameterError(UnsupportedError):
    """Parameter that ``forward`` uses outside of a layer.

    Only sums and products of such a parameter and a value are supported. Any other operation raises this error.
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"it uses the parameter '{name}' directly; outside layers, mnistcnn supports x * parameter, x + parameter "
            "and x - parameter only, with one value, one per channel, or one per element of an image"
        )
        self.name, self.shape = name, shape

    def reshaped(self, shape: tuple[int, ...]) -> DirectParameterError:
        """Return the error for a view of the parameter with this shape."""
        return DirectParameterError(self.name, shape)


class ForwardError(Exception):
    """Exception that the user's ``forward`` raised.

    Holds the exception, the number of images in the batch, and the number of nodes recorded before it.
    """

    def __init__(self, cause: Exception, images: int, nodes: int = 0) -> None:
        super().__init__(str(cause))
        self.cause, self.images, self.nodes = cause, images, nodes

    @property
    def location(self) -> str:
        """Innermost line of the user's source in the traceback."""
        found, trace = "", self.cause.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if not _is_library_file(file):
                found = _line(file, trace.tb_lineno)
            trace = trace.tb_next
        return found

    def describe(self) -> str:
        """Return the type of the exception and the first line of its message."""
        text: str = str(self.cause).strip().split("\n", maxsplit=1)[0]
        return f"{type(self.cause).__name__}: {text}"


def source_line() -> str:
    """Return the current line of the user's source, as ``net.py:33: x = self.rnn(x)``, or an empty string."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_CONVERT_FOLDER):
            if frame.f_code.co_name == FORWARD_RUNNER:
                return ""
        elif not _is_library_file(file):
            return _line(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _is_library_file(file: str) -> bool:
    """Return whether a file belongs to PyTorch, to Python or to this package."""
    return file.startswith((_TORCH_FOLDER, _CONVERT_FOLDER, "<frozen"))


def _line(file: str, number: int) -> str:
    text = linecache.getline(file, number).strip()
    name = _CELL if _is_cell(file) else Path(file).name
    return f"{name}:{number}: {text}" if text else f"{name}:{number}"


def _is_cell(file: str) -> bool:
    """Return whether a file is the temporary file of a notebook cell."""
    return "ipykernel_" in file or file.startswith("<ipython-input")

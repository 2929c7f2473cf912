"""Selection of the engine of a network, and the warnings and errors of a network that cannot run in it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from mnistcnn._internal.checks import choice, whole_number
from mnistcnn._internal.native import core

if TYPE_CHECKING:
    import torch

    from mnistcnn.nn.engine_rule import Violation

ENGINES = ("auto", "lanes", "aten")
_WARNED_REASONS: set[str] = set()


class EngineWarning(UserWarning):
    """Warning that a network falls back from the `lanes` engine to `aten`, or from an engine to PyTorch."""


def refused_run(name: str, violation: Violation) -> ValueError:
    """Return the error for a native run that would not compute the same as the layers."""
    return ValueError(
        f"model '{name}' cannot run in mnistcnn's engine: {violation.reason}. Undo the change, or call the model in "
        "your own training loop, where it falls back to PyTorch"
    )


def warn_of_torch(name: str, reason: str, *, stacklevel: int) -> None:
    """Warn that a model falls back to PyTorch."""
    warnings.warn(
        f"model '{name}' runs in PyTorch, not in mnistcnn's engine: {reason}", EngineWarning, stacklevel=stacklevel
    )


def choose_engine(network: core.Network, kind: str, device: torch.device) -> str:
    """Return the engine to use: "lanes" or "aten".

    "auto" selects lanes on the CPU if it supports the network. Otherwise it selects aten; on the CPU it warns once for
    each reason.
    """
    choice("engine", kind, ENGINES)
    if kind != "auto":
        return kind
    if device.type != "cpu":
        return "aten"
    reason = core.lanes_unsupported_reason(network)
    if reason is None:
        return "lanes"
    if reason not in _WARNED_REASONS:
        _WARNED_REASONS.add(reason)
        warnings.warn(
            f"lanes does not support this network: {reason}; falling back to the slower aten engine",
            EngineWarning,
            stacklevel=3,
        )
    return "aten"


def thread_count(threads: int | None) -> int:
    """Return the core's number of threads, in which 0 means one per physical core."""
    return 0 if threads is None else whole_number("threads", threads, maximum=1024)

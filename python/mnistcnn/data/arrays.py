"""Arrays of all kinds as tensors, on the same memory wherever that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def as_tensor(array: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    """The same memory as a tensor. It will only be read, so that read-only arrays are welcome."""
    if isinstance(array, torch.Tensor):
        return array
    array = np.asarray(array)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.flags.writeable:
        return torch.from_numpy(array)
    interface = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}
    return torch.from_numpy(np.asarray(_Memory(interface, array)))


class _Memory:
    """Memory of an array, handed on without its read-only mark."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self._owner = owner

"""Conversion of NumPy arrays to tensors without copying where possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def as_tensor(array: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    """Return a tensor that shares the memory of an array.

    Only arrays that are not C-contiguous or not in native byte order are copied. The array may be read-only, so the
    caller must not write to the tensor.
    """
    if isinstance(array, torch.Tensor):
        return array
    array = np.asarray(array)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.flags.writeable:
        return torch.from_numpy(array)
    interface = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}
    return torch.from_numpy(np.asarray(_WritableView(interface, array)))


class _WritableView:
    """Array interface without the read-only flag, because ``torch.from_numpy`` warns about read-only arrays."""

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self._owner = owner

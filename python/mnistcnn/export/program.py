"""A model as a list of calls of primitive operations on one array of floats.

Both generators, C and HTML, write a program as it is: each primitive is a function of `primitives.c` and of
`network.js` with the same name and the same arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # f32 weights, or i32 indices
Argument: TypeAlias = int | float | Array


@dataclass(frozen=True)
class Tensor:
    """Values of one image at one place of the network. Tensors are compared by identity.

    Parameters
    ----------
    size
        Number of floats.
    """

    size: int

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(frozen=True)
class Operation:
    """One operation of a network. `placed` assigns memory to its tensors, which makes it a `Call` of a primitive.

    Parameters
    ----------
    primitive
        Name of the function.
    inputs
        Tensors that it reads.
    output
        Tensor that it writes. Several operations may write parts of one tensor.
    arguments
        Arguments after the addresses of the tensors.
    in_place
        Whether the function takes one address for its first input and its output.
    offset
        Position of the first float that it writes in the output.
    """

    primitive: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    arguments: tuple[Argument, ...]
    in_place: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Call:
    """One call of a primitive, with the positions of its tensors in the working memory."""

    primitive: str
    offsets: tuple[int, ...]  # of the inputs, then of the output; in place: of the tensor, then of the other inputs
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Program:
    """Calls that compute the outputs of a model for one image."""

    name: str  # of the model
    input_shape: tuple[int, int, int]
    scale: tuple[float, ...]  # of each channel: value = pixel * scale + shift
    shift: tuple[float, ...]
    calls: tuple[Call, ...]
    memory: int  # floats of working memory
    image: int  # position of the normalized image in the working memory
    output: int  # position of the outputs in the working memory
    output_size: int
    outputs: str  # "logits", "log_probabilities" or "probabilities"
    macs: int
    parameters: int

    @property
    def arrays(self) -> list[Array]:
        """Arrays of constants, without repetition."""
        found: dict[tuple[str, bytes], Array] = {}
        for call in self.calls:
            for each in call.arguments:
                if isinstance(each, np.ndarray):
                    found.setdefault(key_of(each), each)
        return list(found.values())


def key_of(array: Array) -> tuple[str, bytes]:
    """Return a key that is equal for arrays of equal dtype and elements."""
    return array.dtype.str, array.tobytes()


@dataclass(frozen=True)
class Placement:
    """Calls with positions in the working memory."""

    calls: tuple[Call, ...]
    memory: int  # floats of working memory
    image: int  # position of the image
    output: int  # position of the output


def placed(operations: Sequence[Operation], image: Tensor, output: Tensor) -> Placement:
    """Assign memory to all tensors. Tensors that are never needed at the same time share it."""
    operations, storage = _in_place(operations, image, output)
    first, last = _lifetimes(operations, storage, image, output)
    offsets = _offsets(first, last)
    calls = []
    for operation in operations:
        starts = [offsets[storage[each]] for each in operation.inputs]
        if not operation.in_place:
            starts.append(offsets[storage[operation.output]] + operation.offset)
        calls.append(Call(operation.primitive, tuple(starts), operation.arguments))
    memory = max(offset + tensor.size for tensor, offset in offsets.items())
    return Placement(tuple(calls), memory, offsets[storage[image]], offsets[storage[output]])


def _in_place(
    operations: Sequence[Operation], image: Tensor, output: Tensor
) -> tuple[list[Operation], dict[Tensor, Tensor]]:
    """Return the operations, and for each tensor the one whose memory it uses.

    The output of an in-place operation uses the memory of its first input. If a later operation reads that input, it is
    copied first.
    """
    last_read = {each: index for index, operation in enumerate(operations) for each in operation.inputs}
    last_read[output] = len(operations)
    storage, result = {image: image}, []
    for index, operation in enumerate(operations):
        storage.setdefault(operation.output, operation.output)
        if operation.in_place:
            before = operation.inputs[0]
            readers = [each for each, owner in storage.items() if owner is storage[before]]
            repeated = before in operation.inputs[1:]
            if repeated or any(last_read.get(each, -1) > index for each in readers):
                result.append(Operation("copy", (before,), operation.output, (before.size,)))
                inputs = (operation.output, *operation.inputs[1:])
                operation = Operation(operation.primitive, inputs, operation.output, operation.arguments, True)
            else:
                storage[operation.output] = storage[before]
        result.append(operation)
    return result, storage


def _lifetimes(
    operations: Sequence[Operation], storage: dict[Tensor, Tensor], image: Tensor, output: Tensor
) -> tuple[dict[Tensor, int], dict[Tensor, int]]:
    """Return the indices of the first and of the last operation that use each memory range."""
    first, last = {storage[image]: -1}, {storage[image]: -1}
    for index, operation in enumerate(operations):
        for each in (*operation.inputs, operation.output):
            first.setdefault(storage[each], index)
            last[storage[each]] = index
    last[storage[output]] = len(operations)
    return first, last


def _offsets(first: dict[Tensor, int], last: dict[Tensor, int]) -> dict[Tensor, int]:
    """Return the position of each memory range: large ranges first, each at the lowest free position."""
    offsets: dict[Tensor, int] = {}
    for tensor in sorted(first, key=lambda each: -each.size):
        busy = sorted(
            (offset, offset + other.size)
            for other, offset in offsets.items()
            if first[other] <= last[tensor] and first[tensor] <= last[other]
        )
        position = 0
        for begin, end in busy:
            if begin - position >= tensor.size:
                break
            position = max(position, end)
        offsets[tensor] = position
    return offsets

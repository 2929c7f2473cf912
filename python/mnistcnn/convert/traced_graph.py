"""Graph of a module's ``forward``, recorded by a conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistcnn.convert.outputs import SINGLE_TENSOR
from mnistcnn.convert.side_effects import SideEffect
from mnistcnn.nn.engine_rule import Reads
from mnistcnn.nn.graph import Row, Shared


@dataclass(frozen=True)
class TracedGraph:
    """Graph of a ``forward`` method, and the other results of the two traces: reads, side effects, smallest batch."""

    rows: tuple[Row, ...]
    tensors: tuple[Mapping[str, str], ...]  # of each node: suffix of the tensor -> its name in the user's module
    owners: tuple[str, ...]  # modules that must be in the mode (training, evaluation) of the whole
    input_shape: tuple[int, ...]  # (channels, height, width)
    image_shape: tuple[int, ...]  # of one image, as passed to the user's `forward`
    output_shapes: tuple[tuple[int, ...], ...]  # of the outputs of the user's `forward` for one image
    shared: tuple[Shared, ...] = ()  # tensors that several nodes use
    structure: Any = SINGLE_TENSOR  # of the outputs of the user's `forward`
    reads: Reads = ()  # attributes of the modules that `forward` reads
    effects: tuple[SideEffect, ...] = ()  # of `forward`
    depends_on_dtype: bool = False  # whether `forward` computes something else for integer images
    smallest_batch: int = 1  # number of images for which `forward` computes this graph, and for any larger number
    small_batches_differ: bool = False  # whether smaller batches have other values, not only another shape

"""The network that a module was found to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnistcnn._internal.native import core
from mnistcnn.convert.outputs import ONE, Choice
from mnistcnn.convert.side_effects import SideEffect
from mnistcnn.nn.engine_rule import Reads
from mnistcnn.nn.graph import Row, Shared


@dataclass(frozen=True)
class Plan:
    """The network and what else the two runs of the forward have shown. Plain data."""

    rows: tuple[Row, ...]
    tensors: tuple[Mapping[str, str], ...]  # of each node: our suffix -> the author's name of the tensor
    owners: tuple[str, ...]  # modules whose mode, training or evaluation, must be the whole model's
    input_shape: tuple[int, ...]  # (channels, height, width)
    image_shape: tuple[int, ...]  # of one image as the author's forward takes it
    output_shapes: tuple[tuple[int, ...], ...]  # of one image's outputs as the author's forward gives them
    shared: tuple[Shared, ...] = ()  # tensors that several nodes use
    form: Any = ONE  # how the author's forward returns them
    output: Choice = None  # the one that was asked for
    reads: Reads = ()  # attributes of the modules that decide what the forward computes
    effects: tuple[SideEffect, ...] = ()  # what the forward does beside computing its outputs


def network_of(plan: Plan) -> core.Network:
    """Return the core's network of a plan, with weights of its own."""
    return core.Network(input_shape=list(plan.input_shape), nodes=list(plan.rows), shared=list(plan.shared))

"""Verify the graph of a module: compare the engine's outputs with those of the module."""

from __future__ import annotations

import threading

from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.inputs import InputSpec, trace_inputs
from mnistcnn.convert.outputs import OutputKey
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.convert.traced_graph import TracedGraph
from mnistcnn.convert.tracing.tracing import TracedRun
from mnistcnn.nn.graph import Row
from mnistcnn.nn.model import BorrowedTensors, Model

_TRACE_LOCK = threading.RLock()  # a trace patches nn.Module and restores global generators
_TOLERANCE = 1e-4  # relative distance of outputs; another order of float32 sums stays far below


def verified_graph(module: nn.Module, images: InputSpec, output: OutputKey, reads: AttributeReads) -> TracedGraph:
    """Return the graph of a module. Raise ConversionError if the engine would not compute the same outputs."""
    with _TRACE_LOCK:
        graph, runs = trace_inputs(module, images, output, reads)
    _check_state(module, graph)
    _compare_outputs(module, graph, runs)
    return graph


def borrowed_tensors(module: nn.Module, graph: TracedGraph) -> BorrowedTensors:
    """Return, for each node, the module that holds each of its tensors and the tensor's name there."""

    def place(name: str) -> tuple[nn.Module, str]:
        path, _, key = name.rpartition(".")
        return module.get_submodule(path), key

    return [{suffix: place(name) for suffix, name in names.items()} for names in graph.tensors]


def _check_state(module: nn.Module, graph: TracedGraph) -> None:
    """Raise SideEffectError if later outputs may depend on a side effect of ``forward``."""
    state = [each for each in graph.effects if each.is_state or each.attribute in graph.reads]
    if state:
        raise SideEffectError(
            f"the `forward` of {type(module).__name__} keeps state between calls or is random: "
            f"{', '.join(each.what for each in state)}; train it with PyTorch, or move this out of `forward`",
            graph.effects,
        )


def _compare_outputs(module: nn.Module, graph: TracedGraph, runs: list[TracedRun]) -> None:
    """Raise ConversionError unless the engine and the module have the same outputs in both modes."""
    try:
        model = Model.from_rows(
            _rows_without_dropout(graph),
            graph.input_shape,
            shared=graph.shared,
            tensors=borrowed_tensors(module, graph),
        )
    except ValueError as error:
        raise ConversionError(f"{error} (in the `forward` of {type(module).__name__})") from None
    model.threads = 1
    for run in runs:
        images = run.example.reshape(len(run.example), *graph.input_shape)
        parameters, buffers, counters = ([each.detach().clone() for each in held] for held in model.tensors())
        tensors = parameters, buffers, counters
        outputs = model.engine_forward(images, 0, training=run.training, tensors=tensors)
        found = outputs.reshape(run.outputs.shape)
        distance, length = (found - run.outputs).norm().item(), run.outputs.norm().item()
        if not distance <= _TOLERANCE * length + 1e-6:
            raise ConversionError(
                f"the converted network does not compute what the `forward` of {type(module).__name__} computes: the "
                f"relative error of the outputs is {distance / max(length, 1e-30):.2g}; `forward` may change between "
                "two calls, or draw random numbers"
            )


def _rows_without_dropout(graph: TracedGraph) -> list[Row]:
    return [
        (name, op, inputs, {**fields, "probability": 0.0} if op.startswith("dropout") else fields)
        for name, op, inputs, fields in graph.rows
    ]

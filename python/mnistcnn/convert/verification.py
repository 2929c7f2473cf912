"""Verify the graph of a module: compare the engine's outputs and gradients with those of the module."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.inputs import InputSpec, trace_inputs
from mnistcnn.convert.outputs import OutputKey, flatten_outputs, select_output
from mnistcnn.convert.side_effects import SideEffectError, without_side_effects
from mnistcnn.convert.traced_graph import TracedGraph
from mnistcnn.convert.tracing.recorder import DropoutAsIdentity
from mnistcnn.convert.tracing.tracing import TracedRun
from mnistcnn.nn.autograd import EngineFunction
from mnistcnn.nn.engine_rule import device_of
from mnistcnn.nn.graph import Row, tensor_places
from mnistcnn.nn.model import BorrowedTensors, Model

_TRACE_LOCK = threading.RLock()  # a trace patches nn.Module and restores global generators
_SMALL_BATCH_TOLERANCE = 0.01  # batch norm over one or two images amplifies rounding errors
_TOLERANCE = 1e-4  # relative distance of outputs; another order of float32 sums stays far below
# Relative distance of gradients. Rounding may change the sign of an input of ReLU, which then has another gradient.
_GRADIENT_TOLERANCE = 0.05
# Relative to the norm of all gradients and to that of the output gradients: some gradients, such as that of a bias
# before batch norm, are 0 and consist of rounding errors.
_GRADIENT_ROUNDING = 0.01, 1e-4
_MISSING = 1e-4  # norm of a gradient that the engine does not compute, relative to the norm of all gradients


def verified_graph(module: nn.Module, images: InputSpec, output: OutputKey, reads: AttributeReads) -> TracedGraph:
    """Return the graph of a module.

    Raise ConversionError if the engine would not compute the same outputs and gradients.
    """
    with torch.autocast(device_of(module).type, enabled=False):
        with _TRACE_LOCK:
            graph, runs = trace_inputs(module, images, output, reads)
        _check_state(module, graph)
        model = _model_without_dropout(module, graph)
        _compare_runs(module, graph, model, runs)
        with _TRACE_LOCK:
            return _with_small_batches(module, graph, model, output)


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


def _model_without_dropout(module: nn.Module, graph: TracedGraph) -> Model:
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
    return model


def _compare_runs(module: nn.Module, graph: TracedGraph, model: Model, runs: list[TracedRun]) -> None:
    """Raise ConversionError unless the engine and the module have the same outputs and gradients in both modes."""
    names = [graph.tensors[node][suffix] for node, suffix in tensor_places(model._network.parameter_specs)]
    kind = type(module).__name__
    for run in runs:
        outputs, gradients = _run_engine(model, run)
        _compare_outputs(kind, run.outputs, outputs)
        if run.gradients is not None:
            _compare_gradients(kind, run, dict(zip(names, gradients, strict=True)))


def _with_small_batches(module: nn.Module, graph: TracedGraph, model: Model, output: OutputKey) -> TracedGraph:
    """Return the graph with the smallest number of images, 1 to 3, for which ``forward`` computes it.

    A ``forward`` may skip a batch norm for a single image, for example. Larger batches are compared by the two traces.
    """
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, *graph.image_shape, generator=generator).to(device_of(module))
    smallest, same_values = 1, True
    for count, training, returned in _outputs_of_small_batches(module, images, output):
        is_same = _has_same_values(model, images[:count], training, returned)
        if not is_same or any(each.shape[:1] != (count,) for each in returned):
            smallest = max(smallest, count + 1)
        same_values &= is_same
    return replace(graph, smallest_batch=smallest, small_batches_differ=not same_values)


def _outputs_of_small_batches(
    module: nn.Module, images: torch.Tensor, output: OutputKey
) -> list[tuple[int, bool, list[torch.Tensor]]]:
    """Return the outputs for one and two images in both modes, without those for which PyTorch raises an error.

    Evaluation is first, because training changes the running statistics.
    """
    found = []
    with without_side_effects(module), DropoutAsIdentity():
        for training in (False, True):
            for each in module.modules():
                each.training = training
            for count in (1, 2):
                with suppress(Exception):
                    returned = module.forward(images[:count].clone())
                    found.append((count, training, flatten_outputs(select_output(returned, output))[1]))
    return found


def _has_same_values(model: Model, images: torch.Tensor, training: bool, returned: list[torch.Tensor]) -> bool:
    """Return whether the engine computes the values that ``forward`` returned, in whatever shape."""
    count = len(images)
    if any(each.numel() % count for each in returned):
        return False
    expected = torch.cat([each.detach().reshape(count, -1) for each in returned], 1)
    try:
        with torch.inference_mode(False), torch.no_grad():
            found = _forward(model, images, training)[0].reshape(count, -1)
    except ValueError:  # for example of a batch norm that `forward` skips
        return False
    if found.shape != expected.shape:
        return False
    return bool((found - expected).norm() <= _SMALL_BATCH_TOLERANCE * expected.norm() + 1e-6)


def _run_engine(model: Model, run: TracedRun) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
    """Return the engine's outputs, and the gradients of the parameters: None for each that gets none."""
    with torch.inference_mode(False), torch.enable_grad():
        outputs, parameters = _forward(model, run.example, run.training)
        outputs = outputs.reshape(run.outputs.shape)
        gradients: Sequence[torch.Tensor | None] = [None] * len(parameters)
        if outputs.requires_grad:
            gradients = torch.autograd.grad(outputs, parameters, run.output_gradients, allow_unused=True)
    return outputs.detach(), gradients


def _forward(model: Model, images: torch.Tensor, training: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the engine's outputs, and the copies of the parameters from which they are computed."""
    tensors = tuple([each.detach().clone() for each in held] for held in model.tensors())
    parameters = [each.requires_grad_() for each in tensors[0]]
    inputs = images.reshape(len(images), *model.input_shape)
    outputs: torch.Tensor = EngineFunction.apply(inputs, model.train(training), 0, tensors, *parameters)  # type: ignore[no-untyped-call]
    return outputs, parameters


def _compare_outputs(kind: str, expected: torch.Tensor, found: torch.Tensor) -> None:
    distance, length = (found - expected).norm().item(), expected.norm().item()
    if not distance <= _TOLERANCE * length + 1e-6:
        raise ConversionError(
            f"the converted network does not compute what the `forward` of {kind} computes: the relative error of the "
            f"outputs is {distance / max(length, 1e-30):.2g}; `forward` may change between two calls, or draw random "
            "numbers"
        )


def _compare_gradients(kind: str, run: TracedRun, found: dict[str, torch.Tensor | None]) -> None:
    expected = run.gradients or {}
    norms = {name: gradient.norm().item() for name, gradient in expected.items()}
    whole, of_outputs = math.hypot(*norms.values()), run.output_gradients.norm().item()
    rounding = _GRADIENT_ROUNDING[0] * whole + _GRADIENT_ROUNDING[1] * of_outputs
    for name, gradient in expected.items():
        engine, norm = found.get(name), norms[name]
        distance = norm if engine is None else (engine.reshape(gradient.shape) - gradient).norm().item()
        is_missing = engine is None and norm > _MISSING * whole
        if is_missing or not distance <= _GRADIENT_TOLERANCE * norm + rounding:
            raise ConversionError(
                f"the converted network does not compute the gradient that PyTorch computes for '{name}' of {kind}: "
                f"the norm of the difference is {distance:.2g}, and that of PyTorch's gradient {norm:.2g}; train the "
                "module with PyTorch"
            )


def _rows_without_dropout(graph: TracedGraph) -> list[Row]:
    return [
        (name, op, inputs, {**fields, "probability": 0.0} if op.startswith("dropout") else fields)
        for name, op, inputs, fields in graph.rows
    ]

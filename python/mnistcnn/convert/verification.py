"""The plan of a module, compared with the module's own outputs."""

from __future__ import annotations

import threading

from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.inputs import Entrance, observed
from mnistcnn.convert.outputs import Choice
from mnistcnn.convert.plan import Plan
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.convert.tracing.tracing import Run
from mnistcnn.nn.graph import Row
from mnistcnn.nn.model import BorrowedTensors, Model

_ONE_AT_A_TIME = threading.RLock()  # calls of modules and random numbers are watched in all threads
_CLOSE = 1e-4  # relative distance of outputs; float32 in another order stays far below


def verified_plan(module: nn.Module, images: Entrance, output: Choice, reads: AttributeReads) -> Plan:
    """Return what a module computes; raise ConversionError if the engine would compute something else."""
    with _ONE_AT_A_TIME:
        plan, runs = observed(module, images, output, reads)
    _check_state(module, plan)
    _compare_outputs(module, plan, runs)
    return plan


def borrowed_tensors(module: nn.Module, plan: Plan) -> BorrowedTensors:
    """Return where the module holds the tensors of each node."""

    def place(name: str) -> tuple[nn.Module, str]:
        path, _, key = name.rpartition(".")
        return module.get_submodule(path), key

    return [{suffix: place(name) for suffix, name in names.items()} for names in plan.tensors]


def _check_state(module: nn.Module, plan: Plan) -> None:
    """Raise if later outputs may depend on a side effect of the forward."""
    state = [each for each in plan.effects if each.is_state or each.attribute in plan.reads]
    if state:
        raise SideEffectError(
            f"the forward of {type(module).__name__} keeps state between calls or is random: "
            f"{', '.join(each.what for each in state)}; train it with PyTorch, or move that out of the forward",
            plan.effects,
        )


def _compare_outputs(module: nn.Module, plan: Plan, runs: list[Run]) -> None:
    """Raise unless the engine gives what the module gave, in both modes."""
    try:
        probe = Model.from_rows(
            _rows_without_dropout(plan), plan.input_shape, shared=plan.shared, tensors=borrowed_tensors(module, plan)
        )
    except ValueError as error:
        raise ConversionError(f"{error} (found in the forward of {type(module).__name__})") from None
    probe.threads = 1
    for run in runs:
        images = run.example.reshape(len(run.example), *plan.input_shape)
        parameters, buffers, counters = ([each.detach().clone() for each in held] for held in probe.tensors())
        tensors = parameters, buffers, counters
        outputs = probe.engine_forward(images, 0, training=run.training, tensors=tensors)
        found = outputs.reshape(run.outputs.shape)
        distance, length = (found - run.outputs).norm().item(), run.outputs.norm().item()
        if not distance <= _CLOSE * length + 1e-6:
            raise ConversionError(
                f"the network found in {type(module).__name__} does not compute what its forward does: the outputs "
                f"differ by {distance / max(length, 1e-30):.2g} of their length; perhaps the forward changes between "
                "two calls, or draws random numbers"
            )


def _rows_without_dropout(plan: Plan) -> list[Row]:
    return [
        (name, op, inputs, {**fields, "probability": 0.0} if op.startswith("dropout") else fields)
        for name, op, inputs, fields in plan.rows
    ]

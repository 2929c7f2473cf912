"""From an author's module to the plan of a network: two runs of its forward, compared with each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError, ForwardError, RefusalError
from mnistcnn.convert.operations.builder import Builder, Found, Value
from mnistcnn.convert.outputs import Choice, chosen, described, entries, taken_apart
from mnistcnn.convert.plan import Plan
from mnistcnn.convert.side_effects import undisturbed
from mnistcnn.convert.tracing.modes import compared
from mnistcnn.convert.tracing.recorder import Recorder
from mnistcnn.nn.graph import Shared

Shape = tuple[int, ...]
EVALUATION_BATCH, TRAINING_BATCH = 3, 5  # numbers that sizes of maps and layers seldom are


def make_lazy_layers(module: nn.Module, image_shape: Shape) -> None:
    """Lazy layers learn their input's size from one run."""
    if any(nn.parameter.is_lazy(each) for each in (*module.parameters(), *module.buffers())):
        try:
            with torch.no_grad():
                module(torch.zeros(TRAINING_BATCH, *image_shape))
        except Exception as error:
            raise ForwardError(error, TRAINING_BATCH) from error


class Run:
    """One observed run of the forward, in one mode."""

    def __init__(
        self,
        module: nn.Module,
        input_shape: Shape,
        image_shape: Shape,
        output: Choice,
        reads: AttributeReads,
        *,
        training: bool,
        joins: bool = True,
    ) -> None:
        self.training = training
        generator = torch.Generator().manual_seed(20 + training)
        batch = TRAINING_BATCH if training else EVALUATION_BATCH
        device = next((each.device for each in module.parameters()), torch.device("cpu"))
        self.example = torch.rand(batch, *image_shape, generator=generator).to(device)
        for each in module.modules():  # not module.train(): authors override it to keep layers as they are
            each.training = training
        recorder = Recorder(module, self.example.clone(), input_shape, image_shape, joins=joins)
        self.builder: Builder = recorder.builder
        self.effects = recorder.effects
        with reads.recorded():
            self.returned = chosen(self._returned(recorder), output)
        self.form, tensors = taken_apart(self.returned)
        self.outputs = tensors[0].detach()
        values = [self._value(recorder, tensor) for tensor in tensors]
        self.output_shapes = tuple(value.shape for value in values)
        if len(tensors) > 1:  # side by side
            self.outputs = torch.cat([tensor.detach().reshape(batch, -1) for tensor in tensors], 1)
            flat = [replace(value, shape=(math.prod(value.shape),)) for value in values]
            values = [self.builder.concat(flat, 0, "outputs")]
        self.output_node = self._finish(values[0])

    def _returned(self, recorder: Recorder) -> Any:
        try:
            return recorder.run()
        except ConversionError:
            raise
        except Exception as error:
            raise ForwardError(error, len(self.example), len(self.builder.found)) from error

    def _value(self, recorder: Recorder, output: torch.Tensor) -> Value:
        try:
            return recorder.value(output)
        except RefusalError as refusal:
            raise ConversionError(f"{refusal}{self._others(recorder)}") from None
        except KeyError:
            raise ConversionError(
                "the forward's outputs don't come from its input by operations of torch" + self._others(recorder)
            ) from None

    def _others(self, recorder: Recorder) -> str:
        """How to take an output alone that is no trouble, where there is one."""
        for key, part in entries(self.returned):
            if all(recorder.knows(tensor) for tensor in taken_apart(part)[1]):
                return f". Without that output: mnistcnn.from_torch(net, output={key!r})"
        return ""

    def _finish(self, value: Value) -> int:
        if self.builder.shape_of(value.node) == value.shape and value.node >= 0:
            return value.node
        flat = (math.prod(value.shape),) if len(value.shape) != 3 else value.shape
        node = self.builder.place(value, flat)
        if node < 0:
            raise ConversionError("the forward returns its input unchanged; there is nothing to run")
        return node

    def needed(self) -> list[int]:
        """The nodes on which the outputs depend, in order; the outputs' node is the last."""
        wanted = {self.output_node}
        for node in range(self.output_node, -1, -1):
            if node in wanted:
                wanted.update(each for each in self.builder.found[node].inputs if each >= 0)
        return sorted(wanted)

    def nodes(self) -> list[Found]:
        """Only those, numbered anew."""
        needed = self.needed()
        place = {old: new for new, old in enumerate(needed)} | {-1: -1}
        found = [self.builder.found[node] for node in needed]
        return [replace(each, inputs=[place[node] for node in each.inputs]) for each in found]


def shared_tensors(nodes: list[Found]) -> tuple[Shared, ...]:
    """Return the tensors that several nodes use: each later node with the first one."""
    first: dict[str, tuple[int, str]] = {}
    shared = []
    for number, found in enumerate(nodes):
        for suffix, name in found.tensors.items():
            owner, its = first.setdefault(name, (number, suffix))
            if its != suffix:
                raise ConversionError(
                    f"'{name}' is the {its} of {nodes[owner].described()} and the {suffix} of {found.described()}; "
                    "mnistcnn shares tensors between layers only in the same place"
                )
            if owner != number and suffix != "num_batches_tracked":
                shared.append((number, suffix, owner))
    return tuple(shared)


def plan_of(
    module: nn.Module, input_shape: Shape, image_shape: Shape, output: Choice, reads: AttributeReads
) -> tuple[Plan, list[Run]]:
    """Return what the module computes, and the two runs that showed it."""
    found = _planned(module, input_shape, image_shape, output, reads, joins=True)
    if not found[0].shared:
        return found
    # Perhaps a layer whose output is used with a bias and without: then it need not be computed twice.
    other = _planned(module, input_shape, image_shape, output, reads, joins=False)
    return min(found, other, key=lambda each: len(each[0].shared))


def _planned(
    module: nn.Module, input_shape: Shape, image_shape: Shape, output: Choice, reads: AttributeReads, *, joins: bool
) -> tuple[Plan, list[Run]]:
    runs, effects = [], []
    for training in (True, False):
        with undisturbed(module, seed=20 + training) as changes:
            runs.append(Run(module, input_shape, image_shape, output, reads, training=training, joins=joins))
        effects += [*changes, *runs[-1].effects]
    if runs[0].form != runs[1].form:
        several = next(run.returned for run in runs if not isinstance(run.returned, torch.Tensor))
        raise ConversionError(
            f"the forward returns {described(runs[0].returned)} in training and {described(runs[1].returned)} in "
            f"evaluation; let it return the same in both. {_one_of(several)}"
        )
    nodes = compared(runs[0].nodes(), runs[1].nodes())
    rows = tuple(found.row() for found in nodes)
    names = [name for name, _ in module.named_modules()]
    owners = {found.owner for found in nodes if found.owner and found.training is not None}
    return Plan(
        rows=rows,
        tensors=tuple(dict(found.tensors) for found in nodes),
        shared=shared_tensors(nodes),
        owners=tuple(name for name in names if name in owners),
        input_shape=input_shape,
        image_shape=image_shape,
        output_shapes=runs[0].output_shapes,
        form=runs[0].form,
        output=output,
        reads=reads.found,
        effects=tuple(dict.fromkeys(effects)),
    ), runs


def _one_of(returned: Any) -> str:
    """How to take one output alone."""
    first = next(iter(returned), 0) if isinstance(returned, dict) else 0
    return f"One output alone: mnistcnn.from_torch(net, output={first!r})"

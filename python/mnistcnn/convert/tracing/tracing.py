"""Trace the ``forward`` of a module in both modes and merge the two traces into a graph."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError, ForwardError, UnsupportedError
from mnistcnn.convert.operations.builder import Builder, TracedNode, TracedValue
from mnistcnn.convert.outputs import OutputKey, describe, flatten_outputs, output_entries, select_output
from mnistcnn.convert.side_effects import SideEffect, without_side_effects
from mnistcnn.convert.traced_graph import TracedGraph
from mnistcnn.convert.tracing.modes import merge_modes
from mnistcnn.convert.tracing.recorder import Recorder
from mnistcnn.nn.engine_rule import EngineRule, device_of, has_backward_hooks
from mnistcnn.nn.graph import Shared

Shape = tuple[int, ...]
EVALUATION_BATCH, TRAINING_BATCH = 3, 5  # rarely equal to the size of a feature map or layer


def make_lazy_layers(module: nn.Module, image_shape: Shape) -> None:
    """Initialise lazy layers by one forward pass. If it fails, they are unchanged, unless the module has no copies."""
    if not any(nn.parameter.is_lazy(each) for each in (*module.parameters(), *module.buffers())):
        return
    images = torch.zeros(TRAINING_BATCH, *image_shape)
    try:
        copied = copy.deepcopy(module)
    except Exception:  # it contains an object that cannot be copied
        copied = module
    try:
        with torch.no_grad():
            if copied is not module:
                with torch.random.fork_rng(devices=[]):
                    copied(images)
            module(images)
    except Exception as error:
        raise ForwardError(error, TRAINING_BATCH) from error


class TracedRun:
    """Trace of ``forward`` in one mode, and the outputs and gradients that it computed.

    ``gradients`` holds those of the trainable parameters for ``output_gradients``, by name. It is None if the backward
    pass fails or would have side effects.
    """

    def __init__(
        self,
        module: nn.Module,
        input_shape: Shape,
        image_shape: Shape,
        output: OutputKey,
        reads: AttributeReads,
        *,
        training: bool,
        fuse_bias: bool = True,
    ) -> None:
        self.training = training
        generator = torch.Generator().manual_seed(20 + training)
        batch = TRAINING_BATCH if training else EVALUATION_BATCH
        device = device_of(module)
        self.example = torch.rand(batch, *image_shape, generator=generator).to(device)
        for each in module.modules():  # not module.train(): a class may override it
            each.training = training
        images = self.example.clone()
        version = images._version
        recorder = Recorder(module, images, input_shape, image_shape, reads, fuse_bias=fuse_bias)
        self.builder: Builder = recorder.builder
        self.effects = recorder.effects
        with reads.recorded():
            self.returned = select_output(self._run_recorder(recorder), output)
        if images._version != version or not images.equal(self.example):
            self.effects.append(SideEffect("it changes the images"))
        self.depends_on_dtype = recorder.depends_on_dtype
        self.structure, tensors = flatten_outputs(self.returned)
        self.outputs = tensors[0].detach()
        values = [self._value(recorder, tensor) for tensor in tensors]
        self.output_shapes = tuple(value.shape for value in values)
        if len(tensors) > 1:  # concatenated along the features
            self.outputs = torch.cat([tensor.detach().reshape(batch, -1) for tensor in tensors], 1)
            flat = [replace(value, shape=(math.prod(value.shape),)) for value in values]
            values = [self.builder.concat(flat, 0, "outputs")]
        self.output_node = self._output_node(values[0])
        self.output_gradients = torch.randn(self.outputs.shape, generator=generator).to(device)
        self.gradients = None if recorder.effects else _gradients(module, tensors, self.output_gradients)

    def _run_recorder(self, recorder: Recorder) -> Any:
        try:
            return recorder.run()
        except ConversionError:
            raise
        except Exception as error:
            raise ForwardError(error, len(self.example), len(self.builder.nodes)) from error

    def _value(self, recorder: Recorder, output: torch.Tensor) -> TracedValue:
        try:
            return recorder.value(output)
        except UnsupportedError as unsupported:
            raise ConversionError(f"{unsupported}{self._other_output_hint(recorder)}") from None
        except KeyError:
            raise ConversionError(
                "`forward`'s outputs are not computed from its input by operations of torch"
                + self._other_output_hint(recorder)
            ) from None

    def _other_output_hint(self, recorder: Recorder) -> str:
        """Return advice to select another output that is supported, or an empty string."""
        for key, part in output_entries(self.returned):
            if all(recorder.is_recorded(tensor) for tensor in flatten_outputs(part)[1]):
                return f". To convert another output only: mnistcnn.from_torch(net, output={key!r})"
        return ""

    def _output_node(self, value: TracedValue) -> int:
        if self.builder.shape_of(value.node) == value.shape and value.node >= 0:
            return value.node
        flat = (math.prod(value.shape),) if len(value.shape) != 3 else value.shape
        node = self.builder.node_in_shape(value, flat)
        if node < 0:
            raise ConversionError("`forward` returns its input unchanged; it must contain at least one operation")
        return node

    def needed(self) -> list[int]:
        """Return the nodes on which the outputs depend, in order; the last one is the output node."""
        needed = {self.output_node}
        for node in range(self.output_node, -1, -1):
            if node in needed:
                needed.update(each for each in self.builder.nodes[node].inputs if each >= 0)
        return sorted(needed)

    def unused_norms(self) -> list[SideEffect]:
        """Return a side effect for each norm whose running statistics change, but whose output is not used."""
        needed = set(self.needed())
        used = {self.builder.nodes[node].tensors.get("running_mean") for node in needed}
        names = dict.fromkeys(
            (node.tensors["running_mean"], node.tensors["running_mean"] in used)
            for number, node in enumerate(self.builder.nodes)
            if number not in needed and "running_mean" in node.tensors
        )
        what = "it updates the running statistics of '{}' in a call whose output it does not use"
        return [SideEffect(what.format(name.rpartition(".")[0]), is_state=is_used) for name, is_used in names]

    def nodes(self) -> list[TracedNode]:
        """Return the nodes on which the outputs depend, renumbered."""
        needed = self.needed()
        renumbered = {old: new for new, old in enumerate(needed)} | {-1: -1}
        kept = [self.builder.nodes[node] for node in needed]
        return [replace(each, inputs=[renumbered[node] for node in each.inputs]) for each in kept]


def _gradients(
    module: nn.Module, outputs: list[torch.Tensor], output_gradients: torch.Tensor
) -> dict[str, torch.Tensor] | None:
    """Return the gradients of the trainable parameters by name, or None if PyTorch raises an error or calls hooks."""
    if has_backward_hooks(module):
        return None
    named = module.named_parameters()
    parameters = {name: each for name, each in named if each.requires_grad and not each._backward_hooks}
    joined = torch.cat([each.reshape(len(each), -1) for each in outputs], 1) if len(outputs) > 1 else outputs[0]
    found: Sequence[torch.Tensor | None] = [None] * len(parameters)
    if parameters and joined.requires_grad:
        try:
            found = torch.autograd.grad(joined, list(parameters.values()), output_gradients, allow_unused=True)
        except RuntimeError:  # for example after a change in place
            return None
    pairs = zip(parameters.items(), found, strict=True)
    return {name: torch.zeros_like(each) if gradient is None else gradient for (name, each), gradient in pairs}


def shared_tensors(nodes: list[TracedNode]) -> tuple[Shared, ...]:
    """Return (node, suffix, owner) for each tensor that an earlier node, the owner, uses as well."""
    first: dict[str, tuple[int, str]] = {}
    shared = []
    for number, node in enumerate(nodes):
        for suffix, name in node.tensors.items():
            owner, role = first.setdefault(name, (number, suffix))
            if role != suffix:
                raise ConversionError(
                    f"'{name}' is the {role} of {nodes[owner].describe()} and the {suffix} of {node.describe()}; "
                    "mnistcnn shares a tensor between layers only if it has the same role in each"
                )
            if owner != number and suffix != "num_batches_tracked":
                shared.append((number, suffix, owner))
    return tuple(shared)


def trace_module(
    module: nn.Module, input_shape: Shape, image_shape: Shape, output: OutputKey, reads: AttributeReads
) -> tuple[TracedGraph, list[TracedRun]]:
    """Return the graph of a module and its two traces, training first."""
    fused = _trace_both_modes(module, input_shape, image_shape, output, reads, fuse_bias=True)
    if not fused[0].shared:
        return fused
    # A layer whose output is used with and without a bias would be computed twice. Try without fusing the bias.
    other = _trace_both_modes(module, input_shape, image_shape, output, reads, fuse_bias=False)
    return min(fused, other, key=lambda each: len(each[0].shared))


def _trace_both_modes(
    module: nn.Module,
    input_shape: Shape,
    image_shape: Shape,
    output: OutputKey,
    reads: AttributeReads,
    *,
    fuse_bias: bool,
) -> tuple[TracedGraph, list[TracedRun]]:
    runs, effects, rule = [], [], None
    for training in (True, False):
        with without_side_effects(module, seed=20 + training) as changes:
            runs.append(
                TracedRun(module, input_shape, image_shape, output, reads, training=training, fuse_bias=fuse_bias)
            )
        effects += [*changes, *runs[-1].effects, *(runs[-1].unused_norms() if training else ())]
        rule = rule or EngineRule(module, (), (), reads=reads.found)
    if rule is not None and not any(each.attribute for each in effects):
        effects += _changed_reads(rule, reads)
    if runs[0].structure != runs[1].structure:
        multiple = next(run.returned for run in runs if not isinstance(run.returned, torch.Tensor))
        raise ConversionError(
            f"`forward` returns {describe(runs[0].returned)} in training and {describe(runs[1].returned)} in "
            f"evaluation; return the same structure in both. {_single_output_hint(multiple)}"
        )
    nodes = merge_modes(runs[0].nodes(), runs[1].nodes())
    rows = tuple(node.row() for node in nodes)
    names = [name for name, _ in module.named_modules()]
    owners = {node.owner for node in nodes if node.owner and node.training is not None}
    return TracedGraph(
        rows=rows,
        tensors=tuple(dict(node.tensors) for node in nodes),
        shared=shared_tensors(nodes),
        owners=tuple(name for name in names if name in owners),
        input_shape=input_shape,
        image_shape=image_shape,
        output_shapes=runs[0].output_shapes,
        structure=runs[0].structure,
        reads=reads.found,
        effects=tuple(dict.fromkeys(effects)),
        depends_on_dtype=any(run.depends_on_dtype for run in runs),
    ), runs


def _changed_reads(rule: EngineRule, reads: AttributeReads) -> list[SideEffect]:
    """Return a side effect if ``forward`` has changed an object that `without_side_effects` does not examine.

    ``rule`` holds the state of the module after the first of the two traces.
    """
    change, names = rule.change(), {".".join(filter(None, each)): each for each in reads.found}
    changed = [(name, each) for name, each in names.items() if change == f"'{name}' was changed"]
    return [SideEffect(f"it changes '{name}'", each, is_state=True) for name, each in changed]


def _single_output_hint(returned: Any) -> str:
    """Return how to select a single output."""
    first = next(iter(returned), 0) if isinstance(returned, dict) else 0
    return f"To convert a single output: mnistcnn.from_torch(net, output={first!r})"

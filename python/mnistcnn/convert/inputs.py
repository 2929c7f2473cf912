"""Shapes in which a ``forward`` method takes images, and advice for ``forward`` methods that fail on them."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mnistcnn._internal.checks import image_shape, whole_number
from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError, ForwardError
from mnistcnn.convert.operations.builder import listed
from mnistcnn.convert.outputs import OutputKey, flatten_outputs
from mnistcnn.convert.side_effects import without_side_effects
from mnistcnn.convert.traced_graph import TracedGraph
from mnistcnn.convert.tracing.tracing import Shape, TracedRun, make_lazy_layers, trace_module
from mnistcnn.nn.engine_rule import device_of

_COMMON_SHAPES = (
    (1, 28, 28),
    (1, 32, 32),
    (3, 32, 32),
    (3, 28, 28),
    (1, 24, 24),
    (1, 14, 14),
    (1, 8, 8),
    (1, 64, 64),
    (3, 224, 224),
)
_BATCH_SIZES = (1, 2, 4, 8, 10, 16, 20, 25, 30, 32, 50, 60, 64, 100, 120, 128, 200, 250, 256, 500, 512, 1000, 1024)
_MAX_TRIAL_SIZE = 2**18  # elements of a batch that is tried for a hint


@dataclass(frozen=True)
class InputSpec:
    """Shape of an image, and the shapes in which to pass it to ``forward``; the first that works is used."""

    input_shape: Shape  # (channels, height, width)
    forward_shapes: tuple[Shape, ...]


def input_spec(input_shape: Sequence[int]) -> InputSpec:
    """Return the input spec for the shape of an image, or for the exact shape in which ``forward`` takes one."""
    try:
        sizes = tuple(whole_number("input_shape", size) for size in input_shape)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) == 1:
        side = math.isqrt(sizes[0])
        return InputSpec((1, side, side) if side * side == sizes[0] else (1, 1, sizes[0]), (sizes,))
    if len(sizes) == 2:
        return InputSpec((1, *sizes), (sizes,))
    if len(sizes) != 3:
        raise ValueError(
            "input_shape must be (channels, height, width), or (features,) or (height, width) if `forward` takes "
            f"such images, with integers of at least 1, got {input_shape!r}"
        )
    shape = image_shape("input_shape", sizes)
    rows = [shape[1:]] if shape[0] == 1 else []
    return InputSpec(shape, (shape, (math.prod(shape),), *rows))


def trace_inputs(
    module: nn.Module, images: InputSpec, output: OutputKey, reads: AttributeReads
) -> tuple[TracedGraph, list[TracedRun]]:
    """Trace a module on images in the first of the given shapes that its ``forward`` accepts.

    Raise ConversionError with the cause and a hint if ``forward`` fails on all of them.
    """
    _check_inputs(module)
    best: tuple[Shape, ForwardError] | None = None
    for shape in images.forward_shapes:
        try:
            make_lazy_layers(module, shape)
            return trace_module(module, images.input_shape, shape, output, reads)
        except ForwardError as failed:  # a ConversionError is final: `forward` accepts this shape
            if best is None or failed.nodes > best[1].nodes:
                best = shape, failed
    assert best is not None
    shape, error = best
    location = f"{error.location}: " if error.location else ""
    hint = _batch_hint(module, shape) or _size_hint(module, images)
    raise ConversionError(
        f"{location}the `forward` of {type(module).__name__} fails on images [N, {listed(shape)}] with N = "
        f"{error.images}: {error.describe()}; it must accept any number of images of that size{hint}"
    ) from error.cause


def _check_inputs(module: nn.Module) -> None:
    """Raise ConversionError if ``forward`` requires several inputs, or if the module was made by torch.export."""
    if isinstance(module, torch.jit.ScriptModule):  # it has no signature; the recorder raises for it
        return
    if isinstance(module, torch.fx.GraphModule) and "_in_spec" in vars(module):
        raise ConversionError("the module was made by torch.export; pass the module that was exported")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty and each.kind in positional]
    if len(required) > 1:
        raise ConversionError(
            f"the `forward` of {type(module).__name__} takes {len(required)} inputs ({', '.join(required)}); mnistcnn "
            "supports one batch of images as input: convert the part that takes one of them, as in "
            "net.branch = mnistcnn.accelerate(net.branch)"
        )


def _batch_hint(module: nn.Module, shape: Shape) -> str:
    """Return advice if the module accepts only one batch size, else an empty string."""
    user_modules = [each for each in module.modules() if not type(each).__module__.startswith("torch.")]
    attribute_values = {
        value for each in user_modules for value in vars(each).values() if isinstance(value, int) and 1 < value <= 1024
    }
    counts = [*sorted(attribute_values), *(count for count in _BATCH_SIZES if count not in attribute_values)]
    count = next((count for count in counts if _accepts(module, count, shape)), None)
    if count is None:
        return ""
    return (
        f". It accepts batches of {count}: the batch size is hard-coded in `forward`; use x.size(0) instead, as "
        "in x.view(x.size(0), -1)"
    )


def _size_hint(module: nn.Module, images: InputSpec) -> str:
    """Return advice to use another common shape, or the size of the first linear layer, if the module accepts it."""
    for shape in _other_shapes(module, images):
        if _accepts(module, 2, shape):
            what = f"rows of {shape[0]} features" if len(shape) == 1 else f"images of {shape}"
            return f". It accepts {what}: input_shape={shape}"
    return ""


def _other_shapes(module: nn.Module, images: InputSpec) -> Iterator[Shape]:
    yield from (shape for shape in _COMMON_SHAPES if shape not in images.forward_shapes)
    first = next((each for each in module.modules() if isinstance(each, nn.Linear)), None)
    if first is not None and (first.in_features,) not in images.forward_shapes:
        yield (first.in_features,)


def _accepts(module: nn.Module, count: int, shape: Shape) -> bool:
    """Return whether the module returns one output per image for such a batch. Return False if the batch is large."""
    if count > 2 and count * math.prod(shape) > _MAX_TRIAL_SIZE:
        return False
    device = device_of(module)
    try:
        copied = copy.deepcopy(module)  # its lazy layers get the sizes of this shape
        with without_side_effects(copied):
            returned = copied.eval()(torch.zeros(count, *shape, device=device))
        return all(tensor.dim() > 0 and len(tensor) == count for tensor in flatten_outputs(returned)[1])
    except Exception:
        return False

"""In which shape images enter an author's forward, and what to say where they don't."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mnistcnn._internal.checks import image_shape, whole_number
from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError, ForwardError
from mnistcnn.convert.outputs import Choice, taken_apart
from mnistcnn.convert.plan import Plan
from mnistcnn.convert.side_effects import undisturbed
from mnistcnn.convert.tracing.tracing import Run, Shape, make_lazy_layers, plan_of

_USUAL = (
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
_BATCHES = (1, 2, 4, 8, 10, 16, 20, 25, 30, 32, 50, 60, 64, 100, 120, 128, 200, 250, 256, 500, 512, 1000, 1024)
_LARGEST_TRY = 2**18  # numbers in a batch that is tried for a hint


@dataclass(frozen=True)
class Entrance:
    """One image's shape, and in which shapes it may enter the forward, the first that works."""

    input_shape: Shape  # (channels, height, width)
    forms: tuple[Shape, ...]


def entrance(input_shape: Sequence[int]) -> Entrance:
    """What a user means: the shape of an image, or exactly how the forward takes one."""
    try:
        given = tuple(whole_number("input_shape", size) for size in input_shape)
    except (TypeError, ValueError):
        given = ()
    if len(given) == 1:
        side = math.isqrt(given[0])
        return Entrance((1, side, side) if side * side == given[0] else (1, 1, given[0]), (given,))
    if len(given) == 2:
        return Entrance((1, *given), (given,))
    if len(given) != 3:
        raise ValueError(
            "input_shape must be (channels, height, width), or (features,) or (height, width) where the forward takes "
            f"images so; whole numbers of at least 1, got {input_shape!r}"
        )
    shape = image_shape("input_shape", given)
    rows = [shape[1:]] if shape[0] == 1 else []
    return Entrance(shape, (shape, (math.prod(shape),), *rows))


def observed(module: nn.Module, images: Entrance, output: Choice, reads: AttributeReads) -> tuple[Plan, list[Run]]:
    """Run the forward on images as they are, or flat or without their channel if it needs them so."""
    _check_inputs(module)
    furthest: tuple[Shape, ForwardError] | None = None
    for form in images.forms:
        try:
            make_lazy_layers(module, form)
            return plan_of(module, images.input_shape, form, output, reads)
        except ForwardError as failed:  # a ConversionError: it takes such images, and does something else with them
            if furthest is None or failed.nodes > furthest[1].nodes:
                furthest = form, failed
    assert furthest is not None
    form, error = furthest
    where = f"{error.where}: " if error.where else ""
    hint = _batch_hint(module, form) or _size_hint(module, images)
    raise ConversionError(
        f"{where}the forward of {type(module).__name__} fails on images [N, {_listed(form)}] with N = "
        f"{error.images}: {error.described()}; it must take any number of images of that size{hint}"
    ) from error.cause


def _check_inputs(module: nn.Module) -> None:
    """A forward of several inputs, as Siamese networks have, is refused with what can be done."""
    if isinstance(module, torch.jit.ScriptModule):  # it has no signature, and is refused later
        return
    if isinstance(module, torch.fx.GraphModule) and "_in_spec" in vars(module):
        raise ConversionError("the module was made by torch.export; give the module that was exported")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(module.forward).parameters.values()
    needed = [each.name for each in given if each.default is each.empty and each.kind in positional]
    if len(needed) > 1:
        raise ConversionError(
            f"the forward of {type(module).__name__} takes {len(needed)} inputs ({', '.join(needed)}); mnistcnn runs "
            "networks of one batch of images: convert the part that sees one of them, as in "
            "net.branch = mnistcnn.accelerate(net.branch)"
        )


def _batch_hint(module: nn.Module, form: Shape) -> str:
    """The only number of images that a module takes, where that is its trouble."""
    authors = [each for each in module.modules() if not type(each).__module__.startswith("torch.")]
    own = {value for each in authors for value in vars(each).values() if isinstance(value, int) and 1 < value <= 1024}
    counts = [*sorted(own), *(count for count in _BATCHES if count not in own)]
    count = next((count for count in counts if _takes(module, count, form)), None)
    if count is None:
        return ""
    return (
        f". It takes batches of {count}: a number of images stands in the forward; write x.size(0) for it, as in "
        "x.view(x.size(0), -1)"
    )


def _size_hint(module: nn.Module, images: Entrance) -> str:
    """Another usual size of images that the module would take, or its first linear layer's."""
    for form in _other_forms(module, images):
        if _takes(module, 2, form):
            what = f"rows of {form[0]} numbers" if len(form) == 1 else f"images of {form}"
            return f". It takes {what}: input_shape={form}"
    return ""


def _other_forms(module: nn.Module, images: Entrance) -> Iterator[Shape]:
    yield from (shape for shape in _USUAL if shape not in images.forms)
    first = next((each for each in module.modules() if isinstance(each, nn.Linear)), None)
    if first is not None and (first.in_features,) not in images.forms:
        yield (first.in_features,)


def _takes(module: nn.Module, count: int, form: Shape) -> bool:
    """Whether so many images of this shape pass, each to outputs of its own; large batches are not tried."""
    if count > 2 and count * math.prod(form) > _LARGEST_TRY:
        return False
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    try:
        with undisturbed(module):
            for each in module.modules():
                each.training = False
            returned = module(torch.zeros(count, *form, device=device))
        return all(tensor.dim() > 0 and len(tensor) == count for tensor in taken_apart(returned)[1])
    except Exception:
        return False


def _listed(shape: Shape) -> str:
    return ", ".join(map(str, shape))

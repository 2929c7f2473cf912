"""What a network looks at: the maps inside it, and gradients of its answers.

Everything is computed by parts of the network: the layers up to the one in question make a model, those that depend on
it another, whose input is what the first gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from mnistcnn._internal.checks import did_you_mean
from mnistcnn.data.arrays import as_tensor

if TYPE_CHECKING:
    from mnistcnn.nn.graph import Row
    from mnistcnn.nn.model import Model

Images = Any  # ImageSet, array or tensor; [N, C, H, W], one image [C, H, W], or [N, H, W] for one channel
Floats = np.ndarray[Any, np.dtype[np.float32]]
_INPUT = -1
_ENDS = ("log_softmax", "softmax")  # left out: a class's score is what enters them


class Field(NamedTuple):
    """The pixels that an output unit sees; those outside of the image are padding."""

    top: int
    bottom: int  # the last row
    left: int
    right: int


def feature_maps(model: Model, images: Images, layer: str) -> Floats:
    """What a layer gives for every image, in evaluation mode: f32 [N, channels, height, width], or [N, features].

    Parameters
    ----------
    model
        Any `mnistcnn.Model`.
    images
        uint8 (normalised as in training) or floats (as they are).
    layer
        A layer's name, such as ``"convblock1.0"``, or that of a block, which stands for its last layer.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.feature_maps(model, mnistcnn.load("digits")[1][:2], "convblock3").shape
    (2, 4, 22, 22)
    """
    node = find_layer(model, layer)
    with torch.no_grad():
        return np.asarray(_head(model, node)(batch_of(model, images)).cpu())


def grad_cam(
    model: Model, images: Images, *, layer: str | None = None, target: int | Sequence[int] | None = None
) -> Floats:
    """Where the evidence for a class lies (Grad-CAM), f32 [N, height, width] in 0 to 1, as large as the images.

    The channels of ``layer`` are weighted by the mean gradient of the class's score (before any softmax), summed, cut
    off below 0, divided by their maximum and enlarged. Zero everywhere means that no place speaks for the class.

    Parameters
    ----------
    model, images
        As for `feature_maps`.
    layer
        By default the last one that still has a map of more than one pixel.
    target
        The class to explain, or one for every image; by default what the model predicts.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.grad_cam(model, mnistcnn.load("digits")[1][:2]).shape
    (2, 28, 28)
    """
    node = last_map(model) if layer is None else find_layer(model, layer)
    shape = model._network.nodes[node]["output_shape"]
    if len(shape) != 3:
        name = model._network.nodes[node]["name"]
        raise ValueError(f"Grad-CAM needs a layer that gives maps; '{name}' gives {shape[0]} flat numbers")
    batch = batch_of(model, images)
    maps, gradients = _maps_and_gradients(model, node, batch, target)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    cam = (weights * maps).sum(1, keepdim=True).relu()
    cam = cam / cam.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    size = model.input_shape[1:]
    return torch.nn.functional.interpolate(cam, size=size, mode="bilinear", align_corners=False)[:, 0].cpu().numpy()


def saliency(model: Model, images: Images, *, target: int | Sequence[int] | None = None) -> Floats:
    """How much every pixel moves the score of a class: its gradient, signed, f32 [N, C, H, W].

    Parameters
    ----------
    model, images
        As for `feature_maps`.
    target
        As for `grad_cam`.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.saliency(model, mnistcnn.load("digits")[1][:2]).shape
    (2, 1, 28, 28)
    """
    batch = batch_of(model, images).requires_grad_()
    scores = _part(model, model.rows[: _end(model) + 1], model.input_shape)(batch)
    (gradients,) = torch.autograd.grad(_chosen(scores, target).sum(), batch)
    return np.asarray(gradients.cpu())


def receptive_field(model: Model, layer: str, position: tuple[int, int] | None = None) -> Field:
    """The pixels that one output unit of a layer depends on; what the layers on the way pad counts as seen.

    Parameters
    ----------
    model
        Any `mnistcnn.Model`.
    layer
        As for `feature_maps`.
    position
        Row and column in the layer's output; by default the middle.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.explain.receptive_field(mnistcnn.create_model("session7_net"), "convblock1", (0, 0))
    Field(top=0, bottom=2, left=0, right=2)
    """
    node = find_layer(model, layer)
    nodes = model._network.nodes
    shape = nodes[node]["output_shape"]
    height, width = shape[1:] if len(shape) == 3 else (1, 1)
    row, column = (height // 2, width // 2) if position is None else position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"'{nodes[node]['name']}' gives maps of {height}x{width}; there is no position {position}")
    return _field(nodes, node, Field(row, row, column, column), model.input_shape)


# ---- layers by name


def find_layer(model: Model, layer: str) -> int:
    """The position of a layer, or of the last layer of a block."""
    names = [node["name"] for node in model._network.nodes]
    for index in reversed(range(len(names))):
        if names[index] == layer or names[index].startswith(f"{layer}."):
            return index
    hint = did_you_mean(layer, names) or "."
    raise ValueError(f"model '{model.name}' has no layer {layer!r}{hint} It has: {', '.join(names)}")


def last_map(model: Model) -> int:
    """The last layer whose output has places, not only channels."""
    shapes = [node["output_shape"] for node in model._network.nodes]
    for index in reversed(range(len(shapes))):
        if len(shapes[index]) == 3 and shapes[index][1] * shapes[index][2] > 1:
            return index
    raise ValueError(f"model '{model.name}' has no layer that gives maps of more than one pixel")


# ---- parts of a network


def _head(model: Model, node: int) -> Model:
    return _part(model, model.rows[: node + 1], model.input_shape)


def _part(model: Model, rows: list[Row], input_shape: Sequence[int]) -> Model:
    """A model of some of the rows, with the same weights, in evaluation mode."""
    from mnistcnn.nn.model import Model

    part = Model.from_rows(rows, input_shape, name=model.name, normalization=model.normalization)
    part.engine = "aten"  # which runs every part, on every device
    weights = model.named_tensors()
    wanted = {name: weights[name] for name in part.named_tensors()}
    part.to(model.device).load_state_dict(wanted, strict=False)  # counts of batches do not matter in evaluation
    return part.eval()


def _end(model: Model) -> int:
    """The layer that gives the scores."""
    last = len(model.rows) - 1
    return last - 1 if model.rows[last][1] in _ENDS and last > 0 else last


def _maps_and_gradients(model: Model, node: int, batch: torch.Tensor, target: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's maps, and the gradients of the classes' scores there."""
    end = _end(model)
    with torch.no_grad():
        maps = _head(model, node)(batch)
    if node == end:
        raise ValueError(f"'{model.rows[node][0]}' gives the scores themselves; choose a layer before it")
    rows = model.rows[: end + 1]
    after = _descendants(rows, node)
    if end not in after:
        raise ValueError(f"the scores don't depend on '{rows[node][0]}'")
    others = sorted({each for index in after for each in rows[index][2]} - after - {node})
    with torch.no_grad():
        sides = [batch if each == _INPUT else _head(model, each)(batch) for each in others]
    values = [maps, *sides]
    packed, openers = _packed(values)
    packed.requires_grad_()
    tail = _part(model, _tail_rows(rows, [node, *others], after, openers), packed.shape[1:])
    (gradients,) = torch.autograd.grad(_chosen(tail(packed), target).sum(), packed)
    _, channels, height, width = maps.shape
    return maps, gradients[:, :channels, :height, :width]


def _descendants(rows: list[Row], node: int) -> set[int]:
    found: set[int] = set()
    for index, (_, _, inputs, _) in enumerate(rows):
        if any(each == node or each in found for each in inputs):
            found.add(index)
    return found


def _packed(values: list[torch.Tensor]) -> tuple[torch.Tensor, list[list[Row]]]:
    """Several maps as one input, [N, all channels, largest height, largest width], and the rows that take each out."""
    maps = [value if value.dim() == 4 else value[:, :, None, None] for value in values]
    height, width = (max(each.shape[axis] for each in maps) for axis in (2, 3))
    pad = torch.nn.functional.pad
    packed = torch.cat([pad(each, (0, width - each.shape[3], 0, height - each.shape[2])) for each in maps], 1)
    openers: list[list[Row]] = []
    start = 0
    for number, (value, each) in enumerate(zip(values, maps, strict=True)):
        limits = ((start, start + each.shape[1]), (0, each.shape[2]), (0, each.shape[3]))
        rows: list[Row] = [
            (
                f"opened{number}.{dimension}",
                "slice",
                [],
                {"dimension": dimension, "start": begin, "stop": stop, "step": 1},
            )
            for dimension, (begin, stop) in enumerate(limits)
        ]
        if value.dim() == 2:
            rows.append((f"opened{number}.3", "flatten", [], {}))
        openers.append(rows)
        start += each.shape[1]
    return packed.contiguous(), openers


def _tail_rows(rows: list[Row], given: list[int], after: set[int], openers: list[list[Row]]) -> list[Row]:
    """The rows that depend on a layer, behind those that open the packed input."""
    made: list[Row] = []
    place: dict[int, int] = {}
    for original, opening in zip(given, openers, strict=True):
        before = _INPUT
        for name, op, _, fields in opening:
            made.append((name, op, [before], fields))
            before = len(made) - 1
        place[original] = before
    for index in sorted(after):
        name, op, inputs, fields = rows[index]
        made.append((name, op, [place[each] for each in inputs], fields))
        place[index] = len(made) - 1
    return made


def batch_of(model: Model, images: Images) -> torch.Tensor:
    """Images of any form as the f32 batch that enters the model."""
    tensor = as_tensor(images.images if hasattr(images, "images") else images)
    shape = model.input_shape
    if tensor.dim() == 3 and tuple(tensor.shape) == shape:
        tensor = tensor[None]
    elif tensor.dim() == 3 and shape[0] == 1:
        tensor = tensor[:, None]
    elif tensor.dim() == 2 and shape[0] == 1:
        tensor = tensor[None, None]
    if len(tensor) == 0:
        raise ValueError(f"images must hold at least one image, got {list(tensor.shape)}")
    return model.prepare(tensor).detach().clone()


def _chosen(scores: torch.Tensor, target: int | Sequence[int] | None) -> torch.Tensor:
    """The score of one class per image."""
    if scores.dim() != 2:
        raise ValueError(f"the model gives {list(scores.shape[1:])} per image, not one score per class")
    count, classes = scores.shape
    if target is None:
        wanted = scores.detach().argmax(1)
    else:
        wanted = torch.as_tensor(np.asarray(target), dtype=torch.int64, device=scores.device)
        wanted = wanted.expand(count) if wanted.dim() == 0 else wanted
    if tuple(wanted.shape) != (count,) or int(wanted.min()) < 0 or int(wanted.max()) >= classes:
        raise ValueError(f"target must be a class from 0 to {classes - 1}, or one for each of {count} images")
    return scores.gather(1, wanted[:, None])


# ---- receptive fields, from the output back to the image

_ANY_PLACE = {
    *("batchnorm2d", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu", "prelu", "relu6", "hardswish"),
    *("mish", "softplus", "reciprocal", "detach"),
    *("dropout", "dropout2d", "add", "concat", "scale_shift"),
}


def _field(nodes: list[dict[str, Any]], node: int, wanted: Field, input_shape: tuple[int, ...]) -> Field:
    """Joins the fields of all inputs."""
    if node == _INPUT:
        return wanted
    shapes = nodes[node]["input_shapes"]
    fields = [
        _field(nodes, before, _seen(nodes[node], wanted, shape), input_shape)
        for before, shape in zip(nodes[node]["inputs"], shapes, strict=True)
    ]
    return Field(
        min(each.top for each in fields),
        max(each.bottom for each in fields),
        min(each.left for each in fields),
        max(each.right for each in fields),
    )


def _seen(node: dict[str, Any], wanted: Field, shape: tuple[int, ...]) -> Field:
    """The places of a layer's input on which the wanted places of its output depend."""
    op, fields = node["op"], node["fields"]
    if len(shape) != 3:
        return Field(0, 0, 0, 0)
    if op in _ANY_PLACE or (op in _ENDS and len(node["output_shape"]) == 3):
        return wanted
    if op in ("conv2d", "maxpool2d", "avgpool2d"):
        padding = fields["padding"]
        top, left = (padding[0], padding[2]) if len(padding) == 4 else padding
        rows = _window(wanted.top, wanted.bottom, fields, 0, top)
        return Field(*rows, *_window(wanted.left, wanted.right, fields, 1, left))
    if op == "adaptive_avgpool2d":
        (out_height, out_width), (_, height, width) = fields["output"], shape
        rows = _share(wanted.top, wanted.bottom, height, out_height)
        return Field(*rows, *_share(wanted.left, wanted.right, width, out_width))
    if op == "slice" and fields["dimension"] > 0:
        start, step = fields["start"], fields["step"]
        if fields["dimension"] == 1:
            return wanted._replace(top=start + step * wanted.top, bottom=start + step * wanted.bottom)
        return wanted._replace(left=start + step * wanted.left, right=start + step * wanted.right)
    if op == "slice":
        return wanted
    return Field(0, shape[1] - 1, 0, shape[2] - 1)  # all places are mixed


def _window(first: int, last: int, fields: dict[str, Any], axis: int, padding: int) -> tuple[int, int]:
    stride, kernel = fields["stride"][axis], fields["kernel"][axis]
    dilation = fields.get("dilation", (1, 1))[axis]
    return first * stride - padding, last * stride - padding + dilation * (kernel - 1)


def _share(first: int, last: int, size: int, parts: int) -> tuple[int, int]:
    return first * size // parts, -(-(last + 1) * size // parts) - 1

"""Explanations of predictions: feature maps, saliency, Grad-CAM and receptive fields.

Outputs of layers and gradients are computed by PyTorch from the model's graph, in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import fx

from mnistcnn._internal.checks import did_you_mean
from mnistcnn.convert.from_torch import as_model, warn_without_normalization
from mnistcnn.nn.graph import INPUT
from mnistcnn.nn.input_checks import as_batch
from mnistcnn.nn.to_torch import to_graph_module

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model

# [N, C, H, W], one image [C, H, W], or [N, H, W] for one channel
Images: TypeAlias = "ImageSet | np.ndarray[Any, Any] | torch.Tensor"
Floats = np.ndarray[Any, np.dtype[np.float32]]
_ENDS = ("log_softmax", "softmax")  # skipped as last node: class scores are their inputs


class Field(NamedTuple):
    """Receptive field in pixels, limits inclusive. Limits outside of the image are in the padding."""

    top: int
    bottom: int  # last row
    left: int
    right: int  # last column


def feature_maps(model: Model | nn.Module, images: Images, layer: str) -> Floats:
    """Return the output of a layer in evaluation mode: f32 [N, channels, height, width], or [N, features].

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` that contains the layer.
    images
        Images in any form that `mnistcnn.predict` accepts.
    layer
        Name of a layer, such as "convblock1.0", or of a block, which selects its last layer.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.feature_maps(model, mnistcnn.load("digits")[1][:2], "convblock3").shape
    (2, 4, 22, 22)
    """
    model = model_for(model, images)
    index = find_layer(model, layer)
    with torch.no_grad():
        return np.asarray(_outputs(model, batch_of(model, images), [index])[0].cpu())


def grad_cam(
    model: Model | nn.Module, images: Images, *, layer: str | None = None, target: int | Sequence[int] | None = None
) -> Floats:
    """Return Grad-CAM maps of the evidence for a class: f32 [N, height, width], 0 to 1, in the size of the images.

    The channels of the layer are weighted by the mean gradient of the class score (before softmax) and summed. Negative
    values are set to 0. The map is divided by its maximum and resized bilinearly. A map of zeros means that no
    location has a positive contribution.

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` to explain.
    images
        Images in any form that `mnistcnn.predict` accepts.
    layer
        Name of a layer whose output is [channels, height, width]. Default: None, the last layer with maps of more than
        one pixel.
    target
        Class to explain, or one class per image. Default: None, the predicted class.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.grad_cam(model, mnistcnn.load("digits")[1][:2]).shape
    (2, 28, 28)
    """
    model = model_for(model, images)
    index = last_map(model) if layer is None else find_layer(model, layer)
    shape = model._network.nodes[index]["output_shape"]
    if len(shape) != 3:
        name = model._network.nodes[index]["name"]
        raise ValueError(f"layer must have an output [channels, height, width], got '{name}' with output [{shape[0]}]")
    batch = batch_of(model, images)
    maps, gradients = _maps_and_gradients(model, index, batch, target)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    cam = (weights * maps).sum(1, keepdim=True).relu()
    cam = cam / cam.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    size = model.input_shape[1:]
    return torch.nn.functional.interpolate(cam, size=size, mode="bilinear", align_corners=False)[:, 0].cpu().numpy()


def saliency(model: Model | nn.Module, images: Images, *, target: int | Sequence[int] | None = None) -> Floats:
    """Return the gradient of a class score (before softmax) with respect to the input pixels, f32 [N, C, H, W].

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` to explain.
    images
        Images in any form that `mnistcnn.predict` accepts.
    target
        Class to explain, or one class per image. Default: None, the predicted class.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> mnistcnn.explain.saliency(model, mnistcnn.load("digits")[1][:2]).shape
    (2, 1, 28, 28)
    """
    model = model_for(model, images)
    batch = batch_of(model, images).requires_grad_()
    with torch.enable_grad():
        (scores,) = _outputs(model, batch, [_score_node(model)])
        (gradients,) = torch.autograd.grad(_target_scores(scores, target).sum(), batch)
    return np.asarray(gradients.cpu())


def receptive_field(model: Model | nn.Module, layer: str, position: tuple[int, int] | None = None) -> Field:
    """Return the input pixels on which one output position of a layer depends. Padding is included.

    Norms whose statistics depend on all positions do not increase the receptive field, as in `Model.summary`.

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` that contains the layer.
    layer
        Name of a layer, such as "convblock1.0", or of a block, which selects its last layer.
    position
        Row and column in the output of the layer. Default: None, the centre.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.explain.receptive_field(mnistcnn.create_model("session7_net"), "convblock1", (0, 0))
    Field(top=0, bottom=2, left=0, right=2)
    """
    model = as_model(model)
    index = find_layer(model, layer)
    nodes = model._network.nodes
    shape = nodes[index]["output_shape"]
    height, width = shape[1:] if len(shape) == 3 else (1, 1)
    row, column = (height // 2, width // 2) if position is None else position
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"position must be inside the {height}x{width} output of '{nodes[index]['name']}', got {position}"
        )
    return _field(nodes, index, Field(row, row, column, column))


def model_for(module: Model | nn.Module, images: Images) -> Model:
    """Return the model of a module; warn if it has no normalization for uint8 images."""
    model = as_model(module)
    if getattr(images, "dtype", np.uint8) in (np.uint8, torch.uint8):
        warn_without_normalization(module, model, stacklevel=4)
    return model


# ---- layers by name


def find_layer(model: Model, layer: str) -> int:
    """Return the position of a layer, or of the last layer of a block, in the list of nodes."""
    names = [node["name"] for node in model._network.nodes]
    for index in reversed(range(len(names))):
        if names[index] == layer or names[index].startswith(f"{layer}."):
            return index
    hint = did_you_mean(layer, names) or "."
    raise ValueError(f"model '{model.name}' has no layer {layer!r}{hint} Its layers: {', '.join(names)}")


def last_map(model: Model) -> int:
    """Return the position of the last layer whose maps have more than one pixel.

    Outputs of reshapes are skipped: ``x.mean((2, 3))`` is recorded as a reshape to [C, H * W, 1] and a pool.
    """
    nodes = model._network.nodes
    for index in reversed(range(len(nodes))):
        shape = nodes[index]["output_shape"]
        if len(shape) == 3 and shape[1] * shape[2] > 1 and nodes[index]["op"] not in ("reshape", "permute"):
            return index
    raise ValueError(f"model '{model.name}' has no layer with maps of more than one pixel")


# ---- outputs of layers


class _Interpreter(fx.Interpreter):
    """Runs a model's graph and keeps the outputs of some nodes; gradients stop at the node ``leaf``."""

    def __init__(self, model: Model, wanted: Sequence[int], leaf: int | None) -> None:
        super().__init__(to_graph_module(model).eval())
        self._wanted, self._leaf = set(wanted), leaf
        self.outputs: dict[int, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for index in self._wanted & n.meta.get("nodes", set()):
            if index == self._leaf:
                value = value.detach().requires_grad_()
            self.outputs[index] = value
        return value


def _outputs(model: Model, batch: torch.Tensor, wanted: Sequence[int], leaf: int | None = None) -> list[torch.Tensor]:
    """Return the outputs of some nodes; with ``leaf``, gradients can be computed with respect to its output."""
    interpreter = _Interpreter(model, wanted, leaf)
    interpreter.run(batch)
    return [interpreter.outputs[index] for index in wanted]


def _score_node(model: Model) -> int:
    """Return the node whose output is the class scores, before softmax."""
    last = len(model.rows) - 1
    return last - 1 if model.rows[last][1] in _ENDS and last > 0 else last


def _maps_and_gradients(
    model: Model, index: int, batch: torch.Tensor, target: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maps of a layer, and the gradients of the class scores with respect to them."""
    end = _score_node(model)
    if index == end:
        raise ValueError(f"layer '{model.rows[index][0]}' computes the class scores; use an earlier layer")
    with torch.enable_grad():
        maps, scores = _outputs(model, batch, [index, end], leaf=index)
        chosen = _target_scores(scores, target).sum()
        gradients = torch.autograd.grad(chosen, maps, allow_unused=True)[0] if chosen.requires_grad else None
    if gradients is None:
        raise ValueError(f"the class scores do not depend on layer '{model.rows[index][0]}'; use another layer")
    return maps.detach(), gradients


def batch_of(model: Model, images: Images) -> torch.Tensor:
    """Return images of any accepted form as the normalized input batch of the model, f32 [N, C, H, W]."""
    return model.prepare(as_batch(model, images.images if hasattr(images, "images") else images)).detach().clone()


def _target_scores(scores: torch.Tensor, target: int | Sequence[int] | None) -> torch.Tensor:
    """Return the score of the target class of each image, [N, 1]."""
    if scores.dim() != 2:
        raise ValueError(f"the model must have one score per class as output, got {list(scores.shape[1:])} per image")
    count, classes = scores.shape
    if target is None:
        wanted = scores.detach().argmax(1)
    else:
        given = np.asarray(target)
        wanted = torch.as_tensor(given if given.dtype.kind in "iu" else np.array([]), device=scores.device).long()
        wanted = wanted.expand(count) if wanted.dim() == 0 else wanted
    if tuple(wanted.shape) != (count,) or int(wanted.min()) < 0 or int(wanted.max()) >= classes:
        raise ValueError(
            f"target must be a class from 0 to {classes - 1}, or one for each of the {count} images, got {target!r}"
        )
    return scores.gather(1, wanted[:, None])


# ---- receptive fields, propagated from the output to the image

_ELEMENTWISE = {  # each output position depends on the same position of the inputs
    *("batchnorm2d", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu", "prelu", "relu6", "hardswish"),
    *("mish", "softplus", "reciprocal", "detach"),
    *("dropout", "dropout2d", "add", "concat", "scale_shift", "multiply", "expand"),
    *("groupnorm", "instancenorm2d", "layernorm"),  # by convention; their statistics depend on all positions
}


def _field(nodes: list[dict[str, Any]], node: int, wanted: Field) -> Field:
    """Return the positions of the image on which the positions ``wanted`` of a node's output depend."""
    needed = {node: wanted}
    for index in range(node, INPUT, -1):  # the inputs of a node precede it
        if index in needed:
            for before, shape in zip(nodes[index]["inputs"], nodes[index]["input_shapes"], strict=True):
                field = _input_field(nodes[index], needed[index], shape)
                needed[before] = _union(needed[before], field) if before in needed else field
    return needed[INPUT]


def _union(a: Field, b: Field) -> Field:
    return Field(min(a.top, b.top), max(a.bottom, b.bottom), min(a.left, b.left), max(a.right, b.right))


def _input_field(node: dict[str, Any], wanted: Field, shape: tuple[int, ...]) -> Field:
    """Return the positions of a layer's input on which the positions ``wanted`` of its output depend."""
    op, fields = node["op"], node["fields"]
    if len(shape) != 3:
        return Field(0, 0, 0, 0)
    if op in _ELEMENTWISE or (op in _ENDS and len(node["output_shape"]) == 3):
        return _broadcast(wanted, shape, node["output_shape"])
    if op == "pad":
        return _padded(wanted, fields, shape)
    if op in ("conv2d", "maxpool2d", "avgpool2d"):
        padding = fields["padding"]
        top, left = (padding[0], padding[2]) if len(padding) == 4 else padding
        rows = _window(wanted.top, wanted.bottom, fields, 0, top)
        return Field(*rows, *_window(wanted.left, wanted.right, fields, 1, left))
    if op == "adaptive_avgpool2d":
        (out_height, out_width), (_, height, width) = fields["output"], shape
        rows = _pooled(wanted.top, wanted.bottom, height, out_height)
        return Field(*rows, *_pooled(wanted.left, wanted.right, width, out_width))
    if op == "slice" and fields["dimension"] > 0:
        start, step = fields["start"], fields["step"]
        if fields["dimension"] == 1:
            return wanted._replace(top=start + step * wanted.top, bottom=start + step * wanted.bottom)
        return wanted._replace(left=start + step * wanted.left, right=start + step * wanted.right)
    if op in ("slice", "amax") and fields["dimension"] == 0:
        return wanted
    return Field(0, shape[1] - 1, 0, shape[2] - 1)  # depends on all positions


def _broadcast(wanted: Field, shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Field:
    """Return the positions of an input whose dimensions of size 1 are broadcast."""
    if shape[1] < output_shape[1]:
        wanted = wanted._replace(top=0, bottom=0)
    return wanted._replace(left=0, right=0) if shape[2] < output_shape[2] else wanted


def _padded(wanted: Field, fields: dict[str, Any], shape: tuple[int, ...]) -> Field:
    """Return the positions of the input of a `Pad` layer."""
    rows = _before_padding(wanted.top, wanted.bottom, fields["padding"][0], shape[1], fields["mode"])
    return Field(*rows, *_before_padding(wanted.left, wanted.right, fields["padding"][2], shape[2], fields["mode"]))


def _before_padding(first: int, last: int, padding: int, size: int, mode: str) -> tuple[int, int]:
    """Return the first and last row (or column) before padding, with the rows that the padding repeats."""
    first, last = first - padding, last - padding
    if mode == "circular" and (first < 0 or last >= size):
        return 0, size - 1
    if mode == "reflect":  # row -n repeats row n
        return min(first, 2 * (size - 1) - last), max(last, -first)
    if mode == "replicate":
        return min(first, size - 1), max(last, 0)
    return first, last


def _window(first: int, last: int, fields: dict[str, Any], axis: int, padding: int) -> tuple[int, int]:
    stride, kernel = fields["stride"][axis], fields["kernel"][axis]
    dilation = fields.get("dilation", (1, 1))[axis]
    return first * stride - padding, last * stride - padding + dilation * (kernel - 1)


def _pooled(first: int, last: int, size: int, parts: int) -> tuple[int, int]:
    return first * size // parts, -(-(last + 1) * size // parts) - 1

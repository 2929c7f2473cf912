"""Plots of the inside of a network: filters, feature maps, attribution maps and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.tables import counted
from mnistcnn.nn.class_names import class_names
from mnistcnn.plot.galleries import array_of, pixels_of
from mnistcnn.plot.style import HEAT, panel
from mnistcnn.plot.tiles import as_tile, draw_tiles, heat_tile, interleave_rows, signed_tile

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model

_MAX_TILES = 64
_MAX_FIELDS = 7

Images: TypeAlias = "ImageSet | np.ndarray[Any, Any] | torch.Tensor"


def filters(
    model: Model | nn.Module,
    layer: str | None = None,
    *,
    count: int = _MAX_TILES,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot the kernels of a convolution: blue for negative weights, orange for positive ones, on one scale.

    A filter with several input channels is drawn as a row, with one kernel per channel.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``.
    layer
        Name of a convolution, or of a block that contains one. Default: None, the first convolution.
    count
        Maximum number of kernels.
    title
        Title of the plot. Default: name of the layer, number of filters and channels.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.filters(mnistcnn.create_model("session7_net"))
    >>> len(figure.axes[0].images)
    4
    """
    from mnistcnn.convert.from_torch import as_model

    count = whole_number("count", count)
    name, weights = _kernels(as_model(model), layer)
    outputs, inputs = weights.shape[:2]
    largest = float(np.abs(weights).max())
    rows = outputs if inputs == 1 else max(1, count // inputs)
    chosen = weights[:rows].reshape(-1, *weights.shape[2:])[:count]
    heading = title or f"{name}: {outputs} filters over {counted(inputs, 'channel')}"
    columns = None if inputs == 1 else min(inputs, count)
    tiles = [signed_tile(each, largest) for each in chosen]
    return draw_tiles(tiles, columns=columns, title=heading, ax=ax, tile_inches=0.6)


def feature_maps(
    model: Model | nn.Module,
    image: Images,
    layer: str,
    *,
    count: int = _MAX_TILES,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot the output channels of a layer for one image: blue for negative values, orange for positive ones.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``.
    image
        Image [C, H, W] or [H, W], or an `ImageSet` or batch, of which the first image is used.
    layer
        Name of a layer or block, as in ``model.summary()``.
    count
        Maximum number of channels.
    title
        Title of the plot. Default: name of the layer, number and size of the channels.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.feature_maps(model, mnistcnn.load("digits")[1], "convblock3")
    >>> figure.axes[0].get_title()
    'convblock3: 4 channels of 22x22'
    """
    from mnistcnn.evaluation import explain

    count = whole_number("count", count)
    model = explain.model_for(model, image)
    maps = explain.feature_maps(model, explain.batch_of(model, _first(image))[:1], layer)[0]
    if maps.ndim != 3:
        raise ValueError(
            f"layer must have two-dimensional maps, but '{layer}' has {len(maps)} features; choose an earlier layer"
        )
    channels, height, width = maps.shape
    heading = title or f"{layer}: {channels} channels of {height}x{width}"
    largest = float(np.abs(maps).max())
    return draw_tiles([signed_tile(each, largest) for each in maps[:count]], title=heading, ax=ax)


def grad_cam(
    model: Model | nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    target: int | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot images above their Grad-CAM maps: the regions that contribute to the score of a class.

    Captions are the explained classes, with the true class if it differs. The maps are those of
    `mnistcnn.explain.grad_cam`.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``.
    images
        `ImageSet`, or uint8 images [N, C, H, W] or [N, H, W].
    layer
        Name of the layer whose maps are used, or of a block. Default: None, the last layer with maps larger than one
        pixel.
    target
        Class to explain, for all images or one per image. Default: None, the predicted class.
    count
        Maximum number of images.
    columns
        Number of images per row.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.grad_cam(model, mnistcnn.load("digits")[1], count=4)
    >>> len(figure.axes[0].images)
    8
    """
    from mnistcnn.evaluation import explain

    model = explain.model_for(model, images)
    pixels = pixels_of(images)[: whole_number("count", count)]
    heat = explain.grad_cam(model, pixels, layer=layer, target=_first_targets(target, count))
    lower = [heat_tile(image, each, HEAT) for image, each in zip(pixels, heat, strict=True)]
    captions = _captions(model, images, pixels, target)
    return _draw_pairs(pixels, lower, captions, columns, title, ax)


def saliency(
    model: Model | nn.Module,
    images: Images,
    *,
    target: int | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot images above their saliency maps: the gradient of the score of a class with respect to each pixel.

    Orange pixels increase the score when they become brighter, blue pixels decrease it. Captions are the explained
    classes, with the true class if it differs. The gradients are those of `mnistcnn.explain.saliency`.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``.
    images
        `ImageSet`, or uint8 images [N, C, H, W] or [N, H, W].
    target
        Class to explain, for all images or one per image. Default: None, the predicted class.
    count
        Maximum number of images.
    columns
        Number of images per row.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.saliency(model, mnistcnn.load("digits")[1], count=4)
    >>> len(figure.axes[0].images)
    8
    """
    from mnistcnn.evaluation import explain

    model = explain.model_for(model, images)
    pixels = pixels_of(images)[: whole_number("count", count)]
    gradients = explain.saliency(model, pixels, target=_first_targets(target, count)).sum(axis=1)
    lower = [signed_tile(each, float(np.quantile(np.abs(each), 0.995))) for each in gradients]
    captions = _captions(model, images, pixels, target)
    return _draw_pairs(pixels, lower, captions, columns, title, ax)


def receptive_field(
    model: Model | nn.Module,
    image: Images | None = None,
    *,
    layers: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot the receptive field of the central unit of each layer on an image.

    Parts of a field that lie outside the image are padding.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``.
    image
        Image [C, H, W] or [H, W], or an `ImageSet`, of which the first image is used. Default: None, a blank image.
    layers
        Names of layers. Default: None, at most seven of the layers at which the receptive field grows.
    title
        Title of the plot. Default: "receptive fields".
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.receptive_field(mnistcnn.create_model("session7_net"))
    >>> figure.axes[0].get_legend().get_texts()[0].get_text()
    'convblock1.0: 3x3'
    """
    import matplotlib as mpl
    from matplotlib.patches import Rectangle

    from mnistcnn.convert.from_torch import as_model
    from mnistcnn.evaluation import explain

    model = as_model(model)
    names = list(layers) if layers is not None else _layers_with_growing_field(model)
    fields = [explain.receptive_field(model, name) for name in names]
    _, height, width = model.input_shape
    shown = np.zeros(model.input_shape, np.uint8) if image is None else pixels_of(_first(image)[None])[0]
    shades = mpl.colormaps["plasma"](np.linspace(0.12, 0.85, len(names)))
    with panel(ax, 6.6, 3.9) as (axes, drawn):
        axes.imshow(1 - 0.6 * (1 - as_tile(shown)), extent=(0, width, height, 0), interpolation="nearest")
        axes.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor="0.6", linewidth=0.8))
        for order, (name, field, shade) in enumerate(zip(names, fields, shades, strict=True)):
            tall, wide = field.bottom - field.top + 1, field.right - field.left + 1
            label = f"{name}: {tall}x{wide}"
            style: dict[str, Any] = {"linestyle": "-" if order % 2 == 0 else (0, (4, 1.5)), "linewidth": 2}
            axes.add_patch(
                Rectangle((field.left, field.top), wide, tall, fill=False, edgecolor=shade, label=label, **style)
            )
        _limits(axes, fields, height, width)
        axes.set_axis_off()
        axes.set_anchor("W")
        axes.set_title(title or "receptive fields", loc="left")
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=1.6, fontsize=9 if drawn is not axes else 6
        )
    return drawn


def _limits(ax: Axes, fields: Sequence[Any], height: int, width: int) -> None:
    ax.set_xlim(min(0, *(each.left for each in fields)) - 0.5, max(width, *(each.right + 1 for each in fields)) + 0.5)
    ax.set_ylim(max(height, *(each.bottom + 1 for each in fields)) + 0.5, min(0, *(each.top for each in fields)) - 0.5)
    ax.set_aspect("equal")


def _layers_with_growing_field(model: Model) -> list[str]:
    """Return the layers at which the field grows, or `_MAX_FIELDS` of them, evenly spaced from first to last."""
    names, before = [], 1
    for row in model.summary().rows:
        if row.receptive_field is not None and row.receptive_field > before:
            names.append(row.name)
            before = row.receptive_field
    if not names:
        raise ValueError(f"model '{model.name}' has no layer with a known receptive field larger than one pixel")
    kept = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MAX_FIELDS)).round().astype(int))
    return [names[index] for index in kept]


def _kernels(model: Model, layer: str | None) -> tuple[str, np.ndarray[Any, Any]]:
    """Return name and weights f32 [outputs, inputs, height, width] of the first convolution of ``layer``."""
    convolutions = [name for name, op, _, _ in model.rows if op == "conv2d"]
    if layer is not None:
        from mnistcnn.evaluation.explain import find_layer

        find_layer(model, layer)  # raises for an unknown name, with a suggestion
        convolutions = [name for name in convolutions if name == layer or name.startswith(f"{layer}.")]
    if not convolutions:
        where = f"'{layer}'" if layer is not None else f"model '{model.name}'"
        raise ValueError(f"there are no filters to draw: {where} contains no convolution")
    return convolutions[0], model.state_dict()[f"{convolutions[0]}.weight"].detach().cpu().numpy()


def _first(image: Any) -> Any:
    """Return the first image [C, H, W] of an `ImageSet`, a batch or a single image."""
    pixels = array_of(image)
    if pixels.ndim == 2:
        return pixels[None]
    return pixels[0] if pixels.ndim == 4 else pixels


def _first_targets(target: Any, count: int) -> Any:
    return target if target is None or np.ndim(target) == 0 else list(target)[:count]


def _captions(model: Model, images: Any, pixels: np.ndarray[Any, Any], target: Any) -> list[str]:
    """Return the explained class of each image, with the true class if it is known and differs."""
    from mnistcnn.evaluation.evaluate import predict

    explained = predict(model, pixels).argmax(1) if target is None else np.broadcast_to(np.asarray(target), len(pixels))
    classes = getattr(images, "classes", None) or class_names(model)
    names = [classes[each] if each < len(classes) else str(each) for each in explained]
    labels = getattr(images, "labels", None)
    if labels is None:
        return names
    between = " " if max(map(len, classes)) < 4 else "\n"
    return [
        name if label == each else f"{name}{between}(true {classes[label]})"
        for name, label, each in zip(names, labels, explained, strict=False)
    ]


def _draw_pairs(
    pixels: np.ndarray[Any, Any],
    lower: list[np.ndarray[Any, Any]],
    captions: list[str],
    columns: int,
    title: str,
    ax: Axes | None,
) -> Figure | Axes:
    columns = min(whole_number("columns", columns), len(pixels))
    tiles = interleave_rows([as_tile(image) for image in pixels], lower, columns)
    padded: list[str] = []
    for start in range(0, len(captions), columns):
        part = captions[start : start + columns]
        blank = columns - len(part)
        padded += part + [""] * (blank + columns)
    return draw_tiles(tiles, columns=columns, captions=padded[: len(tiles)], title=title, ax=ax)

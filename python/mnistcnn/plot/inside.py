"""Pictures from inside a network: its filters and maps, what it looks at, and how much of the image it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn.plot.galleries import pixels_of
from mnistcnn.plot.style import HEAT, panel
from mnistcnn.plot.tiles import above_each_other, as_tile, draw_tiles, heat_tile, signed_tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model

_MOST_TILES = 64
_MOST_FIELDS = 7


def filters(
    model: Model, layer: str | None = None, *, count: int = _MOST_TILES, title: str = "", ax: Axes | None = None
) -> Figure | Axes:
    """The kernels of a convolution: blue below zero, orange above, one scale for all.

    Parameters
    ----------
    model
        Any `mnistcnn.Model`.
    layer
        A convolution or a block that holds one; by default the first. Kernels over several channels are drawn
        channel by channel: one row per filter.
    count
        Draw at most so many kernels.
    title, ax
        A title, and the axes to draw into instead of a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.filters(mnistcnn.create_model("session7_net"))
    >>> len(figure.axes[0].images)
    4
    """
    name, weights = _kernels(model, layer)
    outputs, inputs = weights.shape[:2]
    largest = float(np.abs(weights).max())
    rows = outputs if inputs == 1 else max(1, count // inputs)
    chosen = weights[:rows].reshape(-1, *weights.shape[2:])[:count]
    heading = title or f"{name}: {outputs} filters over {inputs} channel{'' if inputs == 1 else 's'}"
    columns = None if inputs == 1 else min(inputs, count)
    tiles = [signed_tile(each, largest) for each in chosen]
    return draw_tiles(tiles, columns=columns, title=heading, ax=ax, tile_inches=0.6)


def feature_maps(
    model: Model,
    image: Any,
    layer: str,
    *,
    count: int = _MOST_TILES,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """What the channels of a layer make of one image: blue below zero, orange above.

    Parameters
    ----------
    model
        Any `mnistcnn.Model`.
    image
        One image [C, H, W], or a set or batch whose first image is taken.
    layer
        The name of a layer or of a block, as ``model.summary()`` shows them.
    count
        Draw at most so many channels.
    title, ax
        A title, and the axes to draw into instead of a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.feature_maps(model, mnistcnn.load("digits")[1], "convblock3")
    >>> figure.axes[0].get_title()
    'convblock3: 4 channels of 22x22'
    """
    from mnistcnn.evaluation import explain

    maps = explain.feature_maps(model, explain.batch_of(model, _first(image))[:1], layer)[0]
    if maps.ndim != 3:
        raise ValueError(f"'{layer}' gives {len(maps)} flat numbers, no maps; choose a layer before it")
    channels, height, width = maps.shape
    heading = title or f"{layer}: {channels} channels of {height}x{width}"
    largest = float(np.abs(maps).max())
    return draw_tiles([signed_tile(each, largest) for each in maps[:count]], title=heading, ax=ax)


def grad_cam(
    model: Model,
    images: ImageSet | np.ndarray[Any, Any],
    *,
    layer: str | None = None,
    target: int | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Images (above) and where the evidence for their class lies (below); see `mnistcnn.explain.grad_cam`.

    The captions say what the model predicts, or the class that ``target`` asks for.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.grad_cam(model, mnistcnn.load("digits")[1], count=4)
    >>> len(figure.axes[0].images)
    8
    """
    from mnistcnn.evaluation import explain

    pixels = pixels_of(images)[:count]
    heat = explain.grad_cam(model, pixels, layer=layer, target=_first_targets(target, count))
    lower = [heat_tile(image, each, HEAT) for image, each in zip(pixels, heat, strict=True)]
    captions = _captions(model, images, pixels, target)
    return _pairs(pixels, lower, captions, columns, title, ax)


def saliency(
    model: Model,
    images: ImageSet | np.ndarray[Any, Any],
    *,
    target: int | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Images (above) and how ink at each pixel would move the score of their class (below).

    Orange: brighter pixels there speak for the class; blue: against it.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("session7_net")
    >>> figure = mnistcnn.plot.saliency(model, mnistcnn.load("digits")[1], count=4)
    >>> len(figure.axes[0].images)
    8
    """
    from mnistcnn.evaluation import explain

    pixels = pixels_of(images)[:count]
    gradients = explain.saliency(model, pixels, target=_first_targets(target, count)).sum(axis=1)
    lower = [signed_tile(each, float(np.quantile(np.abs(each), 0.995))) for each in gradients]
    captions = _captions(model, images, pixels, target)
    return _pairs(pixels, lower, captions, columns, title, ax)


def receptive_field(
    model: Model,
    image: Any = None,
    *,
    layers: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """How much of an image the middle unit of each layer sees, drawn on a digit.

    Parameters
    ----------
    model
        Any `mnistcnn.Model`.
    image
        One image [C, H, W], or a set whose first image is taken; by default a blank one.
    layers
        Which layers; by default those at which the field grows, at most seven of them. Parts of a field outside of
        the image are padding.
    title, ax
        A title, and the axes to draw into instead of a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.receptive_field(mnistcnn.create_model("session7_net"))
    >>> figure.axes[0].get_legend().get_texts()[0].get_text()
    'convblock1.0: 3x3'
    """
    import matplotlib as mpl
    from matplotlib.patches import Rectangle

    from mnistcnn.evaluation import explain

    names = list(layers) if layers is not None else _growing(model)
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


def _growing(model: Model) -> list[str]:
    """The layers at which the field grows, thinned out evenly; the first and the last stay."""
    names, before = [], 1
    for row in model.summary().rows:
        if row.receptive_field is not None and row.receptive_field > before:
            names.append(row.name)
            before = row.receptive_field
    if not names:
        raise ValueError(f"no layer of model '{model.name}' sees more than one pixel at a known place")
    kept = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MOST_FIELDS)).round().astype(int))
    return [names[index] for index in kept]


def _kernels(model: Model, layer: str | None) -> tuple[str, np.ndarray[Any, Any]]:
    """Name and weights of a convolution."""
    convolutions = [name for name, op, _, _ in model.rows if op == "conv2d"]
    if layer is not None:
        from mnistcnn.evaluation.explain import find_layer

        find_layer(model, layer)  # an unknown name gets a hint
        convolutions = [name for name in convolutions if name == layer or name.startswith(f"{layer}.")]
    if not convolutions:
        where = f"'{layer}'" if layer is not None else f"model '{model.name}'"
        raise ValueError(f"there is no convolution in {where}, so it has no filters to draw")
    return convolutions[0], model.state_dict()[f"{convolutions[0]}.weight"].detach().cpu().numpy()


def _first(image: Any) -> Any:
    """One image [C, H, W] of a set, a batch, or itself."""
    pixels = image.images if hasattr(image, "images") else np.asarray(image)
    if pixels.ndim == 2:
        return pixels[None]
    return pixels[0] if pixels.ndim == 4 else pixels


def _first_targets(target: Any, count: int) -> Any:
    return target if target is None or np.ndim(target) == 0 else list(target)[:count]


def _captions(model: Model, images: Any, pixels: np.ndarray[Any, Any], target: Any) -> list[str]:
    """What each picture explains, and what is true where that is known and something else."""
    from mnistcnn.evaluation.evaluate import predict

    explained = predict(model, pixels).argmax(1) if target is None else np.broadcast_to(np.asarray(target), len(pixels))
    classes = getattr(images, "classes", None) or tuple(map(str, range(model.num_classes)))
    names = [classes[each] if each < len(classes) else str(each) for each in explained]
    labels = getattr(images, "labels", None)
    if labels is None:
        return names
    return [
        name if label == each else f"{name} (is {classes[label]})"
        for name, label, each in zip(names, labels, explained, strict=False)
    ]


def _pairs(
    pixels: np.ndarray[Any, Any],
    lower: list[np.ndarray[Any, Any]],
    captions: list[str],
    columns: int,
    title: str,
    ax: Axes | None,
) -> Figure | Axes:
    columns = min(columns, len(pixels))
    tiles = above_each_other([as_tile(image) for image in pixels], lower, columns)
    words: list[str] = []
    for start in range(0, len(captions), columns):
        part = captions[start : start + columns]
        blank = columns - len(part)
        words += part + [""] * (blank + columns)
    return draw_tiles(tiles, columns=columns, captions=words[: len(tiles)], title=title, ax=ax)

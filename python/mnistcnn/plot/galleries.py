"""Galleries of images: of a data set, of mistakes, and of augmented versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.checks import ITEM_HINT, whole_number
from mnistcnn._internal.tables import percent
from mnistcnn.plot.scores import check_result
from mnistcnn.plot.style import BAD
from mnistcnn.plot.tiles import as_tile, draw_tiles, fitting_columns
from mnistcnn.transforms.preview import augment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.evaluation.results import Mistake, TestResult
    from mnistcnn.transforms.steps import Transform


def images(
    data: ImageSet | np.ndarray[Any, Any],
    *,
    labels: Sequence[Any] | None = None,
    count: int = 30,
    columns: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot the first images of a data set with their labels.

    Parameters
    ----------
    data
        `ImageSet`, or uint8 images [N, C, H, W] or [N, H, W]. To plot other images, index it: ``data[::100]``.
    labels
        Captions of the images. Default: None, the class names of an `ImageSet`, or no captions for an array.
    count
        Maximum number of images.
    columns
        Number of images per row. Default: None, at most 10.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.images(mnistcnn.load("digits")[1], count=20)
    >>> [text.get_text() for text in figure.axes[0].texts[:3]]
    ['0', '1', '8']
    """
    count = whole_number("count", count)
    pixels = pixels_of(data)[:count]
    if labels is None and not isinstance(data, np.ndarray) and hasattr(data, "labels"):
        labels = [data.classes[label] for label in data.labels[:count]]
    if labels is not None and len(labels) < len(pixels):
        raise ValueError(f"labels must have an entry for each of the {len(pixels)} images, got {len(labels)} labels")
    captions = None if labels is None else [str(label) for label in labels[: len(pixels)]]
    return draw_tiles([as_tile(image) for image in pixels], columns=columns, captions=captions, title=title, ax=ax)


def mistakes(
    result: TestResult,
    data: ImageSet,
    *,
    count: int = 10,
    columns: int = 5,
    chosen: Iterable[Mistake] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot misclassified images with predicted class, true class and confidence, highest confidence first.

    Parameters
    ----------
    result
        Result of `mnistcnn.test`.
    data
        Data set that was tested.
    count
        Maximum number of images.
    columns
        Number of images per row. Fewer are drawn if the captions would not fit into ``ax``.
    chosen
        Mistakes to plot, for example ``result.mistakes_between(4, 9)``. Default: None, ``result.mistakes``.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    >>> figure = mnistcnn.plot.mistakes(result, data)
    >>> len(figure.axes[0].images)
    10
    """
    check_result(result)
    if len(data) != result.count:
        raise ValueError(
            f"data must be the data set that was tested, with {result.count:,} images, got {len(data):,} images"
        )
    if not np.array_equal(data.labels, result.labels):
        raise ValueError("data must be the data set that was tested, got one with other labels")
    found = list(result.mistakes if chosen is None else chosen)[: whole_number("count", count)]
    if not found:
        return _draw_no_mistakes(ax)
    between = ", " if max(map(len, result.classes)) < 4 else "\n"
    captions = [
        f"pred {result.classes[each.prediction]}{between}true {result.classes[each.label]}\n"
        f"{percent(each.confidence, 1)}"
        for each in found
    ]
    tiles = [as_tile(data.images[each.index]) for each in found]
    colours = [BAD] * len(found)
    columns = fitting_columns(ax, columns, captions)
    return draw_tiles(
        tiles, columns=columns, captions=captions, caption_colours=colours, title=title, ax=ax, tile_inches=1.05
    )


def augmented(
    data: ImageSet | np.ndarray[Any, Any],
    transforms: Transform | Iterable[Transform],
    *,
    count: int = 8,
    versions: int = 4,
    seed: int = 0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Plot images (first row) above their augmented versions, one row per epoch.

    Parameters
    ----------
    data
        `ImageSet`, or uint8 images [N, C, H, W] or [N, H, W].
    transforms
        Transforms, as for `mnistcnn.transforms.augment`, for example ``[mnistcnn.transforms.Rotation(7)]``.
    count
        Maximum number of images.
    versions
        Number of augmented versions of each image.
    seed
        Seed of the augmentation.
    title
        Title of the plot. Default: no title.
    ax
        Axes to draw into. Default: a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1]
    >>> figure = mnistcnn.plot.augmented(data, [mnistcnn.transforms.Rotation(7)], count=3, versions=1)
    >>> len(figure.axes[0].images)
    6
    """
    pixels = pixels_of(data)[: whole_number("count", count)]
    versions = whole_number("versions", versions)
    rows = [pixels, *(_pixels(augment(pixels, transforms, seed=seed, epoch=each)) for each in range(versions))]
    names = ["original", *(f"epoch {each + 1}" for each in range(versions))]
    height, width = (max(row.shape[axis] for row in rows) for axis in (2, 3))
    tiles = [as_tile(_pad_to(image, height, width)) for row in rows for image in row]
    return draw_tiles(tiles, columns=len(pixels), row_names=names, title=title, ax=ax)


def pixels_of(data: Any) -> np.ndarray[Any, Any]:
    """Return the images of an `ImageSet` or an array as u8 [N, C, H, W]."""
    return _pixels(array_of(data))


def array_of(data: Any) -> np.ndarray[Any, Any]:
    """Return the images of an `ImageSet`, or an array. Raise TypeError for an item of an `ImageSet`."""
    try:
        return np.asarray(data.images if hasattr(data, "images") else data)
    except ValueError:  # NumPy describes its own conversion only
        hint = f"; {ITEM_HINT}" if isinstance(data, tuple) else ""
        raise TypeError(f"images must be an ImageSet or an array, got {type(data).__name__}{hint}") from None


def _pixels(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise TypeError(
            "images must be an ImageSet or a uint8 array [N, C, H, W] or [N, H, W], "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {pixels.shape[1]}")
    return pixels


def _pad_to(image: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """Pad an image [C, H, W] with zeros on all sides to ``height`` x ``width``."""
    top, left = (height - image.shape[1]) // 2, (width - image.shape[2]) // 2
    bottom, right = height - image.shape[1] - top, width - image.shape[2] - left
    return np.pad(image, ((0, 0), (top, bottom), (left, right)))


def _draw_no_mistakes(ax: Axes | None) -> Figure | Axes:
    from mnistcnn.plot.style import panel

    with panel(ax, 4, 1.2) as (axes, drawn):
        axes.text(0.5, 0.5, "no mistakes", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
    return drawn

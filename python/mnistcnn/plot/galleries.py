"""Images as they are, as they were mistaken, and as augmentation changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn.plot.style import BAD
from mnistcnn.plot.tiles import as_tile, captions_fit, draw_tiles
from mnistcnn.transforms.preview import augment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.evaluation.results import Mistake, TestResult


def images(
    data: ImageSet | np.ndarray[Any, Any],
    *,
    labels: Sequence[Any] | None = None,
    count: int = 30,
    columns: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """The first images of a set with their labels.

    Parameters
    ----------
    data
        An `ImageSet`, or uint8 images [N, C, H, W] or [N, H, W].
    labels
        Captions instead of the set's own labels.
    count
        How many; ``data[::100]`` or ``data[indices]`` chooses which.
    columns
        How many side by side.
    title, ax
        A title, and the axes to draw into instead of a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> figure = mnistcnn.plot.images(mnistcnn.load("digits")[1], count=20)
    >>> [text.get_text() for text in figure.axes[0].texts[:3]]
    ['0', '1', '8']
    """
    pixels = pixels_of(data)[:count]
    if labels is None and not isinstance(data, np.ndarray):
        labels = [data.classes[label] for label in data.labels[:count]]
    if labels is not None and len(labels) < len(pixels):
        raise ValueError(f"there are {len(pixels)} images, but {len(labels)} labels")
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
    """What was taken for something else: predicted, true, and how sure the network was, the surest first.

    Parameters
    ----------
    result, data
        What `mnistcnn.test` gave, and the set it was given.
    count, columns
        How many, and how many side by side; 10 in rows of 5 by default.
    chosen
        Other ones than the surest, such as ``result.mistakes_between(4, 9)``.
    title, ax
        A title, and the axes to draw into instead of a new figure.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    >>> figure = mnistcnn.plot.mistakes(result, data)
    >>> len(figure.axes[0].images)
    10
    """
    if len(data) != result.count:
        raise ValueError(f"the result is of {result.count:,} images, the set has {len(data):,}: give the tested set")
    found = list(result.mistakes if chosen is None else chosen)[:count]
    if not found:
        return _no_mistake(ax)
    between = ", " if max(map(len, result.classes)) < 4 else "\n"
    captions = [
        f"said {result.classes[each.prediction]}{between}is {result.classes[each.label]}\n{100 * each.confidence:.1f} %"
        for each in found
    ]
    tiles = [as_tile(data.images[each.index]) for each in found]
    colours = [BAD] * len(found)
    columns = captions_fit(ax, columns, captions)
    return draw_tiles(
        tiles, columns=columns, captions=captions, caption_colours=colours, title=title, ax=ax, tile_inches=1.05
    )


def augmented(
    data: ImageSet | np.ndarray[Any, Any],
    steps: Any,
    *,
    count: int = 8,
    versions: int = 4,
    seed: int = 0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure | Axes:
    """Images as they are (above) and as the first epochs will see them.

    Parameters
    ----------
    data
        An `ImageSet`, or uint8 images.
    steps
        What `mnistcnn.transforms.augment` takes, such as ``[mnistcnn.transforms.Rotation(7)]``.
    count, versions
        How many images, and how many versions of each.
    seed
        Decides the augmentation.
    title, ax
        A title, and the axes to draw into instead of a new figure.
    """
    pixels = pixels_of(data)[:count]
    rows = [pixels, *(_pixels(augment(pixels, steps, seed=seed, epoch=each)) for each in range(versions))]
    names = ["original", *(f"epoch {each + 1}" for each in range(versions))]
    height, width = (max(row.shape[axis] for row in rows) for axis in (2, 3))
    tiles = [as_tile(_fitted(image, height, width)) for row in rows for image in row]
    return draw_tiles(tiles, columns=len(pixels), row_names=names, title=title, ax=ax)


def pixels_of(data: Any) -> np.ndarray[Any, Any]:
    """u8 [N, C, H, W] of a set or an array."""
    return _pixels(data.images if hasattr(data, "images") else data)


def _pixels(array: Any) -> np.ndarray[Any, Any]:
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise TypeError(
            "images must be an ImageSet or a uint8 array [N, C, H, W] or [N, H, W], "
            f"got {pixels.dtype} {list(pixels.shape)}"
        )
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"images of 1 or 3 channels can be drawn, these have {pixels.shape[1]}")
    return pixels


def _fitted(image: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """An image in the middle of an empty one of the size of the largest."""
    top, left = (height - image.shape[1]) // 2, (width - image.shape[2]) // 2
    bottom, right = height - image.shape[1] - top, width - image.shape[2] - left
    return np.pad(image, ((0, 0), (top, bottom), (left, right)))


def _no_mistake(ax: Axes | None) -> Figure | Axes:
    from mnistcnn.plot.style import panel

    with panel(ax, 4, 1.2) as (axes, drawn):
        axes.text(0.5, 0.5, "no mistake", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
    return drawn

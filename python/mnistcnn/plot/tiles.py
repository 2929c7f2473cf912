"""Grids of small images in one axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.checks import whole_number
from mnistcnn.plot.style import panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Array = np.ndarray[Any, Any]
_GAP = 0.12  # between two tiles, as a fraction of the size of a tile
_LINE = 0.26  # height of a line of a caption, as a fraction of the height of a tile
_POINTS, _LETTER = 72, 0.62  # points per inch; width of a character as a fraction of the font size
_MIN_CAPTION_SIZE, _MIN_SIZE = 3.5, 2  # font sizes in points: legible in print; absolute minimum


def draw_tiles(
    tiles: Sequence[Array | None],
    *,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    caption_colours: Sequence[str] | None = None,
    row_names: Sequence[str] = (),
    title: str = "",
    ax: Axes | None = None,
    tile_inches: float = 0.85,
) -> Figure | Axes:
    """Draw tiles, f32 [H, W, 3] in 0 to 1 each, row by row, with captions above them. None leaves a gap."""
    if not len(tiles):
        raise ValueError("there is nothing to draw: no images were given")
    columns = min(10 if columns is None else whole_number("columns", columns), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    height, width = next(tile.shape[:2] for tile in tiles if tile is not None)
    across = width * (1 + _GAP)
    space = [height * _LINE * _lines((captions or ())[row * columns : (row + 1) * columns]) for row in range(rows)]
    tops = [row * height * (1 + _GAP) + sum(space[: row + 1]) for row in range(rows)]  # of the tiles of each row
    down = tops[-1] + height * (1 + _GAP)
    inches = tile_inches * columns * (1 + _GAP), tile_inches * down / width
    longest = max(map(len, row_names), default=0)
    margin = 0.2 + 0.09 * longest
    least = 0.085 * len(title)
    with panel(ax, max(inches[0] + margin, least), inches[1] + 0.15 + (0.25 if title else 0)) as (axes, drawn):
        if drawn is axes:  # given axes can be narrow or low
            tile_inches = min(tile_inches, _inches(axes).width / columns, _inches(axes).height / (down / width))
        size = _font_size(tile_inches, captions or ())
        for index, tile in enumerate(tiles):
            if tile is None:
                continue
            left, top = (index % columns) * across, tops[index // columns]
            axes.imshow(np.clip(tile, 0, 1), extent=(left, left + width, top + height, top), interpolation="nearest")
            axes.add_patch(_frame(left, top, width, height))
            if captions:
                colour = caption_colours[index] if caption_colours else None
                _caption(axes, left + width / 2, top - 0.04 * height, captions[index], size, colour)
        for row, name in enumerate(row_names):
            axes.text(-0.15 * width, tops[row] + 0.5 * height, name, ha="right", va="center", fontsize=size)
        names = 0.2 + longest * _LETTER * size / _POINTS / tile_inches if row_names else 0.02
        axes.set_xlim(-names * width, columns * across - _GAP * width + 0.02 * width)
        axes.set_ylim(down - _GAP * height + 0.02 * height, 0)
        axes.set_aspect("equal")
        axes.set_axis_off()
        if title:
            axes.set_title(title)
    return drawn


def as_tile(image: Array) -> Array:
    """Convert u8 [C, H, W] to f32 [H, W, 3]: inverted (dark on white) for one channel, RGB for three."""
    pixels = image.astype(np.float32) / 255
    if len(pixels) == 3:
        return np.moveaxis(pixels, 0, -1)
    return np.repeat(1 - pixels.mean(axis=0)[..., None], 3, axis=-1)


def signed_tile(values: Array, largest: float) -> Array:
    """Convert [H, W] to f32 [H, W, 3]: blue below 0, white at 0, orange above, saturated at +-``largest``."""
    part = np.clip(np.nan_to_num(values) / (largest or 1), -1, 1)[..., None]
    below, above = np.array((0.0, 0.27, 0.70)), np.array((0.80, 0.33, 0.0))  # colour-blind safe
    tile: Array = np.where(part < 0, 1 + part * (1 - below), 1 - part * (1 - above)).astype(np.float32)
    return tile


def heat_tile(image: Array, heat: Array, cmap: str) -> Array:
    """Overlay an image, u8 [C, H, W], with a heat map [H, W] in 0 to 1. Returns f32 [H, W, 3]."""
    import matplotlib as mpl

    base = 1 - 0.55 * (1 - as_tile(image))
    glow = mpl.colormaps[cmap](heat)[..., :3]
    strength = 0.85 * np.sqrt(np.clip(heat, 0, 1))[..., None]
    mixed = (1 - strength) * base + strength * glow
    return mixed.astype(np.float32)  # type: ignore[no-any-return]


def interleave_rows(upper: Sequence[Array], lower: Sequence[Array], columns: int) -> list[Array | None]:
    """Alternate rows of ``upper`` and ``lower`` with ``columns`` tiles each, padded with None."""
    found: list[Array | None] = []
    for start in range(0, len(upper), columns):
        for side in (upper, lower):
            part: list[Array | None] = list(side[start : start + columns])
            found += part + [None] * (columns - len(part) if len(upper) > columns else 0)
    return found


def fitting_columns(ax: Axes | None, columns: int, captions: Sequence[str]) -> int:
    """Return ``columns``, or fewer if the captions would not be legible in the width of ``ax``."""
    if ax is None:
        return columns
    readable = _letters(captions) * _LETTER * _MIN_CAPTION_SIZE / _POINTS / (1 + _GAP)  # width of a tile in inches
    return max(1, min(columns, int(_inches(ax).width / readable)))


def _lines(captions: Sequence[str]) -> int:
    """Return the largest number of lines of a caption; 0 if all are empty."""
    return max((caption.count("\n") + 1 for caption in captions if caption), default=0)


def _inches(ax: Axes) -> Bbox:
    """Return the bounding box of the axes in inches."""
    return ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())


def _letters(captions: Sequence[str]) -> int:
    return max((len(line) for caption in captions for line in caption.split("\n")), default=1)


def _font_size(tile_inches: float, captions: Sequence[str]) -> float:
    """Return the largest font size in points whose captions fit above a tile, from `_MIN_SIZE` to 10."""
    fitting = tile_inches * (1 + _GAP) * _POINTS / (_LETTER * _letters(captions))
    return float(np.clip(min(10.5 * tile_inches, fitting), _MIN_SIZE, 10))


def _frame(left: float, top: float, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), width, height, fill=False, edgecolor="0.7", linewidth=0.5)


def _caption(ax: Axes, x: float, y: float, text: str, size: float, colour: str | None) -> None:
    style: dict[str, Any] = {} if colour is None else {"color": colour}
    ax.text(x, y, text, ha="center", va="bottom", fontsize=size, linespacing=1.05, **style)

"""Command ``mnistcnn show``: images of a data set, in the terminal or in a file."""

from __future__ import annotations

import shutil
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli.options import FIGURE_SUFFIXES, Data, JsonOption, check_writable, load
from mnistcnn.cli.output import print_json, save_figure

if TYPE_CHECKING:
    import numpy as np

    from mnistcnn.data.image_set import ImageSet


class Part(str, Enum):
    """Training set or test set."""

    train = "train"
    test = "test"


def show(
    dataset: Annotated[Data, typer.Argument(help="Data set.")] = Data.auto,
    part: Annotated[Part, typer.Option(help="Training set or test set.")] = Part.test,
    label: Annotated[int | None, typer.Option(min=0, help="Show only images of this class.")] = None,
    first: Annotated[int, typer.Option(min=0, help="Index of the first image.")] = 0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Number of images. Default: two rows of the terminal, or 50 with --save.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write a plot to this file (PNG, SVG, PDF) instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show images of a data set with their labels. With --json, print their number, shape and class counts instead."""
    check_writable(save, option="--save", endings=FIGURE_SUFFIXES)
    if as_json and (save is not None or label is not None):
        option = "--save" if save is not None else "--label"
        raise typer.BadParameter(
            "it cannot be combined with --json, which describes the whole set", param_hint=f"'{option}'"
        )
    train_set, test_set = load(dataset)
    data = train_set if part is Part.train else test_set
    if as_json:
        counts = {name: int(each) for name, each in zip(data.classes, data.class_counts(), strict=True)}
        print_json({"name": data.name, "part": part.value, "images": len(data), "shape": data.shape, "classes": counts})
        return
    if label is not None:
        if label >= data.num_classes:
            raise ValueError(f"--label must be from 0 to {data.num_classes - 1} for {data.name}, got {label}")
        data = data[data.labels == label]
    if first >= len(data):
        raise ValueError(f"--first must be below {len(data)}, the number of images, got {first}")
    chosen = data[first:]
    if save is not None:
        from mnistcnn import plot

        save_figure(plot.images(chosen, count=count or 50), save)
        return
    columns = shutil.get_terminal_size().columns
    for line in _terminal_lines(chosen, count, columns, sys.stdout.isatty()):
        print(line)


def _terminal_lines(data: ImageSet, count: int | None, columns: int, colours: bool) -> list[str]:
    """Return images as text: half blocks in 24-bit colour for a terminal, otherwise ASCII shades.

    A character shows two rows of pixels.
    """
    width = data.shape[2] + 1
    across = max(1, columns // width)
    chosen = data[: 2 * across if count is None else count]
    lines: list[str] = []
    for start in range(0, len(chosen), across):
        row = chosen[start : start + across]
        lines.append("".join(f"{row.classes[label]:<{width}}"[:width] for label in row.labels).rstrip())
        rendered = [_text_rows(image.mean(axis=0), colours) for image in row.images]
        lines += [" ".join(parts) for parts in zip(*rendered, strict=True)]
        lines.append("")
    return lines


def _text_rows(pixels: np.ndarray[Any, Any], colours: bool) -> list[str]:
    """Convert f64 [H, W] in 0 to 255 to ceil(H / 2) lines of text."""
    if len(pixels) % 2:
        import numpy as np

        pixels = np.pad(pixels, ((0, 1), (0, 0)))
    if not colours:
        levels = (pixels[0::2] + pixels[1::2]) / 510 * (len(_SHADES) - 1)
        return ["".join(_SHADES[int(level)] for level in row) for row in levels]
    rows = zip(pixels[0::2].astype(int), pixels[1::2].astype(int), strict=True)
    return ["".join(map(_half_block, upper, lower)) + "\x1b[0m" for upper, lower in rows]


_SHADES = " .:-=+*#%@"


def _half_block(upper: int, lower: int) -> str:
    """Return an upper half block with the upper pixel as foreground and the lower pixel as background colour."""
    return f"\x1b[38;2;{upper};{upper};{upper};48;2;{lower};{lower};{lower}m▀"

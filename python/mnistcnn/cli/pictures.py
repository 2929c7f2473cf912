"""``mnistcnn show``: images of a data set, in the terminal or as a picture."""

from __future__ import annotations

import shutil
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistcnn.cli.options import PICTURES, Data, JsonOption, check_target, load
from mnistcnn.cli.output import print_json, save_picture

if TYPE_CHECKING:
    import numpy as np

    from mnistcnn.data.image_set import ImageSet


class Part(str, Enum):
    """Which half of a data set."""

    train = "train"
    test = "test"


def show(
    dataset: Annotated[Data, typer.Argument(help="The data set.")] = Data.auto,
    part: Annotated[Part, typer.Option(help="The training or the test set.")] = Part.test,
    label: Annotated[int | None, typer.Option(min=0, help="Only images of this class.")] = None,
    first: Annotated[int, typer.Option(min=0, help="Begin with this image.")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="How many; by default two rows, or 50 in a file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Draw into this file (PNG, SVG, PDF) instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show images of a data set with their labels. With --json: their number, shape and classes instead."""
    check_target(save, option="--save", endings=PICTURES)
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

        save_picture(plot.images(chosen, count=count or 50), save)
        return
    columns = shutil.get_terminal_size().columns
    for line in _terminal_lines(chosen, count, columns, sys.stdout.isatty()):
        print(line)


def _terminal_lines(data: ImageSet, count: int | None, columns: int, colours: bool) -> list[str]:
    """Two pixels share a character in a terminal; a file gets a character for every other row."""
    width = data.shape[2] + 1
    across = max(1, columns // width)
    chosen = data[: 2 * across if count is None else count]
    lines: list[str] = []
    for start in range(0, len(chosen), across):
        row = chosen[start : start + across]
        lines.append("".join(f"{row.classes[label]:<{width}}"[:width] for label in row.labels).rstrip())
        pictures = [_picture(image.mean(axis=0), colours) for image in row.images]
        lines += [" ".join(parts) for parts in zip(*pictures, strict=True)]
        lines.append("")
    return lines


def _picture(pixels: np.ndarray[Any, Any], colours: bool) -> list[str]:
    """f64 [H, W], 0 to 255, as half as many lines."""
    if len(pixels) % 2:
        import numpy as np

        pixels = np.pad(pixels, ((0, 1), (0, 0)))
    if not colours:
        levels = (pixels[0::2] + pixels[1::2]) / 510 * (len(_SHADES) - 1)
        return ["".join(_SHADES[int(level)] for level in row) for row in levels]
    rows = zip(pixels[0::2].astype(int), pixels[1::2].astype(int), strict=True)
    return ["".join(map(_two, upper, lower)) + "\x1b[0m" for upper, lower in rows]


_SHADES = " .:-=+*#%@"


def _two(upper: int, lower: int) -> str:
    """An upper half block: its colour is the upper pixel, its ground the lower."""
    return f"\x1b[38;2;{upper};{upper};{upper};48;2;{lower};{lower};{lower}m▀"

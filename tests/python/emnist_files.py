"""EMNIST files for tests: small, in the published layout."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from idx_files import idx
from mnistcnn.data.sources import SOURCES


def emnist_contents(name: str, train: int = 2, test: int = 1) -> dict[str, bytes]:
    """Return the contents of the four files of a split, keyed by their names without .gz.

    As published, the images are transposed, and the labels of `letters` start at 1. Each class has `train` training
    images and `test` test images, which all show the name of the class.
    """
    source, result = SOURCES[name], {}
    names = [file.name for file in source.files]
    for copies, (images, labels) in ((train, names[:2]), (test, names[2:])):
        numbers = np.tile(np.arange(len(source.classes), dtype=np.uint8), copies)
        upright = np.stack([glyph(source.classes[number]) for number in numbers])
        result[images] = idx(np.ascontiguousarray(upright.transpose(0, 2, 1)))
        result[labels] = idx(numbers + np.uint8(name == "emnist-letters"))
    return result


def glyph(text: str) -> np.ndarray:
    """Return a picture of a class name, u8 [28, 28]. A mark makes it differ from all its rotations and reflections."""
    image = Image.new("L", (28, 28))
    draw = ImageDraw.Draw(image)
    draw.text((9, 8), text, fill=255)
    draw.rectangle((1, 3, 8, 4), fill=128)  # wide, near the upper left corner
    return np.asarray(image)

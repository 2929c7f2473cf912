"""Damaged pictures, and arrays of all shapes and types: `as_digit` raises a documented error or returns a digit."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from fuzzing import Failures, cases, changed_bytes

Image = pytest.importorskip("PIL.Image")


def drawing() -> np.ndarray:
    paper = np.full((40, 30, 3), 235, np.uint8)
    paper[8:32, 12:17] = 30
    return paper


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(drawing()).save(stream, kind)
    return stream.getvalue()


def check_digit(picture: Any) -> None:
    digit = mnistcnn.as_digit(picture)
    assert digit.shape == (28, 28)
    assert digit.dtype == np.uint8


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA"])
def test_damaged_picture(kind: str, tmp_path: Path):
    content, path = encoded(kind), tmp_path / "picture"
    path.write_bytes(content)
    check_digit(path)
    with Failures() as failures:
        for number, rng in enumerate(cases(400, kind)):
            path.write_bytes(changed := changed_bytes(content, rng))
            with failures.case((number, changed), (OSError, ValueError), path):
                check_digit(path)


def random_array(rng: random.Random) -> Any:
    """Return an array of a random shape, type and range, or a scalar."""
    shape = [rng.choice((0, 1, 2, 3, 4, 5, 28, 40)) for _ in range(rng.choice((0, 1, 2, 2, 2, 3, 3, 4)))]
    if len(shape) == 3 and rng.random() < 0.7:
        shape[2] = rng.choice((1, 2, 3, 4))
    dtype = np.dtype(rng.choice(KINDS))
    if dtype.kind in "OSUM":
        return np.zeros(shape, dtype)
    values = np.random.default_rng(rng.randrange(2**32)).random(shape)
    with np.errstate(all="ignore"):
        array = (values * rng.choice((0, 1, 1, 255, 1e30, 1e300, -1, np.nan, np.inf))).astype(dtype)
    if dtype.kind == "f" and array.size and array.ndim and rng.random() < 0.3:
        array.reshape(-1)[0] = rng.choice((np.nan, np.inf, 1e-30))
    return array[::-1] if array.ndim and rng.random() < 0.3 else array


KINDS = ("u1", "u1", "i1", "u2", "i8", "f2", "f4", "f4", "f8", "?", "c8", "O", "S3", "U3", "M8[s]")


def test_array():
    with Failures() as failures:
        for number, rng in enumerate(cases(4000, "array")):
            array = random_array(rng)
            with failures.case((number, array), (TypeError, ValueError)):
                check_digit(array)

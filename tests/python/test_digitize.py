"""Any picture becomes a digit of MNIST: sizes, inks, grounds, places, light, thin pens; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

import mnistcnn
from mnistcnn.data.digitize import as_digit, as_digits, repeated

Array = np.ndarray[Any, Any]
COUNT = 80


def enlarged(image: Array, side: int) -> Array:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def on_paper(image: Array, dice: np.random.Generator) -> Array:
    """A dark digit somewhere on a large bright sheet."""
    sheet = np.full((400, 300), 240, np.uint8)
    top, left = dice.integers(0, 250), dice.integers(0, 150)
    sheet[top : top + 150, left : left + 150] -= (0.8 * enlarged(image, 150)).astype(np.uint8)
    return sheet


def photographed(image: Array, dice: np.random.Generator) -> Array:
    """The same in uneven light, with noise."""
    sheet = on_paper(image, dice).astype(float)
    rows, columns = np.mgrid[:400, :300]
    light = (0.6 + 0.4 * columns / 300) * (0.8 + 0.2 * rows / 400)
    return np.clip(sheet * light + dice.normal(0, 4, sheet.shape), 0, 255).astype(np.uint8)


def transparent(image: Array, ink: int) -> Array:
    colours = np.full((90, 90, 4), ink, np.uint8)
    colours[..., 3] = enlarged(image, 90)
    return colours


def thin(image: Array) -> Array:
    pen = Image.fromarray(enlarged(image, 280)).filter(ImageFilter.MinFilter(9))
    return 255 - np.asarray(pen)


SIGHTS: dict[str, Callable[[Array, np.random.Generator], Any]] = {
    "as it is": lambda image, _: image,
    "ten times as large": lambda image, _: enlarged(image, 280),
    "half as large": lambda image, _: np.asarray(Image.fromarray(image).resize((14, 14), Image.Resampling.BOX)),
    "inverted": lambda image, _: 255 - enlarged(image, 84),
    "on paper": on_paper,
    "photographed": photographed,
    "black on nothing": lambda image, _: transparent(image, 0),
    "white on nothing": lambda image, _: transparent(image, 255),
    "thin pen": lambda image, _: thin(image),
    "floats": lambda image, _: enlarged(image, 60).astype(np.float64) / 255,
    "colour": lambda image, _: np.stack([255 - enlarged(image, 60), np.full((60, 60), 255, np.uint8)] * 2, 2)[..., :3],
    "PIL": lambda image, _: Image.fromarray(enlarged(image, 60)),
}


@pytest.fixture(scope="module")
def usual(trained: mnistcnn.Model, digits: Any) -> float:
    data = digits[1][:COUNT]
    prepared = mnistcnn.ImageSet.from_arrays(as_digits(image[0] for image in data.images), data.labels)
    return mnistcnn.test(trained, prepared, progress=False).accuracy


@pytest.fixture(scope="module")
def trained(digits: Any) -> mnistcnn.Model:
    """Learns from digits that are prepared as pictures will be."""
    data = digits[0][:4000]
    images = as_digits(image[0] for image in data.images)
    model = mnistcnn.create_model("budget_model1", seed=1)
    prepared = mnistcnn.ImageSet.from_arrays(images, data.labels)
    mnistcnn.train(model, prepared, epochs=6, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9), progress=False)
    return model


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_model_reads_what_it_is_shown(sight: str, trained: mnistcnn.Model, usual: float, digits: Any):
    data = digits[1][:COUNT]
    dice = np.random.default_rng(5)
    pixels = as_digits(SIGHTS[sight](image[0], dice) for image in data.images)
    accuracy = (mnistcnn.predict(trained, pixels).argmax(1) == data.labels).mean()
    allowed = 0.15 if sight == "half as large" else 0.04
    assert accuracy >= usual - allowed, f"{sight}: {accuracy:.3f}, as it is {usual:.3f}"
    assert usual > 0.9


def test_mnists_own_digits_stay_nearly_what_they_are(mnist: Any):
    images = mnist[1].images[:300, 0]
    ours = as_digits(images)[:, 0]
    difference = np.abs(ours.astype(float) - images).mean(axis=(1, 2))
    ink = images.mean(axis=(1, 2))
    assert np.median(difference / ink) < 0.35
    rows = np.arange(28)
    centres = (ours.sum(2) * rows).sum(1) / ours.sum((1, 2))
    assert np.abs(centres - 14).max() <= 0.75


def test_the_box_and_the_middle():
    for height, width in ((180, 20), (40, 200), (100, 100)):
        sheet = np.zeros((300, 300), np.uint8)
        sheet[50 : 50 + height, 60 : 60 + width] = 255
        digit = as_digit(sheet)
        rows, columns = (np.flatnonzero(digit.max(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        wanted = min(height, width) / max(height, width) * 20
        assert abs(min(np.ptp(rows), np.ptp(columns)) + 1 - wanted) <= 1
        assert abs(rows.mean() - 13.5) <= 1
        assert abs(columns.mean() - 13.5) <= 1


def test_a_speck_far_away_does_not_count():
    sheet = np.zeros((200, 200), np.uint8)
    sheet[50:150, 95:105] = 255
    clean = as_digit(sheet)
    sheet[5, 190] = 255
    assert np.array_equal(as_digit(sheet), clean)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp"])
def test_files(ending: str, tmp_path: Path):
    sheet = np.full((120, 90), 250, np.uint8)
    sheet[20:100, 40:50] = 10
    path = tmp_path / f"one.{ending}"
    Image.fromarray(sheet).save(path)
    assert as_digit(path).max() == 255
    assert np.abs(as_digit(str(path)).astype(int) - as_digit(sheet)).mean() < 3


def test_sixteen_bits_palettes_and_rotated_photos(tmp_path: Path):
    sheet = np.full((120, 90), 250, np.uint8)
    sheet[20:100, 40:50] = 10
    wanted = as_digit(sheet)
    Image.fromarray(sheet.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(sheet).convert("P").save(tmp_path / "palette.gif")
    turned = Image.fromarray(np.rot90(sheet).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees clockwise"
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("deep.png", "palette.gif", "turned.png"):
        assert np.abs(as_digit(tmp_path / name).astype(int) - wanted).mean() < 2, name


@pytest.mark.parametrize(
    ("picture", "error", "says"),
    [
        (np.full((50, 50), 200, np.uint8), ValueError, "shows no ink"),
        (np.zeros((50, 50, 2), np.uint8), ValueError, r"got \[50, 50, 2\]"),
        (np.zeros((50, 50), np.int64), TypeError, "bytes or floats, got int64"),
        (np.full((50, 50), np.nan), ValueError, "values from 0 to 1"),
        (np.zeros((0, 50), np.uint8), ValueError, r"got \[0, 50\]"),
        ("missing.png", FileNotFoundError, "there is no file"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        as_digit(picture)


def test_files_that_are_no_pictures(tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match="is not a picture that Pillow can read"):
        as_digit(tmp_path / "text.png")
    Image.fromarray(np.zeros((99, 99), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(OSError, match=r"torn.png can't be read as a picture"):
        as_digit(tmp_path / "torn.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        as_digit(tmp_path)
    with pytest.raises(ValueError, match="no picture was given"):
        as_digits([])


def test_repeated_gives_every_channel_the_same():
    batch = repeated([np.full((28, 28), 7, np.uint8)], 3)
    assert batch.shape == (1, 3, 28, 28)
    assert (batch == 7).all()

"""Pictures of digits in various sizes, colours, positions, lighting and stroke widths; and unsupported input."""

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


def on_paper(image: Array, generator: np.random.Generator) -> Array:
    """Return a dark digit at a random position on a large bright sheet."""
    sheet = np.full((400, 300), 240, np.uint8)
    top, left = generator.integers(0, 250), generator.integers(0, 150)
    sheet[top : top + 150, left : left + 150] -= (0.8 * enlarged(image, 150)).astype(np.uint8)
    return sheet


def photographed(image: Array, generator: np.random.Generator) -> Array:
    """Return a digit on paper, with uneven lighting and noise."""
    sheet = on_paper(image, generator).astype(float)
    rows, columns = np.mgrid[:400, :300]
    light = (0.6 + 0.4 * columns / 300) * (0.8 + 0.2 * rows / 400)
    return np.clip(sheet * light + generator.normal(0, 4, sheet.shape), 0, 255).astype(np.uint8)


def transparent(image: Array, ink: int) -> Array:
    colours = np.full((90, 90, 4), ink, np.uint8)
    colours[..., 3] = enlarged(image, 90)
    return colours


def thin(image: Array) -> Array:
    pen = Image.fromarray(enlarged(image, 280)).filter(ImageFilter.MinFilter(9))
    return 255 - np.asarray(pen)


VARIANTS: dict[str, Callable[[Array, np.random.Generator], Any]] = {
    "unchanged": lambda image, _: image,
    "ten times as large": lambda image, _: enlarged(image, 280),
    "half as large": lambda image, _: np.asarray(Image.fromarray(image).resize((14, 14), Image.Resampling.BOX)),
    "inverted": lambda image, _: 255 - enlarged(image, 84),
    "on paper": on_paper,
    "photographed": photographed,
    "black on transparent": lambda image, _: transparent(image, 0),
    "white on transparent": lambda image, _: transparent(image, 255),
    "thin pen": lambda image, _: thin(image),
    "floats": lambda image, _: enlarged(image, 60).astype(np.float64) / 255,
    "colour": lambda image, _: np.stack([255 - enlarged(image, 60), np.full((60, 60), 255, np.uint8)] * 2, 2)[..., :3],
    "PIL": lambda image, _: Image.fromarray(enlarged(image, 60)),
}


@pytest.fixture(scope="module")
def reference_accuracy(trained: mnistcnn.Model, digits: Any) -> float:
    data = digits[1][:COUNT]
    prepared = mnistcnn.ImageSet.from_arrays(as_digits(image[0] for image in data.images), data.labels)
    return mnistcnn.test(trained, prepared, progress=False).accuracy


@pytest.fixture(scope="module")
def trained(digits: Any) -> mnistcnn.Model:
    """A model trained on digits that as_digits has prepared, as it does the pictures."""
    data = digits[0][:4000]
    images = as_digits(image[0] for image in data.images)
    model = mnistcnn.create_model("budget_model1", seed=1)
    prepared = mnistcnn.ImageSet.from_arrays(images, data.labels)
    mnistcnn.train(model, prepared, epochs=6, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9), progress=False)
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_accuracy_on_pictures_is_close_to_that_on_prepared_digits(
    variant: str, trained: mnistcnn.Model, reference_accuracy: float, digits: Any
):
    data = digits[1][:COUNT]
    generator = np.random.default_rng(5)
    pixels = as_digits(VARIANTS[variant](image[0], generator) for image in data.images)
    accuracy = (mnistcnn.predict(trained, pixels).argmax(1) == data.labels).mean()
    allowed = 0.15 if variant == "half as large" else 0.04
    assert accuracy >= reference_accuracy - allowed, f"{variant}: {accuracy:.3f}, reference {reference_accuracy:.3f}"
    assert reference_accuracy > 0.9


def test_digits_of_mnist_are_nearly_unchanged(mnist: Any):
    images = mnist[1].images[:300, 0]
    ours = as_digits(images)[:, 0]
    difference = np.abs(ours.astype(float) - images).mean(axis=(1, 2))
    ink = images.mean(axis=(1, 2))
    assert np.median(difference / ink) < 0.35
    rows = np.arange(28)
    centres = (ours.sum(2) * rows).sum(1) / ours.sum((1, 2))
    assert np.abs(centres - 14).max() <= 0.75


def test_digits_are_scaled_to_the_box_and_centred():
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


def test_an_isolated_pixel_is_ignored():
    sheet = np.zeros((200, 200), np.uint8)
    sheet[50:150, 95:105] = 255
    clean = as_digit(sheet)
    sheet[5, 190] = 255
    assert np.array_equal(as_digit(sheet), clean)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp"])
def test_image_files(ending: str, tmp_path: Path):
    sheet = np.full((120, 90), 250, np.uint8)
    sheet[20:100, 40:50] = 10
    path = tmp_path / f"one.{ending}"
    Image.fromarray(sheet).save(path)
    assert as_digit(path).max() == 255
    assert np.abs(as_digit(str(path)).astype(int) - as_digit(sheet)).mean() < 3


def test_16_bit_images_palettes_and_exif_rotation(tmp_path: Path):
    sheet = np.full((120, 90), 250, np.uint8)
    sheet[20:100, 40:50] = 10
    wanted = as_digit(sheet)
    Image.fromarray(sheet.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(sheet).convert("P").save(tmp_path / "palette.gif")
    turned = Image.fromarray(np.rot90(sheet).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("deep.png", "palette.gif", "turned.png"):
        assert np.abs(as_digit(tmp_path / name).astype(int) - wanted).mean() < 2, name


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.full((50, 50), 200, np.uint8), ValueError, "contains no ink"),
        (np.zeros((50, 50, 2), np.uint8), ValueError, r"got \[50, 50, 2\]"),
        (np.zeros((50, 50), np.int64), TypeError, "picture must be uint8, .*got int64"),
        (np.full((50, 50), np.nan), ValueError, r"picture must have values in \[0, 1\]"),
        (np.zeros((0, 50), np.uint8), ValueError, r"at least one pixel, got an array of shape \[0, 50\]"),
        ("missing.png", FileNotFoundError, "missing.png does not exist"),
    ],
)
def test_unsupported_pictures_raise(picture: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        as_digit(picture)


def test_unreadable_files_raise(tmp_path: Path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(OSError, match=r"text.png is not a picture"):
        as_digit(tmp_path / "text.png")
    Image.fromarray(np.zeros((99, 99), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(OSError, match=r"torn.png cannot be read as a picture"):
        as_digit(tmp_path / "torn.png")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        as_digit(tmp_path)
    with pytest.raises(ValueError, match="pictures must contain at least one"):
        as_digits([])
    for path in ("seven.png", Path("seven.png")):
        with pytest.raises(TypeError, match=r"pictures must be several .* got 'seven.png'; as_digit reads"):
            as_digits(path)  # type: ignore[arg-type]


def test_repeated_returns_equal_channels():
    batch = repeated([np.full((28, 28), 7, np.uint8)], 3)
    assert batch.shape == (1, 3, 28, 28)
    assert (batch == 7).all()


def test_damaged_tiff_raises(tmp_path: Path):
    """Pillow raises a TypeError if the offsets of the strips are floats."""
    path = tmp_path / "digit.tiff"
    Image.fromarray(np.full((40, 30, 3), 235, np.uint8)).save(path)
    content = path.read_bytes()
    damaged = content.replace(b"\x11\x01\x04\x00", b"\x11\x01\x0c\x00")  # from 32-bit integer to double
    assert damaged != content
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=r"digit\.tiff cannot be read as a picture"):
        mnistcnn.as_digit(path)


@pytest.mark.parametrize("picture", [np.uint8(3), 5, None, [[0, 1]], b"image"])
def test_other_objects_raise(picture: Any):
    with pytest.raises(TypeError, match="picture must be a path, a PIL image or an array, got"):
        mnistcnn.as_digit(picture)


def test_huge_values_raise():
    with pytest.raises(ValueError, match=r"picture must have values in \[0, 1\]"):
        mnistcnn.as_digit(np.full((30, 30), 1e300))


def test_pictures_of_floats(digits: Any):
    array = enlarged(digits[1].images[0, 0], 100).astype(np.float32) / 255
    np.testing.assert_array_equal(as_digit(Image.fromarray(array)), as_digit(array))
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        as_digit(Image.fromarray(np.full((20, 20), np.nan, np.float32)))

"""Conversion of pictures of digits to the format of MNIST: bright ink on black, 28x28 pixels.

MNIST's digits were scaled to fit a box of 20x20 pixels with their aspect ratio preserved. The centre of mass was then
placed at the centre of 28x28 pixels. A network trained on MNIST is most accurate on images that are prepared
identically.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

    Picture: TypeAlias = "str | Path | Image.Image | npt.NDArray[Any]"

Grey: TypeAlias = npt.NDArray[Any]  # f32 [H, W] in 0 to 1
SIDE, BOX = 28, 20
_CENTRE = 14.0  # centre of mass of MNIST's digits, in pixels; their mean is within 0.01 of it
_WORKING_SIDE = 240  # pixels; the longer side of a digit is reduced to this
_MIN_CONTRAST = 0.06  # fraction of the range from black to white; less contrast is not ink
_INK_THRESHOLD = 0.35  # fraction of the strongest ink; pixels above it belong to the digit
_MIN_STROKE = 1.8  # pixels in the box, the median of MNIST; thinner strokes are thickened to it
_GAIN = 1.25  # so that the centre of a stroke is saturated, as in MNIST
_MAX_PIXELS = 50_000_000


def as_digit(picture: Picture) -> npt.NDArray[np.uint8]:
    """Convert a picture of one digit, of any size, to the format of MNIST.

    Dark ink on a bright background is detected and inverted. Transparent pixels are background. A linear gradient of
    the background's brightness is removed. The digit is cropped, scaled to fit 20x20 pixels, and centred by its mass
    in 28x28 pixels.

    Parameters
    ----------
    picture
        Image file (PNG, JPEG, ...), PIL image, or array of shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] with uint8,
        bool or floats in [0, 1].

    Returns
    -------
    numpy.ndarray
        uint8 [28, 28], bright ink on black.

    Raises
    ------
    OSError
        If the file cannot be read as an image.
    TypeError
        If the array has another dtype.
    ValueError
        If the array has another shape or range, or the picture contains no ink.

    Examples
    --------
    >>> import mnistcnn
    >>> import numpy as np
    >>> paper = np.full((300, 200), 235, np.uint8)
    >>> paper[60:240, 90:110] = 30  # a one in dark ink
    >>> digit = mnistcnn.as_digit(paper)
    >>> digit.shape, int(digit.max()), np.flatnonzero(digit.max(axis=1))[[0, -1]].tolist()
    ((28, 28), 255, [4, 23])
    """
    grey, name = _grey(picture)
    ink = _ink(grey, name)
    rows, columns = (np.flatnonzero(_without_specks(ink).any(axis=axis)) for axis in (1, 0))
    digit = _scaled(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return _centred(digit)


def as_digits(pictures: Iterable[Picture]) -> npt.NDArray[np.uint8]:
    """Convert pictures of digits to a batch in the format of MNIST, for `mnistcnn.predict`.

    Parameters
    ----------
    pictures
        Pictures of one digit each, as in `as_digit`.

    Returns
    -------
    numpy.ndarray
        uint8 [N, 1, 28, 28].

    Raises
    ------
    ValueError
        If there are no pictures, or `as_digit` raises it for one of them.

    Examples
    --------
    >>> import mnistcnn
    >>> images = mnistcnn.load("digits")[1].images[:3, 0]
    >>> mnistcnn.as_digits(images).shape
    (3, 1, 28, 28)
    """
    if isinstance(pictures, str | Path):
        raise TypeError(f"pictures must be several pictures, got {str(pictures)!r}; as_digit reads one file")
    digits = [as_digit(picture)[None] for picture in pictures]
    if not digits:
        raise ValueError("pictures must contain at least one picture, got none")
    return np.stack(digits)


# ---- extraction of the ink


def _grey(picture: Picture) -> tuple[Grey, str]:
    """Return the picture as grey levels, and its name for error messages."""
    from PIL import Image

    if isinstance(picture, str | Path):
        return _grey_image(_opened(Path(picture))), str(picture)
    if isinstance(picture, Image.Image):
        return _grey_image(picture), "the picture"
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"picture must be a path, a PIL image or an array, got {type(picture).__name__}")
    return _grey_array(picture), "the picture"


def _opened(path: Path) -> Image.Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; name an image file")
    if not path.exists():
        raise FileNotFoundError(f"file {path} does not exist")
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise OSError(f"it has {image.width}x{image.height} pixels, the maximum is {_MAX_PIXELS:,} pixels")
            return ImageOps.exif_transpose(image) or image.copy()
    except UnidentifiedImageError:
        raise OSError(f"{path} is not a picture that Pillow can read, such as PNG or JPEG") from None
    except Exception as error:  # Pillow raises errors of many kinds for damaged files
        raise OSError(f"{path} cannot be read as a picture: {error}") from None


def _grey_image(image: Image.Image) -> Grey:
    if image.mode.startswith(("I", "F")):  # 16 bits and more
        values = np.asarray(image, dtype=np.float32)
        if values.size and image.mode == "F" and not values.max() > 1:  # or NaN
            return _grey_array(values)
        return values / (65535.0 if values.max(initial=0) > 255 else 255.0)
    colours = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    return _on_background(colours)


def _grey_array(array: npt.NDArray[Any]) -> Grey:
    if 0 in array.shape:
        raise ValueError(f"picture must have at least one pixel, got an array of shape {list(array.shape)}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(f"picture must have shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], got {list(array.shape)}")
    if not (array.dtype == np.uint8 or array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating)):
        raise TypeError(f"picture must be uint8, bool or floats in [0, 1], got {array.dtype}")
    with np.errstate(over="ignore"):  # too large values become infinite, which is checked below
        values = array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"picture must have values in [0, 1] if it is an array of floats, got {values.min():g} to {values.max():g}"
            "; divide by 255 if it holds 0 to 255"
        )
    if values.ndim == 2:
        return values
    return values[..., 0] if values.shape[2] == 1 else _on_background(values)


def _on_background(colours: Grey) -> Grey:
    """Convert colours [H, W, 3 or 4] to grey levels; blend transparent pixels with a background unlike the ink."""
    grey: Grey = (colours[..., :3] @ np.array((0.299, 0.587, 0.114), np.float32)).astype(np.float32)
    if colours.shape[2] == 3:
        return grey
    alpha = colours[..., 3]
    opaque = grey[alpha > 0.5]
    background = 0.0 if opaque.size and float(opaque.mean()) > 0.5 and float(alpha.min()) < 0.5 else 1.0
    return (alpha * grey + (1 - alpha) * background).astype(np.float32)


def _ink(grey: Grey, name: str) -> Grey:
    """Return the ink of each pixel, 0 to 1: the difference from the background, minus the noise at the border."""
    grey = np.pad(_downscaled(grey), 2, mode="edge")
    difference = grey - _background(grey)
    dark, bright = -float(difference.min()), float(difference.max())
    ink = np.maximum(-difference if dark > bright else difference, 0)
    strongest = float(ink.max())
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    noise = min(float(np.quantile(border, 0.8)), 0.3 * strongest)
    if strongest - noise < _MIN_CONTRAST:
        raise ValueError(f"{name} contains no ink: all of its pixels have nearly the same brightness")
    cleaned: Grey = np.maximum(ink - noise, 0) / (strongest - noise)
    return cleaned


def _downscaled(grey: Grey) -> Grey:
    """Downscale a large picture to a longer side of ``4 * _WORKING_SIDE`` pixels."""
    from PIL import Image

    longer = max(grey.shape)
    if longer <= 4 * _WORKING_SIDE:
        return grey
    height, width = (max(1, round(4 * _WORKING_SIDE * side / longer)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _background(grey: Grey) -> Grey:
    """Return the brightness of the background: a plane fitted to the pixels of the border, without outliers."""
    height, width = grey.shape
    rows, columns = np.mgrid[:height, :width]
    border = np.ones(grey.shape, bool)
    border[2:-2, 2:-2] = False
    levels = grey[border]
    typical = np.abs(levels - np.median(levels)) <= max(
        0.12, 2.5 * float(np.median(np.abs(levels - np.median(levels))))
    )
    places = np.stack([np.ones(border.sum()), rows[border] / height, columns[border] / width], axis=1)
    plane, *_ = np.linalg.lstsq(places[typical], levels[typical], rcond=None)
    background: Grey = (plane[0] + plane[1] * rows / height + plane[2] * columns / width).astype(np.float32)
    return background


def _without_specks(ink: Grey) -> npt.NDArray[np.bool_]:
    """Return which pixels belong to the digit; in large pictures, isolated pixels are removed."""
    strong: npt.NDArray[np.bool_] = ink > _INK_THRESHOLD
    if min(ink.shape) < 2 * SIDE:
        return strong
    neighbours = sum(np.roll(np.roll(strong, i, 0), j, 1).astype(int) for i in (-1, 0, 1) for j in (-1, 0, 1))
    cleaned = strong & (neighbours >= 4)
    return cleaned if cleaned.any() else strong


# ---- scaling and centring


def _scaled(ink: Grey) -> Grey:
    """Scale the digit to fit the box of 20x20 pixels, and thicken strokes that are thinner than those of MNIST."""
    from PIL import Image, ImageFilter

    image = Image.fromarray((255 * ink).astype(np.uint8))
    longer = max(image.size)
    if longer > _WORKING_SIDE:
        image = image.resize(_size(image, _WORKING_SIDE), Image.Resampling.BOX)
        longer = _WORKING_SIDE
    missing = _MIN_STROKE * longer / BOX - _stroke(np.asarray(image))
    if longer > 2 * BOX and missing >= 1:
        radius = max(1, round(missing / 2))
        image = _bordered(image, radius)
        for _ in range(radius):  # several small filters are faster than a large one
            image = image.filter(ImageFilter.MaxFilter(3))
    image = image.resize(_size(image, BOX), Image.Resampling.BILINEAR)
    digit = np.asarray(image, dtype=np.float32)
    bright: Grey = np.minimum(digit * (_GAIN * 255 / float(digit.max())), 255)
    return bright


def _size(image: Image.Image, longer: int) -> tuple[int, int]:
    factor = longer / max(image.size)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def _bordered(image: Image.Image, border: int) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.expand(image, border, fill=0)


def _stroke(ink: npt.NDArray[np.uint8]) -> float:
    """Return the mean stroke width in pixels: twice the area divided by the length of the outline."""
    strong = np.pad(ink > 127, 1)
    outline = sum(int((strong != np.roll(strong, 1, axis)).sum()) for axis in (0, 1))
    return 2 * float(strong.sum()) / max(outline, 1)


def _centred(digit: Grey) -> npt.NDArray[np.uint8]:
    """Place the digit in 28x28 pixels with its centre of mass at the centre, as far as the digit is not cut off."""
    height, width = digit.shape
    mass = float(digit.sum())
    row = float(digit.sum(axis=1) @ np.arange(height)) / mass
    column = float(digit.sum(axis=0) @ np.arange(width)) / mass
    top, left = (
        int(np.clip(round(_CENTRE - centre), 0, SIDE - side)) for centre, side in ((row, height), (column, width))
    )
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[top : top + height, left : left + width] = np.rint(digit).astype(np.uint8)
    return canvas


def repeated(digits: Iterable[npt.NDArray[np.uint8]], channels: int) -> npt.NDArray[np.uint8]:
    """Return digits, each u8 [28, 28], as a batch u8 [N, channels, 28, 28] with equal channels."""
    batch = np.stack(list(digits))[:, None]
    return np.ascontiguousarray(np.repeat(batch, channels, axis=1))

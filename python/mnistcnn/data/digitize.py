"""Any picture of one digit as MNIST's makers would have scanned it: bright ink on black, 28x28, centred by its mass.

They scaled every digit into a box of 20x20, keeping its proportions, and placed it so that its centre of mass lies in
the middle of 28x28 pixels. A network that learned such digits reads others best in the same form.
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
_MIDDLE = 14.0  # the centre of mass of MNIST's digits, in pixels; their average is within 0.01 of it
_WORKING = 240  # a digit's longer side is not looked at in more detail
_FAINTEST = 0.06  # of the range from black to white: less contrast than this is no ink
_INK = 0.35  # of the darkest ink: what counts as belonging to the digit
_THINNEST = 1.8  # pixels of a stroke in the box; MNIST's median, and thinner ones are thickened to it
_CONTRAST = 1.25  # the middle of a stroke is as bright as can be, as in MNIST
_MOST_PIXELS = 50_000_000


def as_digit(picture: Picture) -> npt.NDArray[np.uint8]:
    """A picture of any size as a digit of MNIST, u8 [28, 28].

    Parameters
    ----------
    picture
        A file (PNG, JPEG, ...), a PIL image, or an array [H, W], [H, W, 3] or [H, W, 4] of bytes or of floats in 0 to
        1. Dark ink on a bright ground is recognised and inverted; transparent pixels are ground; an even slope of
        light over the ground is taken off.

    Raises
    ------
    OSError
        When the file can't be read as a picture.
    ValueError
        When there is no ink in it.

    Examples
    --------
    >>> import mnistcnn
    >>> import numpy as np
    >>> paper = np.full((300, 200), 235, np.uint8)
    >>> paper[60:240, 90:110] = 30  # a one, with a dark pen
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
    """Several pictures, u8 [N, 1, 28, 28], ready for `mnistcnn.predict`."""
    digits = [as_digit(picture)[None] for picture in pictures]
    if not digits:
        raise ValueError("no picture was given")
    return np.stack(digits)


# ---- from a picture to ink


def _grey(picture: Picture) -> tuple[Grey, str]:
    """f32 [H, W] in 0 to 1, and what to call it."""
    if isinstance(picture, str | Path):
        return _grey_image(_opened(Path(picture))), str(picture)
    if not isinstance(picture, np.ndarray):
        return _grey_image(picture), "the picture"
    return _grey_array(picture), "the picture"


def _opened(path: Path) -> Image.Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a picture")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise OSError(f"it has {image.width}x{image.height} pixels, at most {_MOST_PIXELS:,} are read")
            return ImageOps.exif_transpose(image) or image.copy()
    except UnidentifiedImageError:
        raise OSError(f"{path} is not a picture that Pillow can read, such as PNG or JPEG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"{path} can't be read as a picture: {error}") from None


def _grey_image(image: Image.Image) -> Grey:
    if image.mode.startswith(("I", "F")):  # 16 bits and more
        values = np.asarray(image, dtype=np.float32)
        return values / (65535.0 if values.max() > 255 else 255.0)
    colours = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    return _on_ground(colours)


def _grey_array(array: npt.NDArray[Any]) -> Grey:
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ValueError(f"a picture must be [H, W], [H, W, 3] or [H, W, 4], got {list(array.shape)}")
    if not (array.dtype == np.uint8 or array.dtype == np.bool_ or np.issubdtype(array.dtype, np.floating)):
        raise TypeError(f"a picture must consist of bytes or floats, got {array.dtype}")
    values = array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError("a picture of floats must have values from 0 to 1")
    if values.ndim == 2:
        return values
    return values[..., 0] if values.shape[2] == 1 else _on_ground(values)


def _on_ground(colours: Grey) -> Grey:
    """Colours [H, W, 3 or 4] -> grey; what is transparent shows a ground on which the ink can be seen."""
    grey: Grey = (colours[..., :3] @ np.array((0.299, 0.587, 0.114), np.float32)).astype(np.float32)
    if colours.shape[2] == 3:
        return grey
    alpha = colours[..., 3]
    seen = grey[alpha > 0.5]
    ground = 0.0 if seen.size and float(seen.mean()) > 0.5 and float(alpha.min()) < 0.5 else 1.0
    return (alpha * grey + (1 - alpha) * ground).astype(np.float32)


def _ink(grey: Grey, name: str) -> Grey:
    """How far every pixel differs from the ground, in the ink's direction; the strongest is 1."""
    grey = np.pad(_reduced(grey), 2, mode="edge")
    difference = grey - _ground(grey)
    dark, bright = -float(difference.min()), float(difference.max())
    ink = np.maximum(-difference if dark > bright else difference, 0)
    strongest = float(ink.max())
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    noise = min(float(np.quantile(border, 0.8)), 0.3 * strongest)
    if strongest - noise < _FAINTEST:
        raise ValueError(f"{name} shows no ink: all of its pixels are nearly the same")
    cleaned: Grey = np.maximum(ink - noise, 0) / (strongest - noise)
    return cleaned


def _reduced(grey: Grey) -> Grey:
    """Pictures of many millions of pixels are looked at in a thousand rows."""
    from PIL import Image

    longer = max(grey.shape)
    if longer <= 4 * _WORKING:
        return grey
    height, width = (max(1, round(4 * _WORKING * side / longer)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _ground(grey: Grey) -> Grey:
    """The brightness of the ground: a plane through the border's pixels, without those that are far from the others."""
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
    ground: Grey = (plane[0] + plane[1] * rows / height + plane[2] * columns / width).astype(np.float32)
    return ground


def _without_specks(ink: Grey) -> npt.NDArray[np.bool_]:
    """What belongs to the digit: ink, without single points where a picture is large enough to have them."""
    strong: npt.NDArray[np.bool_] = ink > _INK
    if min(ink.shape) < 2 * SIDE:
        return strong
    neighbours = sum(np.roll(np.roll(strong, i, 0), j, 1).astype(int) for i in (-1, 0, 1) for j in (-1, 0, 1))
    cleaned = strong & (neighbours >= 4)
    return cleaned if cleaned.any() else strong


# ---- from ink to the box and the middle


def _scaled(ink: Grey) -> Grey:
    """The digit in the box of 20x20, its strokes not thinner than MNIST's."""
    from PIL import Image, ImageFilter

    image = Image.fromarray((255 * ink).astype(np.uint8))
    longer = max(image.size)
    if longer > _WORKING:
        image = image.resize(_size(image, _WORKING), Image.Resampling.BOX)
        longer = _WORKING
    missing = _THINNEST * longer / BOX - _stroke(np.asarray(image))
    if longer > 2 * BOX and missing >= 1:
        reach = max(1, round(missing / 2))
        image = _bordered(image, reach)
        for _ in range(reach):  # many small steps are quicker than a large one
            image = image.filter(ImageFilter.MaxFilter(3))
    image = image.resize(_size(image, BOX), Image.Resampling.BILINEAR)
    digit = np.asarray(image, dtype=np.float32)
    bright: Grey = np.minimum(digit * (_CONTRAST * 255 / float(digit.max())), 255)
    return bright


def _size(image: Image.Image, longer: int) -> tuple[int, int]:
    factor = longer / max(image.size)
    return max(1, round(image.width * factor)), max(1, round(image.height * factor))


def _bordered(image: Image.Image, border: int) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.expand(image, border, fill=0)


def _stroke(ink: npt.NDArray[np.uint8]) -> float:
    """The mean thickness of strokes: twice their area by their outline."""
    strong = np.pad(ink > 127, 1)
    outline = sum(int((strong != np.roll(strong, 1, axis)).sum()) for axis in (0, 1))
    return 2 * float(strong.sum()) / max(outline, 1)


def _centred(digit: Grey) -> npt.NDArray[np.uint8]:
    """In 28x28, moved by whole pixels so that the mass lies in the middle, and nothing is cut off."""
    height, width = digit.shape
    mass = float(digit.sum())
    row = float(digit.sum(axis=1) @ np.arange(height)) / mass
    column = float(digit.sum(axis=0) @ np.arange(width)) / mass
    top, left = (
        int(np.clip(round(_MIDDLE - centre), 0, SIDE - side)) for centre, side in ((row, height), (column, width))
    )
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[top : top + height, left : left + width] = np.rint(digit).astype(np.uint8)
    return whole


def repeated(digits: Iterable[npt.NDArray[np.uint8]], channels: int) -> npt.NDArray[np.uint8]:
    """Digits [28, 28] as a batch [N, channels, 28, 28], each channel the same."""
    batch = np.stack(list(digits))[:, None]
    return np.ascontiguousarray(np.repeat(batch, channels, axis=1))

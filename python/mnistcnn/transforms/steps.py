"""Random transforms of training images, as frozen dataclasses.

Names and parameters are those of ``torchvision.transforms`` where an equivalent exists. Each transform converts uint8
images to uint8 images and is applied to each image with probability ``p``. The random numbers depend on the seed, the
epoch, the index of the image in its set and the position of the transform in the list. They do not depend on the batch
size or the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from mnistcnn._internal.checks import finite_number, whole_number
from mnistcnn._internal.values import Value
from mnistcnn.transforms import checks

if TYPE_CHECKING:
    from mnistcnn._internal.native import core

Interpolation = Literal["nearest", "bilinear"]


class Transform(Value, abstract=True, native=True):
    """Base class of the transforms.

    A transform is a frozen dataclass: it compares by value, is hashable, and its ``repr`` recreates it.
    """

    def _set_fields(self, **values: object) -> None:
        for name, value in values.items():
            self._set(name, value)


@dataclass(frozen=True, repr=False)
class Rotation(Transform):
    """Rotate the image by a random angle; positive angles are counter-clockwise.

    The result is bit-identical to ``PIL.Image.rotate``.

    Parameters
    ----------
    degrees
        Range (smallest, largest) of the angle. A number d means (-d, d).
    fill
        Grey level, 0 to 255, of pixels from outside the image.
    interpolation
        ``"nearest"`` or ``"bilinear"``.
    expand
        Enlarge the result so that it contains the complete rotated image. A crop or `Resize` must follow.
    center
        Centre of the rotation as (x, y), in pixels from the upper left corner. Default: the centre of the image.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.Rotation(7, fill=1)
    Rotation(degrees=(-7.0, 7.0), fill=1)
    """

    degrees: float | tuple[float, float]
    fill: int = 0
    interpolation: Interpolation = "nearest"
    expand: bool = False
    center: tuple[float, float] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        self._check_flags()
        checks.check_warp(self)
        self._set_fields(degrees=checks.symmetric_range("degrees", self.degrees), center=checks.center(self.center))


@dataclass(frozen=True, repr=False)
class Affine(Transform):
    """Rotate, translate, scale and shear the image at random, as in ``torchvision.transforms.RandomAffine``.

    Parameters
    ----------
    degrees
        Range (smallest, largest) of the angle. A number d means (-d, d).
    translate
        Largest translation (horizontal, vertical), as fractions of the width and the height. The translation is a whole
        number of pixels. Default: none.
    scale
        Range (smallest, largest) of the scale factor. Default: no scaling.
    shear
        Range of the shear angle in degrees: a number s means (-s, s) along x, two numbers are a range along x, four
        numbers are a range along x and a range along y. Default: no shear.
    fill
        Grey level, 0 to 255, of pixels from outside the image.
    interpolation
        ``"nearest"`` or ``"bilinear"``.
    center
        Fixed point of the rotation, scaling and shear as (x, y), in pixels from the upper left corner. Default: the
        centre of the image.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.Affine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))
    Affine(degrees=(-10.0, 10.0), translate=(0.1, 0.1), scale=(0.9, 1.1))
    """

    degrees: float | tuple[float, float] = 0.0
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: float | tuple[float, ...] | None = None
    fill: int = 0
    interpolation: Interpolation = "nearest"
    center: tuple[float, float] | None = None
    p: float = 1.0

    def __post_init__(self) -> None:
        checks.check_warp(self)
        self._set_fields(
            degrees=checks.symmetric_range("degrees", self.degrees),
            translate=None if self.translate is None else checks.fractions("translate", self.translate),
            scale=None if self.scale is None else checks.bounds("scale", self.scale, above=0),
            shear=checks.shear(self.shear),
            center=checks.center(self.center),
        )


@dataclass(frozen=True, repr=False)
class Perspective(Transform):
    """Move the four corners of the image inwards at random, as in ``torchvision.transforms.RandomPerspective``.

    Parameters
    ----------
    distortion_scale
        Largest displacement of a corner, as a fraction (0 to 1) of half the width and half the height.
    p
        Probability of applying the transform to an image.
    interpolation
        ``"nearest"`` or ``"bilinear"``.
    fill
        Grey level, 0 to 255, of pixels from outside the image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.Perspective(0.2, p=1)
    Perspective(distortion_scale=0.2, p=1.0)
    """

    distortion_scale: float = 0.5
    p: float = 0.5
    interpolation: Interpolation = "bilinear"
    fill: int = 0

    def __post_init__(self) -> None:
        checks.check_warp(self)
        self._set_fields(distortion_scale=finite_number("distortion_scale", self.distortion_scale, maximum=1))


@dataclass(frozen=True, repr=False)
class ElasticDistortion(Transform):
    """Distort the image by a smooth random displacement field.

    The field is white noise between -1 and 1, smoothed by a Gaussian filter and multiplied by ``alpha``. Displacements
    are twice as large as those of torchvision's ``ElasticTransform`` with the same ``alpha``.

    Parameters
    ----------
    alpha
        Factor of the smoothed noise, in pixels, 0 to 10,000.
    sigma
        Standard deviation of the Gaussian filter in pixels, 0.1 to 64. Larger values give smoother fields.
    fill
        Grey level, 0 to 255, of pixels from outside the image.
    interpolation
        ``"nearest"`` or ``"bilinear"``.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.ElasticDistortion(20, sigma=4)
    ElasticDistortion(alpha=20.0, sigma=4.0)
    """

    alpha: float = 36.0
    sigma: float = 5.0
    fill: int = 0
    interpolation: Interpolation = "bilinear"
    p: float = 1.0

    def __post_init__(self) -> None:
        checks.check_warp(self)
        self._set_fields(
            alpha=finite_number("alpha", self.alpha, maximum=10_000),
            sigma=finite_number("sigma", self.sigma, maximum=64),
        )
        if self.sigma < 0.1:
            raise ValueError(f"sigma must be a number between 0.1 and 64, got {self.sigma!r}")


@dataclass(frozen=True, repr=False)
class CenterCrop(Transform):
    """Crop the centre of the image.

    Parameters
    ----------
    size
        Size of the crop as (height, width), or a number for a square. A crop larger than the image raises ValueError
        when the transform is used.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.CenterCrop(22)
    CenterCrop(size=(22, 22))
    """

    size: int | tuple[int, int]
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(size=checks.height_and_width(self.size), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class RandomCrop(Transform):
    """Pad the image, then crop it at a random position.

    Parameters
    ----------
    size
        Size of the crop as (height, width), or a number for a square.
    padding
        Pixels added before the crop: one number for all four sides, two numbers for (left and right, top and bottom),
        or four numbers for (left, top, right, bottom).
    fill
        Grey level, 0 to 255, of the padding.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.RandomCrop(28, padding=2)
    RandomCrop(size=(28, 28), padding=(2, 2, 2, 2))
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, ...] = 0
    fill: int = 0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(
            size=checks.height_and_width(self.size),
            padding=checks.padding(self.padding),
            fill=checks.grey_level("fill", self.fill),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class Resize(Transform):
    """Resize the image.

    The result is bit-identical to ``PIL.Image.resize`` (for bilinear interpolation: of Pillow 13 or newer).

    Parameters
    ----------
    size
        New size as (height, width), or a number for the shorter side, which keeps the aspect ratio.
    interpolation
        ``"nearest"`` or ``"bilinear"``. Bilinear interpolation is antialiased when the image becomes smaller.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> images = mnistcnn.load("digits")[1].images[:10]
    >>> mnistcnn.transforms.augment(images, mnistcnn.transforms.Resize(14)).shape
    (10, 1, 14, 14)
    """

    size: int | tuple[int, int]
    interpolation: Interpolation = "bilinear"
    p: float = 1.0

    def __post_init__(self) -> None:
        size = (
            whole_number("size", self.size, maximum=checks.LARGEST_SIDE)
            if checks.is_number(self.size)
            else checks.height_and_width(self.size)
        )
        self._set_fields(
            size=size, interpolation=checks.interpolation(self.interpolation), p=checks.probability(self.p)
        )


@dataclass(frozen=True, repr=False)
class RandomErasing(Transform):
    """Erase a random rectangle of the image, as in ``torchvision.transforms.RandomErasing``.

    Parameters
    ----------
    p
        Probability of applying the transform to an image.
    scale
        Range (smallest, largest) of the erased fraction of the image area.
    ratio
        Range (smallest, largest) of the rectangle's height divided by its width.
    value
        Grey level of the rectangle, 0 to 255, or ``"random"`` for noise.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.RandomErasing(p=0.3, value="random")
    RandomErasing(p=0.3, value='random')
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: int | Literal["random"] = 0

    def __post_init__(self) -> None:
        self._set_fields(
            p=checks.probability(self.p),
            scale=checks.bounds("scale", self.scale, maximum=1),
            ratio=checks.bounds("ratio", self.ratio, above=0),
            value=self.value if self.value == "random" else checks.grey_level("value", self.value),
        )


@dataclass(frozen=True, repr=False)
class Cutout(Transform):
    """Erase a square around a random pixel; the square is clipped at the border of the image.

    Parameters
    ----------
    size
        Side of the square in pixels.
    value
        Grey level of the square, 0 to 255.
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.Cutout(8, p=0.5)
    Cutout(size=8, p=0.5)
    """

    size: int
    value: int = 0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(
            size=whole_number("size", self.size, maximum=checks.LARGEST_SIDE),
            value=checks.grey_level("value", self.value),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class ColorJitter(Transform):
    """Change brightness and contrast in random order, as in ``torchvision.transforms.ColorJitter``.

    Parameters
    ----------
    brightness
        Range (smallest, largest) of the brightness factor. A number b means (max(0, 1 - b), 1 + b).
    contrast
        Range (smallest, largest) of the contrast factor. A number c means (max(0, 1 - c), 1 + c).
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.ColorJitter(brightness=0.25, contrast=(0.5, 2))
    ColorJitter(brightness=(0.75, 1.25), contrast=(0.5, 2.0))
    """

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(
            brightness=checks.factors("brightness", self.brightness),
            contrast=checks.factors("contrast", self.contrast),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class GaussianNoise(Transform):
    """Add Gaussian noise to each pixel.

    Parameters
    ----------
    std
        Standard deviation of the noise, 0 to 10, for pixels in [0, 1].
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.GaussianNoise(0.05)
    GaussianNoise(std=0.05)
    """

    std: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(std=finite_number("std", self.std, maximum=10), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class MorphologicalThickness(Transform):
    """Make bright strokes on a dark background thicker or thinner (greyscale dilation or erosion).

    Parameters
    ----------
    amount
        Range (smallest, largest) of the displacement of each edge in pixels, -16 to 16. Positive values dilate and
        negative values erode. Fractions of a pixel are interpolated. A number a means (-a, a).
    p
        Probability of applying the transform to an image.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.transforms.MorphologicalThickness(0.5)
    MorphologicalThickness(amount=(-0.5, 0.5))
    """

    amount: float | tuple[float, float] = 0.5
    p: float = 1.0

    def __post_init__(self) -> None:
        self._set_fields(amount=checks.symmetric_range("amount", self.amount, maximum=16), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class RandomApply(Transform):
    """Apply a list of transforms with probability ``p``, as in ``torchvision.transforms.RandomApply``.

    Parameters
    ----------
    transforms
        Transforms, all of which are applied to an image or none of them.
    p
        Probability of applying the list to an image. Each transform of the list has its own probability in addition.

    Examples
    --------
    >>> from mnistcnn.transforms import CenterCrop, RandomApply, Rotation
    >>> RandomApply([Rotation(10), CenterCrop(28)], p=0.3)
    RandomApply(transforms=(Rotation(degrees=(-10.0, 10.0)), CenterCrop(size=(28, 28))), p=0.3)
    """

    transforms: Sequence[Transform]
    p: float = 0.5

    def __post_init__(self) -> None:
        self._set_fields(transforms=checked_transforms(self.transforms, "transforms"), p=checks.probability(self.p))


def checked_transforms(steps: Transform | Iterable[Transform] | None, name: str = "augment") -> tuple[Transform, ...]:
    """Convert one transform, a list of transforms or None to a tuple. Raise TypeError for other values.

    Examples
    --------
    >>> checked_transforms([CenterCrop(22)])
    (CenterCrop(size=(22, 22)),)
    >>> checked_transforms(None)
    ()
    """
    if steps is None:
        return ()
    if isinstance(steps, Transform):
        return (steps,)
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise TypeError(f"{name} must be a list of transforms such as mnistcnn.transforms.Rotation(10), got {steps!r}")
    found = tuple(steps)
    for step in found:
        if not isinstance(step, Transform):
            hint = f"; write {step.__name__}(...)" if isinstance(step, type) and issubclass(step, Transform) else ""
            raise TypeError(f"{name} must hold transforms such as mnistcnn.transforms.Rotation(10), got {step!r}{hint}")
    return found


# ---- compiled form


def native(steps: Transform | Iterable[Transform] | None) -> core.Augmentation:
    """Return the transforms as an object of the compiled core."""
    from mnistcnn._internal.native import core

    return core.Augmentation(list(_core_fields(checked_transforms(steps))))


def _core_fields(steps: Iterable[Transform]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the fields of each transform; RandomApply is followed by its transforms."""
    for step in steps:
        values = {each.name: getattr(step, each.name) for each in fields(step)}  # type: ignore[arg-type]
        inner: list[tuple[str, dict[str, Any]]] = []
        if isinstance(step, RandomApply):
            inner = list(_core_fields(values.pop("transforms")))
            values["count"] = len(inner)
        if isinstance(step, Resize) and isinstance(step.size, int):
            values["size"] = (step.size, 0)
        if values.get("value") == "random":
            values["value"] = -1
        yield type(step).__name__, {name: value for name, value in values.items() if value is not None}
        yield from inner


def check_sizes(steps: Transform | Iterable[Transform] | None, images: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise ValueError unless the transforms convert images of shape ``images`` to ``wanted``, both (C, H, W)."""
    found = native(steps).output_shape(tuple(images))
    if found != tuple(wanted):
        raise ValueError(
            f"the augmentation converts images of shape {list(images)} to {list(found)}, but the model expects "
            f"{list(wanted)}; append mnistcnn.transforms.Resize({tuple(wanted[1:])}) or a crop"
        )

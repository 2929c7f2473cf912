"""Random changes of training images, as values: what to do, in which order, how often.

Names and meanings are those of ``torchvision.transforms`` where it has them. Every step takes uint8 images and gives
uint8 images, and happens to each image with probability ``p``. What is drawn for an image depends on the seed, the
epoch, the image's place in its set and the step's place in the list: not on batches or threads.
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


class Step(Value, abstract=True):
    """One random change of an image; use the classes below."""

    def _become(self, **values: object) -> None:
        for name, value in values.items():
            self._set(name, value)


@dataclass(frozen=True, repr=False)
class Rotation(Step):
    """Turns the image by an angle drawn from ``degrees``; counter-clockwise is positive. Pillow's pixels, bit for bit.

    Parameters
    ----------
    degrees
        A number d stands for (-d, d).
    fill
        The grey level, 0 to 255, of what comes in from outside.
    interpolation
        "nearest" or "bilinear".
    expand
        Whether the result grows to hold the whole turned image; a crop or `Resize` must follow.
    center
        (x, y) in pixels from the upper left corner; by default the middle.

    Examples
    --------
    >>> Rotation(7, fill=1)
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
        self._become(degrees=checks.around_zero("degrees", self.degrees), center=checks.center(self.center))


@dataclass(frozen=True, repr=False)
class Affine(Step):
    """Turns, shifts, scales and shears around the middle, as ``torchvision.transforms.RandomAffine``.

    Parameters
    ----------
    degrees
        A number d stands for (-d, d).
    translate
        (horizontal, vertical), each the largest shift as a share of the width and height; whole pixels are drawn.
    scale
        (smallest, largest) factor.
    shear
        Degrees: a number s stands for (-s, s) along x; two numbers are a range along x, four one along x and one
        along y.
    fill, interpolation, center
        As in `Rotation`.
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
        self._become(
            degrees=checks.around_zero("degrees", self.degrees),
            translate=None if self.translate is None else checks.shares("translate", self.translate),
            scale=None if self.scale is None else checks.bounds("scale", self.scale, above=0),
            shear=checks.shear(self.shear),
            center=checks.center(self.center),
        )


@dataclass(frozen=True, repr=False)
class Perspective(Step):
    """Moves the four corners inwards, as ``torchvision.transforms.RandomPerspective``.

    ``distortion_scale`` is the largest move as a share of half the width and height, 0 to 1.
    """

    distortion_scale: float = 0.5
    p: float = 0.5
    interpolation: Interpolation = "bilinear"
    fill: int = 0

    def __post_init__(self) -> None:
        checks.check_warp(self)
        self._become(distortion_scale=finite_number("distortion_scale", self.distortion_scale, most=1))


@dataclass(frozen=True, repr=False)
class ElasticDistortion(Step):
    """Bends the image: every pixel moves by a smooth random field.

    The field is white noise between -1 and 1, blurred by a Gaussian of deviation ``sigma`` and multiplied by ``alpha``,
    both in pixels. (torchvision's ``ElasticTransform(alpha)`` moves half as far as the same ``alpha`` here.)
    """

    alpha: float = 36.0
    sigma: float = 5.0
    fill: int = 0
    interpolation: Interpolation = "bilinear"
    p: float = 1.0

    def __post_init__(self) -> None:
        checks.check_warp(self)
        self._become(
            alpha=finite_number("alpha", self.alpha, most=10_000), sigma=finite_number("sigma", self.sigma, most=64)
        )
        if self.sigma < 0.1:
            raise ValueError(f"sigma must be a number between 0.1 and 64, got {self.sigma!r}")


@dataclass(frozen=True, repr=False)
class CenterCrop(Step):
    """Cuts ``size`` (a number for a square, or (height, width)) out of the middle."""

    size: int | tuple[int, int]
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(size=checks.sides(self.size), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class RandomCrop(Step):
    """Puts a border around the image and cuts ``size`` out of a random place of it.

    Parameters
    ----------
    size
        A number for a square, or (height, width).
    padding
        One number for all sides, two for (left and right, top and bottom), or (left, top, right, bottom).
    fill
        The grey level, 0 to 255, of the border.
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, ...] = 0
    fill: int = 0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(
            size=checks.sides(self.size),
            padding=checks.padding(self.padding),
            fill=checks.grey("fill", self.fill),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class Resize(Step):
    """Scales the image to ``size``. Pillow's pixels, bit for bit; "bilinear" smooths when it shrinks.

    ``size`` is (height, width), or one number for the shorter side, the other following in proportion.
    """

    size: int | tuple[int, int]
    interpolation: Interpolation = "bilinear"
    p: float = 1.0

    def __post_init__(self) -> None:
        size = (
            whole_number("size", self.size, most=checks.LARGEST_SIDE)
            if checks.is_number(self.size)
            else checks.sides(self.size)
        )
        self._become(size=size, interpolation=checks.interpolation(self.interpolation), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class RandomErasing(Step):
    """Paints over a rectangle, as ``torchvision.transforms.RandomErasing``.

    Parameters
    ----------
    p
        How often.
    scale
        (smallest, largest) share of the image's area.
    ratio
        (smallest, largest) height divided by width.
    value
        A grey level from 0 to 255, or "random" for noise.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: int | Literal["random"] = 0

    def __post_init__(self) -> None:
        self._become(
            p=checks.probability(self.p),
            scale=checks.bounds("scale", self.scale, most=1),
            ratio=checks.bounds("ratio", self.ratio, above=0),
            value=self.value if self.value == "random" else checks.grey("value", self.value),
        )


@dataclass(frozen=True, repr=False)
class Cutout(Step):
    """Paints over a square of side ``size`` around a random pixel; what sticks out of the image is lost."""

    size: int
    value: int = 0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(
            size=whole_number("size", self.size, most=checks.LARGEST_SIDE),
            value=checks.grey("value", self.value),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class ColorJitter(Step):
    """Changes brightness and contrast in random order, as ``torchvision.transforms.ColorJitter``.

    A number b stands for the factors (max(0, 1 - b), 1 + b); two numbers are the range of factors itself.
    """

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(
            brightness=checks.factors("brightness", self.brightness),
            contrast=checks.factors("contrast", self.contrast),
            p=checks.probability(self.p),
        )


@dataclass(frozen=True, repr=False)
class GaussianNoise(Step):
    """Adds normal noise of deviation ``std`` to every pixel; 1.0 is the way from black to white."""

    std: float = 0.1
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(std=finite_number("std", self.std, most=10), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class MorphologicalThickness(Step):
    """Makes bright strokes on dark paper thicker (above 0) or thinner (below 0).

    ``amount`` is how far every edge moves, in pixels: a number a stands for (-a, a). Parts of a pixel are blended.
    """

    amount: float | tuple[float, float] = 0.5
    p: float = 1.0

    def __post_init__(self) -> None:
        self._become(amount=checks.around_zero("amount", self.amount, most=16), p=checks.probability(self.p))


@dataclass(frozen=True, repr=False)
class RandomApply(Step):
    """Does all of some steps, or none of them.

    Examples
    --------
    >>> RandomApply([Rotation(10), CenterCrop(28)], p=0.3)
    RandomApply(steps=(Rotation(degrees=(-10.0, 10.0)), CenterCrop(size=(28, 28))), p=0.3)
    """

    steps: Sequence[Step]
    p: float = 0.5

    def __post_init__(self) -> None:
        self._become(steps=checked_steps(self.steps, "steps"), p=checks.probability(self.p))


def checked_steps(steps: Step | Iterable[Step] | None, name: str = "augment") -> tuple[Step, ...]:
    """One step, several or none, as a tuple; anything else is refused.

    Examples
    --------
    >>> checked_steps([CenterCrop(22)])
    (CenterCrop(size=(22, 22)),)
    >>> checked_steps(None)
    ()
    """
    if steps is None:
        return ()
    if isinstance(steps, Step):
        return (steps,)
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise TypeError(f"{name} must be a list of steps such as mnistcnn.transforms.Rotation(10), got {steps!r}")
    found = tuple(steps)
    for step in found:
        if not isinstance(step, Step):
            hint = f"; write {step.__name__}(...)" if isinstance(step, type) and issubclass(step, Step) else ""
            raise TypeError(f"{name} must hold steps such as mnistcnn.transforms.Rotation(10), got {step!r}{hint}")
    return found


# ---- use


def native(steps: Step | Iterable[Step] | None) -> core.Augmentation:
    """The steps in the compiled core's form."""
    from mnistcnn._internal.native import core

    return core.Augmentation(list(_described(checked_steps(steps))))


def _described(steps: Iterable[Step]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and fields; a group is followed by its steps."""
    for step in steps:
        values = {each.name: getattr(step, each.name) for each in fields(step)}  # type: ignore[arg-type]
        inner: list[tuple[str, dict[str, Any]]] = []
        if isinstance(step, RandomApply):
            inner = list(_described(values.pop("steps")))
            values["count"] = len(inner)
        if isinstance(step, Resize) and isinstance(step.size, int):
            values["size"] = (step.size, 0)
        if values.get("value") == "random":
            values["value"] = -1
        yield type(step).__name__, {name: value for name, value in values.items() if value is not None}
        yield from inner


def check_sizes(steps: Step | Iterable[Step] | None, images: Sequence[int], wanted: Sequence[int]) -> None:
    """Refuses steps that don't make images of shape ``wanted`` of images of shape ``images``, both [C, H, W]."""
    found = native(steps).output_shape(tuple(images))
    if found != tuple(wanted):
        raise ValueError(
            f"the augmentation makes images of shape {list(found)} of {list(images)}, but the model takes "
            f"{list(wanted)}; end it with mnistcnn.transforms.Resize({tuple(wanted[1:])}) or a crop"
        )

"""Augmentation outside of training: the augmented images and the random numbers of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.checks import image_shape, seed_number, whole_number
from mnistcnn.transforms.steps import Transform, native

if TYPE_CHECKING:
    import torch

    from mnistcnn.data.image_set import ImageSet


def augment(
    images: ImageSet | np.ndarray[Any, Any] | torch.Tensor,
    transforms: Transform | Iterable[Transform],
    *,
    seed: int = 0,
    epoch: int = 0,
    threads: int = 0,
) -> npt.NDArray[np.uint8]:
    """Return augmented images, identical to those that training uses with the same seed and epoch.

    Parameters
    ----------
    images
        `ImageSet`, or uint8 array or tensor of shape [N, C, H, W], [N, H, W], [C, H, W] or [H, W]. Three dimensions are
        one image [C, H, W] if the first has size 1 or 3, otherwise N images [N, H, W].
    transforms
        Transform or list of transforms.
    seed
        Seed of the random numbers, as in `mnistcnn.train`.
    epoch
        Number of the epoch, counted from 0. Each epoch has other random numbers.
    threads
        Number of threads; 0 uses all cores. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        uint8 [N, C, H, W].

    Raises
    ------
    TypeError
        If the images are not uint8.
    ValueError
        If the images have another shape, a crop is larger than the image, or the results have different sizes.

    Examples
    --------
    >>> import mnistcnn
    >>> from mnistcnn.transforms import CenterCrop, Resize, Rotation, augment
    >>> images = mnistcnn.load("digits")[1].images[:100]
    >>> augment(images, [CenterCrop(22), Resize(28), Rotation(15)]).shape
    (100, 1, 28, 28)
    """
    pixels = _as_bytes(images)
    whole_number("threads", threads, minimum=0)
    indices = np.arange(len(pixels))
    return native(transforms).run(
        pixels, indices, seed=seed_number(seed), epoch=whole_number("epoch", epoch, minimum=0), threads=threads
    )


def sample_parameters(
    transforms: Transform | Iterable[Transform],
    *,
    index: int,
    seed: int = 0,
    epoch: int = 0,
    shape: tuple[int, int, int] = (1, 28, 28),
) -> list[dict[str, Any]]:
    """Sample the random parameters of each transform for one image, and return them.

    Parameters
    ----------
    transforms
        Transform or list of transforms.
    index
        Index of the image in its set.
    seed
        Seed of the random numbers, as in `mnistcnn.train`.
    epoch
        Number of the epoch, counted from 0.
    shape
        Shape (channels, height, width) of the image.

    Returns
    -------
    list of dict
        One dictionary per transform: its name (``"transform"``), whether it is applied to the image (``"applied"``),
        and its random numbers, such as ``"angle"``. The transforms in a `RandomApply` follow it.

    Examples
    --------
    >>> import mnistcnn
    >>> [row] = mnistcnn.transforms.sample_parameters(mnistcnn.transforms.Rotation(10), index=3)
    >>> row["transform"], row["applied"], -10 <= row["angle"] <= 10
    ('Rotation', True, True)
    """
    index, epoch = whole_number("index", index, minimum=0), whole_number("epoch", epoch, minimum=0)
    size = image_shape("shape", shape)
    rows = native(transforms).sample_parameters(size, seed=seed_number(seed), epoch=epoch, index=index)
    return [{"transform": name, "applied": applied, **numbers} for name, applied, numbers in rows]


def _as_bytes(images: Any) -> npt.NDArray[np.uint8]:
    array = getattr(images, "images", images)
    array = np.ascontiguousarray(array.detach().cpu().numpy() if hasattr(array, "detach") else array)
    if array.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {array.dtype}; augment the pixels before normalization")
    if array.ndim in (2, 3):
        array = array[None, None] if array.ndim == 2 else array[None] if array.shape[0] in (1, 3) else array[:, None]
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise ValueError(f"images must have shape [N, C, H, W], got {list(array.shape)}")
    return array

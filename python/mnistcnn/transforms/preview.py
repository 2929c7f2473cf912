"""Augmentation outside of a training: the images it makes, and what it draws for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.checks import image_shape, seed_number, whole_number
from mnistcnn.transforms.steps import Step, native

if TYPE_CHECKING:
    import torch

    from mnistcnn.data.image_set import ImageSet


def augment(
    images: ImageSet | np.ndarray[Any, Any] | torch.Tensor,
    steps: Step | Iterable[Step],
    *,
    seed: int = 0,
    epoch: int = 0,
    threads: int = 0,
) -> npt.NDArray[np.uint8]:
    """What training would see of some images in an epoch: uint8 [N, C, H, W].

    Parameters
    ----------
    images
        A set, or uint8 images [N, C, H, W]; [N, H, W], [C, H, W] and [H, W] are understood too, where
        three planes are the colours of one image.
    steps
        One step or a list of them.
    seed, epoch
        As in `train`; the first epoch is 0. The same numbers give the same images.
    threads
        0 means all cores.

    Examples
    --------
    >>> import mnistcnn
    >>> images = mnistcnn.load("digits")[1].images[:100]
    >>> from mnistcnn.transforms import CenterCrop, Resize, Rotation, augment
    >>> augment(images, [CenterCrop(22), Resize(28), Rotation(15)]).shape
    (100, 1, 28, 28)
    """
    pixels = _as_bytes(images)
    whole_number("threads", threads, least=0)
    indices = np.arange(len(pixels))
    return native(steps).run(
        pixels, indices, seed=seed_number(seed), epoch=whole_number("epoch", epoch, least=0), threads=threads
    )


def drawn(
    steps: Step | Iterable[Step],
    *,
    index: int,
    seed: int = 0,
    epoch: int = 0,
    shape: tuple[int, int, int] = (1, 28, 28),
) -> list[dict[str, Any]]:
    """What is drawn for one image: per step its name, whether it is done, and its numbers.

    Examples
    --------
    >>> import mnistcnn
    >>> [step] = mnistcnn.transforms.drawn(mnistcnn.transforms.Rotation(10), index=3)
    >>> step["step"], step["applied"], -10 <= step["angle"] <= 10
    ('Rotation', True, True)
    """
    index, epoch = whole_number("index", index, least=0), whole_number("epoch", epoch, least=0)
    rows = native(steps).drawn(image_shape("shape", shape), seed=seed_number(seed), epoch=epoch, index=index)
    return [{"step": name, "applied": applied, **numbers} for name, applied, numbers in rows]


def _as_bytes(images: Any) -> npt.NDArray[np.uint8]:
    array = getattr(images, "images", images)
    array = np.ascontiguousarray(array.detach().cpu().numpy() if hasattr(array, "detach") else array)
    if array.dtype != np.uint8:
        raise TypeError(f"images must be uint8, got {array.dtype}; augment pixels, normalise afterwards")
    if array.ndim in (2, 3):
        array = array[None, None] if array.ndim == 2 else array[None] if array.shape[0] in (1, 3) else array[:, None]
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise ValueError(f"images must have shape [N, C, H, W], got {list(array.shape)}")
    return array

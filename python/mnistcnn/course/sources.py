"""Device, transforms, data sets and loaders of the course."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mnistcnn.data.datasets import load_auto
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.loader import DataLoader
from mnistcnn.data.normalization import MNIST, Normalization
from mnistcnn.training.published_recipes import recipe
from mnistcnn.transforms.preview import augment
from mnistcnn.transforms.steps import Transform

Loaders = tuple[DataLoader, DataLoader]


def use_device() -> torch.device:
    """Return the CUDA device, or the CPU if CUDA is not available."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Transforms:
    """Augmentation and normalization of images, usable as the ``transform`` of a torchvision data set.

    The loaders of this module apply the same steps in native code. Calling it with one image (PIL image, or uint8
    [H, W] or [C, H, W]) returns f32 [C, H, W]. Random numbers are determined by ``torch.manual_seed``.

    Parameters
    ----------
    steps
        Augmentation steps.
    normalization
        Mean and standard deviation of each channel.

    Examples
    --------
    >>> import mnistcnn
    >>> from mnistcnn.course import test_transforms
    >>> test_transforms()
    Transforms(steps=(), normalization=Normalization(mean=(0.1307,), std=(0.3081,)))
    >>> image, label = mnistcnn.load("digits")[1][0]
    >>> test_transforms()(image).shape
    torch.Size([1, 28, 28])
    """

    steps: tuple[Transform, ...]
    normalization: Normalization

    def __call__(self, image: Any) -> torch.Tensor:
        """Return the augmented and normalized image as f32 [C, H, W]."""
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise TypeError(
                f"image must be a PIL image, or uint8 [H, W] or [C, H, W], got {pixels.dtype} {list(pixels.shape)}"
            )
        if pixels.ndim == 3 and not isinstance(image, np.ndarray | torch.Tensor):
            pixels = np.moveaxis(pixels, -1, 0)  # PIL images are [H, W, C]
        batch = np.array(pixels, order="C").reshape(1, -1, *pixels.shape[-2:])
        if self.steps:
            batch = augment(batch, self.steps, seed=_drawn_seed(), threads=1)
        scaling = self.normalization.for_channels(batch.shape[1])
        scale, shift = (torch.tensor(each).view(-1, 1, 1) for each in (scaling.scale, scaling.shift))
        return torch.from_numpy(batch[0]).float().mul_(scale).add_(shift)


def train_transforms() -> Transforms:
    """Return the transforms of the training set: the augmentation of the published recipe of ``era5_net``.

    It applies a random crop of 22 pixels to some of the images, and a rotation by up to 15 degrees. Pixels are
    normalized with the mean and standard deviation of MNIST.
    """
    return Transforms(tuple(recipe("era5_net").augment), MNIST)


def test_transforms() -> Transforms:
    """Return the transforms of the test set: the normalization of `train_transforms`, without augmentation."""
    return Transforms((), MNIST)


def make_data() -> tuple[ImageSet, ImageSet]:
    """Return training set and test set of MNIST.

    If MNIST is not available, return the synthetic ``digits`` data set and print a message to stderr.
    """
    return _load(None)


def data_loader(
    *, batch_size: int = 64, shuffle: bool = True, num_workers: int = 0, pin_memory: bool = False
) -> Loaders:
    """Return loaders of the training set, augmented as by `train_transforms`, and of the unaugmented test set.

    Parameters
    ----------
    batch_size
        Number of images per batch.
    shuffle
        Whether to shuffle the training set in each epoch. The test set is never shuffled.
    num_workers
        Ignored: a native thread makes the batches.
    pin_memory
        Ignored, like ``num_workers``.
    """
    return _loaders(make_data(), train_transforms(), batch_size, shuffle, num_workers, pin_memory)


def get_dataloaders(
    data_dir: str | os.PathLike[str] = "./data",
    batch_size: int = 128,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Loaders:
    """Return loaders of the shuffled training set and of the test set, both without augmentation.

    Parameters
    ----------
    data_dir
        Directory that is searched for MNIST first, and to which MNIST is downloaded if it is not found.
    batch_size
        Number of images per batch.
    num_workers
        Ignored: a native thread makes the batches.
    pin_memory
        Ignored, like ``num_workers``.
    """
    return _loaders(_load(data_dir), test_transforms(), batch_size, True, num_workers, pin_memory)


def _load(folder: str | os.PathLike[str] | None) -> tuple[ImageSet, ImageSet]:
    train_set, test_set, message = load_auto(root=folder)
    if message:
        print(message, file=sys.stderr, flush=True)
    return train_set, test_set


def _loaders(
    sets: tuple[ImageSet, ImageSet],
    transforms: Transforms,
    batch_size: int,
    shuffle: bool,
    num_workers: int,
    pin_memory: bool,
) -> Loaders:
    train_set, test_set = sets
    pixels = transforms.normalization if train_set.name == "mnist" else Normalization.of(train_set)

    def make_loader(images: ImageSet, shuffled: bool, steps: tuple[Transform, ...]) -> DataLoader:
        return DataLoader(
            images,
            batch_size,
            shuffled,
            augment=steps,
            seed=_drawn_seed(),
            normalization=pixels,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )

    return make_loader(train_set, shuffle, transforms.steps), make_loader(test_set, False, ())


def _drawn_seed() -> int:
    """Return a random seed from PyTorch's generator, so that it is determined by ``torch.manual_seed``."""
    return int(torch.randint(2**62, ()).item())


# Do not collect this function as a test where it is imported.
test_transforms.__test__ = False  # type: ignore[attr-defined]

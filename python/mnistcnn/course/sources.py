"""Device, transforms, sets and loaders, as the courses name them."""

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
from mnistcnn.transforms.steps import Step

Loaders = tuple[DataLoader, DataLoader]


def use_device() -> torch.device:
    """The first CUDA device, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Transforms:
    """What happens to an image on its way into the network.

    The loaders of this module do it natively. Called with one image (a PIL image, or uint8 [H, W] or [C, H, W]), as
    torchvision's data sets call their ``transform``, it gives f32 [C, H, W]; chance follows ``torch.manual_seed``.

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

    steps: tuple[Step, ...]
    normalization: Normalization

    def __call__(self, image: Any) -> torch.Tensor:
        """One image as the network takes it."""
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise TypeError(
                f"an image must be a PIL image, or uint8 [H, W] or [C, H, W], got {pixels.dtype} {list(pixels.shape)}"
            )
        if pixels.ndim == 3 and not isinstance(image, np.ndarray | torch.Tensor):
            pixels = np.moveaxis(pixels, -1, 0)  # PIL keeps channels last
        batch = np.array(pixels, order="C").reshape(1, -1, *pixels.shape[-2:])
        if self.steps:
            batch = augment(batch, self.steps, seed=_drawn_seed(), threads=1)
        scaling = self.normalization.for_channels(batch.shape[1])
        scale, shift = (torch.tensor(each).view(-1, 1, 1) for each in (scaling.scale, scaling.shift))
        return torch.from_numpy(batch[0]).float().mul_(scale).add_(shift)


def train_transforms() -> Transforms:
    """The courses' augmentation: now and then a crop of 22 pixels, and a rotation by up to 15 degrees.

    That of the published recipe of ``era5_net``. Pixels are normalised with MNIST's mean and deviation.
    """
    return Transforms(tuple(recipe("era5_net").augment), MNIST)


def test_transforms() -> Transforms:
    """Images as they are, normalised as in training."""
    return Transforms((), MNIST)


def make_data() -> tuple[ImageSet, ImageSet]:
    """The training and the test set: MNIST, or the drawn digits where it can't be had, with a notice on stderr."""
    return _found(None)


def data_loader(
    *, batch_size: int = 64, shuffle: bool = True, num_workers: int = 0, pin_memory: bool = False
) -> Loaders:
    """Loaders of the training set, as `train_transforms` makes its images, and of the test set, as it is.

    Parameters
    ----------
    batch_size, shuffle
        As PyTorch's. The test set keeps its order, which changes no result.
    num_workers, pin_memory
        Taken, and not needed: a native thread makes the batches.
    """
    return _loaders(make_data(), train_transforms(), batch_size, shuffle, num_workers, pin_memory)


def get_dataloaders(
    data_dir: str | os.PathLike[str] = "./data",
    batch_size: int = 128,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Loaders:
    """Loaders of the training set, shuffled, and of the test set, both without augmentation.

    Parameters
    ----------
    data_dir
        Where MNIST is looked for first, and downloaded to if it is nowhere.
    batch_size
        Images per batch.
    num_workers, pin_memory
        Taken, and not needed: a native thread makes the batches.
    """
    return _loaders(_found(data_dir), test_transforms(), batch_size, True, num_workers, pin_memory)


def _found(folder: str | os.PathLike[str] | None) -> tuple[ImageSet, ImageSet]:
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

    def made(images: ImageSet, shuffled: bool, steps: tuple[Step, ...]) -> DataLoader:
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

    return made(train_set, shuffle, transforms.steps), made(test_set, False, ())


def _drawn_seed() -> int:
    """Follows ``torch.manual_seed``, as everything in the courses' notebooks does."""
    return int(torch.randint(2**62, ()).item())


# Pytest would take a function of this name for a test wherever everything is imported from here.
test_transforms.__test__ = False  # type: ignore[attr-defined]

"""DataLoader: augmented and normalized batches for custom training loops, prepared by a native thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from mnistcnn._internal.checks import flag, seed_number, whole_number
from mnistcnn._internal.native import core
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.normalization import UNIT, Normalization
from mnistcnn.transforms.steps import Transform, checked_transforms, native


class DataLoader:
    """Iterable over the batches of an image set, with augmentation and normalization.

    The interface is that of ``torch.utils.data.DataLoader``, without worker processes. Each iteration is one epoch and
    yields pairs of tensors: float32 images [N, C, H, W] and int64 labels [N]. A native thread prepares the next batches
    while the current one is in use. The order and the augmentation of each epoch are those of `mnistcnn.train` with the
    same seed.

    Parameters
    ----------
    image_set
        Images and labels.
    batch_size
        Images per batch. The last batch of an epoch may be smaller.
    shuffle
        Use a new random order in each epoch.
    augment
        Transform or list of transforms, such as ``mnistcnn.transforms.Rotation(10)``. Default: no augmentation.
    seed
        Seed of the order and the augmentation.
    normalization
        Normalization of the pixels. Default: the mean and standard deviation of `image_set`, as in `mnistcnn.train`.
    drop_last
        Skip the last batch of an epoch if it is smaller.
    prefetch
        Number of batches that are prepared in advance. 0 prepares each batch on request, without a thread.
    raw
        Yield uint8 pixels instead of normalized floats.
    num_workers
        Ignored; accepted for compatibility with PyTorch's loader.
    pin_memory
        Ignored; accepted for compatibility with PyTorch's loader.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument is out of range, or the augmented images have different sizes.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:300]
    >>> loader = mnistcnn.DataLoader(data, batch_size=128, augment=[mnistcnn.transforms.Rotation(10)], seed=1)
    >>> len(loader)
    3
    >>> for images, labels in loader:
    ...     print(tuple(images.shape), images.dtype, len(labels))
    (128, 1, 28, 28) torch.float32 128
    (128, 1, 28, 28) torch.float32 128
    (44, 1, 28, 28) torch.float32 44
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int = 128,
        shuffle: bool = True,
        *,
        augment: Transform | Iterable[Transform] | None = None,
        seed: int = 0,
        normalization: Normalization | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        raw: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not isinstance(image_set, ImageSet):
            raise TypeError(
                f"image_set must be an ImageSet, got {type(image_set).__name__}; create one with "
                "mnistcnn.ImageSet.from_arrays or mnistcnn.ImageSet.from_torch"
            )
        if normalization is not None and not isinstance(normalization, Normalization):
            raise TypeError(f"normalization must be a mnistcnn.Normalization, got {normalization!r}")
        self.image_set = image_set
        self.batch_size = whole_number("batch_size", batch_size)
        self.shuffle, self.drop_last, self.raw = (
            flag("shuffle", shuffle),
            flag("drop_last", drop_last),
            flag("raw", raw),
        )
        self.augment = checked_transforms(augment)
        self.seed = seed_number(seed)
        self.prefetch = whole_number("prefetch", prefetch, minimum=0, maximum=1024)
        self.image_shape: tuple[int, ...] = native(self.augment).output_shape(image_set.shape)
        self._normalization = normalization and normalization.for_channels(image_set.shape[0])
        self._epoch = 0

    @property
    def dataset(self) -> ImageSet:
        """The image set; alias of `image_set` for compatibility with PyTorch's loader."""
        return self.image_set

    @property
    def normalization(self) -> Normalization:
        """Normalization of the pixels; by default computed from the image set on first use."""
        if self._normalization is None:
            self._normalization = Normalization.of(self.image_set)
        return self._normalization

    @property
    def epoch(self) -> int:
        """Number of the next epoch, counted from 0."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, counted from 0; it determines the order and the augmentation."""
        self._epoch = whole_number("epoch", epoch, minimum=0)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.image_set), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        pixels = UNIT.for_channels(self.image_set.shape[0]) if self.raw else self.normalization
        return core.Loader(
            self.image_set.images,
            self.image_set.labels,
            native(self.augment),
            scale=pixels.scale,
            shift=pixels.shift,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            raw=self.raw,
            prefetch=self.prefetch,
        )

    def __repr__(self) -> str:
        steps = f", augment={list(self.augment)}" if self.augment else ""
        return f"DataLoader({self.image_set!r}, {len(self):,} batches of {self.batch_size}{steps})"

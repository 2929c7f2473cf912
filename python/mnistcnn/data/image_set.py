"""ImageSet: uint8 images with labels, the input of training and evaluation."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mnistcnn._internal.checks import seed_number
from mnistcnn._internal.tables import dimensions
from mnistcnn.data.npz import read_npz

__all__ = ["ImageSet"]

_CHUNK = 2048  # images that are converted or counted at a time, to limit memory
TO_BYTES = "convert integers from 0 to 255 with images.astype(numpy.uint8) or images.to(torch.uint8)"
_TO_CHW = "transpose it first: images.transpose(0, 3, 1, 2) for arrays, images.permute(0, 3, 1, 2) for tensors"


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Immutable set of uint8 images and their labels.

    Create one with `ImageSet.from_arrays`, `ImageSet.from_torch` or `ImageSet.from_npz`, or load a data set with
    `mnistcnn.load`. The constructor does not convert other types and shapes. The images are a read-only view, the
    labels a read-only copy.

    Parameters
    ----------
    images
        uint8 [N, C, H, W].
    labels
        int64 [N], each from 0 to ``num_classes - 1``.
    classes
        Class names.
    name
        Name of the set in tables and plots.

    Raises
    ------
    TypeError
        If the arrays have another dtype or number of dimensions.
    ValueError
        If the lengths differ or a label is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((4, 28, 28), np.uint8)
    >>> data = ImageSet.from_arrays(images, [0, 1, 2, 1], classes=["cat", "dog", "owl"])
    >>> data
    ImageSet 'custom': 4 images 1x28x28, 3 classes (cat … owl)
    >>> data[1:3]
    ImageSet 'custom': 2 images 1x28x28, 3 classes (cat … owl)
    >>> image, label = data[-1]
    >>> image.shape, label
    ((1, 28, 28), 1)
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    name: str = "custom"

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4):
            raise TypeError(f"images must be a uint8 array [N, C, H, W], got {_kind(images)}; use ImageSet.from_arrays")
        if not (isinstance(labels, np.ndarray) and labels.dtype == np.int64 and labels.ndim == 1):
            raise TypeError(f"labels must be an int64 array [N], got {_kind(labels)}; use ImageSet.from_arrays")
        _check_lengths(images, labels)
        own_labels = np.frombuffer(labels.tobytes(), np.int64)  # in `bytes`, so the checked values cannot change
        _check_labels(own_labels, len(self.classes))
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "images", _read_only(np.ascontiguousarray(images)))
        object.__setattr__(self, "labels", own_labels)

    @classmethod
    def from_arrays(
        cls, images: Any, labels: Any, classes: int | Sequence[str] | None = None, name: str = "custom"
    ) -> ImageSet:
        """Create a set from NumPy arrays or torch tensors.

        Contiguous uint8 images are not copied: do not modify them afterwards. Labels are copied.

        Parameters
        ----------
        images
            Array or tensor of shape [N, C, H, W], or [N, H, W] for one channel: uint8, or floats in [0, 1], which are
            multiplied by 255 and rounded.
        labels
            Array, tensor or sequence of N integers of at least 0.
        classes
            Number of classes or sequence of class names. Default: the largest label + 1.
        name
            Name of the set in tables and plots.

        Raises
        ------
        TypeError
            If the images or labels have an unsupported dtype.
        ValueError
            If a shape, a value or a label is out of range.

        Examples
        --------
        >>> import numpy as np
        >>> ImageSet.from_arrays(np.random.rand(6, 3, 32, 32), [0, 1, 2, 3, 4, 4], name="noise")
        ImageSet 'noise': 6 images 3x32x32, 5 classes (0 … 4)
        """
        pixels = _as_images(_as_array(images, "images"))
        numbers = _as_labels(_as_array(labels, "labels"))
        _check_lengths(pixels, numbers)
        return cls(pixels, numbers, _class_names(classes, numbers), name)

    @classmethod
    def from_torch(cls, dataset: Any, name: str | None = None) -> ImageSet:
        """Convert a torch or torchvision data set of (image, label) pairs.

        The arrays of torchvision's MNIST and similar data sets are not copied if they have no transforms. Otherwise
        each item is read once. Images may be PIL images, or arrays or tensors of shape [C, H, W] or [H, W], with uint8
        pixels or floats in [0, 1]. Random transforms would be applied only once: pass augmentation and normalization to
        `mnistcnn.train` instead.

        Parameters
        ----------
        dataset
            Data set or other iterable that yields (image, label).
        name
            Name of the set in tables and plots. Default: the class name of the data set in lower case.

        Raises
        ------
        TypeError
            If an item is not a pair (image, label), or has an unsupported type.
        ValueError
            If the data set is empty, or its images have different shapes.

        Examples
        --------
        >>> import torch
        >>> data = torch.utils.data.TensorDataset(torch.rand(5, 1, 8, 8), torch.arange(5))
        >>> ImageSet.from_torch(data, name="noise")
        ImageSet 'noise': 5 images 1x8x8, 5 classes (0 … 4)
        """
        if hasattr(dataset, "dataset") and hasattr(dataset, "batch_size"):
            raise TypeError("dataset must be a data set, got a loader of batches; pass loader.dataset")
        title = type(dataset).__name__.lower() if name is None else name
        classes = _torch_classes(dataset)
        ready = _ready_arrays(dataset)
        if ready is not None:
            return cls.from_arrays(*ready, classes=classes, name=title)
        images: list[npt.NDArray[np.uint8]] = []
        labels: list[int] = []
        for index, item in enumerate(_items(dataset)):
            image, label = _converted_item(item, index)
            if images and image.shape != images[0].shape:
                raise ValueError(
                    f"item {index} of the data set has shape {list(image.shape)}, but previous items have shape "
                    f"{list(images[0].shape)}; resize all images to the same shape"
                )
            images.append(image)
            labels.append(label)
        if not images:
            raise ValueError("dataset must have at least one item, got none")
        return cls.from_arrays(np.stack(images), np.array(labels), classes=classes, name=title)

    @classmethod
    def from_npz(
        cls,
        path: str | os.PathLike[str],
        split: str = "train",
        *,
        classes: int | Sequence[str] | None = None,
        name: str | None = None,
    ) -> ImageSet:
        """Read one split of an ``.npz`` file in the layout of MedMNIST.

        The file has an array of images and one of labels per split: ``train_images`` and ``train_labels``,
        ``val_images`` and ``val_labels``, ``test_images`` and ``test_labels``. Objects are not unpickled.

        Parameters
        ----------
        path
            File such as ``pathmnist.npz``. Images are [N, H, W], or [N, H, W, C] with one or three channels: uint8, or
            floats in [0, 1]. Labels are integers of shape [N, 1] or [N].
        split
            First part of the names of the arrays: ``"train"``, ``"val"`` or ``"test"`` in MedMNIST.
        classes
            Number of classes or sequence of class names. Default: the largest label of all splits in the file + 1, so
            that all splits have the same classes.
        name
            Name of the set in tables and plots. Default: the name of the file without suffix.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        OSError
            If the file is damaged, or not an ``.npz`` file of arrays.
        ValueError
            If the file has no such split, or a shape, a value or a label is out of range. Data with several labels per
            image and volumes are not supported.
        TypeError
            If the images or labels have an unsupported dtype.

        Examples
        --------
        >>> import numpy as np
        >>> images, labels = np.zeros((4, 28, 28, 3), np.uint8), np.array([[0], [1], [2], [0]], np.uint8)
        >>> np.savez("small.npz", train_images=images, train_labels=labels)
        >>> ImageSet.from_npz("small.npz", "train", classes=["cat", "dog", "owl"])
        ImageSet 'small': 4 images 3x28x28, 3 classes (cat … owl)
        """
        path = Path(path)
        images, labels, largest = read_npz(path, split)
        if classes is None and largest is not None:
            classes = largest + 1
        try:
            return cls.from_arrays(images, labels, classes, path.stem if name is None else name)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}, split {split!r}: {error}") from None

    # ---- properties ----

    @property
    def num_classes(self) -> int:
        """Number of classes, including classes without images."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of each image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Return the number of images of each class, int64 [num_classes]."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation of each channel, for pixels in [0, 1].

        They are computed from integer histograms, so the result does not depend on the order of the images.

        Raises
        ------
        ValueError
            If the set is empty.

        Examples
        --------
        >>> import numpy as np
        >>> black_and_white = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
        >>> ImageSet.from_arrays(black_and_white, [0, 1]).mean_std()
        ((0.5,), (0.5,))
        """
        if len(self) == 0:
            raise ValueError("the set must have at least one image to compute mean and standard deviation, got none")
        means, deviations = [], []
        for channel in range(self.shape[0]):
            histogram = [int(count) for count in self._histogram(channel)]
            count = sum(histogram)
            first = sum(value * n for value, n in enumerate(histogram))
            second = sum(value * value * n for value, n in enumerate(histogram))
            means.append(first / (255 * count))
            deviations.append(math.sqrt((count * second - first * first) / (255 * count) ** 2))
        return tuple(means), tuple(deviations)

    def _histogram(self, channel: int) -> npt.NDArray[np.int64]:
        histogram = np.zeros(256, np.int64)
        for start in range(0, len(self), _CHUNK):
            histogram += np.bincount(self.images[start : start + _CHUNK, channel].ravel(), minlength=256)
        return histogram

    # ---- subsets ----

    def split(self, part: float, seed: int = 0, stratified: bool = True) -> tuple[ImageSet, ImageSet]:
        """Split the set at random into two: ``train, validation = train.split(0.1)``.

        Parameters
        ----------
        part
            Size of the second set: a fraction between 0 and 1 (float), or a number of images (int).
        seed
            Seed of the random numbers. The split depends only on the seed and the labels, not on the machine.
        stratified
            Keep the proportions of the classes, to within one image per class.

        Returns
        -------
        (ImageSet, ImageSet)
            The remaining images and the second set, both in the original order.

        Raises
        ------
        ValueError
            If one of the two sets would be empty.

        Examples
        --------
        >>> import numpy as np
        >>> data = ImageSet.from_arrays(np.zeros((100, 28, 28), np.uint8), np.arange(100) % 10)
        >>> train, validation = data.split(0.2)
        >>> len(train), len(validation), validation.class_counts().tolist()
        (80, 20, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
        """
        count = _part_size(part, len(self))
        keys = _split_keys(len(self), seed_number(seed))
        chosen = np.zeros(len(self), np.bool_)
        if stratified:
            for label, share in enumerate(_stratified_counts(self.class_counts(), count)):
                members = np.flatnonzero(self.labels == label)
                chosen[members[np.argsort(keys[members], kind="stable")[:share]]] = True
        else:
            chosen[np.argsort(keys, kind="stable")[:count]] = True
        return self._at(np.flatnonzero(~chosen)), self._at(np.flatnonzero(chosen))

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> tuple[npt.NDArray[np.uint8], int]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]) -> ImageSet: ...
    def __getitem__(self, index: Any) -> Any:
        """Return (image, label) for an integer, and an `ImageSet` for a slice, an array of indices or a mask.

        Single images, and the images of slices with step 1, are views; other subsets are copies.
        """
        if isinstance(index, slice):
            return self._at(index)
        is_integer = hasattr(index, "__index__") and "bool" not in str(getattr(index, "dtype", type(index)))
        if is_integer and getattr(index, "ndim", 0) == 0:
            position = _checked_index(operator.index(index), len(self))
            return self.images[position], int(self.labels[position])
        indices = _as_array(index, "indices")
        if indices.ndim == 0:
            raise TypeError(f"index must be an integer, a slice, an array of indices or a mask, got {index!r}")
        return self._at(_checked_indices(indices, len(self)))

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
        for image, label in zip(self.images, self.labels, strict=True):
            yield image, int(label)

    def __add__(self, other: ImageSet) -> ImageSet:
        """Return the images of both sets: ``mnist + own_digits``. Shapes and class names must be the same.

        Raises
        ------
        TypeError
            If ``other`` is not an `ImageSet`.
        ValueError
            If the images have different shapes or the sets have different classes.

        Examples
        --------
        >>> import numpy as np
        >>> first = ImageSet.from_arrays(np.zeros((4, 28, 28), np.uint8), [0, 1, 2, 1], name="printed")
        >>> second = ImageSet.from_arrays(np.zeros((3, 28, 28), np.uint8), [2, 2, 0], name="drawn")
        >>> first + second
        ImageSet 'printed + drawn': 7 images 1x28x28, 3 classes (0 … 2)
        """
        if not isinstance(other, ImageSet):
            raise TypeError(f"only an ImageSet can be joined to an ImageSet, got {_kind(other)}")
        if self.shape != other.shape:
            shapes = " and ".join(dimensions(each.shape) for each in (self, other))
            raise ValueError(f"only images of the same shape can be joined, got {shapes}; resize one of the sets first")
        if self.classes != other.classes:
            raise ValueError(
                f"only sets with the same classes can be joined, got {list(self.classes)} and {list(other.classes)}; "
                "pass classes= when you create a set"
            )
        name = self.name if self.name == other.name else f"{self.name} + {other.name}"
        images = np.concatenate([self.images, other.images])
        return ImageSet(images, np.concatenate([self.labels, other.labels]), self.classes, name)

    def _at(self, where: slice | npt.NDArray[np.intp]) -> ImageSet:
        return ImageSet(self.images[where], self.labels[where], self.classes, self.name)

    def __repr__(self) -> str:
        channels, height, width = self.shape
        names = f"{self.classes[0]} … {self.classes[-1]}" if len(self.classes) > 2 else ", ".join(self.classes)
        images = "image" if len(self) == 1 else "images"
        classes = "class" if len(self.classes) == 1 else "classes"
        return (
            f"ImageSet {self.name!r}: {len(self):,} {images} {channels}x{height}x{width}, "
            f"{len(self.classes)} {classes} ({names})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageSet, (self.images, self.labels, self.classes, self.name)


# ---- conversion of arrays ----


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view()
    view.flags.writeable = False
    return view


def _kind(value: object) -> str:
    """Return the dtype and shape of an array, or the name of another type."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """Return a NumPy array, sharing the memory of `values` if possible; tensors are recognised by their methods."""
    if hasattr(values, "detach") and hasattr(values, "numpy"):
        tensor = values.detach().cpu()
        try:
            return np.asarray(tensor.numpy())
        except (TypeError, RuntimeError):  # NumPy has no bfloat16, and no views that negate their values
            return np.asarray(tensor.resolve_neg().float().numpy())
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} cannot be converted to an array: {error}") from None


def check_channels_first(shape: Sequence[int]) -> None:
    """Raise ValueError if the shape of images looks like [N, H, W, C]."""
    if shape[3] in (1, 3, 4) and shape[1] > 4:
        raise ValueError(f"images of shape {list(shape)} look like [N, H, W, C], expected [N, C, H, W]; {_TO_CHW}")


def _as_images(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4:
        raise ValueError(f"images must have shape [N, C, H, W] or [N, H, W], got {list(array.shape)}")
    if 0 in array.shape:
        raise ValueError(f"images must not be empty, got shape {list(array.shape)}")
    check_channels_first(array.shape)
    return np.ascontiguousarray(_as_bytes(array, "images"))


def _as_bytes(array: npt.NDArray[Any], what: str) -> npt.NDArray[np.uint8]:
    """Return uint8 unchanged, and floats in [0, 1] multiplied by 255 and rounded."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise TypeError(f"{what} must be uint8 or floats in [0, 1], got {array.dtype}; {TO_BYTES}")
    result = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), _CHUNK):
        part = array[start : start + _CHUNK].astype(np.float64)
        low, high = float(part.min()), float(part.max())
        if math.isnan(low):
            raise ValueError(f"{what} contain NaN; remove these images, or replace the values")
        if low < -1e-6 or high > 1 + 1e-6:
            raise ValueError(
                f"{what} of {array.dtype} must be in [0, 1], found {low if low < 0 else high:g}; "
                f"divide by 255 if the values are 0 to 255, and omit normalization, which training applies"
            )
        result[start : start + _CHUNK] = np.rint(np.clip(part, 0, 1) * 255)
    return result


def _as_labels(array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if array.ndim != 1:
        one_hot = "; convert one-hot labels with labels.argmax(1)" if array.ndim == 2 and array.shape[1] > 1 else ""
        raise ValueError(f"labels must have shape [N], got {list(array.shape)}{one_hot}")
    if array.dtype.kind not in "iu":
        names = "classes, labels = numpy.unique(labels, return_inverse=True)"
        how = names if array.dtype.kind in "OSU" else ".astype(int) or .long()"
        raise TypeError(f"labels must be integers, got {array.dtype}; convert them with {how}")
    if array.dtype == np.uint64 and len(array) and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"label {array.max()} at index {array.argmax()} is too large: labels must fit int64")
    return array.astype(np.int64, copy=False)


def _check_lengths(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if len(images) != len(labels):
        raise ValueError(f"images and labels must have the same length, got {len(images):,} and {len(labels):,}")


def _check_labels(labels: npt.NDArray[np.int64], num_classes: int) -> None:
    if num_classes < 1:
        raise ValueError("classes must contain at least one class, got none")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise ValueError(
            f"label {labels[wrong[0]]} at index {wrong[0]} is out of range: with {num_classes} classes, labels must be "
            f"from 0 to {num_classes - 1}"
        )


def _class_names(classes: int | Sequence[str] | None, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    if classes is None:
        count = int(labels.max()) + 1 if len(labels) else 0
        if count > max(1000, 10 * len(labels)):
            at = int(labels.argmax())
            raise ValueError(
                f"label {labels[at]} at index {at} would require {count:,} classes; pass classes= if this is intended"
            )
        return tuple(str(index) for index in range(max(count, 1)))
    if isinstance(classes, (int, np.integer)) and not isinstance(classes, bool):
        return tuple(str(index) for index in range(int(classes)))
    if not isinstance(classes, Iterable) or isinstance(classes, str | Mapping | Set):  # a set has no order
        raise TypeError(f"classes must be a number or a sequence of names, got {classes!r}")
    return tuple(str(name) for name in classes)


# ---- indices ----


def _checked_index(index: int, count: int) -> int:
    if not -count <= index < count:
        raise IndexError(f"index {index} is out of range for {count:,} images")
    return index % count


def _checked_indices(indices: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
    if indices.ndim != 1:
        raise IndexError(f"indices must have one dimension, got shape {list(indices.shape)}")
    if indices.dtype == np.bool_:
        if len(indices) != count:
            raise IndexError(f"a mask must have one value per image, got {len(indices):,} values for {count:,} images")
        return np.flatnonzero(indices)
    if len(indices) == 0:
        return np.zeros(0, np.intp)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers or a boolean mask, got {indices.dtype}")
    wrong = np.flatnonzero((indices < -count) | (indices >= count))
    if len(wrong):
        raise IndexError(f"index {indices[wrong[0]]} is out of range for {count:,} images")
    return indices.astype(np.intp)


# ---- splitting ----


def _part_size(part: float, count: int) -> int:
    if isinstance(part, (bool, np.bool_)) or not isinstance(part, Real):
        raise TypeError(f"part must be a fraction or a number of images, got {part!r}")
    if isinstance(part, (int, np.integer)):
        size = int(part)
        if not 0 < size < count:
            raise ValueError(
                f"part must be from 1 to {count - 1:,} images, so that both sets are non-empty, got {size:,}"
            )
        return size
    if not 0 < part < 1:
        raise ValueError(f"part must be a fraction between 0 and 1 or an int number of images, got {part}")
    size = round(part * count)
    if not 0 < size < count:
        raise ValueError(f"part={part} of {count:,} images leaves one of the two sets empty")
    return size


def _stratified_counts(counts: npt.NDArray[np.int64], size: int) -> list[int]:
    """Return numbers of images that sum to `size`, in proportion to `counts` (largest remainder method)."""
    total = int(counts.sum())
    exact = [divmod(size * int(count), total) for count in counts]
    shares = [whole for whole, _ in exact]
    by_remainder = sorted(range(len(exact)), key=lambda label: -exact[label][1])
    for label in by_remainder[: size - sum(shares)]:
        shares[label] += 1
    return shares


_GOLDEN = 0x9E3779B97F4A7C15
_SPLIT = 6  # Purpose::kSplit of the C++ random number generator
_MASK = (1 << 64) - 1


def _mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _split_keys(count: int, seed: int) -> npt.NDArray[np.uint64]:
    """Return one random number per image, those of Stream(seed, Purpose::kSplit) in C++, in every NumPy version."""
    key = _mix64((seed + _GOLDEN) & _MASK)
    for word in (_SPLIT, 0, 0):
        key = _mix64(key ^ _mix64((word + _GOLDEN) & _MASK))
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return keys


# ---- torch data sets ----


def _torch_classes(dataset: Any) -> tuple[str, ...] | None:
    """Return the class names of a torchvision data set, or of the data set of a torch Subset."""
    classes = getattr(dataset, "classes", None) or getattr(getattr(dataset, "dataset", None), "classes", None)
    if isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes):
        return tuple(classes)
    return None


def _ready_arrays(dataset: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return the arrays of a torchvision data set such as MNIST, or None if its items may differ from them."""
    owner = getattr(getattr(type(dataset), "__getitem__", None), "__module__", None) or ""
    names = ("transform", "target_transform", "transforms")
    data, targets = getattr(dataset, "data", None), getattr(dataset, "targets", None)
    changed = not owner.startswith("torchvision.") or any(getattr(dataset, name, None) is not None for name in names)
    if changed or data is None or targets is None:
        return None
    images, labels = _as_array(data, "images"), _as_array(targets, "labels")
    fits = images.ndim == 3 and images.dtype == np.uint8 and labels.ndim == 1 and len(images) == len(dataset)
    return (images, labels) if fits else None


def _items(dataset: Any) -> Iterator[Any]:
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return (dataset[index] for index in range(len(dataset)))
    return iter(dataset)


def _converted_item(item: Any, index: int) -> tuple[npt.NDArray[np.uint8], int]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"item {index} of the data set is a {type(item).__name__}, expected a pair (image, label)")
    image, label = item
    try:
        number = operator.index(label.item() if hasattr(label, "item") else label)
    except TypeError:
        raise TypeError(f"label {label!r} of item {index} is not an integer") from None
    array = _pil_array(image) if hasattr(image, "getbands") else _as_array(image, f"the pixels of item {index}")
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise ValueError(f"image {index} of the data set has shape {list(array.shape)}, expected [C, H, W] or [H, W]")
    if array.shape[2] in (1, 3, 4) and array.shape[0] > 4:
        raise ValueError(
            f"image {index} of the data set has shape {list(array.shape)}, which looks like [H, W, C]; "
            f"convert it to [C, H, W] with image.transpose(2, 0, 1)"
        )
    # a copy, because a data set may return the same buffer for each item
    return np.array(_as_bytes(array, f"the pixels of item {index}")), number


def _pil_array(image: Any) -> npt.NDArray[Any]:
    """Return a PIL image as uint8 [H, W] or [C, H, W]."""
    mode = {"1": "L", "P": "RGB", "LA": "L", "CMYK": "RGB", "YCbCr": "RGB"}.get(image.mode, image.mode)
    array = np.asarray(image.convert(mode) if mode != image.mode else image)
    return array if array.ndim == 2 else array.transpose(2, 0, 1)

"""Stratified folds of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistcnn.data.image_set import ImageSet


@dataclass(frozen=True)
class Fold:
    """One fold, identified by its index; the images are selected from the labels and the seed when needed."""

    index: int
    folds: int
    seed: int

    def parts(self, images: ImageSet) -> tuple[ImageSet, ImageSet]:
        """Return the training set of this fold and the images held out."""
        numbers = fold_numbers(images.labels, self.folds, self.seed)
        return images[numbers != self.index], images[numbers == self.index]


def fold_numbers(labels: npt.NDArray[Any], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold index of each image, i64 [N]. Fold sizes differ by at most 1, overall and within each class.

    Examples
    --------
    >>> import numpy as np
    >>> fold_numbers(np.array([0, 0, 0, 0, 1, 1, 1, 1]), folds=2, seed=0).tolist()
    [0, 1, 0, 1, 0, 0, 1, 1]
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # sorted by class, random order within a class
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % folds
    return numbers


def check_folds(labels: npt.NDArray[Any], folds: int) -> None:
    """Raise ValueError if a class has fewer images than there are folds."""
    present, counts = np.unique(labels, return_counts=True)
    if len(labels) and counts.min() < folds:
        rare = int(counts.argmin())
        raise ValueError(
            f"folds={folds} requires at least {folds} images of each class, but class {int(present[rare])} has only "
            f"{int(counts[rare])}; reduce folds"
        )

"""Folds of a cross-validation: parts of equal size in which every class has its share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistcnn.data.image_set import ImageSet


@dataclass(frozen=True)
class Fold:
    """One of ``folds`` parts, as a number: small enough to be sent anywhere."""

    index: int
    folds: int
    seed: int

    def parts(self, images: ImageSet) -> tuple[ImageSet, ImageSet]:
        """What to train on, and what is held out."""
        numbers = fold_numbers(images.labels, self.folds, self.seed)
        return images[numbers != self.index], images[numbers == self.index]


def fold_numbers(labels: npt.NDArray[Any], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """For every image the fold that holds it out, i64 [N]; sizes differ by at most 1, also within each class.

    Examples
    --------
    >>> import numpy as np
    >>> fold_numbers(np.array([0, 0, 0, 0, 1, 1, 1, 1]), folds=2, seed=0).tolist()
    [0, 1, 0, 1, 0, 0, 1, 1]
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class after class, each in random order
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % folds  # dealt out like cards
    return numbers


def check_folds(labels: npt.NDArray[Any], folds: int) -> None:
    """Refuses folds in which a class would be missing."""
    present, counts = np.unique(labels, return_counts=True)
    if len(labels) and counts.min() < folds:
        rare = int(counts.argmin())
        raise ValueError(
            f"{folds} folds need at least {folds} images of every class, but class {int(present[rare])} has only "
            f"{int(counts[rare])}"
        )

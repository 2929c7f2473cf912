"""Folds: every image held out once, every class in proportion."""

from __future__ import annotations

import numpy as np
import pytest

from mnistcnn.study.folds import check_folds, fold_numbers


@pytest.mark.parametrize(("count", "folds", "seed"), [(100, 5, 0), (103, 4, 1), (57, 2, 2), (60, 10, 3)])
def test_folds_are_as_equal_as_can_be(count: int, folds: int, seed: int):
    labels = np.random.default_rng(seed).integers(0, 4, count)
    numbers = fold_numbers(labels, folds, seed)
    for part in (numbers, *(numbers[labels == label] for label in range(4))):
        sizes = np.bincount(part, minlength=folds)
        assert sizes.max() - sizes.min() <= 1
        assert len(sizes) == folds


def test_the_seed_decides():
    labels = np.arange(200) % 10
    assert (fold_numbers(labels, 5, 1) == fold_numbers(labels, 5, 1)).all()
    assert (fold_numbers(labels, 5, 1) != fold_numbers(labels, 5, 2)).any()
    assert sorted(set(fold_numbers(np.sort(labels), 5, 1)[:20])) == [0, 1, 2, 3, 4]


def test_a_class_too_small_for_the_folds_is_refused():
    check_folds(np.array([0, 0, 2, 2]), 2)  # a class without any image is no obstacle
    with pytest.raises(ValueError, match="3 folds need at least 3 images of every class, but class 2 has only 2"):
        check_folds(np.array([0, 0, 0, 2, 2]), 3)

"""Folds: each image is held out once, and folds are stratified."""

from __future__ import annotations

import numpy as np
import pytest

from mnistcnn.study.folds import check_folds, fold_numbers


@pytest.mark.parametrize(("count", "folds", "seed"), [(100, 5, 0), (103, 4, 1), (57, 2, 2), (60, 10, 3)])
def test_fold_sizes_differ_by_at_most_one(count: int, folds: int, seed: int):
    labels = np.random.default_rng(seed).integers(0, 4, count)
    numbers = fold_numbers(labels, folds, seed)
    for subset in (numbers, *(numbers[labels == label] for label in range(4))):
        sizes = np.bincount(subset, minlength=folds)
        assert sizes.max() - sizes.min() <= 1
        assert len(sizes) == folds


def test_seed_determines_the_folds():
    labels = np.arange(200) % 10
    assert (fold_numbers(labels, 5, 1) == fold_numbers(labels, 5, 1)).all()
    assert (fold_numbers(labels, 5, 1) != fold_numbers(labels, 5, 2)).any()
    assert sorted(set(fold_numbers(np.sort(labels), 5, 1)[:20])) == [0, 1, 2, 3, 4]


def test_class_with_too_few_images_raises():
    check_folds(np.array([0, 0, 2, 2]), 2)  # a class without images is allowed
    with pytest.raises(ValueError, match="folds=3 requires at least 3 images of each class, but class 2 has only 2"):
        check_folds(np.array([0, 0, 0, 2, 2]), 3)

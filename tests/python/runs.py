"""A short run, for tests that look at what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import mnistcnn


def small(seed: int = 1) -> mnistcnn.Model:
    return mnistcnn.create_model("budget_model3", seed=seed)


def fit(model: mnistcnn.Model, *sets: Any, **options: Any) -> mnistcnn.History:
    return mnistcnn.train(model, *sets, **{"epochs": 1, "batch_size": 64, "progress": False, **options})


def weights(model: mnistcnn.Model) -> torch.Tensor:
    """Everything that training changes, in one row."""
    return torch.cat([tensor.detach().double().flatten() for tensor in model.state_dict().values()])


def random_set(count: int = 40, seed: int = 0) -> mnistcnn.ImageSet:
    """Images of 8x8 pixels and labels that mean nothing."""
    dice = np.random.default_rng(seed)
    images = dice.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return mnistcnn.ImageSet.from_arrays(images, dice.integers(0, 10, count), classes=10)

"""Short training runs for tests."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.nn.input_checks import model_view
from mnistcnn.optim import averaging, losses, optimizers


def small(seed: int = 1) -> mnistcnn.Model:
    return mnistcnn.create_model("budget_model3", seed=seed)


def fit(model: mnistcnn.Model, *sets: Any, **options: Any) -> mnistcnn.History:
    return mnistcnn.train(model, *sets, **{"epochs": 1, "batch_size": 64, "progress": False, **options})


def weights(model: mnistcnn.Model) -> torch.Tensor:
    """Return all parameters and buffers as one f64 vector."""
    return torch.cat([tensor.detach().double().flatten() for tensor in model.state_dict().values()])


def digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 of the bytes of all parameters and buffers."""
    sha256 = hashlib.sha256()
    for tensor in model.state_dict().values():
        sha256.update(tensor.detach().numpy().tobytes())
    return sha256.hexdigest()


class CoreRun:
    """Training run of the core on one data set, with given learning rates and without a `Trainer`."""

    def __init__(
        self,
        model: mnistcnn.Model,
        images: mnistcnn.ImageSet,
        *,
        optimizer: Any = None,
        engine: str | None = None,
        loss: core.Loss | None = None,
        mixing: core.Mixing | None = None,
        averages: Any = None,
        batch_size: int = 8,
        seed: int = 1,
        shuffle: bool = True,
    ) -> None:
        self._model, self._engine = model, engine
        self._images, self._labels = torch.tensor(images.images), torch.tensor(images.labels)
        self._steps = -(-len(images) // batch_size)
        self.native = core.TrainingRun(
            self.view,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            optimizer=optimizers.settings(optimizer or mnistcnn.optim.SGD(momentum=0.9)),
            undecayed=[],
            loss=loss or losses.native("auto", model),
            mixing=mixing,
            averaging=averaging.settings(averages),
        )

    @property
    def view(self) -> core.ModelView:
        return model_view(self._model, self._engine)

    def epochs(self, count: int = 1, lr: float = 0.1, **options: Any) -> dict[str, Any]:
        """Train, and return the result of the last epoch."""
        defaults = {"learning_rates": [lr] * self._steps, "trainable": self._model.trainable_ranges()}
        result: dict[str, Any] = {}
        for _ in range(count):
            result = self.native.next_epoch(self.view, self._images, self._labels, **{**defaults, **options})
        return result

    def finish(self) -> None:
        self.native.finish(self.view, self._images)


def random_set(count: int = 40, seed: int = 0, *, size: int = 8) -> mnistcnn.ImageSet:
    """Return random square images with random labels of ten classes."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 1, size, size), dtype=np.uint8)
    return mnistcnn.ImageSet.from_arrays(images, generator.integers(0, 10, count), classes=10)

"""Ensembles of models, and averages of predictions over shifted copies of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.tables import counted
from mnistcnn.data.arrays import as_tensor
from mnistcnn.data.image_set import ImageSet
from mnistcnn.evaluation.evaluate import predict, result_of
from mnistcnn.nn.model import Model

if TYPE_CHECKING:
    import numpy.typing as npt

    from mnistcnn.evaluation.results import TestResult

Images = ImageSet | np.ndarray[Any, Any] | torch.Tensor
_MAX_SHIFT = 14


class Ensemble:
    """Ensemble of models whose class probabilities are averaged.

    Parameters
    ----------
    models
        One or more models with the same input shape and number of classes.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:500], test_set[:100], mnistcnn.Recipe(epochs=1),
    ...                              seeds=2, keep_models=True, progress=False)
    >>> ensemble = mnistcnn.Ensemble(trials.models)
    >>> ensemble
    Ensemble of 2 models: budget_model3, budget_model3
    >>> ensemble.predict(test_set[:100]).shape
    (100, 10)
    """

    def __init__(self, models: Iterable[Model]) -> None:
        if isinstance(models, Model):
            raise TypeError("models must be a list of models, got a single Model; write Ensemble([model])")
        self.models = tuple(models)
        if not self.models:
            raise ValueError("models must contain at least one model, got none")
        for model in self.models:
            if not isinstance(model, Model):
                raise TypeError(f"models must contain mnistcnn.Model objects only, got {type(model).__name__}")
        for what in ("input_shape", "num_classes"):
            first, *others = (getattr(model, what) for model in self.models)
            for other in others:
                if other != first:
                    raise ValueError(f"models must have the same {what}, got {first} and {other}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of an image: (channels, height, width)."""
        return self.models[0].input_shape

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return self.models[0].num_classes

    def predict(
        self,
        images: Images,
        *,
        shifts: int = 0,
        batch_size: int = 512,
        engine: str | None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the mean class probabilities of the models, f32 [N, classes].

        Parameters
        ----------
        images
            Images in any form that `mnistcnn.predict` accepts.
        shifts
            Average over copies shifted by up to this many pixels, as in `mnistcnn.study.shifted_predictions`. 0: no
            shifts.
        batch_size
            Images per batch.
        engine
            "lanes", "aten" or "auto". Default: None, which uses the engine of each model.
        threads
            Number of threads. Default: None, which uses the setting of each model.
        """
        total = np.zeros((), np.float64)
        for model in self.models:
            total = total + shifted_predictions(
                model, images, shifts=shifts, batch_size=batch_size, engine=engine, threads=threads
            )
        return (total / len(self.models)).astype(np.float32)

    def test(
        self,
        test_set: ImageSet,
        *,
        shifts: int = 0,
        batch_size: int = 512,
        engine: str | None = None,
        threads: int | None = None,
    ) -> TestResult:
        """Test the ensemble on a labelled data set, as `mnistcnn.test` does for a model.

        Parameters
        ----------
        test_set
            Images and labels.
        shifts
            As in `predict`.
        batch_size
            Images per batch.
        engine
            As in `predict`. Default: None.
        threads
            As in `predict`. Default: None.
        """
        if not isinstance(test_set, ImageSet):
            raise TypeError(f"test_set must be an mnistcnn.ImageSet, got {type(test_set).__name__}")
        if test_set.num_classes > self.num_classes:
            raise ValueError(f"test_set has {test_set.num_classes} classes, but the models have {self.num_classes}")
        probabilities = self.predict(test_set, shifts=shifts, batch_size=batch_size, engine=engine, threads=threads)
        return result_of(as_tensor(probabilities), "probabilities", test_set)

    def __len__(self) -> int:
        return len(self.models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __getitem__(self, index: int) -> Model:
        return self.models[index]

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.models)
        return f"Ensemble of {counted(len(self), 'model')}: {names}"


def shifted_predictions(
    model: Model,
    images: Images,
    *,
    shifts: int = 1,
    batch_size: int = 512,
    engine: str | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return class probabilities averaged over shifted copies of each image (test-time augmentation), f32 [N, classes].

    Parameters
    ----------
    model
        Model that makes the predictions.
    images
        Images in any form that `mnistcnn.predict` accepts.
    shifts
        Maximum shift in pixels along each axis, 0 to 14. All (2 * shifts + 1)² shifts are averaged, including the
        unshifted image. Border pixels are repeated.
    batch_size
        Images per batch.
    engine
        "lanes", "aten" or "auto". Default: None, which uses ``model.engine``.
    threads
        Number of threads. Default: None, which uses ``model.threads``.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("budget_model3")
    >>> mnistcnn.study.shifted_predictions(model, mnistcnn.load("digits")[1][:5], shifts=1).shape
    (5, 10)
    """
    shifts = whole_number("shifts", shifts, minimum=0, maximum=_MAX_SHIFT)
    options: dict[str, Any] = {"batch_size": batch_size, "engine": engine, "threads": threads}
    if shifts == 0:
        return predict(model, images, **options)
    tensor = as_tensor(images.images if isinstance(images, ImageSet) else images).detach().cpu()
    pixels = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if pixels.ndim < 2:
        raise ValueError(f"images must have at least two dimensions, got shape {list(pixels.shape)}")
    height, width = pixels.shape[-2:]
    padded = np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [(shifts, shifts)] * 2, mode="edge")
    total = np.zeros((), np.float64)
    for top in range(2 * shifts + 1):
        for left in range(2 * shifts + 1):
            shifted = np.ascontiguousarray(padded[..., top : top + height, left : left + width])
            total = total + predict(model, shifted, **options)
    return (total / (2 * shifts + 1) ** 2).astype(np.float32)

"""Testing and predicting: checks and words here, every batch in the core."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.native import core
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import as_model
from mnistcnn.data.image_set import ImageSet
from mnistcnn.evaluation.results import TestResult
from mnistcnn.nn.input_checks import as_batch, check_set, core_tensor, model_view

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model, Outputs

_BATCH = 512


def test(
    model: Model | nn.Module,
    test_set: ImageSet,
    *,
    batch_size: int = _BATCH,
    engine: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> TestResult:
    """Loss, accuracy, confusion matrix and every single answer of a model on a labelled set.

    The loss is the mean negative log-likelihood of the labels. The model is used in evaluation mode and not changed.
    A warning says for how many images its outputs are not finite numbers, if there are any.
    """
    model = as_model(model)
    check_set(model, test_set, "test_set")
    with ProgressBar(len(test_set), enabled=progress) as bar:
        outputs = outputs_of(model, test_set.images, engine, threads, bar, whole_number("batch_size", batch_size))
    return result_of(outputs, model.outputs, test_set)


def predict(
    model: Model | nn.Module,
    images: ImageSet | np.ndarray[Any, Any] | torch.Tensor,
    *,
    batch_size: int = _BATCH,
    engine: str | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The probability of every class for every image, f32 [N, classes].

    ``images`` are uint8 (normalised as in training) or floats (used as they are), [N, C, H, W]; one image [C, H, W],
    and [N, H, W] or [H, W] for one channel, are understood too. ``predict(...).argmax(1)`` gives the classes.
    """
    model = as_model(model)
    _ = model.num_classes  # refuses outputs that are no classes
    batch = as_batch(model, images.images if isinstance(images, ImageSet) else images)
    whole_number("batch_size", batch_size)
    if batch.dtype != torch.uint8:
        return _probabilities(_float_outputs(model, batch, batch_size, engine, threads), model.outputs).numpy()
    with ProgressBar(len(batch), enabled=progress) as bar:
        outputs = outputs_of(model, batch, engine, threads, bar, batch_size)
    return _probabilities(outputs, model.outputs).numpy()


# ---- on the way to the core


def outputs_of(
    model: Model,
    images: np.ndarray[Any, Any] | torch.Tensor,
    engine: str | None = None,
    threads: int | None = None,
    bar: ProgressBar | None = None,
    batch_size: int = _BATCH,
) -> torch.Tensor:
    """uint8 images -> f32 [N, outputs] on the CPU."""
    model.check_engine_may_run()
    with model._lock:
        outputs: torch.Tensor = core.predict(
            model_view(model, engine, threads),
            core_tensor(images),
            batch_size=batch_size,
            on_progress=None if bar is None else bar.show,
        )
        model._forget_forward()
    if bar is not None:
        bar.show(len(images))
    return outputs


def _float_outputs(
    model: Model, images: torch.Tensor, batch_size: int, engine: str | None, threads: int | None
) -> torch.Tensor:
    model.check_engine_may_run()
    with model._lock:
        native = model.native_engine(engine, threads)
        parts = [
            native.forward(
                model.tensors(), model.prepare(part), training=False, seed=0, keep=False, keep_images=False
            ).flatten(1)
            for part in torch.split(images, batch_size)
        ]
        model._forget_forward()
    return torch.cat(parts).cpu()


# ---- what outputs f32 [N, classes] are worth


def result_of(outputs: torch.Tensor, meaning: Outputs, labelled: ImageSet) -> TestResult:
    """Everything about the answers to a labelled set; classes that it has no name for are numbered."""
    scores = core.score(outputs, core_tensor(labelled.labels), kind=meaning)
    probabilities = _probabilities(outputs, meaning)
    count, extra = len(labelled), range(len(labelled.classes), outputs.shape[1])
    unknown = int((~probabilities.isfinite().all(dim=1)).sum())
    if unknown:
        told = f"for {unknown:,} of {count:,} images the model's outputs are not finite numbers"
        warnings.warn(f"{told}; accuracy and loss mean nothing there", stacklevel=3)
    return TestResult(
        loss=scores["loss_sum"] / count,
        accuracy=scores["correct"] / count,
        correct=scores["correct"],
        count=count,
        confusion=scores["confusion"],
        predictions=scores["predictions"],
        labels=np.asarray(labelled.labels),
        probabilities=probabilities.numpy(),
        classes=(*labelled.classes, *(str(number) for number in extra)),
    )


def _probabilities(outputs: torch.Tensor, meaning: Outputs) -> torch.Tensor:
    if meaning == "probabilities":
        return outputs
    return outputs.exp() if meaning == "log_probabilities" else outputs.softmax(1)

"""`test` and `predict`: argument checks in Python, computation in the core."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.native import core
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import as_model, warn_without_normalization
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
    """Test a model on a labelled data set.

    The model runs in evaluation mode and is not changed. A warning is issued if outputs are NaN or infinite, or if a
    module that `train` did not train has no normalization: its pixels are divided by 255 only.

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` to test.
    test_set
        Images and labels.
    batch_size
        Images per batch.
    engine
        "lanes", "aten" or "auto". Default: None, which uses ``model.engine``.
    threads
        Number of threads. Default: None, which uses ``model.threads``.
    progress
        Show a progress bar in terminals and notebooks.

    Returns
    -------
    TestResult
        Loss (mean negative log-likelihood), accuracy, confusion matrix and the prediction for each image.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("budget_model3")
    >>> result = mnistcnn.test(model, mnistcnn.load("digits")[1][:100], progress=False)
    >>> result.count, result.probabilities.shape
    (100, (100, 10))
    """
    module, model = model, as_model(model)
    check_set(model, test_set, "test_set")
    warn_without_normalization(module, model)
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
    """Return the class probabilities of each image, f32 [N, classes].

    ``predict(...).argmax(1)`` returns the predicted classes.

    Parameters
    ----------
    model
        Model or ``torch.nn.Module`` that makes the predictions. It runs in evaluation mode.
    images
        Images [N, C, H, W], one image [C, H, W], or without the channel axis for one channel: [N, H, W], [H, W]. uint8
        pixels are normalized as in training; floating-point pixels are used unchanged, with a warning if they look like
        pixels that are not normalized. A warning is issued if a module that `train` did not train has no normalization:
        its uint8 pixels are divided by 255 only.
    batch_size
        Images per batch.
    engine
        "lanes", "aten" or "auto". Default: None, which uses ``model.engine``.
    threads
        Number of threads. Default: None, which uses ``model.threads``.
    progress
        Show a progress bar in terminals and notebooks.

    Examples
    --------
    >>> import mnistcnn
    >>> model = mnistcnn.create_model("budget_model3")
    >>> mnistcnn.predict(model, mnistcnn.load("digits")[1][:5]).shape
    (5, 10)
    """
    module, model = model, as_model(model)
    _ = model.num_classes  # raises unless the outputs are classes
    batch = as_batch(model, images.images if isinstance(images, ImageSet) else images)
    batch_size = whole_number("batch_size", batch_size)
    if batch.dtype == torch.uint8:
        warn_without_normalization(module, model)
    else:
        _warn_if_not_normalized(model, batch)
    compute = outputs_of if batch.dtype == torch.uint8 else _float_outputs
    with ProgressBar(len(batch), enabled=progress) as bar:
        outputs = compute(model, batch, engine, threads, bar, batch_size)
    return _probabilities(outputs, model.outputs).numpy()


def _warn_if_not_normalized(model: Model, images: torch.Tensor) -> None:
    """Warn if float images look like pixels: their minimum is 0, which is not black after the model's normalization.

    Images that are normalized correctly have negative values, unless each pixel is brighter than the mean; then their
    minimum is above 0.
    """
    low, high = (float(each) for each in images.aminmax())
    is_pixels = high <= 1 or (high <= 255 and bool((images == images.round()).all()))
    if low == 0 < high and is_pixels and max(model.pixel_normalization.shift) < 0:
        warnings.warn(
            f"float images are taken as normalized, but these look like pixels from 0 to {high:g}; pass uint8 pixels, "
            "normalize them with model.normalization, or set it to None if the model was trained on such images",
            stacklevel=3,
        )


# ---- calls of the core


def outputs_of(
    model: Model,
    images: np.ndarray[Any, Any] | torch.Tensor,
    engine: str | None = None,
    threads: int | None = None,
    bar: ProgressBar | None = None,
    batch_size: int = _BATCH,
) -> torch.Tensor:
    """Return the model outputs for uint8 images: f32 [N, outputs], on the CPU."""
    model.check_engine_may_run()
    with model._lock:
        model._forget_forward()
        outputs: torch.Tensor = core.predict(
            model_view(model, engine, threads),
            core_tensor(images),
            batch_size=batch_size,
            on_progress=None if bar is None else bar.show,
        )
    if bar is not None:
        bar.show(len(images))
    return outputs


def _float_outputs(
    model: Model, images: torch.Tensor, engine: str | None, threads: int | None, bar: ProgressBar, batch_size: int
) -> torch.Tensor:
    model.check_engine_may_run()
    outputs: list[torch.Tensor] = []
    with model._lock:
        native = model.native_engine(engine, threads)
        model._forget_forward()
        for batch in torch.split(images, batch_size):
            found = native.forward(
                model.tensors(), model.prepare(batch), training=False, seed=0, keep=False, keep_images=False
            )
            outputs.append(found.flatten(1))
            bar.show(len(batch) + (len(outputs) - 1) * batch_size)
    return torch.cat(outputs).cpu()


# ---- results from outputs f32 [N, classes]


def result_of(outputs: torch.Tensor, meaning: Outputs, labelled: ImageSet) -> TestResult:
    """Return the test result of model outputs. Classes that are missing in the data set are named by their number."""
    scores = core.score(outputs, core_tensor(labelled.labels), kind=meaning)
    probabilities = _probabilities(outputs, meaning)
    count, extra = len(labelled), range(len(labelled.classes), outputs.shape[1])
    invalid = int((~probabilities.isfinite().all(dim=1)).sum())
    if invalid:
        what = f"model outputs are NaN or infinite for {invalid:,} of {count:,} images"
        warnings.warn(f"{what}; accuracy and loss are not meaningful", stacklevel=3)
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

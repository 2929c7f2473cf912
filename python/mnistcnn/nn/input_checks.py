"""Check the models, data sets and images that public functions receive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mnistcnn._internal.checks import ITEM_HINT
from mnistcnn._internal.native import core
from mnistcnn.data.arrays import as_tensor
from mnistcnn.data.image_set import ImageSet
from mnistcnn.transforms import steps as augmentation

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.transforms.steps import Transform


def check_set(model: Model, images: object, what: str, steps: Sequence[Transform] = ()) -> None:
    """Raise unless a model can take a labelled data set after these augmentation steps.

    ``what`` is the name of the argument in errors.
    """
    if not isinstance(images, ImageSet):
        raise TypeError(f"{what} must be an mnistcnn.ImageSet, got {type(images).__name__}; {_conversion_hint(images)}")
    if len(images) == 0:
        raise ValueError(f"{what} must have at least one image, got none")
    if steps:
        augmentation.check_sizes(steps, images.shape, model.input_shape)
    elif tuple(images.shape) != model.input_shape:
        raise ValueError(
            f"{what} has images {tuple(images.shape)}, but model '{model.name}' takes {model.input_shape}; resize the "
            "images, or create the model with this input shape"
        )
    if images.num_classes > model.num_classes:
        raise ValueError(
            f"{what} has {images.num_classes} classes, but model '{model.name}' has only {model.num_classes}; create "
            f"the model with num_classes={images.num_classes}"
        )


def _conversion_hint(given: object) -> str:
    """Return how to convert an argument to an ImageSet."""
    image_set = getattr(given, "image_set", None)
    if isinstance(image_set, ImageSet):
        return "pass its image set: loader.image_set"
    if isinstance(given, DataLoader):
        return "convert it: mnistcnn.ImageSet.from_torch(loader.dataset), for a data set without normalization"
    if isinstance(given, Dataset):
        return "convert it: mnistcnn.ImageSet.from_torch(dataset), for a data set without normalization"
    if isinstance(given, tuple) and given and all(isinstance(each, ImageSet) for each in given):
        return "mnistcnn.load returns two of them: train_set, test_set = mnistcnn.load(...)"
    return "convert it: mnistcnn.ImageSet.from_arrays(images, labels)"


def check_last_batch(model: Model, count: int, batch_size: int) -> None:
    """Raise ValueError if the last batch of an epoch is too small for a batch norm."""
    last_batch = count % batch_size or batch_size
    try:
        model._network.check_batch(images=last_batch, training=True)
    except ValueError as error:
        raise ValueError(
            f"{count} images in batches of {batch_size} end with a batch of {last_batch}: {error}"
        ) from None


def as_batch(model: Model, images: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    """Return images as [N, C, H, W]. A single image, or gray images without the channel, get the missing dimensions."""
    if isinstance(images, str | Path):
        raise TypeError(
            f"images must be an array or a tensor, got {str(images)!r}; mnistcnn.as_digit(path) reads an image file"
        )
    try:
        batch = as_tensor(images)
    except (TypeError, ValueError):  # NumPy and torch describe their own conversion only
        raise TypeError(
            f"images must be an array or a tensor, got {type(images).__name__}{_item_hint(images)}"
        ) from None
    if batch.dim() in (2, 3) and model.input_shape[0] == 1 and tuple(batch.shape[-2:]) == model.input_shape[1:]:
        batch = batch.reshape(-1, *model.input_shape)
    if tuple(batch.shape) == model.input_shape:
        batch = batch[None]
    model.check_images(batch)
    if len(batch) == 0:
        raise ValueError(f"images must hold at least one image, got {list(batch.shape)}")
    return batch


def _item_hint(images: object) -> str:
    """Return what to do with a tuple or a list that is no batch of images."""
    if isinstance(images, list | tuple) and images and isinstance(images[0], str | Path):
        return "; read image files with mnistcnn.as_digits(paths)"
    return f"; {ITEM_HINT}" if isinstance(images, tuple) else ""


def core_tensor(array: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    """Return an array as a contiguous tensor on the CPU."""
    return as_tensor(array).cpu().contiguous()


def model_view(model: Model, engine: str | None = None, threads: int | None = None) -> core.ModelView:
    """Return a model as the core takes it. Hold the model's lock while a native call uses it."""
    pixels = model.pixel_normalization
    return core.ModelView(model.tensors, model.native_engine(engine, threads), scale=pixels.scale, shift=pixels.shift)


def move(model: Model, device: str | torch.device) -> None:
    """Move a model to a device. "auto" leaves it on its device."""
    if device == "auto":
        return
    try:
        wanted = torch.device(device) if isinstance(device, str | torch.device) else None
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    if wanted == model.device:
        return
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={str(device)!r}: CUDA is not available in torch {torch.__version__}; use 'cpu' or 'auto'"
        )
    model.to(device)

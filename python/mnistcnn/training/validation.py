"""Validation set of a run."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.transforms.steps import Transform

Validation = ImageSet | float | None


def split_off(
    model: Model, train_set: ImageSet, validation: Validation, seed: int, steps: Sequence[Transform] = ()
) -> tuple[ImageSet, ImageSet | None]:
    """Return the training set without the held-out images, and the validation set; check both against the model.

    A fraction is split off the training set, stratified by class and determined by ``seed``. ``steps`` is the
    augmentation. Training images may have another size than the model's input if it resizes them. Validation images
    are not augmented.
    """
    check_set(model, train_set, "train_set", steps)
    if validation is None:
        return train_set, None
    if isinstance(validation, ImageSet):
        check_set(model, validation, "validation")
        return train_set, validation
    if isinstance(validation, bool) or not isinstance(validation, Real):
        raise TypeError(
            f"validation must be an mnistcnn.ImageSet, or a fraction of the training set such as 0.1, "
            f"got {type(validation).__name__}"
        )
    fraction = float(validation)
    if not 0 < fraction < 1:
        raise ValueError(
            f"validation must be a fraction of the training set above 0 and below 1, an ImageSet or None, got "
            f"{validation!r}"
        )
    rest, part = train_set.split(fraction, seed=seed)
    check_set(model, part, f"validation={validation!r} (without augmentation)")
    return rest, part

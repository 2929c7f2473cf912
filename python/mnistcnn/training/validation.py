"""The images that a run is judged by, and never those of the test set unless the user says so."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.transforms.steps import Step

Validation = ImageSet | float | None


def split_off(
    model: Model, train_set: ImageSet, validation: Validation, seed: int, steps: Sequence[Step] = ()
) -> tuple[ImageSet, ImageSet | None]:
    """What is trained on, and what is looked at after every epoch.

    A fraction takes that part of the training set away, the same for the same seed, in the proportions of the classes.
    The steps of an augmentation may make training images of another size fit; what is looked at is not augmented.
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
            f"validation={validation!r} must be a fraction above 0 and below 1 of the training set, or an ImageSet; "
            "None looks at nothing"
        )
    rest, part = train_set.split(fraction, seed=seed)
    check_set(model, part, f"validation={validation!r}, not augmented,")
    return rest, part

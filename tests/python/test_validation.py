"""Validation set of a run: an image set, or a held-out fraction of the training set."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
import runs
from mnistcnn.training.validation import split_off
from runs import small

fit = partial(runs.fit, epochs=2)


@pytest.mark.parametrize("fraction", [0.1, 0.25, np.float32(0.5)])
def test_fraction_is_split_off_stratified(fraction: float, data: Any):
    rest, part = split_off(small(), data, fraction, seed=3)
    assert part is not None
    assert len(part) == round(float(fraction) * len(data))
    assert len(rest) + len(part) == len(data)
    common = {image.tobytes() for image, _ in rest} & {image.tobytes() for image, _ in part}
    assert not common
    np.testing.assert_allclose(part.class_counts(), data.class_counts() * float(fraction), atol=1)
    again, other = split_off(small(), data, fraction, seed=3)[1], split_off(small(), data, fraction, seed=4)[1]
    assert again is not None
    assert other is not None
    assert np.array_equal(part.images, again.images)
    assert not np.array_equal(part.images, other.images)


def test_fraction_is_equivalent_to_splitting_beforehand(data: Any):
    first, second = small(), small()
    history = fit(first, data, validation=0.2, seed=7)
    rest, part = data.split(0.2, seed=7)
    fit(second, rest, validation=part, seed=7)
    assert history.column("validation_loss").tolist() == second.history.column("validation_loss").tolist()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_normalization_is_computed_without_the_held_out_images(data: Any):
    model = small()
    model.normalization = None
    fit(model, data, validation=0.4, epochs=1)
    mean, std = data.split(0.4, seed=0)[0].mean_std()
    assert model.normalization == mnistcnn.Normalization(mean, std)


@pytest.mark.parametrize(
    ("validation", "error", "text"),
    [
        (0.0, ValueError, "validation must be a fraction .*above 0 and below 1.* got 0.0"),
        (1, ValueError, "validation must be a fraction .*above 0 and below 1.* got 1"),
        (-0.1, ValueError, "must be a fraction"),
        (float("nan"), ValueError, "must be a fraction"),
        (True, TypeError, "validation must be an mnistcnn.ImageSet, or a fraction .* got bool"),
        ("0.1", TypeError, "validation must be an mnistcnn.ImageSet, or a fraction .* got str"),
        (1e-9, ValueError, "empty"),
    ],
)
def test_invalid_validation_raises(validation: Any, error: type[Exception], text: str, data: Any):
    with pytest.raises(error, match=text):
        fit(small(), data, validation=validation)


def test_schedule_that_monitors_validation_raises_without_a_validation_set(data: Any):
    model = small()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors validation_loss, but there is no validation set"):
        fit(model, data, schedule=mnistcnn.optim.ReduceLROnPlateau())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before, strict=True))
    fit(model, data, schedule=mnistcnn.optim.ReduceLROnPlateau(monitor="train_loss"))


def larger_images(count: int = 200) -> mnistcnn.ImageSet:
    random = np.random.default_rng(7)
    return mnistcnn.ImageSet.from_arrays(random.integers(0, 256, (count, 32, 36), np.uint8), np.arange(count) % 10)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_augmentation_may_resize_images_to_the_size_of_the_input(engine: str):
    """The losses equal those of images that are resized before the training."""
    large, steps = larger_images(), [mnistcnn.transforms.CenterCrop(30), mnistcnn.transforms.Resize(28)]
    fitting = mnistcnn.ImageSet.from_arrays(mnistcnn.transforms.augment(large, steps), large.labels)
    losses = []
    for images, augment in ((large, steps), (fitting, ())):
        model = small()
        losses.append(fit(model, images, augment=augment, validation=fitting[:50], engine=engine).step_losses)
    assert losses[0] == losses[1]
    result = mnistcnn.find_lr(small(), large, augment=steps, steps=10)
    assert len(result.losses) > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, r"train_set has images \(1, 32, 36\), but model"),
        (
            {"augment": [mnistcnn.transforms.Rotation(5)]},
            r"shape.*\[1, 32, 36\].*mnistcnn.transforms.Resize",
        ),
        (
            {"augment": [mnistcnn.transforms.Resize((28, 28))], "validation": 0.1},
            "validation=0.1 .*has images",
        ),
    ],
)
def test_images_of_another_size_raise(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        fit(small(), larger_images(), **options)

"""Ensemble and shifted_predictions: mean probabilities over models and over shifted copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn.layers import Conv2d, Flatten, Linear, Softmax
from mnistcnn.training.recipes import Recipe


@pytest.fixture(scope="module")
def models(digits: Any) -> list[mnistcnn.Model]:
    created = [
        mnistcnn.create_model("budget_model3", seed=1),
        mnistcnn.create_model("budget_model3", seed=2),
        mnistcnn.Model([Conv2d(4, 3, stride=3), Flatten(), Linear(10), Softmax()], seed=3),
    ]
    for model in created[:2]:
        mnistcnn.train(model, digits[0][:500], Recipe(epochs=1), progress=False)
    return created


def test_probabilities_are_averaged(models: Any, digits: Any):
    images = digits[1][:60]
    ensemble = mnistcnn.Ensemble(models)
    expected = np.mean([mnistcnn.predict(model, images) for model in models], axis=0)
    np.testing.assert_allclose(ensemble.predict(images), expected, atol=1e-7)
    np.testing.assert_allclose(ensemble.predict(images.images), expected, atol=1e-7)
    assert ensemble.predict(images).dtype == np.float32
    assert len(ensemble) == 3
    assert ensemble[1] is list(ensemble)[1] is models[1]


def test_test_of_one_model_equals_mnistcnn_test(models: Any, digits: Any):
    single, expected = mnistcnn.Ensemble(models[:1]).test(digits[1][:200]), mnistcnn.test(models[0], digits[1][:200])
    assert single.accuracy == expected.accuracy
    assert single.loss == pytest.approx(expected.loss, rel=1e-5)
    assert (single.confusion == expected.confusion).all()
    assert single.classes == expected.classes
    result = mnistcnn.Ensemble(models).test(digits[1][:200])
    assert result.accuracy == (result.probabilities.argmax(1) == digits[1].labels[:200]).mean()


def test_copies_of_one_model_predict_as_the_model(models: Any, digits: Any):
    images = digits[1][:30]
    np.testing.assert_allclose(
        mnistcnn.Ensemble([models[0]] * 4).predict(images), mnistcnn.predict(models[0], images), atol=1e-7
    )


def test_shifted_copies_repeat_the_border(models: Any):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 28, 28), np.uint8)
    expected = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows, columns = np.clip(np.arange(28) - down, 0, 27), np.clip(np.arange(28) - right, 0, 27)
            expected.append(mnistcnn.predict(models[0], pixels[:, :, rows][:, :, :, columns]))
    found = mnistcnn.study.shifted_predictions(models[0], pixels, shifts=1)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)
    np.testing.assert_allclose(mnistcnn.Ensemble(models[:1]).predict(pixels, shifts=1), found, atol=1e-6)


def test_zero_shifts_equal_predict(models: Any, digits: Any):
    found = mnistcnn.study.shifted_predictions(models[0], digits[1][:9], shifts=0)
    assert (found == mnistcnn.predict(models[0], digits[1][:9])).all()


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 28, 28), (28, 28)])
def test_shifts_accept_all_shapes_of_predict(models: Any, shape: tuple[int, ...]):
    floats = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert mnistcnn.study.shifted_predictions(models[0], floats, shifts=2).shape == (
        shape[0] if len(shape) > 2 else 1,
        10,
    )


def test_invalid_arguments_raise(models: Any, digits: Any):
    with pytest.raises(ValueError, match="at least one model"):
        mnistcnn.Ensemble([])
    with pytest.raises(TypeError, match=r"models must be a list.*Ensemble\(\[model\]\)"):
        mnistcnn.Ensemble(models[0])
    with pytest.raises(TypeError, match=r"models must contain mnistcnn.Model objects only, got str"):
        mnistcnn.Ensemble(["session7_net"])
    other = mnistcnn.create_model("budget_model3", num_classes=4)
    with pytest.raises(ValueError, match="same num_classes, got 10 and 4"):
        mnistcnn.Ensemble([models[0], other])
    with pytest.raises(ValueError, match="same input_shape"):
        mnistcnn.Ensemble([models[0], mnistcnn.create_model("budget_model3", in_channels=3)])
    with pytest.raises(TypeError, match=r"test_set must be an mnistcnn.ImageSet, got ndarray"):
        mnistcnn.Ensemble(models).test(digits[1].images)
    with pytest.raises(ValueError, match="shifts must be an integer of at most 14, got 15"):
        mnistcnn.study.shifted_predictions(models[0], digits[1][:5], shifts=15)
    with pytest.raises(ValueError, match="test_set has 10 classes, but the models have 4"):
        mnistcnn.Ensemble([other]).test(digits[1][:20])


@pytest.mark.parametrize("images", [torch.rand(2, 1, 28, 28, requires_grad=True), torch.rand(2, 1, 28, 28).bfloat16()])
def test_shifts_of_tensors_that_predict_accepts(models: Any, images: torch.Tensor):
    assert mnistcnn.Ensemble(models).predict(images, shifts=1).shape == (2, 10)

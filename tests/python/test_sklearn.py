"""CNNClassifier: checks and tools of scikit-learn, conversion of samples to pixels, and errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import mnistcnn
from mnistcnn.sklearn import CNNClassifier
from mnistcnn.training.recipes import Recipe

FAST = mnistcnn.optim.SGD(lr=0.05, momentum=0.9)


@parametrize_with_checks([CNNClassifier(random_state=0)])
def test_estimator_checks_of_scikit_learn(estimator: Any, check: Any):
    check(estimator)


@pytest.fixture
def samples(digits: Any) -> tuple[Any, Any]:
    """Return flat u8 images [600, 784] and their class names."""
    data = digits[0][:600]
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    return data.images.reshape(600, 784), names[data.labels]


def test_fit_predict_and_attributes(samples: Any):
    X, y = samples  # noqa: N806
    classifier = CNNClassifier(epochs=8, optimizer=FAST, random_state=1).fit(X[:500], y[:500])
    assert classifier.score(X[500:], y[500:]) > 0.7
    assert classifier.classes_.tolist() == sorted(set(y))
    assert classifier.n_iter_ == len(classifier.history_) == 8
    assert classifier.n_features_in_ == 784
    assert classifier.image_shape_ == (1, 28, 28)
    assert classifier.model_.name == "session7_net"
    probabilities = classifier.predict_proba(X[500:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(X[500:])).all()


def test_images_of_any_shape_and_dtype_give_the_same_result(samples: Any):
    X, y = samples  # noqa: N806
    forms = [X, X.reshape(-1, 28, 28), X.reshape(-1, 1, 28, 28), X.astype(np.float64), X.astype(np.int64), X / 255]
    found = [CNNClassifier(epochs=1, random_state=3).fit(form, y).predict_proba(form) for form in forms]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_random_state_determines_the_result(samples: Any):
    X, y = samples  # noqa: N806
    first, same, other = (CNNClassifier(epochs=1, random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("shape", "options", "input_shape", "name"),
    [
        ((64,), {}, (1, 8, 8), "small"),
        ((12, 9), {}, (1, 12, 9), "small"),
        ((3, 28, 28), {}, (3, 28, 28), "session7_net"),
        ((48,), {"image_shape": (3, 4, 4)}, (3, 4, 4), "small"),
        ((50,), {}, (1, 1, 50), "small"),
        ((49,), {}, (1, 1, 49), "small"),
        ((784,), {"model": "budget_model3"}, (1, 28, 28), "budget_model3"),
    ],
)
def test_input_shape_and_network(shape: Any, options: Any, input_shape: Any, name: str):
    generator = np.random.default_rng(4)
    X, y = generator.normal(size=(80, *shape)), generator.integers(0, 4, 80)  # noqa: N806
    classifier = CNNClassifier(epochs=1, random_state=0, **options).fit(X, y)
    assert classifier.image_shape_ == input_shape
    assert classifier.model_.name == name
    assert classifier.predict_proba(X).shape == (80, 4)
    kinds = {op for _, op, _, _ in classifier.model_.rows}
    assert ("conv2d" in kinds) == (input_shape[1] > 1)  # no convolutions for samples that are not images


def test_model_is_used_as_a_template(samples: Any):
    X, y = samples  # noqa: N806
    model = mnistcnn.create_model("budget_model3", seed=9)
    by_name = CNNClassifier("budget_model3", epochs=1, random_state=2).fit(X, y)
    by_model = CNNClassifier(model, epochs=1, random_state=2).fit(X, y)
    np.testing.assert_array_equal(by_model.predict_proba(X), by_name.predict_proba(X))
    assert model.history is None


def test_features_are_scaled_to_the_training_range_and_clipped():
    X = np.array([[0.0, -2.0], [10.0, 2.0], [5.0, 0.0]])  # noqa: N806
    classifier = CNNClassifier(epochs=1, random_state=0).fit(X, [0, 1, 0])
    assert classifier._pixels(X).reshape(3, 2).tolist() == [[0, 0], [255, 255], [128, 128]]  # scaled per feature
    assert classifier._pixels(np.array([[20.0, -9.0]])).reshape(2).tolist() == [255, 0]
    images = np.arange(2 * 64, dtype=np.float64).reshape(2, 64)
    classifier = CNNClassifier(epochs=1, random_state=0).fit(images, [0, 1])
    assert classifier._pixels(images)[0].ravel()[:3].tolist() == [0, 2, 4]  # images: one scale for all pixels


def test_constant_and_huge_features():
    X = np.zeros((10, 3))  # noqa: N806
    X[:5, 1], X[5:, 1] = -1e308, 1e308
    classifier = CNNClassifier(epochs=1, random_state=0).fit(X, [0, 1] * 5)
    assert np.isfinite(classifier.predict_proba(X + 1)).all()


def test_cross_validation_grid_search_and_voting(samples: Any):
    X, y = samples[0][:300], samples[1][:300]  # noqa: N806
    fast = CNNClassifier("budget_model3", epochs=2, optimizer=FAST, random_state=0)
    assert cross_val_score(fast, X, y, cv=3).shape == (3,)
    search = GridSearchCV(fast, {"batch_size": [20, 50], "optimizer": [FAST, mnistcnn.optim.SGD(lr=1e-9)]}, cv=2).fit(
        X, y
    )
    assert search.best_params_["optimizer"] == FAST
    voting = VotingClassifier([("a", fast), ("b", clone(fast).set_params(random_state=1))], voting="soft").fit(X, y)
    mean = np.mean([each.predict_proba(X) for each in voting.estimators_], axis=0)
    np.testing.assert_allclose(voting.predict_proba(X), mean)


def test_parameters_are_cloned_and_pickled(samples: Any):
    recipe = Recipe(epochs=3, batch_size=64)
    classifier = CNNClassifier("session7_net1", recipe=recipe, epochs=1, random_state=5)
    copy = clone(classifier)
    assert copy.get_params()["recipe"] == recipe
    assert repr(copy) == repr(classifier)
    fitted = copy.fit(*samples)
    assert len(fitted.history_) == 1  # epochs= overrides the recipe
    assert len(fitted.history_.step_losses) == 10
    read = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(read.predict_proba(samples[0][:20]), fitted.predict_proba(samples[0][:20]))


def test_invalid_arguments_raise(samples: Any):
    X, y = samples  # noqa: N806
    with pytest.raises(ValueError, match=r"image_shape=.1, 20, 20. does not match samples of shape .784,."):
        CNNClassifier(image_shape=(1, 20, 20)).fit(X, y)
    with pytest.raises(ValueError, match=r"X has images .1, 8, 8., but model 'session7_net' requires .1, 28, 28."):
        CNNClassifier("session7_net").fit(X[:, :64], y)
    with pytest.raises(ValueError, match="y has 10 classes, but the model has only 4"):
        CNNClassifier(mnistcnn.create_model("budget_model3", num_classes=4)).fit(X, y)
    with pytest.raises(ValueError, match="y must have at least two classes, got one: 'zero'"):
        CNNClassifier().fit(X[:5], ["zero"] * 5)
    with pytest.raises(ValueError, match="'session8'"):
        CNNClassifier("session8").fit(X, y)
    with pytest.raises(ValueError, match=r"X must be \[n, features\]"):
        CNNClassifier().fit(X.reshape(600, 1, 1, 28, 28), y)
    fitted = CNNClassifier(epochs=1, random_state=0).fit(X.reshape(-1, 28, 28), y)
    with pytest.raises(ValueError, match="28"):
        fitted.predict(X.reshape(-1, 28, 28)[:, :, :14])


def test_a_model_with_more_outputs_than_classes(samples: Any):
    pixels, labels = samples[0][:60], np.arange(60) % 2
    classifier = CNNClassifier(mnistcnn.create_model("fast_99"), epochs=1, batch_size=30, random_state=0)
    probabilities = classifier.fit(pixels, labels).predict_proba(pixels)
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert set(classifier.predict(pixels)) <= {0, 1}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recipe": "published"}, TypeError, "recipe must be a Recipe"),
        ({"image_shape": (28, 28)}, (TypeError, ValueError), "image_shape must be"),
        ({"image_shape": (1, -28, -28)}, ValueError, "image_shape"),
        ({"model": torch.nn.Linear(784, 2)}, TypeError, "model must be 'auto', .* mnistcnn.from_torch"),
    ],
)
def test_wrong_arguments_are_named(samples: Any, options: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        CNNClassifier(**options).fit(samples[0][:20], samples[1][:20])


def test_images_with_the_channels_last():
    with pytest.raises(ValueError, match=r"look like \[N, H, W, C\]"):
        CNNClassifier(epochs=1).fit(np.zeros((6, 28, 28, 3), np.uint8), [0, 1] * 3)

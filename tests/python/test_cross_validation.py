"""cross_validate: each image is predicted once, by a model that was not trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from mnistcnn.study import cross_validation
from mnistcnn.study.folds import Fold
from mnistcnn.training.recipes import Recipe

RECIPE = Recipe(epochs=2, batch_size=50, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))


def score(data: Any, **options: Any) -> mnistcnn.Trials:
    return mnistcnn.cross_validate("budget_model3", data, RECIPE, **{"progress": False, **options})


def test_folds_are_trained_and_tested_like_single_runs(data: Any):
    trials = score(data, folds=3, seed=4)
    assert trials.headline().startswith(f"{100 * trials.mean:.2f} ± {100 * trials.sd:.2f} % (3 folds, last epoch)")
    for index, result in enumerate(trials.results):
        rest, held_out = Fold(index, 3, 4).parts(data)
        assert (result.labels == held_out.labels).all()
        model = mnistcnn.create_model("budget_model3", seed=index)
        mnistcnn.train(model, rest, RECIPE.replace(seed=index), progress=False)
        assert mnistcnn.test(model, held_out, progress=False).probabilities.tobytes() == result.probabilities.tobytes()
    tested = np.concatenate([result.labels for result in trials.results])
    assert (np.sort(tested) == np.sort(data.labels)).all()


def test_log_records_the_number_of_folds(data: Any, tmp_path: Path):
    score(data, folds=2, log=tmp_path / "log.jsonl")
    (trials,) = mnistcnn.experiments(tmp_path / "log.jsonl")
    assert trials.setting.folds == 2
    assert "(2 folds, last epoch)" in trials.headline()


def test_invalid_arguments_raise(data: Any):
    with pytest.raises(ValueError, match="folds must be an integer of at least 2, got 1"):
        score(data, folds=1)
    with pytest.raises(ValueError, match="folds=200 requires at least 200 images of each class"):
        score(data, folds=200)
    with pytest.raises(TypeError, match="ImageSet, got ndarray"):
        score(data.images)


def test_every_fold_is_checked_before_training(data: Any, monkeypatch: pytest.MonkeyPatch):
    """Only the smaller folds leave 67 images for training, so that a last batch has a single image."""
    layers = [mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(8), mnistcnn.layers.BatchNorm1d()]
    model = mnistcnn.Model([*layers, mnistcnn.layers.Linear(10)])
    images = mnistcnn.ImageSet.from_arrays(data.images[:100], np.arange(100) % 10)
    monkeypatch.setattr(cross_validation, "run_jobs", lambda *_, **__: pytest.fail("the training has begun"))
    with pytest.raises(ValueError, match="batch"):
        mnistcnn.cross_validate(model, images, Recipe(epochs=1, batch_size=66), folds=3, progress=False)


def test_images_of_another_size_raise_before_training(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cross_validation, "run_jobs", lambda *_, **__: pytest.fail("training has started"))
    padded = mnistcnn.ImageSet.from_arrays(np.pad(data.images, ((0, 0), (0, 0), (2, 2), (2, 2))), data.labels)
    recipe = Recipe(epochs=1, augment=[mnistcnn.transforms.CenterCrop(28)])
    with pytest.raises(ValueError, match=r"data has images \(1, 32, 32\)"):
        mnistcnn.cross_validate("budget_model3", padded, recipe, folds=2, progress=False)

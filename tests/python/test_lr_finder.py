"""The learning-rate range test: a copy is trained, the rates grow as promised, the suggestion is of use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn


@pytest.fixture
def data(digits: Any) -> mnistcnn.ImageSet:
    return digits[0][:1000]


@pytest.mark.parametrize("name", ["session7_net", "budget_model1"])
def test_the_model_stays_as_it_is(name: str, data: Any):
    model = mnistcnn.create_model(name).eval()
    model.normalization = None
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = mnistcnn.find_lr(model, data, steps=30, batch_size=32)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert (model.normalization, model.history, model.training) == (None, None, False)
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed) <= 30
    wanted = np.geomspace(1e-5, 10, 30)[: len(found.learning_rates)]
    np.testing.assert_allclose(found.learning_rates, wanted, rtol=1e-9)


def test_more_steps_than_an_epoch_has(data: Any):
    found = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data[:64], steps=25, end=1e-3, batch_size=16)
    np.testing.assert_allclose(found.learning_rates, np.geomspace(1e-5, 1e-3, 25), rtol=1e-9)


def test_the_suggestion_trains_and_a_blown_up_loss_ends_the_test(data: Any):
    model = mnistcnn.create_model("budget_model1", seed=2)
    found = mnistcnn.find_lr(model, data, steps=60, batch_size=32, end=1e3, optimizer=mnistcnn.optim.SGD())
    assert found.learning_rates[-1] < 1e3
    assert found.suggestion is not None
    assert found.suggestion < found.learning_rates[-1]
    history = mnistcnn.train(
        model, data, epochs=3, batch_size=32, optimizer=mnistcnn.optim.SGD(lr=found.suggestion), progress=False
    )
    assert history.last.train_loss < 0.7 * history[0].train_loss
    assert "suggestion" in repr(found)


def test_no_suggestion_where_nothing_falls(data: Any):
    found = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, start=1e8, end=1e9, steps=10, batch_size=32)
    assert found.suggestion is None
    assert "no rate makes the loss fall" in repr(found)


def test_it_is_drawn(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    found = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, steps=20, batch_size=32)
    assert mnistcnn.plot.lr_finder(found).axes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start": 1.0, "end": 0.1}, "start must be below end, got start=1 and end=0.1"),
        ({"start": 0.0}, "start must be above 0"),
        ({"steps": 3}, "steps must be an integer of at least 10, got 3"),
    ],
)
def test_what_is_refused(options: dict[str, Any], text: str, data: Any):
    with pytest.raises(ValueError, match=text):
        mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, **options)


def test_what_is_no_recipe_is_refused(data: Any):
    with pytest.raises(TypeError, match=r"recipe must be a Recipe, .* got str"):
        mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, "rotation")  # type: ignore[arg-type]

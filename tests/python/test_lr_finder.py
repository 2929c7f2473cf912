"""Learning rate finder: rates, suggestion, and the model is not changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn.training.lr_finder import _result


@pytest.fixture
def data(digits: Any) -> mnistcnn.ImageSet:
    return digits[0][:1000]


@pytest.mark.parametrize("name", ["session7_net", "budget_model1"])
def test_model_is_not_changed_and_rates_grow_exponentially(name: str, data: Any):
    model = mnistcnn.create_model(name).eval()
    model.normalization = None
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    result = mnistcnn.find_lr(model, data, steps=30, batch_size=32)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert (model.normalization, model.history, model.training) == (None, None, False)
    assert len(result.learning_rates) == len(result.losses) == len(result.smoothed) <= 30
    expected = np.geomspace(1e-5, 10, 30)[: len(result.learning_rates)]
    np.testing.assert_allclose(result.learning_rates, expected, rtol=1e-9)


def test_range_test_can_span_several_epochs(data: Any):
    result = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data[:64], steps=25, end=1e-3, batch_size=16)
    np.testing.assert_allclose(result.learning_rates, np.geomspace(1e-5, 1e-3, 25), rtol=1e-9)


def test_diverged_loss_ends_the_test_and_the_suggested_rate_trains(data: Any):
    model = mnistcnn.create_model("budget_model1", seed=2)
    result = mnistcnn.find_lr(model, data, steps=60, batch_size=32, end=1e3, optimizer=mnistcnn.optim.SGD())
    assert result.learning_rates[-1] < 1e3
    assert result.suggestion is not None
    assert result.suggestion < result.learning_rates[-1]
    history = mnistcnn.train(
        model, data, epochs=3, batch_size=32, optimizer=mnistcnn.optim.SGD(lr=result.suggestion), progress=False
    )
    assert history.last.train_loss < 0.7 * history[0].train_loss
    assert "suggestion" in repr(result)


def test_no_suggestion_if_the_loss_never_decreases(data: Any):
    result = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, start=1e8, end=1e9, steps=10, batch_size=32)
    assert result.suggestion is None
    assert "no suggestion" in repr(result)


def test_a_loss_that_is_not_finite_from_the_start_is_an_error(data: Any):
    model = mnistcnn.create_model("budget_model1")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(mnistcnn.DivergedError, match="loss"):
        mnistcnn.find_lr(model, data, steps=10, batch_size=32)


def test_no_suggestion_below_the_first_rate():
    rates = np.geomspace(1e-5, 10, 100)
    losses = np.full(100, 0.2)
    losses[2:5] = 0.1  # of a trained model: noise has its minimum near the first rates
    assert rates[4] < 3 * rates[0]
    assert _result(rates, losses).suggestion is None
    assert _result(rates, losses[::-1]).suggestion > rates[0]


def test_result_can_be_plotted(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    result = mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, steps=20, batch_size=32)
    assert mnistcnn.plot.lr_finder(result).axes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start": 1.0, "end": 0.1}, "start must be below end, got start=1 and end=0.1"),
        ({"start": 0.0}, "start must be above 0"),
        ({"steps": 3}, "steps must be an integer of at least 10, got 3"),
    ],
)
def test_invalid_arguments_raise(options: dict[str, Any], text: str, data: Any):
    with pytest.raises(ValueError, match=text):
        mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, **options)


def test_recipe_of_another_type_raises(data: Any):
    with pytest.raises(TypeError, match=r"recipe must be a Recipe, .* got str"):
        mnistcnn.find_lr(mnistcnn.create_model("budget_model1"), data, "rotation")  # type: ignore[arg-type]

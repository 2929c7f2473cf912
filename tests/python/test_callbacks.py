"""What callbacks hear, in which order, and how they end a run."""

from __future__ import annotations

from typing import Any

import pytest

import mnistcnn


@pytest.fixture
def data(digits: Any) -> mnistcnn.ImageSet:
    return digits[0][:200]


def fit(data: mnistcnn.ImageSet, *callbacks: Any, **options: Any) -> mnistcnn.History:
    model = mnistcnn.create_model("budget_model3", seed=1)
    options = {"epochs": 2, "batch_size": 64, "progress": False, **options}
    return mnistcnn.train(model, data, callbacks=callbacks, **options)


class Everything:
    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.heard: list[Any] = []

    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        self.trainer = trainer
        self.heard.append("start")

    def on_step(self, record: mnistcnn.callbacks.StepRecord) -> None:
        self.heard.append(record)

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        self.heard.append(record)

    def on_train_end(self, history: mnistcnn.History) -> None:
        self.heard.append(history)


def test_the_order_of_events(data: Any):
    """200 images in batches of 64 make four steps per epoch; every third of all eight is the third and the sixth."""
    every, third = Everything(), Everything(every=3)
    history = fit(data, every, third)
    steps = [each for each in every.heard if isinstance(each, mnistcnn.callbacks.StepRecord)]
    assert [each.loss for each in steps] == pytest.approx(history.step_losses)
    assert [(each.epoch, each.step) for each in steps] == [(1 + i // 4, i + 1) for i in range(8)]
    assert every.heard == ["start", *steps[:4], history[0], *steps[4:], history[1], history]
    assert third.heard == ["start", steps[2], history[0], steps[5], history[1], history]


def test_steps_know_their_learning_rate(data: Any):
    listener = Everything()
    schedule = mnistcnn.optim.OneCycleLR(0.1)
    fit(data, listener, schedule=schedule)
    plan = mnistcnn.optim.schedules.Plan(0.01, 2, 4, 0.9)
    wanted = [rate for epoch in range(2) for rate in schedule.rates(plan, epoch, []).learning_rates]
    assert [each.learning_rate for each in listener.heard if isinstance(each, mnistcnn.callbacks.StepRecord)] == wanted


@pytest.mark.parametrize("event", ["on_train_start", "on_step", "on_epoch"])
def test_exceptions_come_out_unchanged_and_the_end_is_told(event: str, data: Any):
    error = LookupError("enough")

    def fail(_: object) -> None:
        raise error

    listener, broken = Everything(), type("Broken", (), {})()
    setattr(broken, event, fail)
    with pytest.raises(LookupError) as caught:
        fit(data, listener, broken)
    assert caught.value is error
    assert isinstance(listener.heard[-1], mnistcnn.History)


def test_everybody_hears_of_the_end_even_if_one_fails(data: Any):
    error, broken, listeners = LookupError("enough"), type("Broken", (), {})(), (Everything(), Everything())

    def fail(_: object) -> None:
        raise error

    broken.on_train_end = fail
    with pytest.raises(LookupError) as caught:
        fit(data, listeners[0], broken, listeners[1])
    assert caught.value is error
    for each in listeners:
        assert isinstance(each.heard[-1], mnistcnn.History)


def test_asking_to_stop(data: Any):
    class Stop(Everything):
        def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
            if record.epoch == 2:
                self.trainer.stop()

    assert len(fit(data, Stop(), epochs=9)) == 2


def test_listening_changes_nothing(data: Any):
    assert fit(data, Everything()).step_losses == fit(data).step_losses


@pytest.mark.parametrize(
    ("callbacks", "error", "text"),
    [
        ([print], TypeError, r"a callback needs a method on_epoch\(record\), or another of on_train_start"),
        ([Everything], TypeError, r"got the class Everything; write Everything\(\)"),
        (Everything(), TypeError, "callbacks must be a list"),
        (3, TypeError, "callbacks must be a list, got 3"),
        ([Everything(every=-1)], ValueError, "every of Everything must be an integer of at least 0"),
    ],
)
def test_what_is_no_callback(callbacks: Any, error: type[Exception], text: str, data: Any):
    with pytest.raises(error, match=text):
        mnistcnn.train(mnistcnn.create_model("budget_model3"), data, callbacks=callbacks)

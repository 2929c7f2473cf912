"""Callbacks: arguments and order of the calls, exceptions, and stopping a run."""

from __future__ import annotations

from typing import Any

import pytest

import mnistcnn
import runs


def fit(data: mnistcnn.ImageSet, *callbacks: Any, **options: Any) -> mnistcnn.History:
    return runs.fit(runs.small(), data, callbacks=callbacks, **{"epochs": 2, **options})


class Recorder:
    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.calls: list[Any] = []

    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        self.trainer = trainer
        self.calls.append("start")

    def on_step(self, record: mnistcnn.callbacks.StepRecord) -> None:
        self.calls.append(record)

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        self.calls.append(record)

    def on_train_end(self, history: mnistcnn.History) -> None:
        self.calls.append(history)


def test_order_of_calls(data: Any):
    """200 images in batches of 64 are four steps per epoch; with every=3, steps 3 and 6 of eight are reported."""
    every, third = Recorder(), Recorder(every=3)
    history = fit(data[:200], every, third)
    steps = [each for each in every.calls if isinstance(each, mnistcnn.callbacks.StepRecord)]
    assert [each.loss for each in steps] == pytest.approx(history.step_losses)
    assert [(each.epoch, each.step) for each in steps] == [(1 + i // 4, i + 1) for i in range(8)]
    assert every.calls == ["start", *steps[:4], history[0], *steps[4:], history[1], history]
    assert third.calls == ["start", steps[2], history[0], steps[5], history[1], history]


def test_step_records_hold_the_learning_rate(data: Any):
    recorder = Recorder()
    schedule = mnistcnn.optim.OneCycleLR(0.1)
    fit(data[:200], recorder, schedule=schedule)
    plan = mnistcnn.optim.schedules.SchedulePlan(0.01, 2, 4, 0.9)
    expected = [rate for epoch in range(2) for rate in schedule.rates(plan, epoch, []).learning_rates]
    assert [
        each.learning_rate for each in recorder.calls if isinstance(each, mnistcnn.callbacks.StepRecord)
    ] == expected


@pytest.mark.parametrize("event", ["on_train_start", "on_step", "on_epoch"])
def test_exceptions_are_propagated_after_on_train_end(event: str, data: Any):
    error = LookupError("enough")

    def fail(_: object) -> None:
        raise error

    recorder, broken = Recorder(), type("Broken", (), {})()
    setattr(broken, event, fail)
    with pytest.raises(LookupError) as caught:
        fit(data, recorder, broken)
    assert caught.value is error
    assert isinstance(recorder.calls[-1], mnistcnn.History)


def test_on_train_end_is_called_for_all_callbacks_if_one_raises(data: Any):
    error, broken, recorders = LookupError("enough"), type("Broken", (), {})(), (Recorder(), Recorder())

    def fail(_: object) -> None:
        raise error

    broken.on_train_end = fail
    with pytest.raises(LookupError) as caught:
        fit(data, recorders[0], broken, recorders[1])
    assert caught.value is error
    for each in recorders:
        assert isinstance(each.calls[-1], mnistcnn.History)


def test_on_train_end_is_not_called_without_on_train_start(data: Any):
    later = Recorder()
    with pytest.raises(OSError, match="disk"):
        fit(data, FailingStart(), later)
    assert later.calls == []


class FailingStart:
    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        raise OSError("disk")


def test_stop_ends_the_run_after_the_epoch(data: Any):
    class Stop(Recorder):
        def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
            if record.epoch == 2:
                self.trainer.stop()

    assert len(fit(data, Stop(), epochs=9)) == 2


def test_callbacks_do_not_affect_training(data: Any):
    assert fit(data, Recorder()).step_losses == fit(data).step_losses


@pytest.mark.parametrize(
    ("callbacks", "error", "text"),
    [
        ([print], TypeError, r"callback .*on_train_start, on_step, on_epoch, on_train_end.*print"),
        ([Recorder], TypeError, r"got the class Recorder; write Recorder\(\)"),
        (Recorder(), TypeError, r"callbacks must be a list, got one Recorder; write callbacks=\[Recorder\(...\)\]"),
        (Recorder, TypeError, "callbacks must be a list, got one Recorder"),
        (3, TypeError, "callbacks must be a list, got 3"),
        ([Recorder(every=-1)], ValueError, "every of Recorder must be an integer of at least 0"),
    ],
)
def test_invalid_callbacks_raise(callbacks: Any, error: type[Exception], text: str, data: Any):
    with pytest.raises(error, match=text):
        mnistcnn.train(mnistcnn.create_model("budget_model3"), data, callbacks=callbacks)

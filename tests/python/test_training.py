"""train, test, predict and Trainer: results, determinism, interruption, and errors for invalid arguments."""

from __future__ import annotations

import copy
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.layers import Conv2d
from mnistcnn.nn.input_checks import model_view
from mnistcnn.optim import averaging
from reference import Twin, pixels_as_input, without_dropout
from runs import fit, random_set, small, weights


@pytest.fixture
def held_out(digits: Any) -> mnistcnn.ImageSet:
    return digits[1][:150]


# ---- history


def test_training_reduces_the_loss_and_matches_the_evaluation(data: Any, held_out: Any):
    model = small()
    history = fit(model, data, validation=held_out, epochs=4, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))
    result = mnistcnn.test(model, held_out, progress=False)
    assert [record.epoch for record in history] == [1, 2, 3, 4]
    assert history[3].train_loss < history[0].train_loss
    assert result.accuracy == history.last.validation_accuracy > 0.2
    assert result.loss == pytest.approx(history.last.validation_loss, rel=1e-6)


def test_results_of_an_epoch_are_means_over_images(data: Any, held_out: Any):
    """300 images in batches of 64: the last batch has 44 images and is weighted by 44."""
    model = without_dropout(small())
    twin = Twin(model)
    history = fit(model, data, validation=held_out, shuffle=False, optimizer=mnistcnn.optim.SGD(lr=0.0))
    images, labels = pixels_as_input(model, data.images), torch.tensor(data.labels)
    losses, correct = [], 0
    for x, y in zip(images.split(64), labels.split(64), strict=True):
        outputs = twin.train()(x).detach()
        losses.append(F.cross_entropy(outputs, y).item())
        correct += (outputs.argmax(1) == y).sum().item()
    record = history.last
    assert history.step_losses == pytest.approx(losses, rel=1e-5)
    assert record.train_loss == pytest.approx(np.average(losses, weights=[64, 64, 64, 64, 44]), rel=1e-5)
    assert record.train_accuracy == correct / 300
    outputs = twin.eval()(pixels_as_input(model, held_out.images)).detach()
    assert record.validation_loss == pytest.approx(
        F.cross_entropy(outputs, torch.tensor(held_out.labels)).item(), rel=1e-5
    )
    assert record.learning_rate == 0.0
    assert 0 < record.seconds < 60


def test_model_stores_the_history(data: Any):
    model = small()
    history = fit(model, data, epochs=2, seed=5)
    assert model.history is history
    assert (history.model, history.seed, len(history)) == ("budget_model3", 5, 2)
    assert len(history.step_losses) == 10
    assert all(record.validation_loss is record.validation_accuracy is None for record in history)


# ---- determinism


def test_same_seed_is_bit_identical(data: Any):
    first, second = mnistcnn.create_model("assignment7_model5"), mnistcnn.create_model("assignment7_model5")
    histories = [fit(model, data, epochs=2, seed=3) for model in (first, second)]
    assert histories[0].step_losses == histories[1].step_losses
    assert torch.equal(weights(first), weights(second))


def test_training_does_not_use_torchs_generator(data: Any):
    models = small(), small()
    for number, model in enumerate(models):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            state = torch.random.get_rng_state()
            fit(model, data, seed=3)
            assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(weights(models[0]), weights(models[1]))


def test_seed_determines_the_order_of_images(data: Any):
    model, other, ordered = (without_dropout(small()) for _ in range(3))
    assert fit(model, data, seed=1).step_losses[0] != fit(other, data, seed=2).step_losses[0]
    assert fit(ordered, data, seed=1, shuffle=False).step_losses[0] != model.history.step_losses[0]


def test_every_epoch_uses_all_images_in_a_new_order(data: Any):
    """With learning rate 0, the mean over an epoch does not depend on the order, but the loss of each step does."""
    model = without_dropout(mnistcnn.create_model("budget_model1"))
    history = fit(model, data[:256], epochs=2, optimizer=mnistcnn.optim.SGD(lr=0.0))
    assert history.step_losses[:4] != history.step_losses[4:]
    assert history[0].train_loss == pytest.approx(history[1].train_loss, rel=1e-6)
    assert history[0].train_accuracy == history[1].train_accuracy


def test_validation_does_not_affect_training(data: Any, held_out: Any):
    with_it, without_it = small(), small()
    fit(with_it, data, validation=held_out, epochs=3)
    fit(without_it, data, epochs=3)
    assert torch.equal(weights(with_it), weights(without_it))
    assert with_it.history.step_losses == without_it.history.step_losses


def test_training_does_not_change_mode_and_gradients(data: Any):
    for training in (True, False):
        model = small().train(training)
        fit(model, data)
        assert model.training is training
        assert all(parameter.grad is None for parameter in model.parameters())


def test_normalization_is_computed_from_the_training_set_only(data: Any, held_out: Any):
    model = small()
    model.normalization = None
    fit(model, data, validation=held_out)
    mean, std = data.mean_std()
    assert model.normalization == mnistcnn.Normalization(mean, std)
    given = mnistcnn.Normalization(0.25, 0.5)
    model.normalization = given
    fit(model, data)
    assert model.normalization is given


# ---- Trainer


def test_trainer_yields_after_every_epoch(data: Any, held_out: Any):
    model, whole = small(), small()
    trainer = mnistcnn.Trainer(model, batch_size=64, seed=4, progress=False)
    assert repr(trainer) == f"Trainer of '{model.name}', seed 4: 0 of 15 epochs"
    seen = []
    for record in trainer.epochs(data, held_out, epochs=3):
        seen.append(record)
        assert record is trainer.history.last
        assert len(trainer.history) == len(seen)
    assert [record.epoch for record in seen] == [1, 2, 3]
    fit(whole, data, validation=held_out, epochs=3, seed=4)
    assert torch.equal(weights(model), weights(whole))


def test_trainer_cannot_be_pickled():
    with pytest.raises(TypeError, match=r"a Trainer cannot be pickled or copied; pickle trainer\.model"):
        copy.deepcopy(mnistcnn.Trainer(small(), epochs=1))


def test_leaving_the_loop_ends_the_run_and_a_further_call_continues_it(data: Any):
    model, whole = small(), small()
    trainer = mnistcnn.Trainer(model, batch_size=64, seed=4, progress=False)
    for record in trainer.epochs(data, epochs=50):
        if record.epoch == 2:
            break
    assert len(trainer.history) == 2
    for _ in trainer.epochs(data, epochs=1):
        pass
    fit(whole, data, epochs=3, seed=4)
    assert torch.equal(weights(model), weights(whole))  # order, momentum and dropout masks continue
    assert trainer.history.step_losses == whole.history.step_losses


@pytest.mark.parametrize(
    "schedule", [mnistcnn.optim.CosineAnnealing(warmup_epochs=1), mnistcnn.optim.OneCycleLR(0.1)], ids=repr
)
def test_schedule_spans_the_whole_run_if_it_is_split_into_several_calls(schedule: Any, data: Any):
    model, whole = small(), small()
    trainer = mnistcnn.Trainer(model, batch_size=64, seed=4, epochs=4, schedule=schedule, progress=False)
    for epochs in (1, 2, None):
        assert len(list(trainer.epochs(data, epochs=epochs))) == (epochs or 1)
    fit(whole, data, epochs=4, seed=4, schedule=schedule)
    assert torch.equal(weights(model), weights(whole))


def test_epochs_only_checks_its_arguments_before_the_loop(data: Any):
    model = small()
    before = weights(model)
    trainer = mnistcnn.Trainer(model, progress=False)
    with pytest.raises(TypeError, match=r"train_set must be an mnistcnn.ImageSet"):
        trainer.epochs(data.images)
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got 0"):
        trainer.epochs(data, epochs=0)
    trainer.epochs(data)
    assert torch.equal(weights(model), before)


# ---- callbacks


class EpochCallback:
    def __init__(self, action: Callable[[Any], None] = lambda _: None) -> None:
        self.records: list[mnistcnn.callbacks.EpochRecord] = []
        self.action = action

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        self.records.append(record)
        self.action(record)


def test_on_epoch_is_called_after_every_epoch(data: Any):
    first, second = EpochCallback(), EpochCallback()
    history = fit(small(), data, epochs=3, callbacks=(first, second))
    assert first.records == second.records == history.epochs


def test_exceptions_of_callbacks_are_propagated_unchanged(data: Any):
    class OwnError(Exception):
        pass

    error = OwnError("enough")

    def stop(record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == 2:
            raise error

    model = small()
    with pytest.raises(OwnError) as caught:
        fit(model, data, epochs=5, callbacks=[EpochCallback(stop)])
    assert caught.value is error
    assert len(model.history) == 2


def test_object_without_callback_methods_raises(data: Any):
    with pytest.raises(TypeError, match=r"callback .*on_epoch.*print"):
        fit(small(), data, callbacks=[print])


# ---- interruption


def _interrupt_after(seconds: float) -> threading.Thread:
    def send() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("progress", [True, False])
def test_ctrl_c_stops_within_a_batch(progress: bool, digits: Any):
    """An epoch of all 60,000 images takes seconds; training must stop 50 ms and one batch after the signal."""
    model = small()
    history_of_one = fit(model, digits[0][:64])
    before = weights(model)
    thread = _interrupt_after(0.3)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        fit(model, digits[0], epochs=1000, batch_size=32, progress=progress)
    assert time.perf_counter() - start < 3
    thread.join()
    assert model.history is not history_of_one
    assert not torch.equal(weights(model), before)
    assert torch.isfinite(weights(model)).all()
    fit(model, digits[0][:64])
    F.cross_entropy(model(digits[0][:8].images), torch.tensor(digits[0][:8].labels)).backward()


def test_epoch_is_repeated_if_its_validation_is_interrupted(data: Any, monkeypatch: pytest.MonkeyPatch):
    class Steps:
        def __init__(self) -> None:
            self.numbers: list[int] = []

        def on_step(self, record: mnistcnn.callbacks.StepRecord) -> None:
            self.numbers.append(record.step)

    def interrupt(validation: mnistcnn.ImageSet) -> Any:
        raise KeyboardInterrupt

    steps = Steps()
    trainer = mnistcnn.Trainer(small(), epochs=2, batch_size=100, callbacks=[steps], progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(trainer._native, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(trainer.epochs(data, validation=data))
    assert len(trainer.history) == 0
    assert [record.epoch for record in trainer.epochs(data, validation=data)] == [1, 2]
    assert steps.numbers == [1, 2, 3, 1, 2, 3, 4, 5, 6]


def test_ctrl_c_keeps_completed_epochs_in_the_history(data: Any):
    model = small()
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(
            model,
            data,
            epochs=10_000_000,
            callbacks=[EpochCallback(lambda r: signal.raise_signal(signal.SIGINT) if r.epoch == 3 else None)],
        )
    done = len(model.history)
    assert done in (3, 4)  # the signal is handled between two steps
    message = str(caught.value)
    assert message.startswith(f"training was interrupted after {done} of 10000000 epochs")
    assert "model.history" in message
    assert caught.value.history is model.history  # type: ignore[attr-defined]
    assert json.loads(model.history.to_json())["epochs"][2]["epoch"] == 3


def test_ctrl_c_attaches_the_history_of_a_module_to_the_exception(data: Any):
    def interrupt(record: mnistcnn.callbacks.EpochRecord) -> None:
        raise KeyboardInterrupt

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    with pytest.raises(
        KeyboardInterrupt, match=r"after 1 of 3 epochs.*the attribute history of this exception"
    ) as caught:
        fit(module, data, epochs=3, callbacks=[EpochCallback(interrupt)])
    assert [record.epoch for record in caught.value.history] == [1]  # type: ignore[attr-defined]


def test_ctrl_c_stops_an_evaluation(digits: Any):
    model = mnistcnn.create_model("recognition_cnn")
    thread = _interrupt_after(0.3)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        mnistcnn.test(model, digits[0], batch_size=16, progress=False)
    assert time.perf_counter() - start < 5
    thread.join()


# ---- divergence


def test_diverged_error_names_epoch_step_and_learning_rate(data: Any):
    model = mnistcnn.create_model("budget_model1")
    optimizer = mnistcnn.optim.SGD(lr=1e30)
    with pytest.raises(
        mnistcnn.DivergedError, match=r"the loss became (nan|-?inf) in epoch 1, step [2-5], with learning rate 1e\+30"
    ):
        fit(model, data, epochs=3, optimizer=optimizer)
    assert issubclass(mnistcnn.DivergedError, ArithmeticError)
    assert model.history is not None
    assert len(model.history) == 0


def test_nan_weights_raise_in_the_first_step(data: Any):
    model = small()
    with torch.no_grad():
        model.conv5.weight.fill_(float("nan"))
    with pytest.raises(mnistcnn.DivergedError, match="in epoch 1, step 1,"):
        fit(model, data)


# ---- invalid arguments


def _classes(count: int) -> mnistcnn.ImageSet:
    return mnistcnn.ImageSet.from_arrays(np.zeros((count, 1, 28, 28), np.uint8), np.arange(count), classes=count)


INVALID: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch size 0": ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
    "batch size -1": ({"batch_size": -1}, ValueError, "batch_size must be an integer of at least 1, got -1"),
    "fraction of a batch": ({"batch_size": 0.5}, ValueError, "batch_size must be an integer of at least 1, got 0.5"),
    "no epochs": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
    "array": (
        {"train_set": np.zeros((4, 1, 28, 28))},
        TypeError,
        "train_set must be an mnistcnn.ImageSet, got ndarray",
    ),
    "loader": (
        {"train_set": torch.utils.data.DataLoader([(0, 0)])},  # type: ignore[arg-type]
        TypeError,
        r"got DataLoader.*mnistcnn.ImageSet.from_torch\(loader.dataset\)",
    ),
    "mnistcnn's loader": (
        {"train_set": mnistcnn.DataLoader(_classes(4))},
        TypeError,
        "got DataLoader; pass its image set: loader.image_set",
    ),
    "data set of torch": (
        {"train_set": torch.utils.data.TensorDataset(torch.zeros(2, 1, 28, 28), torch.arange(2))},
        TypeError,
        r"got TensorDataset.*mnistcnn.ImageSet.from_torch\(dataset\)",
    ),
    "both sets": (
        {"train_set": (_classes(10), _classes(10))},
        TypeError,
        "got tuple.*mnistcnn.load.*train_set, test_set = ",
    ),
    "name": ({"model": "session7_net"}, TypeError, r"got str.*mnistcnn.create_model\('session7_net'\)"),
    "class": ({"model": torch.nn.Flatten}, TypeError, r"got type.*Flatten\(\)"),
    "validation": (
        {"validation": [1]},
        TypeError,
        "an mnistcnn.ImageSet, or a fraction .*, got list",
    ),
    "label": (
        {"train_set": _classes(11)},
        ValueError,
        "train_set has 11 classes.*'budget_model3'.*10",
    ),
    "labels of validation": ({"validation": _classes(12)}, ValueError, "validation has 12 classes"),
    "optimizer's name": ({"optimizer": "sgdm"}, ValueError, "optimizer must be .*got 'sgdm'"),
    "torch's optimizer": (
        {"optimizer": torch.optim.SGD([torch.zeros(1)], lr=0.1)},
        TypeError,
        r"got torch.optim.sgd.SGD.*mnistcnn.optim.SGD\(lr=0.1\)",
    ),
    "loss": ({"loss": "mse"}, ValueError, "loss must be one of 'auto', 'nll', 'cross_entropy', got 'mse'"),
    "loss of logits": (
        {"loss": "nll"},
        ValueError,
        "loss='nll' .*log-probabilities.* 'budget_model3' .*logits",
    ),
    "engine": ({"engine": "gpu"}, ValueError, "engine must be .*got 'gpu'"),
    "smoothing": ({"label_smoothing": 1.5}, ValueError, "label_smoothing must be a number between 0 and 1, got 1.5"),
    "smoothing nan": (
        {"label_smoothing": float("nan")},
        ValueError,
        "label_smoothing must be a number between 0 and 1, got nan",
    ),
    "seed": ({"seed": -1}, ValueError, "seed must be an integer from 0"),
    "model": ({"model": 3}, TypeError, "model must be an mnistcnn.Model or a torch.nn.Module, got int"),
    "device": ({"device": "nowhere"}, ValueError, "device must be 'auto', 'cpu' or 'cuda', got 'nowhere'"),
    "number of a device": ({"device": 5}, ValueError, "device must be 'auto', 'cpu' or 'cuda', got 5"),
    "average that never starts": (
        {"averaging": mnistcnn.optim.SWA(start_epoch=9), "epochs": 3},
        ValueError,
        r"SWA\(start_epoch=9\) .*3 epochs",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_arguments_raise_before_training(case: str, data: Any):
    options, error, text = INVALID[case]
    model = small()
    before = weights(model)
    with pytest.raises(error, match=text) as caught:
        fit(**{"model": model, "train_set": data, **options})
    assert torch.equal(weights(model), before)
    _check_no_backtrace(str(caught.value))


def _check_no_backtrace(message: str) -> None:
    assert not re.search(r"Exception raised from|frame #|\.cpp|0x[0-9a-f]{6}|libtorch", message), message


def test_empty_set_raises(data: Any):
    for call in (lambda: fit(small(), data[:0]), lambda: fit(small(), data, validation=data[:0])):
        with pytest.raises(ValueError, match=r"(train_set|validation) must have at least one image, got none"):
            call()


def test_images_of_another_size_raise():
    other = mnistcnn.ImageSet.from_arrays(np.zeros((4, 3, 28, 28), np.uint8), [0, 1, 2, 3])
    with pytest.raises(
        ValueError, match=r"train_set has images \(3, 28, 28\), but model 'budget_model3' .*\(1, 28, 28\)"
    ):
        fit(small(), other)
    with pytest.raises(ValueError, match=r"test_set has images"):
        mnistcnn.test(small(), other)


def test_network_with_spatial_outputs_raises(data: Any):
    model = mnistcnn.Model([Conv2d(10, 3)])
    for call in (lambda: fit(model, data), lambda: mnistcnn.test(model, data), lambda: mnistcnn.predict(model, data)):
        with pytest.raises(ValueError, match=r"output.*\(10, 26, 26\)"):
            call()


def test_core_checks_labels_and_images(data: Any):
    """The core checks its arguments independently of the Python functions that call it."""
    model = small()
    outputs = torch.zeros(3, 10)
    for label in (-1, 10, 2**40):
        with pytest.raises(ValueError, match=f"label {label} of image 1 .*10 outputs"):
            core.score(outputs, torch.tensor([0, label, 2]), kind="log_probabilities")
    wrong = {
        "dtype": torch.zeros(2, 1, 28, 28),
        "shape": torch.zeros(2, 1, 28, 27, dtype=torch.uint8),
        "layout": torch.zeros(2, 1, 28, 56, dtype=torch.uint8)[..., ::2],
    }
    for images in wrong.values():
        with pytest.raises(ValueError, match=r"images must be .* uint8 tensor \[any, 1, 28, 28\] on the CPU") as caught:
            core.predict(model_view(model), images, batch_size=4)
        _check_no_backtrace(str(caught.value))


def test_errors_of_libtorch_are_raised_without_backtrace():
    average = averaging.native(mnistcnn.optim.EMA(), small())
    other = mnistcnn.create_model("budget_model1")
    with pytest.raises(RuntimeError, match=r"size of tensor a .* must match the size of tensor b") as caught:
        core.testing.after_step(average, other._network, other.tensors())
    _check_no_backtrace(str(caught.value))


# ---- recipes


def test_keyword_overrides_the_recipe(data: Any):
    recipe = mnistcnn.Recipe(epochs=1, batch_size=32, optimizer=mnistcnn.optim.SGD(lr=0.5), seed=4)
    history = mnistcnn.train(small(), data, recipe, batch_size=100, seed=6, progress=False)
    assert len(history.step_losses) == 3
    assert (history.seed, history.last.learning_rate) == (6, 0.5)
    assert history.recipe == recipe.replace(batch_size=100, seed=6).to_dict()
    other = small()
    mnistcnn.train(other, data, epochs=1, batch_size=100, optimizer=mnistcnn.optim.SGD(lr=0.5), seed=6, progress=False)
    assert history.step_losses == other.history.step_losses


def test_schedule_sets_the_rate_of_every_step(data: Any):
    """With learning rate 0 from the third step, the weights do not change after the second step."""

    class TwoSteps(mnistcnn.optim.Schedule):
        def rates(self, plan: Any, epoch: int, records: Any) -> Any:
            return mnistcnn.optim.schedules.Rates([0.1, 0.1, *[0.0] * (plan.steps - 2)])

    whole, part = (
        without_dropout(mnistcnn.create_model("budget_model1")),
        without_dropout(mnistcnn.create_model("budget_model1")),
    )
    optimizer = mnistcnn.optim.SGD(lr=0.1)
    fit(whole, data, shuffle=False, schedule=TwoSteps(), optimizer=optimizer)
    fit(part, data[:128], shuffle=False, optimizer=optimizer)
    assert torch.equal(weights(whole), weights(part))
    assert (whole.history.last.learning_rate, whole.history.last.last_learning_rate) == (0.1, 0.0)


def test_one_cycle_sets_the_momentum_of_sgd_without_momentum(data: Any):
    cycle = mnistcnn.optim.OneCycleLR(0.1)
    without, with_one = small(), small()
    fit(without, data, schedule=cycle, optimizer=mnistcnn.optim.SGD())
    fit(with_one, data, schedule=cycle, optimizer=mnistcnn.optim.SGD(momentum=0.5))
    assert torch.equal(weights(without), weights(with_one))


def test_model_has_the_averaged_weights_after_training(data: Any, held_out: Any):
    model, plain = small(), small()
    history = fit(model, data, validation=held_out, epochs=3, averaging=mnistcnn.optim.EMA(decay=0.8))
    fit(plain, data, validation=held_out, epochs=3)
    assert history.step_losses == plain.history.step_losses  # averaging does not affect the steps
    assert not torch.equal(weights(model), weights(plain))
    result = mnistcnn.test(model, held_out, progress=False)
    assert result.accuracy == history.last.validation_accuracy


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"recipe": "session7_net"}, TypeError, "recipe must be a Recipe, .* got str"),
        ({"schedule": "step"}, TypeError, "schedule must be None or one of"),
        (
            {"schedule": mnistcnn.optim.OneCycleLR(0.1), "optimizer": mnistcnn.optim.Adagrad()},
            ValueError,
            "no momentum",
        ),
        ({"mixing": mnistcnn.losses.Mixup(), "batch_size": 1}, ValueError, "batch_size must be at least 2"),
        ({"augment": [mnistcnn.optim.SGD()]}, TypeError, "augment must"),
    ],
)
def test_invalid_fields_of_a_recipe_raise(options: dict[str, Any], error: type[Exception], text: str, data: Any):
    model = small()
    before = weights(model)
    with pytest.raises(error, match=text):
        fit(model, data, **options)
    assert torch.equal(weights(model), before)


def test_trainer_accepts_a_recipe_and_names_unknown_fields(data: mnistcnn.ImageSet):
    trainer = mnistcnn.Trainer(small(), mnistcnn.recipe("session7_net2"), epochs=2, progress=False)
    assert trainer.recipe == mnistcnn.recipe("session7_net2").replace(epochs=2)
    with pytest.raises(TypeError, match="Trainer has no argument 'epoch'; did you mean 'epochs'"):
        mnistcnn.Trainer(small(), epoch=2)
    with pytest.raises(TypeError, match=r"Trainer has no argument 'lr'.*optimizer=mnistcnn.optim.SGD\(lr=0.5\)"):
        mnistcnn.Trainer(small(), lr=0.5)
    with pytest.raises(TypeError, match="Trainer has no argument 'callback'; did you mean 'callbacks'"):
        mnistcnn.Trainer(small(), callback=[])
    with pytest.raises(TypeError, match="got ImageSet; pass a validation set as validation="):
        mnistcnn.train(small(), data, data)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"epoch": 1}, "train has no argument 'epoch'; did you mean 'epochs'? Choose from: model, train_set, recipe,"),
        (
            {"verbose": 1},
            "train has no argument 'verbose'; train, test, predict and the studies have progress=True or ",
        ),
        ({"metrics": ["acc"]}, "train has no argument 'metrics'; the history always has loss and accuracy, and "),
        ({"criterion": torch.nn.NLLLoss()}, "train has no argument 'criterion'; write loss='nll'. Choose from"),
        ({"criterion": "nll"}, "train has no argument 'criterion'; write loss= instead. Choose from"),
        ({"lr": 0.1}, "train has no argument 'lr'; write optimizer=mnistcnn.optim.SGD(lr=0.1). Choose from: model,"),
    ],
)
def test_train_suggests_a_known_argument(data: Any, given: dict[str, Any], text: str):
    with pytest.raises(TypeError) as caught:
        mnistcnn.train(small(), data, **given)
    assert str(caught.value).startswith(text)


def test_train_has_an_explicit_signature():
    parameters = inspect.signature(mnistcnn.train).parameters
    assert list(parameters)[:4] == ["model", "train_set", "recipe", "validation"]
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())


# ---- progress bar


def test_progress_bar_is_updated_at_most_twenty_times_a_second(digits: Any, monkeypatch: pytest.MonkeyPatch):
    """The core reports at most every 50 ms, and the reports take less than 1 % of the time (0.5 ms each)."""
    from mnistcnn._internal import progress

    calls: list[int] = []
    spent = 0.0
    show = progress.ProgressBar.show

    def counted(bar: Any, done: int, **numbers: Any) -> None:
        nonlocal spent
        start = time.perf_counter()
        show(bar, done, **numbers)
        spent += time.perf_counter() - start
        calls.append(done)

    monkeypatch.setattr(progress.ProgressBar, "show", counted)
    start = time.perf_counter()
    fit(small(), digits[0][:12000], epochs=2, progress=True)
    seconds = time.perf_counter() - start
    assert calls == sorted(calls)
    assert calls[-1] == 24000
    assert len(calls) <= 20 * seconds + 2
    assert spent < 0.01 * seconds


def test_no_progress_bar_without_a_terminal(data: Any, capfd: pytest.CaptureFixture[str]):
    fit(small(), data, progress=True)
    mnistcnn.test(small(), data)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


# ---- threads


def test_losses_with_one_and_two_torch_threads(tmp_path: Any):
    """Check a relative difference below 1e-4 only: sums of libtorch may depend on its number of threads."""
    code = (
        "import sys, torch, mnistcnn; torch.set_num_threads(int(sys.argv[1])); data = mnistcnn.load('digits')[1][:256];"
        "model = mnistcnn.create_model('assignment7_model5', seed=1);"
        "print(*mnistcnn.train(model, data, epochs=1, batch_size=32, progress=False).step_losses)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code, threads], capture_output=True, text=True, check=True).stdout.split()
        for threads in ("1", "2")
    ]
    one, two = ([float(each) for each in run] for run in runs)
    assert len(one) == 8
    assert one == pytest.approx(two, rel=1e-4)


# ---- regression tests


def test_parameter_unfrozen_between_epochs_is_trained_from_then_on():
    model = mnistcnn.create_model("budget_model1")
    weight = model.get_parameter("conv1.weight").requires_grad_(False)
    before = weight.detach().clone()
    changed = []
    for _ in mnistcnn.Trainer(model, progress=False).epochs(random_set(64, size=28), epochs=2):
        changed.append(not weight.equal(before))
        weight.requires_grad_(True)
    assert changed == [False, True]


def test_model_without_trainable_parameters_raises():
    model = mnistcnn.create_model("budget_model1").requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter of model 'budget_model1' is frozen"):
        mnistcnn.train(model, random_set(16, size=28), epochs=1, progress=False)


def test_optimizer_of_a_trainer_is_read_only():
    trainer = mnistcnn.Trainer(mnistcnn.create_model("budget_model1"), progress=False)
    with pytest.raises(AttributeError):
        trainer.optimizer = mnistcnn.optim.SGD(lr=1.0)


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_weights_that_overflow_in_the_last_step_raise(engine: str):
    model = mnistcnn.create_model("budget_model1")
    with pytest.raises(mnistcnn.DivergedError, match="last step of epoch 1"):
        mnistcnn.train(
            model,
            random_set(32, size=28),
            batch_size=32,
            epochs=1,
            optimizer=mnistcnn.optim.SGD(lr=3e38, weight_decay=1e3),
            engine=engine,
            progress=False,
        )


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_training_in_inference_mode_updates_weights(engine: str):
    usual, inside = (mnistcnn.create_model("budget_model1") for _ in range(2))
    mnistcnn.train(usual, random_set(32, size=28), epochs=1, engine=engine, progress=False)
    with torch.inference_mode():
        mnistcnn.train(inside, random_set(32, size=28), epochs=1, engine=engine, progress=False)
    assert inside.get_parameter("fc2.weight").equal(usual.get_parameter("fc2.weight"))


def test_numpy_integers_are_accepted():
    model = mnistcnn.create_model("budget_model1", seed=np.int64(3))
    history = mnistcnn.train(
        model, random_set(16, size=28), epochs=np.int64(1), batch_size=np.int32(8), seed=np.int64(3), progress=False
    )
    assert history.seed == 3


def test_errors_name_arguments_of_a_wrong_type():
    model, data = mnistcnn.create_model("budget_model1"), random_set(16, size=28)
    with pytest.raises(TypeError, match=r"lr must be a number, got '0\.1'"):
        mnistcnn.optim.SGD(lr="0.1")
    with pytest.raises(TypeError, match="label_smoothing must be a number, got 'a'"):
        mnistcnn.train(model, data, label_smoothing="a")
    with pytest.raises(ValueError, match="batch_size must be an integer of at most"):
        mnistcnn.train(model, data, batch_size=10**30)
    with pytest.raises(TypeError, match="callbacks must be a list"):
        mnistcnn.train(model, data, callbacks=type("C", (), {"on_epoch": print})())


def test_none_overrides_the_recipe(data: Any):
    """None has the same meaning as in ``recipe.replace(schedule=None)``."""
    recipe = mnistcnn.Recipe(
        epochs=2,
        schedule=mnistcnn.optim.StepLR(1, 0.1),
        mixing=mnistcnn.losses.Mixup(),
        augment=[mnistcnn.transforms.Rotation(5)],
    )
    one, other = small(), small()
    mnistcnn.train(one, data, recipe, schedule=None, mixing=None, augment=None, progress=False)
    mnistcnn.train(other, data, recipe.replace(schedule=None, mixing=None, augment=()), progress=False)
    assert (
        [each.learning_rate for each in one.history] == [each.learning_rate for each in other.history] == [0.01, 0.01]
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got None"):
        mnistcnn.train(small(), data, epochs=None, progress=False)  # type: ignore[arg-type]


def test_model_is_unchanged_if_the_run_does_not_start(data: Any, tmp_path: Path):
    model = mnistcnn.create_model("budget_model3", pretrained=True)
    before = (model.history, model.card, model.normalization, model.class_names)
    assert model.card is not None
    with pytest.raises(OSError, match="missing"):
        mnistcnn.train(model, data, epochs=1, callbacks=[mnistcnn.callbacks.CSVLogger(tmp_path / "missing" / "x.csv")])
    assert (model.history, model.card, model.normalization, model.class_names) == before

"""Checkpoints: a run that is killed or interrupted and then resumed is bit-identical to an uninterrupted one."""

from __future__ import annotations

import math
import os
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistcnn
import runs
from killed_run import run, start_run
from mnistcnn import Checkpoint
from mnistcnn._internal.tensor_files import write_tensors
from mnistcnn.training.checkpoints import FORMAT, CheckpointWarning, ranked
from runs import digest, small

fit = partial(runs.fit, epochs=3)


class Stop:
    """Raise an exception after an epoch, like a crash."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == self.epoch:
            raise InterruptedError


class Blind:
    """Replace the validation loss of an epoch by NaN."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.trainer = epoch, None

    def on_train_start(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == self.epoch:
            self.trainer.history.epochs[-1] = replace(record, validation_loss=float("nan"))  # type: ignore[attr-defined]


def interrupted(data: mnistcnn.ImageSet, epoch: int, folder: Path, **options: Any) -> mnistcnn.Model:
    model = small()
    with pytest.raises(InterruptedError):
        fit(model, data, checkpoint=folder, callbacks=[Stop(epoch)], **options)
    return model


# ---- resumed runs are bit-identical


def test_killed_process(tmp_path: Path):
    """Send SIGKILL after the first checkpoint; tests/attack/test_processes.py does so at random moments."""
    with start_run(tmp_path) as process:
        while not Checkpoint(tmp_path).epochs:
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert run(str(tmp_path)) == run(None)


CASES: dict[str, dict[str, Any]] = {
    "momentum": {},
    "one cycle": {"schedule": mnistcnn.optim.OneCycleLR(0.1)},
    "plateau": {
        "schedule": mnistcnn.optim.ReduceLROnPlateau(0.5, 0, "validation_loss"),
        "validation": 0.2,
        "optimizer": mnistcnn.optim.RMSprop(lr=0.01),
    },
    "SWA": {"averaging": mnistcnn.optim.SWA(start_epoch=2)},
    "Lookahead": {"averaging": mnistcnn.optim.Lookahead(k=3), "optimizer": mnistcnn.optim.NAdam()},
    "mixup": {"mixing": mnistcnn.losses.Mixup(0.3), "optimizer": mnistcnn.optim.Adagrad()},
    "Muon": {"optimizer": mnistcnn.optim.Muon(lr=0.01)},
    "every second epoch": {"every": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_after_a_crash(case: str, data: Any, tmp_path: Path):
    options = dict(CASES[case])
    checkpoint = Checkpoint(tmp_path, every=options.pop("every", 1))
    whole, resumed = small(), small(seed=9)
    fit(whole, data, epochs=5, **options)
    with pytest.raises(InterruptedError):
        fit(small(), data, epochs=5, checkpoint=checkpoint, callbacks=[Stop(3)], **options)
    history = fit(resumed, data, epochs=5, checkpoint=checkpoint, resume=True, **options)
    assert digest(resumed) == digest(whole)
    assert history.step_losses == whole.history.step_losses
    assert [each.train_loss for each in history] == [each.train_loss for each in whole.history]
    assert [each.learning_rate for each in history] == [each.learning_rate for each in whole.history]


def test_checkpoint_without_a_new_field_of_a_layer_is_resumed(data: Any, tmp_path: Path):
    """Checkpoints of older versions have no field "always" of dropout."""
    layers = [mnistcnn.layers.Flatten(), mnistcnn.layers.Dropout(0.3), mnistcnn.layers.Linear(10)]
    whole, first, resumed = (mnistcnn.Model(layers, (1, 28, 28)) for _ in range(3))
    fit(whole, data)
    with pytest.raises(InterruptedError):
        fit(first, data, checkpoint=tmp_path, callbacks=[Stop(2)])
    snapshot = Checkpoint(tmp_path).read(2)
    del snapshot.description["model"]["nodes"][1][3]["always"]
    write_tensors(Checkpoint(tmp_path).path(2), FORMAT, snapshot.description, snapshot.tensors)
    fit(resumed, data, checkpoint=tmp_path, resume=True)
    assert digest(resumed) == digest(whole)


class Unfreeze:
    """Unfreeze all parameters after epoch 2."""

    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        self.model = trainer.model

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == 2:
            self.model.requires_grad_(True)


def half_frozen() -> mnistcnn.Model:
    model = small()
    next(model.parameters()).requires_grad_(False)
    return model


def test_parameters_unfrozen_during_the_run_stay_unfrozen(data: Any, tmp_path: Path):
    whole, resumed = half_frozen(), half_frozen()
    fit(whole, data, epochs=5, callbacks=[Unfreeze()])
    with pytest.raises(InterruptedError):
        fit(half_frozen(), data, epochs=5, checkpoint=tmp_path, callbacks=[Unfreeze(), Stop(3)])
    fit(resumed, data, epochs=5, checkpoint=tmp_path, resume=True, callbacks=[Unfreeze()])
    assert digest(resumed) == digest(whole)


def test_the_model_of_a_checkpoint_has_the_frozen_parameters_of_its_epoch(data: Any, tmp_path: Path):
    stored = mnistcnn.Checkpoint(tmp_path, keep_last=3)
    fit(half_frozen(), data, epochs=3, checkpoint=stored, callbacks=[Unfreeze()])
    found = {epoch: sum(not each.requires_grad for each in stored.load(epoch).parameters()) for epoch in (1, 3)}
    assert found == {1: 1, 3: 0}


def test_the_model_of_a_checkpoint_has_the_class_names(tmp_path: Path):
    images, labels = torch.zeros(40, 28, 28, dtype=torch.uint8), [0, 1] * 20
    images[1::2, :14] = 255
    named = mnistcnn.ImageSet.from_arrays(images, labels, classes=["cat", "dog"])
    model = mnistcnn.create_model("budget_model3", num_classes=2)
    mnistcnn.train(model, named, epochs=1, checkpoint=tmp_path, progress=False)
    assert Checkpoint(tmp_path).load("last").class_names == ("cat", "dog")


def test_loading_the_best_of_the_remaining_checkpoints_warns(data: Any, tmp_path: Path):
    wrong = mnistcnn.ImageSet.from_arrays(data.images, (data.labels + 1) % 10)  # its loss grows during training
    history = fit(small(), data, epochs=4, checkpoint=Checkpoint(tmp_path, keep_best=0), validation=wrong)
    losses = [record.validation_loss for record in history.epochs]
    assert losses == sorted(losses)
    with pytest.warns(mnistcnn.CheckpointWarning, match="epoch 1 has the best validation_loss, .* loading epoch 3"):
        loaded = Checkpoint(tmp_path, monitor="validation_loss").load("best")
    assert digest(loaded) == digest(Checkpoint(tmp_path).load(3))


def test_resuming_with_other_frozen_parameters_raises(data: Any, tmp_path: Path):
    with pytest.raises(InterruptedError):
        fit(half_frozen(), data, checkpoint=tmp_path, callbacks=[Stop(2)])
    with pytest.raises(ValueError, match=r"frozen parameters was \['.*weight'\] and is now \[\]"):
        fit(small(), data, checkpoint=tmp_path, resume=True)


def test_computed_normalization_is_restored(data: Any, tmp_path: Path):
    models = small(), small(), small()
    for model in models:
        model.normalization = None
    fit(models[0], data)
    with pytest.raises(InterruptedError):
        fit(models[1], data, checkpoint=tmp_path, callbacks=[Stop(1)])
    fit(models[1], data, checkpoint=tmp_path, resume=True)
    assert digest(models[0]) == digest(models[1])


def test_resuming_a_complete_run_restores_its_model(data: Any, tmp_path: Path):
    first, again = small(), small(seed=4)
    fit(first, data, checkpoint=tmp_path, averaging=mnistcnn.optim.EMA(decay=0.9))
    history = fit(again, data, checkpoint=tmp_path, resume=True, averaging=mnistcnn.optim.EMA(decay=0.9))
    assert len(history) == 3
    assert digest(first) == digest(again)


def test_resume_without_checkpoints_starts_from_scratch(data: Any, tmp_path: Path):
    first, second = small(), small()
    fit(first, data)
    fit(second, data, checkpoint=tmp_path / "new" / "run", resume=True)
    assert digest(first) == digest(second)


def test_resumed_run_can_be_extended(data: Any, tmp_path: Path):
    longer, extended = small(), small()
    fit(longer, data, epochs=5)
    fit(extended, data, epochs=2, checkpoint=tmp_path)
    fit(extended, data, epochs=5, checkpoint=tmp_path, resume=True)
    assert digest(longer) == digest(extended)


def test_ctrl_c_saves_the_last_epoch(data: Any, tmp_path: Path):
    class Press:
        def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
            if record.epoch == 2:
                signal.raise_signal(signal.SIGINT)

    model = small()
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, epochs=50, checkpoint=tmp_path, callbacks=[Press()])
    assert Checkpoint(tmp_path).epochs[-1] == len(model.history)
    assert Checkpoint(tmp_path).history.epochs == model.history.epochs


# ---- damaged files


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text"])
def test_damaged_checkpoint_is_skipped_with_a_warning(damage: str, data: Any, tmp_path: Path):
    whole, resumed = small(), small()
    fit(whole, data, epochs=4)
    interrupted(data, 3, tmp_path, epochs=4)
    path = Checkpoint(tmp_path).path(3)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    damaged = {"cut": content[: len(content) // 2], "empty": b"", "flipped": content, "text": b"hello" * 100}[damage]
    path.write_bytes(damaged)
    with pytest.warns(mnistcnn.CheckpointWarning, match=r"epoch-000003.*previous one"):
        fit(resumed, data, epochs=4, checkpoint=tmp_path, resume=True)
    assert digest(whole) == digest(resumed)


@pytest.mark.filterwarnings("ignore::mnistcnn.CheckpointWarning")
def test_resuming_raises_if_all_checkpoints_are_damaged(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    for number in Checkpoint(tmp_path).epochs:
        Checkpoint(tmp_path).path(number).write_bytes(b"")
    model = small()
    before = digest(model)
    with pytest.raises(OSError, match=r"every checkpoint in .* is damaged"):
        fit(model, data, checkpoint=tmp_path, resume=True)
    assert digest(model) == before


def test_partial_files_of_a_killed_run_are_removed(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    partial = tmp_path / ".epoch-000009.safetensors.abcd0123.part"
    partial.write_bytes(b"half")
    folder = tmp_path / ".epoch-000010.safetensors.abcd0123.part"
    folder.mkdir()
    other = tmp_path / "notes.part"
    other.write_bytes(b"mine")
    fit(small(), data, checkpoint=tmp_path, resume=True)
    assert not partial.exists()
    assert other.exists()
    assert folder.is_dir()


def test_stop_in_the_loop_over_epochs_saves_the_last_one(data: Any, tmp_path: Path):
    recipe = mnistcnn.Recipe(epochs=5, batch_size=32)
    trainer = mnistcnn.Trainer(small(), recipe, checkpoint=Checkpoint(tmp_path, every=4), progress=False)
    for record in trainer.epochs(data):
        if record.epoch == 2:
            trainer.stop()
    assert Checkpoint(tmp_path).epochs == [2]
    assert digest(Checkpoint(tmp_path).load("last")) == digest(trainer.model)


def test_directory_with_the_name_of_a_checkpoint_is_ignored(data: Any, tmp_path: Path):
    (tmp_path / "epoch-000001.safetensors").mkdir()
    history = fit(small(), data, checkpoint=Checkpoint(tmp_path, every=2), epochs=5)
    assert len(history) == 5
    assert Checkpoint(tmp_path).epochs == [4, 5]
    (tmp_path / "epoch-000009.safetensors").mkdir()
    assert Checkpoint(tmp_path).load("last").name == "budget_model3"


def test_directory_whose_name_is_not_utf8(data: Any, tmp_path: Path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xfcn"))
    whole, resumed = small(), small(seed=2)
    fit(whole, data)
    interrupted(data, 2, folder)
    fit(resumed, data, checkpoint=folder, resume=True)
    assert digest(whole) == digest(resumed) == digest(Checkpoint(folder).load("last"))
    assert digest(mnistcnn.load_model(whole.save(folder / "model.safetensors"))) == digest(whole)
    assert digest(small(seed=2).load_weights(folder / "model.safetensors")) == digest(whole)


def test_callback_that_changes_the_working_directory(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Move:
        def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
            os.chdir(tmp_path / "other")

    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    fit(small(), data, checkpoint="run", callbacks=[Move(), mnistcnn.callbacks.CSVLogger("run.csv")])
    assert Checkpoint(tmp_path / "run").epochs == [2, 3]
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 4


# ---- two runs in one directory


class Meanwhile:
    """Call a function after the first epoch."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == 1:
            self.function()


@pytest.mark.parametrize("resume", [False, True])
def test_directory_of_a_running_run_is_refused(resume: bool, data: Any, tmp_path: Path):
    """The second run is in another thread, and its partial file is left alone."""
    whole, first, second = small(), small(), small(seed=2)
    before = digest(second)

    def start() -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(BlockingIOError, match=r"another run is using .* directory"):
            pool.submit(fit, second, data, checkpoint=tmp_path, resume=resume).result()

    fit(whole, data)
    fit(first, data, checkpoint=tmp_path, callbacks=[Meanwhile(start)])
    assert digest(first) == digest(whole)
    assert digest(second) == before
    fit(second, data, checkpoint=tmp_path, resume=True)  # the first run has ended
    assert digest(second) == digest(whole)


def test_directory_of_a_suspended_run_of_the_same_thread_can_be_used(data: Any, tmp_path: Path):
    """A loop that an exception ended may still be referred to by a traceback."""
    trainer = mnistcnn.Trainer(small(), epochs=3, batch_size=64, checkpoint=tmp_path, progress=False)
    suspended = trainer.epochs(data)
    next(suspended)
    whole, resumed = small(), small()
    fit(whole, data)
    fit(resumed, data, checkpoint=tmp_path, resume=True)
    assert digest(whole) == digest(resumed)


def test_directory_is_free_after_an_unused_iterator(data: Any, tmp_path: Path):
    trainer = mnistcnn.Trainer(small(), epochs=2, batch_size=64, checkpoint=tmp_path, progress=False)
    trainer.epochs(data)  # deleted without an epoch
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(fit, small(), data, epochs=2, checkpoint=tmp_path).result()) == 2


# ---- errors of the file system


def test_full_disk_does_not_damage_earlier_checkpoints(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, resumed, model = small(), small(), small()
    fit(whole, data)
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"epoch-000003.* could not be written \(No space left on device\)"):
        fit(model, data, checkpoint=tmp_path)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000001.safetensors", "epoch-000002.safetensors"]
    fit(resumed, data, checkpoint=tmp_path, resume=True)
    assert digest(whole) == digest(resumed)


def test_unwritable_directory_raises_before_training(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    model = small()
    before = digest(model)
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"not writable: Permission denied"):
        fit(model, data, checkpoint=tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match=r"checkpoint=.*is a file"):
        fit(model, data, checkpoint=file)
    assert digest(model) == before


# ---- retention, and loading of models


def test_last_and_best_checkpoints_are_kept(digits: Any, tmp_path: Path):
    model = small()
    history = fit(
        model, digits[0][:300], epochs=8, validation=0.3, checkpoint=Checkpoint(tmp_path, keep_last=3, keep_best=2)
    )
    accuracies = [-(record.validation_accuracy or 0) for record in history]
    best = sorted(range(1, 9), key=lambda epoch: (accuracies[epoch - 1], epoch))[:2]
    assert Checkpoint(tmp_path).epochs == sorted({6, 7, 8, *best})
    assert digest(Checkpoint(tmp_path).load("last")) == digest(model)
    with pytest.raises(ValueError, match=r"which must be .*got 99"):
        Checkpoint(tmp_path).load(99)


@pytest.mark.parametrize("averaging", [None, mnistcnn.optim.EMA(decay=0.8)])
def test_best_model_has_the_validated_weights(averaging: Any, data: Any, tmp_path: Path):
    train_set, held_out = data.split(0.3)
    options = {"validation": held_out, "averaging": averaging, "checkpoint": tmp_path, "epochs": 6}
    keeper = mnistcnn.callbacks.KeepBest()
    model = small()
    history = fit(model, train_set, callbacks=[keeper], **options)
    best = Checkpoint(tmp_path).load("best")
    expected = max(record.validation_accuracy or 0 for record in history)
    assert mnistcnn.test(best, held_out, progress=False).accuracy == expected
    assert digest(best) == digest(model)  # KeepBest restored the same weights
    assert history[keeper.epoch - 1].validation_accuracy == expected  # type: ignore[operator]


def test_load_reads_each_file_once(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fit(small(), data, validation=0.2, checkpoint=Checkpoint(tmp_path, keep_last=9), epochs=3)
    read: list[int] = []
    original = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, epoch: read.append(epoch) or original(self, epoch))
    for which in ("last", "best", 2):
        read.clear()
        Checkpoint(tmp_path).load(which)  # type: ignore[arg-type]
        assert len(read) == len(set(read)), which
        assert which != 2 or read == [2]


def test_loading_the_best_requires_a_validation_set(data: Any, tmp_path: Path):
    fit(small(), data, checkpoint=tmp_path, epochs=1)
    with pytest.raises(ValueError, match="which='best' requires a validation set"):
        Checkpoint(tmp_path).load()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        Checkpoint(tmp_path / "nowhere").load()


# ---- different settings


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "recipe": ({"batch_size": 32}, "batch_size was 64 and is now 32"),
    "learning rate": (
        {"optimizer": mnistcnn.optim.SGD(lr=0.5)},
        r"settings: optimizer.lr was 0.01 and is now 0.5; "
        r"optimizer.momentum was 0.9 and is now 0.0\. Pass",
    ),
    "optimizer": (
        {"optimizer": mnistcnn.optim.Adam(lr=0.5)},
        r"optimizer was SGD\(lr=0.01, .* and is now Adam\(lr=0.5",
    ),
    "seed": ({"seed": 3}, "seed was 0 and is now 3"),
    "fewer epochs": ({"epochs": 1}, "epochs was 3 and is now 1"),
    "validation": ({"validation": 0.5}, "train_set was 300 images .* and is now 150 images .*; validation was None"),
    "model": (
        {"model": mnistcnn.create_model("budget_model1")},
        "network was .*25 nodes .* and is now .*10 nodes",
    ),
    "normalization": ({"mean": 0.4}, "normalization was"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_resuming_with_different_settings_raises(case: str, data: Any, tmp_path: Path):
    changes, text = DIFFERENT[case]
    interrupted(data, 2, tmp_path)
    options = dict(changes)
    model = options.pop("model", None) or small()
    if "mean" in options:
        model.normalization = mnistcnn.Normalization(options.pop("mean"), 1.0)
    before = digest(model)
    with pytest.raises(ValueError, match=text) as caught:
        fit(model, data, checkpoint=tmp_path, resume=True, **options)
    assert "cannot be resumed" in str(caught.value)
    assert digest(model) == before


def test_resuming_names_each_field_that_differs(data: Any, tmp_path: Path):
    rotated = {"augment": (mnistcnn.transforms.Rotation(5),), "schedule": mnistcnn.optim.StepLR(2)}
    interrupted(data, 2, tmp_path, **rotated)
    changed = {"augment": (mnistcnn.transforms.Rotation(7),), "schedule": mnistcnn.optim.StepLR(2, gamma=0.5)}
    with pytest.raises(ValueError, match=r"augment\[0\].degrees was \[-5.0, 5.0\] and is now") as caught:
        fit(small(), data, checkpoint=tmp_path, resume=True, **changed)
    assert "schedule.gamma was 0.1 and is now 0.5" in str(caught.value)
    assert str(caught.value).count(" was ") == 2


def test_resuming_with_other_images_raises(data: Any, digits: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    with pytest.raises(ValueError, match="train_set was 300 images"):
        fit(small(), digits[0][300:600], checkpoint=tmp_path, resume=True)


def test_one_cycle_run_can_not_be_extended(data: Any, tmp_path: Path):
    fit(small(), data, epochs=2, schedule=mnistcnn.optim.OneCycleLR(0.1), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="epochs was 2 and is now 4"):
        fit(small(), data, epochs=4, schedule=mnistcnn.optim.OneCycleLR(0.1), checkpoint=tmp_path, resume=True)


def distillation(teacher: Any) -> mnistcnn.losses.Distillation:
    return mnistcnn.losses.Distillation(teacher, temperature=2.0)


def test_resuming_with_another_teacher_raises(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, loss=distillation(small(5)))
    with pytest.raises(ValueError, match=r"loss.teacher was .budget_model3 \(.*and is now .budget_model3"):
        fit(small(), data, checkpoint=tmp_path, resume=True, loss=distillation(small(6)))
    straight, resumed = small(), small()
    fit(straight, data, loss=distillation(small(5)))
    fit(resumed, data, checkpoint=tmp_path, resume=True, loss=distillation(small(5)))
    assert digest(resumed) == digest(straight)


@pytest.mark.parametrize(("first", "then"), [("lanes", "aten"), ("aten", "lanes")])
def test_resuming_with_another_engine_warns(first: str, then: str, data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, engine=first)
    with pytest.warns(CheckpointWarning, match=f"engine '{first}' .now '{then}'.*rounding") as warned:
        history = mnistcnn.train(
            small(), data, epochs=3, batch_size=64, checkpoint=tmp_path, resume=True, engine=then, progress=False
        )
    assert len(history) == 3
    assert warned[0].filename == __file__


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_resuming_with_the_same_engine_does_not_warn(engine: str, data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        fit(small(), data, checkpoint=tmp_path, resume=True, engine=engine)


def test_directory_of_another_run_raises_without_resume(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    with pytest.raises(FileExistsError, match="checkpoints of a run of 2 epochs; pass resume=True"):
        fit(small(), data, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"resume": True}, ValueError, "resume=True requires .*checkpoint="),
        ({"resume": 1, "checkpoint": "x"}, TypeError, "resume must be True or False, got 1"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be .*mnistcnn.Checkpoint, got 3"),
    ],
)
def test_invalid_arguments_raise(options: dict[str, Any], error: type[Exception], text: str, data: Any):
    with pytest.raises(error, match=text):
        fit(small(), data, **options)


def test_checkpoint_checks_its_options():
    with pytest.raises(ValueError, match="keep_last must be an integer of at least 2, got 1"):
        Checkpoint("x", keep_last=1)
    with pytest.raises(ValueError, match="monitor must be one of 'validation_accuracy'"):
        Checkpoint("x", monitor="train_loss")


def test_loaded_tensors_are_bit_identical(data: Any, tmp_path: Path):
    model = small()
    fit(model, data, checkpoint=tmp_path, epochs=2)
    loaded = Checkpoint(tmp_path).load(2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def with_losses(losses: list[float]) -> list[mnistcnn.callbacks.EpochRecord]:
    return [mnistcnn.callbacks.EpochRecord(i + 1, 0.1, 0.9, loss, 0.9, 0.1, 1.0) for i, loss in enumerate(losses)]


def test_epochs_whose_validation_loss_is_not_finite_are_never_the_best():
    losses = [float("nan"), 0.9, 0.8, float("inf"), 0.85]
    assert ranked(with_losses(losses), "validation_loss") == [3, 5, 2]


def test_best_checkpoint_without_a_validated_epoch_that_was_kept(data: Any, tmp_path: Path):
    trainer = mnistcnn.Trainer(small(), epochs=3, checkpoint=Checkpoint(tmp_path, keep_last=2, keep_best=0))
    list(trainer.epochs(data, data, epochs=1))
    list(trainer.epochs(data, epochs=2))
    with pytest.raises(ValueError, match=r"no checkpoint of an epoch with a validation result is left.*use 'last'"):
        Checkpoint(tmp_path).load("best")


def test_resumed_run_has_a_validation_loss_that_is_not_finite(data: Any, tmp_path: Path):
    schedule = mnistcnn.optim.ReduceLROnPlateau(patience=0, factor=0.5)
    white = data[:20]
    histories = []
    for folder in (tmp_path / "whole", tmp_path / "parts"):
        for epochs in (4,) if folder.name == "whole" else (2, 4):
            model = small()
            callbacks = [Blind(2)]
            history = fit(
                model, data, epochs=epochs, validation=white, schedule=schedule, checkpoint=folder, resume=True,
                callbacks=callbacks,
            )  # fmt: skip
        histories.append(history)
    assert math.isnan(histories[0][1].validation_loss)
    rates = [history.column("learning_rate").tolist() for history in histories]
    assert rates[0] == rates[1]


def test_break_in_the_loop_over_epochs_saves_the_last_one(data: Any, tmp_path: Path):
    trainer = mnistcnn.Trainer(small(), epochs=9, checkpoint=Checkpoint(tmp_path, every=4), progress=False)
    for record in trainer.epochs(data):
        if record.epoch == 2:
            break
    assert Checkpoint(tmp_path).epochs == [2]

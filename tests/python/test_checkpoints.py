"""Checkpoints: a run that is killed, cut or interrupted ends with the bits of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistcnn
from killed_run import digest, recipe, run
from mnistcnn import Checkpoint
from mnistcnn._internal.tensor_files import write_tensors
from mnistcnn.training.checkpoints import FORMAT, CheckpointWarning
from runs import small

KILLS = int(os.environ.get("MNISTCNN_KILLS", "12"))  # 50 by hand


def fit(model: mnistcnn.Model, data: mnistcnn.ImageSet, **options: Any) -> mnistcnn.History:
    return mnistcnn.train(model, data, **{"epochs": 3, "batch_size": 64, "progress": False, **options})


class Stop:
    """Ends a run after an epoch as a crash would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == self.epoch:
            raise InterruptedError


def interrupted(data: mnistcnn.ImageSet, epoch: int, folder: Path, **options: Any) -> mnistcnn.Model:
    model = small()
    with pytest.raises(InterruptedError):
        fit(model, data, checkpoint=folder, callbacks=[Stop(epoch)], **options)
    return model


# ---- the same bits


def a_run(folder: Path) -> subprocess.Popen[str]:
    """A process that has begun; what it prints next is the digest at its end."""
    script = str(Path(__file__).with_name("killed_run.py"))
    process = subprocess.Popen([sys.executable, script, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_killed_at_random_moments(tmp_path: Path):
    """SIGKILL again and again, at any moment after the start, also while a checkpoint is written."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    wanted = run(None)
    with a_run(tmp_path / "undisturbed") as process:
        start = time.perf_counter()
        assert process.stdout is not None
        assert process.stdout.readline().strip() == wanted
        longest = 1.2 * (time.perf_counter() - start)
    folder = tmp_path / "run"
    kills = completed = 0
    reached: list[int] = []
    while kills < KILLS:
        with a_run(folder) as process:
            time.sleep(dice.uniform(0, longest))
            process.send_signal(signal.SIGKILL)  # nothing happens to one that has ended
            output, _ = process.communicate()
        if process.returncode == 0:
            assert output.strip() == wanted
        else:
            assert process.returncode == -signal.SIGKILL
            kills += 1
            reached.append((Checkpoint(folder).epochs or [0])[-1])
        if (Checkpoint(folder).epochs or [0])[-1] == recipe().epochs:  # the next one begins anew
            assert run(str(folder)) == wanted
            completed += 1
            folder = tmp_path / f"run{completed}"
    print(f"killed after epochs {reached}, {completed} runs completed in between")
    assert any(0 < epoch < recipe().epochs for epoch in reached), "no run was killed between two of its checkpoints"
    assert run(str(folder)) == wanted


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


def test_a_run_from_before_a_layer_had_all_its_fields_goes_on(data: Any, tmp_path: Path):
    """As written before dropout could say "always"."""
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


class Thaw:
    """Lets a frozen layer train after an epoch."""

    def on_train_start(self, trainer: mnistcnn.Trainer) -> None:
        self.model = trainer.model

    def on_epoch(self, record: mnistcnn.callbacks.EpochRecord) -> None:
        if record.epoch == 2:
            self.model.requires_grad_(True)


def half_frozen() -> mnistcnn.Model:
    model = small()
    next(model.parameters()).requires_grad_(False)
    return model


def test_what_was_thawed_on_the_way_stays_thawed(data: Any, tmp_path: Path):
    whole, resumed = half_frozen(), half_frozen()
    fit(whole, data, epochs=5, callbacks=[Thaw()])
    with pytest.raises(InterruptedError):
        fit(half_frozen(), data, epochs=5, checkpoint=tmp_path, callbacks=[Thaw(), Stop(3)])
    fit(resumed, data, epochs=5, checkpoint=tmp_path, resume=True, callbacks=[Thaw()])
    assert digest(resumed) == digest(whole)


def test_a_run_with_other_frozen_parameters_is_not_resumed(data: Any, tmp_path: Path):
    with pytest.raises(InterruptedError):
        fit(half_frozen(), data, checkpoint=tmp_path, callbacks=[Stop(2)])
    with pytest.raises(ValueError, match=r"the list of frozen parameters was \['.*weight'\] and is now \[\]"):
        fit(small(), data, checkpoint=tmp_path, resume=True)


def test_a_measured_normalization_comes_back(data: Any, tmp_path: Path):
    models = small(), small(), small()
    for model in models:
        model.normalization = None
    fit(models[0], data)
    with pytest.raises(InterruptedError):
        fit(models[1], data, checkpoint=tmp_path, callbacks=[Stop(1)])
    fit(models[1], data, checkpoint=tmp_path, resume=True)
    assert digest(models[0]) == digest(models[1])


def test_resumed_when_complete_changes_nothing(data: Any, tmp_path: Path):
    first, again = small(), small(seed=4)
    fit(first, data, checkpoint=tmp_path, averaging=mnistcnn.optim.EMA(decay=0.9))
    history = fit(again, data, checkpoint=tmp_path, resume=True, averaging=mnistcnn.optim.EMA(decay=0.9))
    assert len(history) == 3
    assert digest(first) == digest(again)


def test_nothing_saved_yet_begins_at_the_beginning(data: Any, tmp_path: Path):
    first, second = small(), small()
    fit(first, data)
    fit(second, data, checkpoint=tmp_path / "new" / "run", resume=True)
    assert digest(first) == digest(second)


def test_more_epochs_go_on(data: Any, tmp_path: Path):
    longer, extended = small(), small()
    fit(longer, data, epochs=5)
    fit(extended, data, epochs=2, checkpoint=tmp_path)
    fit(extended, data, epochs=5, checkpoint=tmp_path, resume=True)
    assert digest(longer) == digest(extended)


def test_ctrl_c_leaves_the_last_epoch_on_disk(data: Any, tmp_path: Path):
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
def test_a_damaged_file_is_noticed_and_the_one_before_is_used(damage: str, data: Any, tmp_path: Path):
    whole, resumed = small(), small()
    fit(whole, data, epochs=4)
    interrupted(data, 3, tmp_path, epochs=4)
    path = Checkpoint(tmp_path).path(3)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    damaged = {"cut": content[: len(content) // 2], "empty": b"", "flipped": content, "text": b"hello" * 100}[damage]
    path.write_bytes(damaged)
    with pytest.warns(mnistcnn.CheckpointWarning, match=r"epoch-000003.* the checkpoint before it is used"):
        fit(resumed, data, epochs=4, checkpoint=tmp_path, resume=True)
    assert digest(whole) == digest(resumed)


@pytest.mark.filterwarnings("ignore::mnistcnn.CheckpointWarning")
def test_all_files_damaged_is_an_error(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    for number in Checkpoint(tmp_path).epochs:
        Checkpoint(tmp_path).path(number).write_bytes(b"")
    model = small()
    before = digest(model)
    with pytest.raises(OSError, match=r"every checkpoint in .* is damaged"):
        fit(model, data, checkpoint=tmp_path, resume=True)
    assert digest(model) == before


def test_files_of_a_killed_writer_go(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    left = tmp_path / ".epoch-000003.safetensors.abc.part"
    left.write_bytes(b"half")
    other = tmp_path / "notes.part"
    other.write_bytes(b"mine")
    fit(small(), data, checkpoint=tmp_path, resume=True)
    assert not left.exists()
    assert other.exists()


# ---- the disk


def test_a_full_disk_leaves_earlier_checkpoints_whole(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, resumed, model = small(), small(), small()
    fit(whole, data)
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"epoch-000003.* could not be written \(No space left on device\); earlier ones"):
        fit(model, data, checkpoint=tmp_path)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000001.safetensors", "epoch-000002.safetensors"]
    fit(resumed, data, checkpoint=tmp_path, resume=True)
    assert digest(whole) == digest(resumed)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    model = small()
    before = digest(model)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match=r"nothing can be written into .*: Permission denied"):
        fit(model, data, checkpoint=tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"):
        fit(model, data, checkpoint=file)
    assert digest(model) == before


# ---- which files stay, and what they give


def test_the_last_and_the_best_stay(digits: Any, tmp_path: Path):
    model = small()
    history = fit(
        model, digits[0][:300], epochs=8, validation=0.3, checkpoint=Checkpoint(tmp_path, keep_last=3, keep_best=2)
    )
    accuracies = [-(record.validation_accuracy or 0) for record in history]
    best = sorted(range(1, 9), key=lambda epoch: (accuracies[epoch - 1], epoch))[:2]
    assert Checkpoint(tmp_path).epochs == sorted({6, 7, 8, *best})
    assert digest(Checkpoint(tmp_path).load("last")) == digest(model)
    with pytest.raises(ValueError, match="there is no checkpoint of epoch 99"):
        Checkpoint(tmp_path).load(99)


@pytest.mark.parametrize("averaging", [None, mnistcnn.optim.EMA(decay=0.8)])
def test_the_best_is_what_the_validation_saw(averaging: Any, data: Any, tmp_path: Path):
    train_set, held_out = data.split(0.3)
    options = {"validation": held_out, "averaging": averaging, "checkpoint": tmp_path, "epochs": 6}
    keeper = mnistcnn.callbacks.KeepBest()
    model = small()
    history = fit(model, train_set, callbacks=[keeper], **options)
    best = Checkpoint(tmp_path).load("best")
    wanted = max(record.validation_accuracy or 0 for record in history)
    assert mnistcnn.test(best, held_out, progress=False).accuracy == wanted
    assert digest(best) == digest(model)  # KeepBest gave the model the same
    assert history[keeper.epoch - 1].validation_accuracy == wanted  # type: ignore[operator]


def test_a_file_is_read_once(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fit(small(), data, validation=0.2, checkpoint=Checkpoint(tmp_path, keep_last=9), epochs=3)
    read: list[int] = []
    original = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, epoch: read.append(epoch) or original(self, epoch))
    for which in ("last", "best", 2):
        read.clear()
        Checkpoint(tmp_path).load(which)  # type: ignore[arg-type]
        assert len(read) == len(set(read)), which
        assert which != 2 or read == [2]


def test_no_best_without_validation(data: Any, tmp_path: Path):
    fit(small(), data, checkpoint=tmp_path, epochs=1)
    with pytest.raises(ValueError, match="had no validation set, so that no epoch is its best"):
        Checkpoint(tmp_path).load()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        Checkpoint(tmp_path / "nowhere").load()


# ---- another run


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "recipe": ({"batch_size": 32}, "batch_size was 64 and is now 32"),
    "optimizer": (
        {"optimizer": mnistcnn.optim.SGD(lr=0.5)},
        r"optimizer was SGD\(lr=0.01, .* and is now SGD\(lr=0.5",
    ),
    "seed": ({"seed": 3}, "seed was 0 and is now 3"),
    "fewer epochs": ({"epochs": 1}, "epochs was 3 and is now 1"),
    "validation": ({"validation": 0.5}, "train_set was 300 images .* and is now 150 images .*; validation was None"),
    "model": (
        {"model": mnistcnn.create_model("budget_model1")},
        "the network was a graph of 25 nodes .* and is now a graph of 10 nodes",
    ),
    "normalization": ({"mean": 0.4}, "the model's normalization was"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_run_is_not_resumed(case: str, data: Any, tmp_path: Path):
    changes, text = OTHERS[case]
    interrupted(data, 2, tmp_path)
    options = dict(changes)
    model = options.pop("model", None) or small()
    if "mean" in options:
        model.normalization = mnistcnn.Normalization(options.pop("mean"), 1.0)
    before = digest(model)
    with pytest.raises(ValueError, match=text) as caught:
        fit(model, data, checkpoint=tmp_path, resume=True, **options)
    assert "can't be resumed" in str(caught.value)
    assert digest(model) == before


def test_other_images_are_not_resumed(data: Any, digits: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    with pytest.raises(ValueError, match="train_set was 300 images"):
        fit(small(), digits[0][300:600], checkpoint=tmp_path, resume=True)


def test_a_cycle_is_not_extended(data: Any, tmp_path: Path):
    fit(small(), data, epochs=2, schedule=mnistcnn.optim.OneCycleLR(0.1), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="epochs was 2 and is now 4"):
        fit(small(), data, epochs=4, schedule=mnistcnn.optim.OneCycleLR(0.1), checkpoint=tmp_path, resume=True)


def taught(teacher: Any) -> mnistcnn.losses.Distillation:
    return mnistcnn.losses.Distillation(teacher, temperature=2.0)


def test_another_teacher_is_not_resumed(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, loss=taught(small(5)))
    with pytest.raises(ValueError, match=r"loss was Distillation\(teacher='budget_model3 \(.*and is now Distillation"):
        fit(small(), data, checkpoint=tmp_path, resume=True, loss=taught(small(6)))
    straight, resumed = small(), small()
    fit(straight, data, loss=taught(small(5)))
    fit(resumed, data, checkpoint=tmp_path, resume=True, loss=taught(small(5)))
    assert digest(resumed) == digest(straight)


@pytest.mark.parametrize(("first", "then"), [("lanes", "aten"), ("aten", "lanes")])
def test_another_engine_goes_on_and_says_so(first: str, then: str, data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, engine=first)
    with pytest.warns(CheckpointWarning, match=f"was made with engine '{first}' .now '{then}'.*last digits") as told:
        history = fit(small(), data, checkpoint=tmp_path, resume=True, engine=then)
    assert len(history) == 3
    assert told[0].filename == __file__


@pytest.mark.parametrize("engine", ["lanes", "aten"])
def test_the_same_engine_says_nothing(engine: str, data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path, engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        fit(small(), data, checkpoint=tmp_path, resume=True, engine=engine)


def test_two_runs_are_not_mixed(data: Any, tmp_path: Path):
    interrupted(data, 2, tmp_path)
    with pytest.raises(FileExistsError, match="holds the checkpoints of a run of 2 epochs; go on with resume=True"):
        fit(small(), data, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"resume": True}, ValueError, "resume=True needs the folder of the run"),
        ({"resume": 1, "checkpoint": "x"}, TypeError, "resume must be True or False, got 1"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder or a mnistcnn.Checkpoint, got 3"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type[Exception], text: str, data: Any):
    with pytest.raises(error, match=text):
        fit(small(), data, **options)


def test_a_checkpoint_needs_two_files():
    with pytest.raises(ValueError, match="keep_last must be an integer of at least 2, got 1"):
        Checkpoint("x", keep_last=1)
    with pytest.raises(ValueError, match="monitor must be one of 'validation_accuracy'"):
        Checkpoint("x", monitor="train_loss")


def test_tensors_of_a_file_are_exact(data: Any, tmp_path: Path):
    model = small()
    fit(model, data, checkpoint=tmp_path, epochs=2)
    loaded = Checkpoint(tmp_path).load(2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])

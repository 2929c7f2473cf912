"""Built-in callbacks."""

from __future__ import annotations

import copy
import csv
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
import runs
from runs import small


def fit(model: mnistcnn.Model, data: mnistcnn.ImageSet, *callbacks: Any, **options: Any) -> mnistcnn.History:
    return runs.fit(model, data, callbacks=callbacks, **{"epochs": 3, **options})


def expected_last_epoch(values: list[float], patience: int, min_delta: float, sign: int) -> int:
    """Return the epoch after which a run must end: slow reference that tries every epoch."""
    for end in range(1, len(values) + 1):
        records, best = [], -np.inf
        for value in values[:end]:
            records.append(sign * value > best + min_delta)
            best = sign * value if records[-1] else best
        if end >= patience and not any(records[end - patience :]):
            return end
    return len(values)


@pytest.mark.parametrize("seed", range(20))
def test_early_stopping_matches_the_reference(seed: int):
    """Compare with the reference for random validation results in the history."""
    rng = np.random.default_rng(seed)
    monitor = ["validation_accuracy", "validation_loss"][seed % 2]
    patience, min_delta = int(rng.integers(1, 5)), float(rng.choice([0.0, 0.05]))
    values = rng.uniform(0, 1, 30).round(1).tolist()
    stopper = mnistcnn.callbacks.EarlyStopping(patience, monitor, min_delta)
    trainer = mnistcnn.Trainer(small(), progress=False)
    stopper.on_train_start(trainer)
    for epoch, value in enumerate(values, start=1):
        record = mnistcnn.callbacks.EpochRecord(epoch, 0.1, 0.9, value, value, 0.1, 1.0)
        trainer.history.epochs.append(record)
        stopper.on_epoch(record)
        if trainer._stopping:
            break
    assert len(trainer.history) == expected_last_epoch(values, patience, min_delta, 1 if "accuracy" in monitor else -1)


def test_early_stopping_also_stops_the_resumed_run(data: Any, tmp_path: Path):
    options: dict[str, Any] = {"validation": 0.2, "optimizer": mnistcnn.optim.SGD(lr=0.0), "epochs": 9}
    model = mnistcnn.create_model("budget_model1")  # without batch norm, training with lr=0 changes nothing
    assert len(fit(model, data, mnistcnn.callbacks.EarlyStopping(2), checkpoint=tmp_path, **options)) == 3
    assert len(fit(model, data, mnistcnn.callbacks.EarlyStopping(2), checkpoint=tmp_path, resume=True, **options)) == 3


def test_keep_best_restores_the_best_weights(data: Any):
    model = small()
    train_set, held_out = data.split(0.3)
    history = fit(
        model, train_set, mnistcnn.callbacks.KeepBest("validation_loss"), validation=held_out, epochs=5, seed=2
    )
    best = min(record.validation_loss or 9 for record in history)
    assert mnistcnn.test(model, held_out, progress=False).loss == best


def test_keep_best_after_divergence(data: Any):
    """The run diverges in the third epoch; the model gets the best weights of the first two."""
    model = mnistcnn.create_model("budget_model1")
    schedule = mnistcnn.optim.LambdaLR(lambda epoch: 1.0 if epoch < 2 else 1e30)
    with pytest.raises(mnistcnn.DivergedError):
        fit(model, data, mnistcnn.callbacks.KeepBest(), validation=0.3, schedule=schedule)
    assert len(model.history) == 2
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("make", [mnistcnn.callbacks.EarlyStopping, mnistcnn.callbacks.KeepBest])
def test_missing_validation_set_raises(make: Any, data: Any):
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"monitors validation_accuracy, .*no validation set; .*validation=0.1"):
        fit(model, data, make())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ValueError, match="monitor must be one of 'validation_accuracy', 'validation_loss'"):
        make(monitor="train_loss")


def test_csv_logger(data: Any, tmp_path: Path):
    history = fit(small(), data, mnistcnn.callbacks.CSVLogger(tmp_path / "run.csv"))
    with (tmp_path / "run.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == history.column("train_loss").tolist()
    model = small()
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        fit(model, data, mnistcnn.callbacks.CSVLogger(tmp_path / "nowhere" / "run.csv"))
    assert model.history is None  # the run did not start


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(data: Any, tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(small(), data, mnistcnn.callbacks.TensorBoard(tmp_path, every=2), validation=0.2)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    losses = [each.value for each in events.Scalars("loss/validation")]
    assert losses == pytest.approx(history.column("validation_loss").tolist(), rel=1e-6)
    steps = [(each.step, each.value) for each in events.Scalars("step/loss")]
    assert steps == [(i, pytest.approx(history.step_losses[i - 1])) for i in range(2, len(history.step_losses) + 1, 2)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_mlflow(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # use files instead of a database
    store = f"file:{tmp_path}"
    history = fit(small(), data, mnistcnn.callbacks.MLflow("digits", "first", store))
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "64"
    assert run.data.metrics["train_loss"] == history.last.train_loss
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 3
    try:
        raise MemoryError
    except MemoryError:  # a run inside of an except block is complete, too
        fit(small(), data, mnistcnn.callbacks.MLflow("again", "second", store))
    with pytest.raises(mnistcnn.DivergedError):
        fit(small(), data, mnistcnn.callbacks.MLflow("again", "third", store), optimizer=mnistcnn.optim.SGD(lr=1e30))
    runs = client.search_runs([client.get_experiment_by_name("again").experiment_id])
    assert {each.info.run_name: each.info.status for each in runs} == {"second": "FINISHED", "third": "FAILED"}


@pytest.mark.parametrize(
    ("make", "module", "text"),
    [
        (
            lambda path: mnistcnn.callbacks.TensorBoard(path),
            "torch.utils.tensorboard",
            "TensorBoard needs tensorboard: pip install tensorboard$",
        ),
        (lambda _: mnistcnn.callbacks.MLflow(), "mlflow", "MLflow needs mlflow-skinny: pip install mlflow-skinny$"),
    ],
)
def test_missing_package_raises(make: Any, module: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=text):
        make(tmp_path)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mnistcnn.callbacks.KeepBest, "epoch"),
        (mnistcnn.callbacks.EarlyStopping, "monitor"),
        (lambda: mnistcnn.callbacks.CSVLogger("run.csv"), "path"),
    ],
)
def test_used_callbacks_can_be_copied(
    make: Any, name: str, data: mnistcnn.ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    callback = make()
    fit(small(), data, callback, validation=0.2, epochs=1)
    for other in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert getattr(other, name) == getattr(callback, name)


class StopsInEpoch4:
    def on_epoch(self, record: Any) -> None:
        if record.epoch == 4:
            raise InterruptedError


@pytest.mark.parametrize("first", [None, mnistcnn.callbacks.KeepBest()])
def test_keep_best_raises_on_resuming_without_earlier_weights(first: Any, data: mnistcnn.ImageSet, tmp_path: Path):
    """Another ``monitor`` has no weights of the best epoch either."""
    callbacks = [StopsInEpoch4(), *([first] if first else [])]
    with pytest.raises(InterruptedError):
        fit(small(), data, *callbacks, validation=0.2, epochs=5, checkpoint=tmp_path)
    best = mnistcnn.callbacks.KeepBest("validation_loss")
    with pytest.raises(ValueError, match=r"KeepBest\('validation_loss'\) has no weights.* with another monitor"):
        fit(small(), data, best, validation=0.2, epochs=5, checkpoint=tmp_path, resume=True)


def test_keep_best_sees_the_epoch_in_which_another_callback_fails(data: mnistcnn.ImageSet):
    class Fails:
        def on_epoch(self, record: Any) -> None:
            raise RuntimeError("failed")

    best = mnistcnn.callbacks.KeepBest()
    with pytest.raises(RuntimeError, match="failed"):
        fit(small(), data, Fails(), best, validation=0.2, epochs=2)
    assert best.epoch == 1

"""History: access to records, and output as text, HTML, JSON, CSV and data frame."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mnistcnn import History
from mnistcnn.callbacks import EpochRecord


@pytest.fixture
def history() -> History:
    epochs = [
        EpochRecord(1, 0.5, 0.85, 0.2, 0.93, 0.01, 1.25),
        EpochRecord(2, 0.125, 0.96, 0.1, 0.97, 0.005, 1.5),
    ]
    return History("session7_net", 7, epochs, [0.9, 0.3, 0.2, 0.05])


def test_history_is_a_sequence_of_records(history: History):
    assert len(history) == 2
    assert [record.epoch for record in history] == [1, 2]
    assert history[-1] is history.last is history.epochs[1]
    assert history.seconds == 2.75
    with pytest.raises(IndexError):
        history[2]


def test_columns(history: History):
    assert history.column("validation_accuracy").tolist() == [0.93, 0.97]
    unvalidated = History(epochs=[EpochRecord(1, 0.5, 0.8, None, None, 0.01, 1.0)])
    assert math.isnan(unvalidated.column("validation_loss")[0])
    with pytest.raises(ValueError, match=r"name must be .*epoch, train_loss.*got 'loss'"):
        history.column("loss")


def test_last_raises_if_the_history_is_empty():
    with pytest.raises(ValueError, match="the history is empty"):
        _ = History().last
    assert repr(History("net", 3)) == "History 'net', seed 3: 0 epochs in 0.0 s"


def test_dict_and_json_round_trip(history: History, tmp_path: Path):
    assert History.from_dict(history.to_dict()) == history
    text = history.to_json(tmp_path / "history.json")
    assert json.loads(text) == history.to_dict()
    assert History.from_json(tmp_path / "history.json") == history
    history.to_dict()["epochs"].clear()
    history.to_dict()["step_losses"].clear()
    assert (len(history), len(history.step_losses)) == (2, 4)


def test_csv(history: History, tmp_path: Path):
    history.epochs.append(EpochRecord(3, 0.1, 0.97, None, None, 0.005, 1.0))
    path = history.to_csv(tmp_path / "history.csv")
    assert b"\r\r" not in path.read_bytes()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
        *("learning_rate", "seconds", "last_learning_rate"),
    ]
    assert [float(row["train_loss"]) for row in rows] == [0.5, 0.125, 0.1]
    assert rows[2]["validation_loss"] == ""


def test_data_frame(history: History):
    pytest.importorskip("pandas")
    frame = history.to_dataframe()
    assert frame.index.tolist() == [1, 2]
    assert frame.index.name == "epoch"
    assert frame["validation_accuracy"].tolist() == [0.93, 0.97]


@pytest.mark.parametrize("writer", ["to_json", "to_csv"])
def test_old_file_is_kept_if_writing_fails(
    writer: str, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "history"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        getattr(history, writer)(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_text(history: History):
    lines = repr(history).splitlines()
    assert lines[0] == "History 'session7_net', seed 7: 2 epochs in 2.8 s"
    assert lines[2].split() == ["1", "0.5000", "85.00", "%", "0.2000", "93.00", "%", "0.01", "1.25"]
    assert len({len(line) for line in lines[1:]}) == 1  # columns are aligned
    assert str(history[0]) == (
        "epoch 1: train loss 0.5000, accuracy 85.00 %; validation loss 0.2000, accuracy 93.00 %; 1.25 s"
    )
    assert "validation" not in str(EpochRecord(1, 0.5, 0.8, None, None, 0.01, 1.0))


def test_html(history: History):
    html = history._repr_html_()
    assert html.count("<tr>") == 3
    assert "97.00 %" in html
    assert "&lt;b&gt;" in History("<b>", 0)._repr_html_()  # names are escaped


def test_nan_and_infinity_become_null():
    record = EpochRecord(1, 0.5, 0.9, float("nan"), 0.1, 0.01, 1.0)
    text = History(epochs=[record], step_losses=[float("inf")]).to_json()
    assert json.loads(text)["epochs"][0]["validation_loss"] is None
    assert json.loads(text)["step_losses"] == [None]

"""Files with valid JSON and a valid digest, but fields of wrong types: errors name the file and the field."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistcnn
from mnistcnn._internal.tensor_files import write_tensors
from mnistcnn.nn.save import MODEL
from mnistcnn.study.log import append
from mnistcnn.training.checkpoints import FORMAT
from runs import fit, small
from studies import made_setting, made_trial, made_trials


def changed(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of JSON data with another value at a place; remove the field if the value is ``...``."""
    data = inner = copy.deepcopy(data)
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return data


HISTORY: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("epochs",), None, "history.epochs must be a list, got null"),
    (("epochs",), ..., "history has no field 'epochs'"),
    (("epochs", 0), [], r"history.epochs\[0\] must be a dictionary, got \[\]"),
    (("epochs", 1, "train_loss"), "low", r"history.epochs\[1\].train_loss must be a number, got 'low'"),
    (("epochs", 1, "seconds"), ..., r"history.epochs\[1\] has no field 'seconds'"),
    (("epochs", 1, "train_accuracy"), 1e308, r"history.epochs\[1\].train_accuracy must be from 0 to 1, got 1e\+308"),
    (("epochs", 0, "validation_accuracy"), -1, r"history.epochs\[0\].validation_accuracy must be from 0 to 1, got -1"),
    (("step_losses",), 5, "history.step_losses must be a list, got 5"),
    (("model",), {}, "history.model must be a string, got {}"),
    (("recipe",), [], r"history.recipe must be a dictionary or null, got \[\]"),
    (("more",), 1, "history has an unknown field 'more'"),
]


@pytest.mark.parametrize(("place", "value", "message"), HISTORY)
def test_history(place: tuple[str | int, ...], value: Any, message: str, tmp_path: Path):
    path = tmp_path / "history.json"
    path.write_text(json.dumps(changed(made_trial(0, 0.99).history.to_dict(), place, value)))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        mnistcnn.History.from_json(path)


TRIAL: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("setting", "parameters"), "many", "setting.parameters must be an integer, got 'many'"),
    (("setting", "train_set"), None, "setting.train_set must be a dictionary, got null"),
    (("setting", "test_set", "digest"), ..., "setting.test_set has no field 'digest'"),
    (("setting", "validation"), [], r"setting.validation must be a number or a dictionary or null, got \[\]"),
    (("setting", "recipe", "about"), [1], r"setting.recipe.about must be a dictionary or null, got \[1\]"),
    (("setting", "recipe", "augment"), 3, "setting.recipe.augment must be a list, got 3"),
    (("setting", "recipe", "epochs"), {}, "setting.recipe.epochs must be an integer, got {}"),
]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        *TRIAL,
        (("trials", 1, "accuracy"), "good", "trial.accuracy must be a number or null, got 'good'"),
        (("trials", 1, "history", "epochs"), {}, "history.epochs must be a list, got {}"),
        (("trials", 1, "made_with", "versions"), [], "trial.made_with.versions must be a string or a dictionary"),
        (
            ("trials", 1, "history", "epochs"),
            [],
            "trial.history must have epochs, since the trial has",
        ),
        (("trials", 1, "accuracy"), 99.4, "trial.accuracy must be a number between 0 and 1, got 99.4"),
        (("target",), 50, "target must be an accuracy from 0 to 1, such as 0.994, got 50"),
        (("trials",), {}, "trials.trials must be a list, got {}"),
        (("unfinished",), [None], r"trials.unfinished\[0\] must be an integer, got null"),
        (("format",), [], r"format must be 'mnistcnn trials 1', got \[\]"),
    ],
)
def test_trials(place: tuple[str | int, ...], value: Any, message: str, tmp_path: Path):
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(changed(made_trials().to_dict(), place, value)))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        mnistcnn.Trials.from_json(path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        *TRIAL,
        (("trial", "made_with"), [], r"trial.made_with must be a dictionary, got \[\]"),
        (("trial", "made_with", "versions"), [], "trial.made_with.versions must be a string or a dictionary"),
        (("trial", "seed"), "1", "trial.seed must be an integer, got '1'"),
    ],
)
def test_line_of_an_experiment_log_is_skipped(place: tuple[str | int, ...], value: Any, message: str, tmp_path: Path):
    path = tmp_path / "log.jsonl"
    append(path, made_setting(), made_trial(0, 0.99))
    line = json.loads(path.read_text())
    with path.open("a") as file:
        file.write(json.dumps(changed(line, place, value)) + "\n")
    with pytest.warns(UserWarning, match=rf"log.jsonl, line 2: not a valid trial, skipped \({message}"):
        table = mnistcnn.experiments(path)
    assert len(table) == len(repr(table).splitlines()[2:]) == 1


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("nodes", 0, 3), None, r"model.nodes\[0\]\[3\] must be a dictionary, got null"),
        (("nodes", 0, 2), "ab", r"model.nodes\[0\]\[2\] must be a list, got 'ab'"),
        (("nodes", 0, 2), [2**40], r"node 'conv1': input 1099511627776 must be an earlier node, or -1"),
        (("nodes", 0), {}, r"model.nodes\[0\] must be a list, got {}"),
        (("normalization",), [], r"model.normalization must be a dictionary or null, got \[\]"),
        (("normalization", "mean"), None, "model.normalization.mean must be a list, got null"),
        (("name",), {"a": 1}, "model.name must be a string, got {'a': 1}"),
        (("shared",), [[1, 2]], r"model.shared\[0\] must have 3 entries, got 2"),
        (("input_shape",), ..., "model has no field 'input_shape'"),
    ],
)
def test_model(place: tuple[str | int, ...], value: Any, message: str, tmp_path: Path):
    model = small()
    path = model.save(tmp_path / "model.safetensors")
    description, tensors = _contents(path)
    write_tensors(path, MODEL, changed(description, place, value), tensors)
    with pytest.raises(OSError, match=f"^{re.escape(str(path))}: .*{message}"):
        mnistcnn.load_model(path)


def _contents(path: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    from mnistcnn._internal.tensor_files import read_tensors

    return read_tensors(path, MODEL)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, digits: Any) -> Path:
    """Return the directory of a run of one epoch."""
    folder = tmp_path_factory.mktemp("run")
    fit(small(), digits[0][:100], checkpoint=folder, averaging=mnistcnn.optim.EMA(decay=0.9))
    return folder


CHECKPOINT: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("history",), [], r"run.history must be a dictionary, got \[\]"),
    (("history", "epochs", 0, "train_loss"), [], r"history.epochs\[0\].train_loss must be a number, got \[\]"),
    (("history", "epochs"), [], r"its history has the epochs \[\], not the epochs 1 to 1"),
    (("model", "nodes", 0, 3), None, r"run.model.nodes\[0\]\[3\] must be a dictionary, got null"),
    (("recipe",), None, "run.recipe must be a dictionary, got null"),
    (("recipe", "averaging"), [], r"run.recipe.averaging must be a dictionary or null, got \[\]"),
    (("train_set",), [], r"run.train_set must be a dictionary, got \[\]"),
    (("made_with", "engine"), [], r"run.made_with.engine must be a string, got \[\]"),
    (("frozen",), 3, "run.frozen must be a list, got 3"),
    (("model",), ..., "run has no field 'model'"),
]


@pytest.mark.parametrize(("place", "value", "message"), CHECKPOINT)
def test_checkpoint(place: tuple[str | int, ...], value: Any, message: str, finished_run: Path, tmp_path: Path):
    snapshot = mnistcnn.Checkpoint(finished_run).read(1)
    copied = mnistcnn.Checkpoint(tmp_path)
    path = copied.path(1)
    description = changed(json.loads(json.dumps(snapshot.description)), place, value)
    write_tensors(path, FORMAT, description, snapshot.tensors)
    with pytest.raises(OSError, match=f"^{re.escape(str(path))}: {message}"):
        copied.load(1)
    with (
        pytest.warns(mnistcnn.CheckpointWarning, match=message),
        pytest.raises(OSError, match=r"every checkpoint in .* is damaged"),
    ):
        copied.history  # noqa: B018


def resumed(tensors: dict[str, Any], finished_run: Path, folder: Path, data: mnistcnn.ImageSet) -> Any:
    """Resume a copy of the run in which some tensors have been replaced, or removed if they are ``...``."""
    snapshot = mnistcnn.Checkpoint(finished_run).read(1)
    changed_tensors = {name: each for name, each in (snapshot.tensors | tensors).items() if each is not ...}
    write_tensors(mnistcnn.Checkpoint(folder).path(1), FORMAT, snapshot.description, changed_tensors)
    averaging = mnistcnn.optim.EMA(decay=0.9)
    return fit(small(), data, epochs=2, averaging=averaging, checkpoint=folder, resume=True)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"run.averaging.values": torch.zeros(3)}, "the tensors of the checkpoint do not fit the run"),
        ({"run.averaging.counts": ...}, "the tensors of the checkpoint do not fit the run"),
        ({"run.optimizer.steps": torch.zeros(1)}, "the tensors of the checkpoint do not fit the run"),
        ({"model.conv1.weight": torch.zeros(1)}, "the weights in the checkpoint do not fit the model"),
    ],
)
def test_tensors_of_a_checkpoint(
    tensors: dict[str, Any], message: str, finished_run: Path, tmp_path: Path, digits: Any
):
    with pytest.raises(OSError, match=rf"^{re.escape(str(tmp_path))}.*epoch-000001.safetensors: {message}"):
        resumed(tensors, finished_run, tmp_path, digits[0][:100])


@pytest.mark.parametrize("losses", [..., torch.zeros(2, 2), torch.zeros(2)])
def test_step_losses_of_a_checkpoint(losses: Any, finished_run: Path, tmp_path: Path, digits: Any):
    message = "the tensor 'step_losses' must be a vector of float64"
    with pytest.warns(mnistcnn.CheckpointWarning, match=message), pytest.raises(OSError, match="every checkpoint"):
        resumed({"step_losses": losses}, finished_run, tmp_path, digits[0][:100])

"""sweep: best recipe, pruning, resuming, interruption and errors."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn.study import search as search_module
from mnistcnn.training.recipes import Recipe

optuna = pytest.importorskip("optuna")

RECIPE = Recipe(epochs=2, batch_size=50)
SPACE = {"optimizer.lr": (1e-5, 0.2, "log"), "batch_size": [40, 80]}


@pytest.fixture
def data(digits: Any) -> mnistcnn.ImageSet:
    return digits[0][:400]


def search(data: Any, space: Any = SPACE, **options: Any) -> mnistcnn.study.Sweep:
    return mnistcnn.sweep("budget_model3", data, space, **{"recipe": RECIPE, "trials": 6, "progress": False, **options})


def test_best_recipe_has_the_best_validation_accuracy(data: Any, tmp_path: Path):
    found = search(data, {"optimizer.lr": [1e-6, 0.05], "optimizer.momentum": [0.9]}, trials=8, validation=0.25)
    assert found.best_recipe == RECIPE.replace(optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))
    assert found.best_accuracy == max(trial.accuracy for trial in found if trial.state == "complete")
    assert len(found) == 8
    rest, held_out = data.split(0.25, seed=0)
    model = mnistcnn.create_model("budget_model3", seed=0)
    history = mnistcnn.train(model, rest, found.best_recipe, validation=held_out, progress=False)
    assert history.last.validation_accuracy == found.best_accuracy
    assert repr(found).startswith("Sweep of budget_model3: ")
    assert f"best {100 * found.best_accuracy:.2f} % on 25 % of digits (trial {found.best_trial.number})" in repr(found)
    assert "<table" in found._repr_html_()
    assert json.loads(found.to_json(tmp_path / "sweep.json"))["best_recipe"]["optimizer"]["lr"] == 0.05


def test_choices_that_are_objects_can_be_written_as_json(data: Any):
    choices = [mnistcnn.optim.SGD(lr=0.05), mnistcnn.optim.Adam(lr=0.01)]
    found = search(data, {"optimizer": choices}, trials=2)
    kinds = {each["optimizer"]["kind"] for each in json.loads(found.to_json())["trials"]}
    assert kinds <= {"SGD", "Adam"}
    assert len(kinds) > 0


def test_recipes_with_functions_are_described_in_json(data: Any):
    schedule = mnistcnn.optim.LambdaLR(lambda epoch: 0.9**epoch)
    found = search(data, {"batch_size": [40, 80]}, recipe=RECIPE.replace(schedule=schedule), trials=1)
    assert json.loads(found.to_json())["best_recipe"]["schedule"]["kind"] == "LambdaLR"


def test_the_log_level_of_optuna_is_restored(data: Any):
    level = optuna.logging.get_verbosity()
    search(data, trials=1)
    assert optuna.logging.get_verbosity() == level != optuna.logging.WARNING


def test_seed_determines_the_trials(data: Any):
    assert search(data, trials=3).to_dicts() == search(data, trials=3).to_dicts()
    assert search(data, trials=3).to_dicts() != search(data, trials=3, seed=1).to_dicts()


def test_pruning_stops_bad_trials(data: Any):
    space = {"optimizer.lr": [1e-7, 0.03, 0.05, 0.07]}
    found = search(data, space, trials=16, epochs=3)
    pruned = [trial for trial in found if trial.state == "pruned"]
    assert pruned
    assert all(trial.epochs < 3 for trial in pruned)
    assert all(trial.epochs == 3 for trial in found if trial.state == "complete")
    assert sum(trial.state == "complete" for trial in found.trials[:5]) == 5  # no pruning before five complete trials
    unpruned = search(data, space, trials=8, epochs=2, pruning=False)
    assert {trial.state for trial in unpruned} == {"complete"}


def open_files() -> list[str]:
    return [str(handle.resolve()) for handle in Path("/proc/self/fd").iterdir()]


def test_study_in_storage_is_resumed(data: Any, tmp_path: Path):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    first = search(data, trials=3, storage=storage)
    second = search(data, trials=5, storage=storage)
    assert second.trials[:3] == first.trials
    assert len(second) == 5
    assert len({trial.choices["optimizer.lr"] for trial in second}) == 5  # proposals are not repeated
    assert search(data, trials=4, storage=storage).to_dicts() == second.to_dicts()  # already finished
    assert len(search(data, trials=2, storage=storage, name="another")) == 2
    with pytest.raises(ValueError, match="already has a study 'budget_model3'; pass resume=True"):
        search(data, trials=6, storage=storage, resume=False)
    assert not [name for name in open_files() if "sweep.db" in name]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"space": {"batch_size": [40]}}, "space"),
        ({"recipe": Recipe(epochs=3)}, "recipe"),
        ({"validation": 0.2}, "validation"),
        ({"pruning": False}, "pruning"),
        ({"data": 399}, "training set"),
        ({"seed": 3}, "recipe"),
    ],
)
def test_resuming_with_different_arguments_raises(data: Any, tmp_path: Path, change: Any, what: str):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    search(data, trials=1, storage=storage)
    with pytest.raises(ValueError, match=f"study 'budget_model3' was created with a different {what}"):
        search(data[: change.pop("data", 400)], **{"trials": 2, "storage": storage, **change})


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (3, "attribute 'mnistcnn sweep' must be a string, got 3"),
        ("{", "not valid JSON"),
        ("[]", r"attribute 'mnistcnn sweep' must be a dictionary, got \[\]"),
        ('{"network": 3}', "attribute 'mnistcnn sweep'.network must be a string, got 3"),
    ],
)
def test_study_with_an_invalid_description_raises(stored: Any, message: str, data: Any, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    optuna.create_study(storage=storage, study_name="other").set_user_attr("mnistcnn sweep", stored)
    with pytest.raises(ValueError, match=f"study 'other': {message}"):
        search(data, trials=1, storage=storage, name="other")


SCRIPT = """
import mnistcnn, sys
data = mnistcnn.load("digits")[0][:1000]
mnistcnn.sweep("budget_model3", data, {"optimizer.lr": (1e-3, 0.1, "log")}, recipe=mnistcnn.Recipe(epochs=1),
               trials=100_000, storage=sys.argv[1])
"""


def test_killed_sweep_is_resumed(digits: Any, tmp_path: Path):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    command = [sys.executable, "-c", SCRIPT, storage]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and finished(storage) < 2:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    before = finished(storage)
    assert before >= 2
    space = {"optimizer.lr": (1e-3, 0.1, "log")}
    found = search(digits[0][:1000], space, recipe=Recipe(epochs=1), trials=before + 1, storage=storage)
    assert len(found) == before + 1 == finished(storage)


def finished(storage: str) -> int:
    """Return the number of finished trials, without Optuna, which would create tables concurrently with the sweep."""
    path = Path(storage.removeprefix("sqlite:///"))
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (count,) = database.execute("select count(*) from trials where state in ('COMPLETE', 'PRUNED')").fetchone()
    except sqlite3.OperationalError:  # no tables yet
        return 0
    return int(count)


def test_module_is_used_as_a_template(data: Any):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    found = mnistcnn.sweep(module, data, {"batch_size": [40, 80]}, recipe=RECIPE, trials=1, progress=False)
    assert found.model == "Sequential"
    assert found.best_trial.state == "complete"


@pytest.mark.parametrize(
    ("address", "error", "reason"),
    [
        ("sqlite:///{}/text.txt", OSError, "file is not a database"),
        ("sqlite:///{}", OSError, "unable to open database file"),
        ("sqlite:///{}/nowhere/sweep.db", OSError, "unable to open database file"),
        ("nosql://{}", ValueError, "Can't load plugin"),
    ],
)
def test_invalid_storage_raises(address: str, error: type[Exception], reason: str, data: Any, tmp_path: Path):
    (tmp_path / "text.txt").write_text("not a database, but long enough to be one" * 99)
    storage = address.format(tmp_path)
    with pytest.raises(error, match=rf"(?s)storage '{storage}' cannot be opened as a database: .*{reason}.*new file"):
        search(data, trials=1, storage=storage)
    assert (tmp_path / "text.txt").read_text().startswith("not a database")


def test_file_name_as_storage_raises(data: Any):
    with pytest.raises(ValueError, match=r"storage must be a database URL such as 'sqlite.*got 'sweep.db'"):
        search(data, trials=1, storage="sweep.db")


def test_diverged_trials_have_their_own_state(data: Any):
    found = search(data, {"optimizer.lr": [1e25, 0.05]}, trials=6)
    states = {trial.choices["optimizer.lr"]: trial.state for trial in found}
    assert states == {1e25: "diverged", 0.05: "complete"}
    assert "diverged" in repr(found)
    with pytest.raises(ValueError, match="none of the 2 trials is complete"):
        search(data, {"optimizer.lr": [1e25]}, trials=2)


def test_other_errors_are_raised(data: Any, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: Any, **__: Any) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setattr(search_module, "train", failing)
    with pytest.raises(MemoryError, match="out of memory"):
        search(data)


@pytest.mark.parametrize("stored", [False, True])
def test_ctrl_c_returns_finished_trials(stored: bool, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage = {"storage": f"sqlite:///{tmp_path / 'sweep.db'}"} if stored else {}
    trained: list[Recipe] = []

    def train(model: Any, train_set: Any, recipe: Recipe, **options: Any) -> Any:
        trained.append(recipe)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return mnistcnn.train(model, train_set, recipe, **options)

    monkeypatch.setattr(search_module, "train", train)
    with pytest.warns(UserWarning, match="interrupted: 2 of 6 trials are finished") as caught:
        found = search(data, pruning=False, **storage)
    assert ("to resume" in str(caught[0].message)) == stored
    assert (len(found), found.unfinished) == (2, 4)
    assert repr(found).startswith("Sweep of budget_model3: 2 complete, 4 interrupted; best")
    again = search(data, pruning=False, **storage)
    assert (len(again), again.unfinished) == (6, 0)
    assert len(trained) == 3 + (4 if stored else 6), "the interrupted trial is repeated"


def test_ctrl_c_before_the_first_complete_trial_is_raised(data: Any, monkeypatch: pytest.MonkeyPatch):
    def train(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_module, "train", train)
    with pytest.raises(KeyboardInterrupt):
        search(data)


def test_separate_validation_set(data: Any, digits: Any):
    found = search(data, trials=1, validation=digits[0][400:600])
    assert "on digits (200 images)" in repr(found)


def test_invalid_arguments_raise_before_training(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_module, "train", lambda *_, **__: pytest.fail("training has started"))
    with pytest.raises(ValueError, match="trials must be an integer of at least 1, got 0"):
        search(data, trials=0)
    with pytest.raises(ValueError, match=r"validation must be an ImageSet or a fraction .*got None"):
        search(data, validation=None)
    with pytest.raises(TypeError, match="sweep has no argument 'batchsize'; did you mean 'batch_size'"):
        search(data, batchsize=3)


def test_values_that_the_run_does_not_support_raise_before_training(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_module, "train", lambda *_, **__: pytest.fail("training has started"))
    with pytest.raises(ValueError, match=r"space\['batch_size'\] contains 359: 360 images .* end with a batch of 1"):
        search(data, {"batch_size": [16, 359]})


def test_a_value_may_require_another_value(data: Any):
    space = {"epochs": [4], "averaging": [None, mnistcnn.optim.SWA(3)]}
    assert len(search(data, space, trials=2)) == 2


def test_a_combination_that_fails_does_not_end_the_search(data: Any):
    space = {"epochs": [1, 4], "averaging": [None, mnistcnn.optim.SWA(3)]}
    recipe = RECIPE.replace(epochs=4)
    with pytest.warns(UserWarning, match="trial .* failed"):
        found = search(data, space, recipe=recipe, trials=8, seed=1)
    assert {"complete", "failed"} <= {trial.state for trial in found}


def test_numbers_of_numpy_in_the_space(data: Any):
    space = {"batch_size": (np.int64(20), np.int64(40)), "label_smoothing": [np.float32(0.125), 0.0]}
    found = search(data, space, trials=2)
    assert json.loads(found.to_json())["trials"][0]["label_smoothing"] in (0.125, 0.0)
    assert all(20 <= each["batch_size"] <= 40 for each in found.to_dicts())

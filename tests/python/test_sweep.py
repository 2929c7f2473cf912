"""sweep: it finds what is better, ends what falls behind, goes on where it was, and sees no test set."""

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

import pytest
import torch

import mnistcnn
from mnistcnn.study import sweep as sweep_module
from mnistcnn.training.recipes import Recipe

pytest.importorskip("optuna")

RECIPE = Recipe(epochs=2, batch_size=50)
SPACE = {"optimizer.lr": (1e-5, 0.2, "log"), "batch_size": [40, 80]}


@pytest.fixture
def data(digits: Any) -> mnistcnn.ImageSet:
    return digits[0][:400]


def search(data: Any, space: Any = SPACE, **options: Any) -> mnistcnn.study.Sweep:
    return mnistcnn.sweep("budget_model3", data, space, **{"recipe": RECIPE, "trials": 6, "progress": False, **options})


def test_if_only_one_test_is_run_this_one(data: Any, tmp_path: Path):
    found = search(data, {"optimizer.lr": [1e-6, 0.05], "optimizer.momentum": [0.9]}, trials=8, validation=0.25)
    assert found.best_recipe == RECIPE.replace(optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))
    assert found.best_accuracy == max(trial.accuracy for trial in found if trial.state == "complete")
    assert len(found) == 8
    rest, held_out = data.split(0.25, seed=0)
    model = mnistcnn.create_model("budget_model3", seed=0)
    history = mnistcnn.train(model, rest, found.best_recipe, validation=held_out, progress=False)
    assert history.last.validation_accuracy == found.best_accuracy
    assert repr(found).startswith("Sweep of budget_model3: ")
    assert f"best {100 * found.best_accuracy:.2f} % on 25% of digits (trial {found.best_trial.number})" in repr(found)
    assert "<table" in found._repr_html_()
    assert json.loads(found.to_json(tmp_path / "sweep.json"))["best_recipe"]["optimizer"]["lr"] == 0.05


def test_the_seed_decides(data: Any):
    assert search(data, trials=3).to_dicts() == search(data, trials=3).to_dicts()
    assert search(data, trials=3).to_dicts() != search(data, trials=3, seed=1).to_dicts()


def test_what_falls_behind_is_ended(data: Any):
    space = {"optimizer.lr": [1e-7, 0.03, 0.05, 0.07]}
    found = search(data, space, trials=16, epochs=3)
    pruned = [trial for trial in found if trial.state == "pruned"]
    assert pruned
    assert all(trial.epochs < 3 for trial in pruned)
    assert all(trial.epochs == 3 for trial in found if trial.state == "complete")
    assert sum(trial.state == "complete" for trial in found.trials[:5]) == 5  # nothing to compare with before
    unpruned = search(data, space, trials=8, epochs=2, pruning=False)
    assert {trial.state for trial in unpruned} == {"complete"}


def open_files() -> list[str]:
    return [str(handle.resolve()) for handle in Path("/proc/self/fd").iterdir()]


def test_a_study_goes_on_where_it_was(data: Any, tmp_path: Path):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    first = search(data, trials=3, storage=storage)
    second = search(data, trials=5, storage=storage)
    assert second.trials[:3] == first.trials
    assert len(second) == 5
    assert len({trial.choices["optimizer.lr"] for trial in second}) == 5  # nothing is proposed twice
    assert search(data, trials=4, storage=storage).to_dicts() == second.to_dicts()  # nothing left to do
    assert len(search(data, trials=2, storage=storage, name="another")) == 2
    with pytest.raises(ValueError, match="has a study 'budget_model3' already; say resume=True"):
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
def test_another_question_is_another_study(data: Any, tmp_path: Path, change: Any, what: str):
    storage = f"sqlite:///{tmp_path / 'sweep.db'}"
    search(data, trials=1, storage=storage)
    with pytest.raises(ValueError, match=f"the study 'budget_model3' was begun with another {what}"):
        search(data[: change.pop("data", 400)], **{"trials": 2, "storage": storage, **change})


SCRIPT = """
import mnistcnn, sys
data = mnistcnn.load("digits")[0][:1000]
mnistcnn.sweep("budget_model3", data, {"optimizer.lr": (1e-3, 0.1, "log")}, recipe=mnistcnn.Recipe(epochs=1),
               trials=100_000, storage=sys.argv[1])
"""


def test_a_killed_sweep_goes_on(digits: Any, tmp_path: Path):
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
    """Read without Optuna, which would make the tables beside the one who is making them."""
    path = Path(storage.removeprefix("sqlite:///"))
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (count,) = database.execute("select count(*) from trials where state in ('COMPLETE', 'PRUNED')").fetchone()
    except sqlite3.OperationalError:  # no tables yet
        return 0
    return int(count)


def test_a_module_of_pytorch_is_a_template(data: Any):
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
def test_what_is_no_database(address: str, error: type[Exception], reason: str, data: Any, tmp_path: Path):
    (tmp_path / "text.txt").write_text("not a database, but long enough to be one" * 99)
    storage = address.format(tmp_path)
    with pytest.raises(
        error, match=rf"(?s)the storage '{storage}' can't be opened as a database: .*{reason}.*new file"
    ):
        search(data, trials=1, storage=storage)
    assert (tmp_path / "text.txt").read_text().startswith("not a database")


def test_a_file_name_is_no_storage(data: Any):
    with pytest.raises(ValueError, match="storage must be the address of a database, such as 'sqlite"):
        search(data, trials=1, storage="sweep.db")


def test_a_trial_that_diverges_is_told_from_one_that_is_bad(data: Any):
    found = search(data, {"optimizer.lr": [1e25, 0.05]}, trials=6)
    states = {trial.choices["optimizer.lr"]: trial.state for trial in found}
    assert states == {1e25: "diverged", 0.05: "complete"}
    assert "diverged" in repr(found)
    with pytest.raises(ValueError, match="none of the 2 trials was completed"):
        search(data, {"optimizer.lr": [1e25]}, trials=2)


def test_another_error_comes_out(data: Any, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(sweep_module, "train", failing)
    with pytest.raises(MemoryError, match="no room"):
        search(data)


@pytest.mark.parametrize("stored", [False, True])
def test_ctrl_c_returns_what_is_finished(stored: bool, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage = {"storage": f"sqlite:///{tmp_path / 'sweep.db'}"} if stored else {}
    trained: list[Recipe] = []

    def train(model: Any, train_set: Any, recipe: Recipe, **options: Any) -> Any:
        trained.append(recipe)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return mnistcnn.train(model, train_set, recipe, **options)

    monkeypatch.setattr(sweep_module, "train", train)
    goes_on = "; the same call goes on with it" if stored else ""
    with pytest.warns(UserWarning, match="interrupted") as told:
        found = search(data, pruning=False, **storage)
    assert str(told[0].message) == f"interrupted: 2 of 6 trials are finished, and returned alone{goes_on}"
    assert (len(found), found.unfinished) == (2, 4)
    assert repr(found).startswith("Sweep of budget_model3: 2 complete, 4 interrupted; best")
    again = search(data, pruning=False, **storage)
    assert (len(again), again.unfinished) == (6, 0)
    assert len(trained) == 3 + (4 if stored else 6), "what was interrupted is tried again"


def test_ctrl_c_before_anything_is_finished_goes_on(data: Any, monkeypatch: pytest.MonkeyPatch):
    def train(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_module, "train", train)
    with pytest.raises(KeyboardInterrupt):
        search(data)


def test_a_validation_set_of_its_own(data: Any, digits: Any):
    found = search(data, trials=1, validation=digits[0][400:600])
    assert "on digits (200 images)" in repr(found)


def test_nonsense_is_refused_before_any_work(data: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweep_module, "train", lambda *_, **__: pytest.fail("work has begun"))
    with pytest.raises(ValueError, match="trials must be an integer of at least 1, got 0"):
        search(data, trials=0)
    with pytest.raises(ValueError, match="a sweep needs a validation set"):
        search(data, validation=None)
    with pytest.raises(TypeError, match="'batchsize' is neither an argument nor a field of Recipe"):
        search(data, batchsize=3)

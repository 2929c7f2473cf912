"""run_trials: results, errors and interruption, and executors: threads, processes and a Dask cluster."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn.study import execution, shared_sets
from mnistcnn.study import job as job_module
from mnistcnn.training.recipes import Recipe

RECIPE = Recipe(epochs=2, batch_size=50, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))


@pytest.fixture
def sets(digits: Any) -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return digits[0][:400], digits[1][:200]


def run(
    sets: Any, seeds: Any = 3, model: Any = "budget_model3", recipe: Any = RECIPE, **options: Any
) -> mnistcnn.Trials:
    train_set, test_set = sets[0], options.pop("test_set", sets[1])
    options = {"progress": False, **options}
    return mnistcnn.run_trials(model, train_set, test_set, recipe, seeds, **options)


def predictions(trials: mnistcnn.Trials) -> list[bytes]:
    return [result.probabilities.tobytes() for result in trials.results]


class PicklingExecutor(Executor):
    """Executor that pickles jobs and results as for another process, and runs each job in `submit`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        pickled = pickle.dumps((function, arguments, options))
        self.sizes.append(len(pickled))
        function, arguments, options = pickle.loads(pickled)
        future: Future[Any] = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(function(*arguments, **options))))
        except BaseException as error:
            future.set_exception(pickle.loads(pickle.dumps(error)))
        return future


# ---- results


def test_parallel_trials_are_bit_identical_to_single_runs(sets: Any, tmp_path: Path):
    trials = run(sets, seeds=[3, 0, 8], log=tmp_path / "log.jsonl", target=0.1)
    assert trials.seeds == (3, 0, 8)
    for seed, result, history in zip(trials.seeds, trials.results, trials.histories, strict=True):
        model = mnistcnn.create_model("budget_model3", seed=seed)
        expected = mnistcnn.train(model, sets[0], RECIPE.replace(seed=seed), threads=1, progress=False)
        assert expected.step_losses == history.step_losses
        assert mnistcnn.test(model, sets[1], progress=False).probabilities.tobytes() == result.probabilities.tobytes()
        assert result.accuracy == trials.accuracies[trials.seeds.index(seed)]
    assert len(set(predictions(trials))) == 3
    assert repr(trials).startswith(f"{100 * trials.mean:.2f} ± {100 * trials.sd:.2f} % (3 seeds, last epoch), 95 % ")
    assert trials.setting.parameters == 4506
    assert mnistcnn.experiments(tmp_path / "log.jsonl")[0].mean == pytest.approx(trials.mean)


def test_model_is_used_as_a_template(sets: Any):
    model = mnistcnn.create_model("budget_model3", seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trials = run(sets, model=model, seeds=2, keep_models=True)
    assert predictions(trials) == predictions(run(sets, seeds=2))
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert model.history is None
    assert [kept.seed for kept in trials.models] == [0, 1]
    assert mnistcnn.test(trials.models[1], sets[1], progress=False).accuracy == trials.accuracies[1]


def test_frozen_parameters_are_kept(sets: Any):
    model = mnistcnn.Model(
        {
            "a": mnistcnn.layers.Conv2d(4, 3),
            "b": mnistcnn.layers.BatchNorm2d(),
            "f": mnistcnn.layers.Flatten(),
            "fc": mnistcnn.layers.Linear(10),
        }
    )
    mnistcnn.train(model, sets[0], RECIPE, progress=False)
    for name in ("a.weight", "b.weight", "b.bias"):
        model.get_parameter(name).requires_grad_(False)
    template = job_module.Template.of(model)
    copy = template.model(7)
    for name in ("a.weight", "b.weight", "b.running_mean"):
        assert (copy.state_dict()[name] == model.state_dict()[name]).all()
    assert (copy.state_dict()["fc.weight"] != model.state_dict()["fc.weight"]).any()
    assert not copy.get_parameter("a.weight").requires_grad
    assert template.digest != job_module.Template.of(copy.requires_grad_(True)).digest


def test_validation_is_evaluated_only_if_requested(sets: Any):
    assert np.isnan(run(sets, seeds=1).histories[0].column("validation_accuracy")).all()
    fraction = run(sets, seeds=2, validation=0.25)
    assert not np.isnan(fraction.histories[0].column("validation_accuracy")).any()
    assert fraction.setting.validation == 0.25
    other = run(sets, seeds=1, validation=sets[1])
    assert other.histories[0].last.validation_accuracy == other.accuracies[0]
    assert other.setting.validation.images == 200


def test_keywords_change_the_recipe(sets: Any):
    trials = run(sets, seeds=1, epochs=1, batch_size=100)
    assert len(trials.histories[0]) == 1
    assert len(trials.histories[0].step_losses) == 4
    assert trials.recipe == RECIPE.replace(epochs=1, batch_size=100)


# ---- errors and interruption


def test_diverged_trial_is_reported(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train = job_module.train

    def failing(model: Any, train_set: Any, recipe: Any, **options: Any) -> Any:
        optimizer = mnistcnn.optim.SGD(lr=1e20) if recipe.seed == 1 else recipe.optimizer
        return train(model, train_set, recipe.replace(optimizer=optimizer), **options)

    monkeypatch.setattr(job_module, "train", failing)
    trials = run(sets, log=tmp_path / "log.jsonl")
    assert trials.seeds == (0, 2)
    assert [trial.seed for trial in trials.diverged] == [1]
    assert "1 diverged, excluded from the mean" in trials.headline()
    assert re.search(r"seed 1 diverged: .*(nan|inf|finite)", repr(trials))
    (row,) = mnistcnn.experiments(tmp_path / "log.jsonl").to_dicts()
    assert (row["trials"], row["diverged"]) == (3, 1)


def test_other_errors_stop_all_trials(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: Any, **__: Any) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setattr(job_module, "test", failing)
    with pytest.raises(MemoryError, match="out of memory"):
        run(sets, seeds=50, executor=None, log=tmp_path / "log.jsonl")
    assert not (tmp_path / "log.jsonl").exists()


SCRIPT = """
import mnistcnn, sys, warnings
if __name__ == "__main__":
    warnings.simplefilter("always")
    train_set, test_set = mnistcnn.load("digits")
    recipe = mnistcnn.Recipe(epochs=1)
    print("ready", flush=True)
    trials = mnistcnn.run_trials("budget_model3", train_set[:3000], test_set[:200], recipe, seeds=3000, log=sys.argv[1])
    print(len(trials.complete), len(trials.unfinished))
    print(trials.headline())
"""


def test_ctrl_c_returns_complete_trials(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", SCRIPT, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.read_bytes().count(b"\n") >= 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()  # if the process hangs, the test fails after the timeout
    assert process.returncode == 0, errors
    complete, unfinished = map(int, output.splitlines()[1].split())
    assert complete >= 3
    assert complete + unfinished == 3000
    assert f"interrupted: {complete} of 3000 trials are complete" in errors
    assert f"({complete} of 3000 seeds, last epoch; {unfinished} unfinished)" in output
    assert log.read_bytes().count(b"\n") == complete


def test_full_disk_warns_and_keeps_the_trials(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnistcnn.study.execution.append", full)
    with pytest.warns(UserWarning, match="trial of seed 0 .*No space left"):
        assert run(sets, seeds=1, log=tmp_path / "log.jsonl").seeds == (0,)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": 0}, ValueError, "seeds must be an integer of at least 1, got 0"),
        ({"seeds": []}, ValueError, "seeds must contain at least one seed"),
        ({"seeds": [1, 2, 1]}, ValueError, "seeds must be different, got 1 more than once"),
        ({"seeds": [-1]}, ValueError, "seed must be an integer from 0"),
        ({"model": "session8"}, ValueError, "'session8'"),
        (
            {"model": 3},
            TypeError,
            "model must be an mnistcnn.Model, a torch.nn.Module or a name such as 'session7_net', got int",
        ),
        ({"recipe": "rotation"}, TypeError, "recipe must be an mnistcnn.Recipe, got 'rotation'; use variant="),
        ({"variant": "rotation"}, ValueError, "recipe and variant='rotation' must not both be given"),
        ({"seed": 3}, TypeError, "seed is not supported, .*use seeds="),
        (
            {"epoch": 3},
            TypeError,
            r"run_trials has no argument 'epoch'; did you mean 'epochs'\?.*shard.*batch_size",
        ),
        (
            {"lr": 0.1},
            TypeError,
            r"run_trials has no argument 'lr'.*optimizer=mnistcnn.optim.SGD\(lr=0.1\)",
        ),
        ({"target": 99.4}, ValueError, "target must be an accuracy from 0 to 1"),
        ({"test_set": None}, TypeError, "test_set must be an mnistcnn.ImageSet, got NoneType"),
        ({"executor": 2}, TypeError, "executor must be a concurrent.futures.Executor, .*got 2"),
        ({"log": "nowhere/log.jsonl"}, FileNotFoundError, "directory nowhere of the experiment log does not exist"),
        ({"shard": (0, 3)}, ValueError, r"shard must be a pair of integers \(k, n\) with k from 1 to n.*got \(0, 3\)"),
        ({"shard": (4, 3)}, ValueError, r"shard must be a pair .*got \(4, 3\)"),
        ({"shard": "3/10"}, ValueError, r"shard must be a pair .*such as \(3, 10\).*got '3/10'"),
        ({"seeds": 2, "shard": (3, 4)}, ValueError, "shard 3 of 4 has no seeds: there are only 2 seeds"),
        ({"validation": "some"}, (TypeError, ValueError), "validation"),
        ({"validation": 1.5}, ValueError, "validation.*1.5"),
    ],
)
def test_invalid_arguments_raise_before_training(
    sets: Any, monkeypatch: pytest.MonkeyPatch, options: Any, error: Any, message: str
):
    monkeypatch.setattr("mnistcnn.study.runner.run_jobs", lambda *_, **__: pytest.fail("training has started"))
    with pytest.raises(error, match=message):
        run(sets, **options)


def test_module_gives_the_same_result_as_its_model(sets: Any):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    first = run(sets, model=module, seeds=[3])
    assert first.setting.model == "Sequential"
    assert first.accuracies == run(sets, model=mnistcnn.from_torch(module), seeds=[3]).accuracies
    model = mnistcnn.Model([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)])
    assert first.histories[0].step_losses == run(sets, model=model, seeds=[3]).histories[0].step_losses
    with pytest.raises(ValueError, match="'Sequential'"):
        run(sets, model=module, recipe=None, variant="rotation")


def test_incompatible_sets_raise_before_training(sets: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mnistcnn.study.runner.run_jobs", lambda *_, **__: pytest.fail("training has started"))
    small = mnistcnn.ImageSet.from_arrays(np.zeros((30, 8, 8), np.uint8), np.arange(30) % 10)
    with pytest.raises(ValueError, match="test_set has images"):
        run((sets[0], small))
    with pytest.raises(TypeError, match=r"training data must be an mnistcnn.ImageSet, got ndarray"):
        run((sets[0].images, sets[1]))


def test_log_is_written_only_if_its_path_is_given(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mnistcnn.run_trials("budget_model3", *sets, RECIPE, seeds=1, progress=False)
    mnistcnn.cross_validate("budget_model3", sets[0], RECIPE, folds=2, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match=r"log must be the path of a file, such as 'experiments.jsonl', .*got True"):
        mnistcnn.run_trials("budget_model3", *sets, RECIPE, log=True)
    mnistcnn.run_trials("budget_model3", *sets, RECIPE, seeds=1, log="experiments.jsonl", progress=False)
    (line,) = (tmp_path / "experiments.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["setting"]["train_set"]["images"] == 400
    assert record["trial"]["made_with"]["versions"]["mnistcnn"] == mnistcnn.__version__
    assert record["trial"]["made_with"]["machine"]["cores"] >= 1
    assert [epoch["epoch"] for epoch in record["trial"]["history"]["epochs"]] == [1, 2]


# ---- shards


def test_shards_give_the_same_trials_as_one_run(sets: Any, tmp_path: Path):
    whole = run(sets, seeds=8)
    logs = [tmp_path / f"{k}.jsonl" for k in (1, 2)]
    parts = [run(sets, seeds=8, shard=(k, 2), log=log) for k, log in zip((1, 2), logs, strict=True)]
    assert [part.seeds for part in parts] == [(0, 2, 4, 6), (1, 3, 5, 7)]
    (merged,) = mnistcnn.experiments(logs)
    accuracies = dict(zip(merged.seeds, merged.accuracies, strict=True))
    assert accuracies == dict(zip(whole.seeds, whole.accuracies, strict=True))
    assert merged.unfinished == ()
    (half,) = mnistcnn.experiments(logs[1])
    assert half.unfinished == (0, 2, 4, 6)


def test_shards_keep_their_seeds_if_seeds_are_appended(sets: Any):
    assert run(sets, seeds=3, shard=(2, 3)).seeds == (1,)
    assert run(sets, seeds=5, shard=(2, 3)).seeds == (1, 4)
    assert run(sets, seeds=[9, 3, 7], shard=(3, 3)).seeds == (7,)


# ---- executors


def test_executor_is_not_shut_down(sets: Any):
    with ThreadPoolExecutor(1) as pool:
        assert predictions(run(sets, executor=pool)) == predictions(run(sets))
        assert pool.submit(int, "3").result() == 3


def test_jobs_are_small_and_refer_to_data_sets(sets: Any):
    executor = PicklingExecutor()
    shared_sets._loaded.clear()
    assert predictions(run(sets, executor=executor, validation=sets[1])) == predictions(run(sets, validation=sets[1]))
    assert len(executor.sizes) == 3
    assert max(executor.sizes) < 20_000 < sets[0].images.nbytes


def test_missing_data_sets_are_sent_by_value(sets: Any, monkeypatch: pytest.MonkeyPatch):
    executor = PicklingExecutor()
    shared_sets._loaded.clear()
    monkeypatch.setattr(shared_sets.SetReference, "_from_folder", lambda _: None)
    assert predictions(run(sets, executor=executor, seeds=2)) == predictions(run(sets, seeds=2))
    assert [size > sets[0].images.nbytes for size in executor.sizes] == [False, False, True, True]


def test_process_pool(sets: Any, tmp_path: Path):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        trials = run(sets, seeds=2, executor=pool, keep_models=True, log=tmp_path / "log.jsonl")
    assert predictions(trials) == predictions(run(sets, seeds=2))
    assert mnistcnn.test(trials.models[0], sets[1], progress=False).accuracy == trials.accuracies[0]
    assert len(mnistcnn.experiments(tmp_path / "log.jsonl")[0]) == 2


@pytest.mark.filterwarnings("default")
def test_dask_cluster_with_two_workers(sets: Any, dask_client: Any):
    trials = run(sets, seeds=4, executor=dask_client.get_executor())
    workers = dask_client.run(lambda: len(sys.modules["mnistcnn.study.shared_sets"]._loaded))
    assert predictions(trials) == predictions(run(sets, seeds=4))
    assert list(workers.values()) == [2, 2]  # both workers ran jobs and loaded both sets


def test_error_of_a_trial_has_the_complete_trials(sets: Any, monkeypatch: pytest.MonkeyPatch):
    original = execution.run_job

    def fails(job: Any, *arguments: Any) -> Any:
        if job.seed == 2:
            raise RuntimeError("out of memory")
        return original(job, *arguments)

    monkeypatch.setattr(execution, "run_job", fails)
    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="out of memory") as caught:
        run(sets, seeds=4, executor=executor)
    trials = caught.value.trials  # type: ignore[attr-defined]
    assert trials.seeds == (0, 1)
    assert trials.unfinished == (2, 3)


def test_validation_fraction_of_numpy(sets: Any, tmp_path: Path):
    log = tmp_path / "log.jsonl"
    assert run(sets, seeds=1, validation=np.float32(0.25), log=log).setting.validation == 0.25
    assert len(mnistcnn.experiments(log)[0]) == 1

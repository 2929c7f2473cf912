"""Tests of the benchmarks: they run with small settings. Measured times are not tested."""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch):
    return _module("timing", monkeypatch)


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch):
    return _module("contenders", monkeypatch)


def _module(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return module


def _run(script: str, *options: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_measurements_are_interleaved_and_steps_are_counted(timing):
    calls: list[tuple[str, int]] = []
    found = {name: lambda steps, name=name: calls.append((name, steps)) or time.sleep(0.001 * steps) for name in "ab"}
    turns = timing.take_turns(found, seconds=0.06, rounds=3, most=5)
    untimed, counted = calls[-12::2], calls[-11::2]  # without the warm-up and the trial runs
    assert [name for name, _ in counted] == ["a", "b", "b", "a", "a", "b"]
    assert all(1 <= steps <= 5 for _, steps in counted)
    assert untimed == [(name, max(1, steps // 5)) for name, steps in counted]
    assert all(each >= 0.001 for each in turns.medians.values())
    assert turns.failed == {}


def test_only_optional_contenders_may_fail(timing):
    def broken(steps: int) -> None:
        raise RuntimeError("no compiler\nand much more")

    turns = timing.take_turns({"torch compile": broken, "ours": lambda _: None}, 0.01, 2, 3)
    assert turns.failed == {"torch compile": "RuntimeError: no compiler"}
    assert list(turns.times) == ["ours"]
    with pytest.raises(RuntimeError, match="no compiler"):
        timing.take_turns({"torch eager": broken}, 0.01, 2, 3)


def test_load_by_other_processes_is_measured_without_our_own(timing):
    def busy(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    watch = timing.Watch()
    busy(0.3)
    quiet = watch.foreign_load()
    if quiet is None:
        pytest.skip("this system does not report CPU times")
    program = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        time.sleep(0.2)
        watch = timing.Watch()
        time.sleep(0.8)
        disturbed = watch.foreign_load()
        other.kill()
    assert disturbed > 0.3 / (os.cpu_count() or 1)


def test_a_table_warns_about_load_by_other_processes(timing):
    record = {"spread": 0.05, "foreign_load": 0.3}
    assert "do not cite" in timing.disturbance([record])
    assert "do not cite" not in timing.disturbance([{**record, "foreign_load": 0.02}])
    assert "unknown" in timing.disturbance([{**record, "foreign_load": None}])


@pytest.mark.parametrize("name", mnistcnn.list_models())
def test_contenders_compute_the_same_outputs(contenders, name: str):
    model = mnistcnn.create_model(name, seed=1).eval()
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(contenders.Pixels(model)(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "script", ["epoch.py", "predict.py", "competitor.py", "gpu.py", "memory.py", "scaling.py", "all.py"]
)
def test_help(script: str):
    assert "usage" in _run(script, "--help")


def test_time_to_accuracy() -> None:
    options = ("--networks", "fast_99", "--seeds", "2", "--data", "digits", "--images", "300")
    rows = _run("time_to_accuracy.py", *options).splitlines()
    runs = [row.split("|") for row in rows if row.startswith(("| 0 |", "| 1 |"))]
    assert len(runs) == 2
    cells = [cell.strip() for cell in rows[-1].split("|")[1:-1]]
    assert cells[0] == "fast_99"
    assert float(cells[3]) == pytest.approx(sum(float(row[2]) for row in runs) / 2, abs=0.01)
    assert cells[-1] == "2"


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.5), (0.001, 0.0004), (-0.001, 0.9996)])
def test_p_value_is_one_sided(monkeypatch: pytest.MonkeyPatch, shift: float, expected: float) -> None:
    values = [0.99 + shift + each for each in (-0.0004, -0.0002, 0, 0.0002, 0.0004)]
    scipy = pytest.importorskip("scipy.stats")
    found = _module("time_to_accuracy", monkeypatch).p_value(values, 0.99)
    assert found == pytest.approx(scipy.ttest_1samp(values, 0.99, alternative="greater").pvalue, rel=1e-6)
    assert found == pytest.approx(expected, abs=2e-3)


def test_epoch(tmp_path):
    file = tmp_path / "epoch.json"
    options = ["--networks", "budget_model3", "--threads", "1", "--seconds", "0.2", "--rounds", "2", "--compile"]
    out = _run("epoch.py", *options, "--batch-size", "32", "--json", str(file))
    (record,) = json.loads(file.read_text(encoding="utf-8"))["records"]
    modes = {f"torch {mode}{precision}" for mode in ("eager", "channels_last") for precision in ("", " bf16")}
    assert set(record["seconds_per_epoch"]) == {*modes, "mnistcnn aten", "mnistcnn lanes"}
    assert 0 < record["share_of_limit"]["mnistcnn lanes"] < 2
    assert "| budget_model3 |" in out


@pytest.mark.parametrize("name", ["predict", "competitor"])
def test_cell_records(name: str, monkeypatch: pytest.MonkeyPatch, torch_threads_restored):
    module = _module(name, monkeypatch)
    isa = core.instruction_sets()[0]
    options = {"networks": ["budget_model3"], "batch_size": 32, "seconds": 0.2, "rounds": 1, "onnx": False}
    (record,) = module.measure(argparse.Namespace(cell=f"{isa}:1", **options))
    assert (record["network"], record["instruction_set"], record["threads"]) == ("budget_model3", isa, 1)
    numbers = record["images_per_second"] if name == "predict" else record["slowdown"]
    assert {"torch eager", "mnistcnn lanes"} <= set(numbers)
    assert all(0 < number < 1e9 for number in numbers.values())


def test_an_unsupported_instruction_set_exits_with_a_message(timing):
    with pytest.raises(SystemExit, match=r"--isa mmx: .*baseline"):
        timing.instruction_sets(["mmx"])
    assert timing.instruction_sets(["best"]) == core.instruction_sets()[:1]
    assert timing.instruction_sets(["all"]) == core.instruction_sets()


def test_all_rejects_an_unknown_table():
    command = [sys.executable, str(BENCHMARKS / "all.py"), "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no table nonsense; choose from epoch" in done.stderr


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_export():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    printed = _run("export.py", "--networks", "budget_model3", "--seconds", "0.02", "--images", "5")
    row = next(line for line in printed.splitlines() if line.startswith("| budget_model3")).split("|")
    assert [each.strip() for each in row[2:4]] == ["4,506", "144,000"]
    assert float(row[8]) < 1e-5


def test_gradient_error(monkeypatch: pytest.MonkeyPatch):
    module = _module("gradient_error", monkeypatch)
    lines = module.rows("budget_model1", seeds=2, batch_size=3)
    assert [line[1] for line in lines] == ["PyTorch", "aten", "lanes"]
    assert all(1e-9 < float(line[2]) < 1e-6 for line in lines)
    assert all(line[3] == "0" and 1e-9 < float(line[4]) <= float(line[5]) < module.FAR for line in lines)
    with pytest.raises(ValueError, match="has dropout"):
        module.errors("budget_model2", 0, 3)


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch):
    return _module("accuracy", monkeypatch)


def _measure(accuracy, monkeypatch: pytest.MonkeyPatch, log: Path, *options: str) -> None:
    small = ["--data", "digits", "--images", "300", "--epochs", "1", "--recipes", "budget_model3", "budget_model1"]
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--log", str(log), *small, *options])
    accuracy.main()


def test_accuracy_adds_the_missing_seeds(accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    log = tmp_path / "log.jsonl.gz"
    monkeypatch.setattr(accuracy, "SEEDS", {"budget_model1": 1})
    monkeypatch.setattr(accuracy, "FIRST_SEED", {"budget_model3": 7})
    _measure(accuracy, monkeypatch, log, "--seeds", "1")
    found = accuracy.logged(log)
    assert {name: trials.seeds for name, trials in found.items()} == {"budget_model3": (7,), "budget_model1": (0,)}
    first = capsys.readouterr().out
    assert first.count("(1 seed, last epoch)") == 2
    _measure(accuracy, monkeypatch, log, "--continue", "--seeds", "3")
    found = accuracy.logged(log)
    assert {name: sorted(trials.seeds) for name, trials in found.items()} == {
        "budget_model3": [7, 8, 9],
        "budget_model1": [0, 1, 2],
    }
    assert all(trials.setting.validation == 0.1 for trials in found.values())
    assert accuracy.table(found) in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == [log]  # no uncompressed copy is left
    before = log.read_bytes()
    _measure(accuracy, monkeypatch, log, "--continue", "--seeds", "3")
    assert log.read_bytes() == before


def test_accuracy_keeps_trials_that_an_interruption_left_uncompressed(
    accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log = tmp_path / "log.jsonl.gz"
    _measure(accuracy, monkeypatch, log, "--seeds", "1")
    both = gzip.decompress(log.read_bytes()).splitlines(keepends=True)
    log.write_bytes(gzip.compress(both[0]))
    log.with_suffix("").write_bytes(both[1])
    trial_log = _module("trial_log", monkeypatch)
    assert trial_log.working_copy(log).read_bytes() == b"".join(both)


def test_accuracy_starts_no_trial_beyond_its_budget(accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = tmp_path / "log.jsonl.gz"
    _measure(accuracy, monkeypatch, log, "--budget", "0s")
    assert accuracy.logged(log) == {}
    assert [_module("trial_log", monkeypatch).seconds_from(text) for text in ("90s", "40m", "1.5h")] == [90, 2400, 5400]
    with pytest.raises(SystemExit):
        _measure(accuracy, monkeypatch, log, "--budget", "40 minutes")
    _measure(accuracy, monkeypatch, log, "--seeds", "1")
    found = accuracy.logged(log)
    assert accuracy.choose(["budget_model1"], found, 2, 1e-9) is None  # the first trial took longer
    assert accuracy.choose(["budget_model1"], found, 2, 1e9) == ("budget_model1", [1])
    assert accuracy.choose(["budget_model1", "budget_model2"], found, 2, 1e-9)[0] == "budget_model2"  # no trial yet


def test_ensembles_of_the_saved_models(accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folder, output = tmp_path / "a" / "models", tmp_path / "ensemble.json"
    options = ("--recipes", "budget_model3", "--seeds", "5", "--models", str(folder))
    _measure(accuracy, monkeypatch, tmp_path / "log.jsonl.gz", *options)
    files = [folder / f"budget_model3-{seed}.safetensors" for seed in range(5)]
    assert sorted(folder.iterdir()) == files
    found = accuracy.logged(tmp_path / "log.jsonl.gz")["budget_model3"]
    _, test_set = mnistcnn.load("digits")
    models = [mnistcnn.load_model(file) for file in files]
    by_seed = dict(zip(found.seeds, found.accuracies, strict=True))
    assert [mnistcnn.test(model, test_set[:300]).accuracy for model in models] == [by_seed[seed] for seed in range(5)]
    ensemble = _module("ensemble", monkeypatch)
    command = ["ensemble.py", str(folder), "--network", "budget_model3", "--size", "2", "--data", "digits"]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(output)])
    ensemble.main()
    stored = json.loads(output.read_text("utf-8"))
    assert (stored["network"], stored["size"], stored["seeds"]) == ("budget_model3", 2, [[0, 1], [2, 3]])
    pairs = [mnistcnn.Ensemble(models[begin : begin + 2]) for begin in (0, 2)]
    assert stored["accuracies"] == [pair.test(test_set).accuracy for pair in pairs]
    assert "2 ensembles of 2" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*command[:2], "--network", "budget_model1", "--output", str(output)])
    with pytest.raises(SystemExit):
        ensemble.main()
    assert "there are fewer than 3 models" in capsys.readouterr().err


def test_accuracy_stores_the_seconds_of_a_run(accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accuracy, "SECONDS", tmp_path / "seconds.json")
    monkeypatch.setattr(accuracy, "TIMED_IMAGES", 300)
    _measure(accuracy, monkeypatch, tmp_path / "none.jsonl.gz", "--seconds")
    assert sorted(accuracy.stored_seconds()) == ["budget_model1", "budget_model3"]
    assert min(accuracy.stored_seconds().values()) > 0


def test_accuracy_refuses_an_existing_log_and_quick_tries_in_the_stored_one(
    accuracy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(gzip.compress(b""))
    with pytest.raises(SystemExit):
        _measure(accuracy, monkeypatch, log)
    assert "--continue" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        _measure(accuracy, monkeypatch, accuracy.LOG, "--continue")
    assert "--log FILE" in capsys.readouterr().err


# ---- scaling.py


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch):
    return _module("scaling", monkeypatch)


@pytest.mark.parametrize(
    ("tasks", "threads", "seconds"),
    [
        ([1] * 8, 1, 8),
        ([1] * 8, 8, 1),
        ([1] * 8, 3, 3),
        ([1] * 4, 8, 1),  # fewer tasks than threads
        ([2, 1, 1, 1, 1, 1, 1, 1], 2, 5),  # the second thread executes a task of the first one's range
        ([1, 1, 1, 5], 2, 6),  # ascending: the second thread begins with task 2
        ([1] * 2048, 2, 1024),  # two tasks per chunk
    ],
)
def test_schedule(scaling, tasks: list[float], threads: int, seconds: float):
    assert scaling.tasks_seconds(tasks, threads) == seconds


def test_schedule_reverses_its_direction_in_every_phase(scaling):
    phase = scaling.Phase((1, 1, 1, 5))  # descending: the second thread begins with task 3
    assert scaling.step_seconds([phase], 2, barrier=0) == 5
    assert scaling.step_seconds([phase, phase], 2, barrier=0) == 5 + 6


def test_schedule_adds_barriers_and_serial_parts(scaling):
    phases = [scaling.Phase((4.0, 4.0), serial=1.0), scaling.Phase((), serial=2.0), scaling.Phase((6.0,))]
    assert scaling.step_seconds(phases, 1, barrier=0.5) == 17
    assert scaling.step_seconds(phases, 2, barrier=0.5) == 4 + 0.5 + 1 + 2 + 6 + 0.5


def test_phases_have_the_median_time_of_each_task(scaling):
    steps = [[(0, 1, a), (0, 0, 2 * a), (0, -1, 0.5), (1, -1, a)] for a in (1.0, 9.0, 2.0)]
    assert scaling.median_phases(steps) == [scaling.Phase((4.0, 2.0), 0.5), scaling.Phase((), 2.0)]


def test_scaling():
    out = _run("scaling.py", "--networks", "budget_model3", "--batch-sizes", "32", "--seconds", "0.1", "--rounds", "1")
    row = next(line for line in out.splitlines() if line.startswith("| budget_model3 | 32 |"))
    assert "predicted speed-up, 16 threads" in out
    assert all(float(each) > 0 for each in row.split("|")[3:-1])


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch):
    return _module("records", monkeypatch)


def test_search_for_the_records_is_complete(records):
    found = records.found(records.LOG)
    for group, limit in records.GROUPS.items():
        assert records.missing(group, found[group]) == []
        assert all(candidate.model().parameter_count < limit for candidate in records.CANDIDATES[group])
        assert all(trials.setting.test_set.images == records.VALIDATION for trials in found[group].values())
    title = records.CANDIDATES["8k"][0].name
    assert records.missing("8k", {**found["8k"], title: []})[0] == (records.CANDIDATES["8k"][0], list(records.SEEDS))


def test_every_record_has_a_candidate(accuracy, records):
    assert list(records.CHOSEN) == accuracy.RECORDS


@pytest.mark.parametrize("name", ["record_small", "record_8k", "record_single"])
def test_records_are_candidates_of_the_search(name: str, records):
    group, candidate = records.CHOSEN[name]
    (chosen,) = (each for each in records.CANDIDATES[group] if each.name == candidate)
    ours, theirs = mnistcnn.create_model(name), chosen.model()
    assert [row[1:] for row in ours.rows] == [row[1:] for row in theirs.rows]
    recipe = mnistcnn.recipe(name).replace(loss="auto")
    if group == "single":
        assert recipe.epochs > chosen.recipe.epochs  # the search trains for half of the time
        recipe = recipe.replace(epochs=chosen.recipe.epochs)
    assert recipe == chosen.recipe


def test_records_continue_a_search(records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    candidate = records.Candidate("tiny", "2,3", changes={"epochs": 1})
    monkeypatch.setattr(records, "CANDIDATES", {"small": [candidate]})
    images = mnistcnn.load("digits")[0]
    monkeypatch.setattr(records, "sets", lambda: (images[:200], images[200:300]))
    log = tmp_path / "log.jsonl.gz"
    monkeypatch.setattr(records, "SEEDS", (1000,))
    records.search(["small"], 1e9, log)
    monkeypatch.setattr(records, "SEEDS", (1000, 1001))
    records.search(["small"], 1e9, log)
    (trials,) = records.found(log)["small"].values()
    assert sorted(trial.seed for trial in trials) == [1000, 1001]
    monkeypatch.setattr("sys.argv", ["records.py", "--table", "--log", str(log), "--groups", "small"])
    capsys.readouterr()
    records.main()
    assert "| small | tiny | 2,3 |" in capsys.readouterr().out
    monkeypatch.setattr(records, "GROUPS", {"small": 10})
    monkeypatch.setattr(records, "SEEDS", (1002,))
    with pytest.raises(ValueError, match=r"small: tiny has \d+ parameters; allowed: 9"):
        records.search(["small"], 1e9, log)

"""Execution of trials: workers that die, polled futures, and the executors of joblib and Dask."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mnistcnn
from dying_workers import die_at, die_once
from mnistcnn.study import execution, shared_sets

RECIPE = mnistcnn.Recipe(epochs=1, batch_size=50, optimizer=mnistcnn.optim.SGD(lr=0.05, momentum=0.9))


@pytest.fixture(scope="module")
def sets(digits: Any) -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return digits[0][:400], digits[1][:200]


@pytest.fixture(scope="module")
def expected(sets: Any) -> dict[int, float]:
    """Return the accuracies of eight trials without an executor, by seed."""
    return accuracies(run(sets, 8))


def run(sets: Any, seeds: Any, **options: Any) -> mnistcnn.Trials:
    return mnistcnn.run_trials("budget_model3", *sets, RECIPE, seeds, progress=False, **options)


def accuracies(trials: mnistcnn.Trials) -> dict[int, float]:
    return dict(zip(trials.seeds, trials.accuracies, strict=True))


def pool(initializer: Any = None, *arguments: Any) -> ProcessPoolExecutor:
    """Return two workers, which start quickly: their server has imported the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnistcnn.study.job"])
    return ProcessPoolExecutor(2, mp_context=context, initializer=initializer, initargs=arguments)


# ---- workers that die


def test_trials_of_a_dead_process_are_repeated(sets: Any, expected: Any, tmp_path: Path):
    log = tmp_path / "log.jsonl"
    with (
        pool(die_once, str(tmp_path / "flag")) as executor,
        pytest.warns(UserWarning, match="a worker process died: BrokenProcessPool.*a new pool of processes"),
    ):
        trials = run(sets, 8, executor=executor, log=log)
    assert (tmp_path / "flag").exists()
    assert accuracies(trials) == expected
    assert trials.seeds == tuple(range(8))
    assert len(mnistcnn.experiments(log)[0]) == 8


def test_a_trial_that_always_ends_its_worker_is_given_up(sets: Any, expected: Any, tmp_path: Path):
    with (
        pool(die_at, 1, str(tmp_path)) as executor,
        pytest.warns(UserWarning, match="a worker process died|is given up") as warned,
    ):
        trials = run(sets, 5, executor=executor)
    (given_up,) = (each for each in warned if "is given up" in str(each.message))
    assert str(given_up.message).startswith("the trial of seed 1 is given up, because 3 workers died with it; the last")
    assert given_up.filename == __file__
    assert trials.unfinished == (1,)
    assert accuracies(trials) == {seed: expected[seed] for seed in (0, 2, 3, 4)}
    assert "(4 of 5 seeds, last epoch; 1 unfinished)" in trials.headline()
    assert len(list(tmp_path.iterdir())) == 4  # once in the pool of the caller


def test_workers_that_all_die_end_the_run(sets: Any, tmp_path: Path):
    with (
        pool(os._exit, 9) as executor,
        pytest.warns(UserWarning, match="a worker process died"),
        pytest.raises(BrokenExecutor, match=r"4 pools .* before any trial was complete: .*__main__"),
    ):
        run(sets, 3, executor=executor)


def test_a_replaced_pool_is_shut_down(sets: Any, tmp_path: Path):
    before = threading.active_count()
    with pool(die_once, str(tmp_path / "flag")) as executor, pytest.warns(UserWarning, match="a worker process died"):
        run(sets, 2, executor=executor)
    assert threading.active_count() == before


def test_loky_of_joblib(sets: Any, expected: Any, tmp_path: Path):
    loky = pytest.importorskip("joblib.externals.loky")
    executor = loky.get_reusable_executor(1, initializer=die_once, initargs=(str(tmp_path / "flag"),))
    try:
        with pytest.warns(UserWarning, match="a worker process died: TerminatedWorkerError"):
            trials = run(sets, 3, executor=executor)
    finally:
        loky.get_reusable_executor(reuse=True).shutdown(kill_workers=True)
    assert accuracies(trials) == {seed: expected[seed] for seed in range(3)}


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_survives_a_killed_worker(sets: Any, expected: Any, dask_client: Any, tmp_path: Path):
    dask_client.run(die_once, str(tmp_path / "flag"))
    trials = run(sets, 8, executor=dask_client.get_executor())
    assert (tmp_path / "flag").exists()
    assert accuracies(trials) == expected


# ---- futures without callbacks


class PolledJob:
    """Job with the methods of submitit's jobs, which have no callbacks."""

    def __init__(self, run: Any) -> None:
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(run,))
        self._thread.start()
        self.cancelled = False

    def _run(self, run: Any) -> None:
        try:
            self._outcome = (run(), None)
        except Exception as error:
            self._outcome = (None, error)

    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join()
        value, error = self._outcome
        if error is not None:
            raise RuntimeError(f"Job failed: {error!r}")  # submitit replaces the error by its own
        return value

    def cancel(self) -> None:
        self.cancelled = True


class PolledExecutor:
    """Executor of jobs that can only be polled."""

    def __init__(self) -> None:
        self.jobs: list[PolledJob] = []

    def submit(self, function: Any, *arguments: Any) -> PolledJob:
        job = PolledJob(lambda: function(*arguments))
        self.jobs.append(job)
        return job


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(execution, "_POLL", 0.05)
    return PolledExecutor()


def test_futures_without_callbacks_are_polled(sets: Any, expected: Any, polled: Any, tmp_path: Path):
    trials = run(sets, 8, executor=polled, log=tmp_path / "log.jsonl")
    assert accuracies(trials) == expected
    assert len(polled.jobs) == 8
    assert len(mnistcnn.experiments(tmp_path / "log.jsonl")[0]) == 8


def test_polled_jobs_get_missing_data_sets_by_value(
    sets: Any, expected: Any, polled: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shared_sets.SetReference, "_from_folder", lambda _: None)
    shared_sets._loaded.clear()
    assert accuracies(run(sets, 2, executor=polled)) == {0: expected[0], 1: expected[1]}
    assert len(polled.jobs) == 4


def test_an_error_of_a_polled_job_stops_all(sets: Any, polled: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mnistcnn.study.job.test", lambda *_, **__: 1 / 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run(sets, 3, executor=polled)
    assert any(job.cancelled for job in polled.jobs)


def test_a_lost_job_is_repeated_alone(sets: Any, expected: Any, polled: Any, monkeypatch: pytest.MonkeyPatch):
    """The other jobs of a scheduler are not affected."""

    class UncompletedJobError(RuntimeError):
        pass

    monkeypatch.setattr(execution, "_lost_worker_errors", lambda: (UncompletedJobError,))
    result, lost = PolledJob.result, []

    def once(job: PolledJob) -> Any:
        if not lost:
            lost.append(job)
            raise UncompletedJobError("Job has not produced any output (state: NODE_FAIL)\nlong log")
        return result(job)

    monkeypatch.setattr(PolledJob, "result", once)
    with pytest.warns(UserWarning, match=r"a worker died: UncompletedJobError: .*NODE_FAIL\); the trial of seed \d is"):
        trials = run(sets, 3, executor=polled)
    assert accuracies(trials) == {seed: expected[seed] for seed in range(3)}
    assert len(polled.jobs) == 4


def test_errors_of_lost_workers_are_those_of_the_libraries():
    distributed = pytest.importorskip("distributed")
    assert distributed.KilledWorker in execution._lost_worker_errors()
    submitit = pytest.importorskip("submitit")
    assert submitit.core.utils.UncompletedJobError in execution._lost_worker_errors()


def test_other_broken_executors_raise(sets: Any):
    class Broken(Executor):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise BrokenExecutor("no workers")

    with pytest.raises(BrokenExecutor, match="no workers"):
        run(sets, 2, executor=Broken())


def test_ctrl_c_keeps_trials_whose_results_were_not_taken(sets: Any, monkeypatch: pytest.MonkeyPatch):
    take = execution.Execution._take

    def interrupted(self: Any, finished: Any) -> None:
        take(self, finished)
        wait_until_done(self._pending)
        raise KeyboardInterrupt

    def wait_until_done(pending: Any) -> None:
        for each in pending:
            each.future.result()

    monkeypatch.setattr(execution.Execution, "_take", interrupted)
    with pytest.warns(UserWarning, match="3 of 3 trials are complete"):
        assert len(run(sets, 3).complete) == 3


def test_ctrl_c_while_a_thread_starts_loses_no_trial(sets: Any, monkeypatch: pytest.MonkeyPatch):
    take = execution.Execution._take

    def interrupted(self: Any, finished: Any) -> None:
        if finished.job.seed == 2:  # any start of a thread in `_take` is interrupted
            monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        take(self, finished)
        if finished.job.seed == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(execution.Execution, "_take", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        trials = run(sets, 4)
    assert 2 in [trial.seed for trial in trials.complete]

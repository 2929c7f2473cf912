"""Execution of jobs on an executor: submission, results, workers that die, and interruption."""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from mnistcnn._internal.progress import ProgressBar
from mnistcnn._internal.tables import percent
from mnistcnn.study.job import Job, Listener, run_job, run_remote_job
from mnistcnn.study.log import Seeds, append
from mnistcnn.study.shared_sets import SharedSets
from mnistcnn.study.trials import Setting, Trial

_REDRAW = 0.2  # seconds between updates of the progress bar
_POLL = 1.0  # seconds between two calls of done() of a future without callbacks
_MAX_DEATHS = 3  # number of workers that die with the same job before it is given up


@dataclass(frozen=True, eq=False)
class _Submitted:
    """Submitted job, its future, and the number of the pool to which it was submitted."""

    job: Job
    future: Any  # concurrent.futures.Future, or another object with done(), result() and cancel()
    pool: int


class Execution:
    """Run jobs on an executor and store their results.

    If a worker dies, its job is repeated, until `_MAX_DEATHS` workers have died with it.

    A pool of processes is unusable after one of them has died, and it does not report which job that process ran. It
    is replaced by a pool of the same kind and size, to which only as many jobs are submitted at a time as there are
    workers, so that few jobs are affected if another process dies. A job with which two workers have died runs alone,
    because another job may have been the cause.
    """

    def __init__(
        self,
        executor: Executor,
        setting: Setting,
        *,
        log: Path | None,
        intended: Seeds | None,
        bar: ProgressBar,
        shared_sets: SharedSets,
    ) -> None:
        self._executor, self._setting, self._bar, self._shared_sets = executor, setting, bar, shared_sets
        self._log, self._intended = log, intended
        self._here = isinstance(executor, ThreadPoolExecutor)  # jobs share the memory of this process
        self._listener = Listener()
        self._waiting: list[Job] = []
        self._pending: list[_Submitted] = []
        # Not concurrent.futures.wait: it holds the locks of all futures, and Ctrl-C inside would leave them locked.
        self._finished: SimpleQueue[_Submitted] = SimpleQueue()
        self._last_poll = 0.0
        self._pool = 0  # number of pools that were replaced
        self._at_once: int | None = None  # jobs that may be submitted at a time; None: all
        self._deaths: Counter[int] = Counter()  # workers that died, by the seed of the job
        self._by_value: set[int] = set()  # seeds of jobs whose data sets the workers do not have
        self._log_error = ""
        self.done: dict[int, Trial] = {}
        # In a thread of its own, which Ctrl-C does not interrupt: a trial is stored and logged, or neither. The thread
        # is started here, because Ctrl-C could interrupt its start. It is a daemon, so that it cannot keep the process
        # alive if Ctrl-C prevents the call of `close`.
        self._to_store: SimpleQueue[Trial | Event | None] = SimpleQueue()
        self._storing = Thread(target=self._store_all, daemon=True)
        self._storing.start()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs. Raise the error of a job that fails, or of its workers if they die before any job is done."""
        self._waiting = list(jobs)
        while self._waiting or self._pending:
            self._submit_waiting()
            finished = self._next_finished()
            if finished is not None:
                self._take(finished)
            self._show(jobs)

    def stop(self) -> None:
        """Cancel pending jobs. Jobs that run in this process stop within a few steps."""
        self._listener.stopped = True
        for submitted in self._pending:
            with suppress(Exception):  # a scheduler that fails to cancel must not hide the error that stopped the run
                submitted.future.cancel()

    def close(self) -> None:
        """End the thread that stores trials. Shut down the pool that replaced the caller's, if there is one."""
        self._to_store.put(None)
        self._storing.join()
        self._close_pool()

    def _close_pool(self) -> None:
        if self._pool and isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(cancel_futures=True)

    # ---- submission

    def _submit_waiting(self) -> None:
        while self._waiting and self._may_submit(self._waiting[0]):
            job = self._waiting.pop(0)
            try:
                self._submit(job)
            except BrokenExecutor as error:  # a pool with a dead process accepts no jobs
                self._waiting.insert(0, job)
                self._replace_pool(error)

    def _may_submit(self, job: Job) -> bool:
        if self._at_once is None:
            return True
        alone = any(self._deaths[each.seed] >= 2 for each in (job, *(submitted.job for submitted in self._pending)))
        return len(self._pending) < (1 if alone else self._at_once)

    def _submit(self, job: Job) -> None:
        if self._here:
            future: Any = self._executor.submit(run_job, job, self._listener)
        else:
            sent = job if job.seed in self._by_value else job.with_sets(self._shared_sets.reference)
            future = self._executor.submit(run_remote_job, sent)
        submitted = _Submitted(job, future, self._pool)
        self._pending.append(submitted)
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(lambda _: self._finished.put(submitted))

    # ---- results

    def _next_finished(self) -> _Submitted | None:
        """Return a finished job, or None after `_REDRAW` seconds."""
        with suppress(Empty):
            return self._finished.get(timeout=_REDRAW)
        if time.monotonic() < self._last_poll + _POLL:
            return None
        polled = (each for each in self._pending if not hasattr(each.future, "add_done_callback"))
        finished = next((each for each in polled if each.future.done()), None)
        if finished is None:
            self._last_poll = time.monotonic()
        return finished

    def _take(self, finished: _Submitted) -> None:
        job = finished.job
        try:
            trial = finished.future.result()
        except BrokenExecutor as error:
            self._repeat(finished)
            if finished.pool > 0:  # all jobs were submitted to the first pool: most of them are not the cause
                self._count_death(job, error)
            return
        except _lost_worker_errors() as error:
            self._repeat(finished)
            self._count_death(job, error)
            return
        if trial is None:
            self._by_value.add(job.seed)
            self._repeat(finished, first=True)
            return
        self._to_store.put(trial)
        self._pending.remove(finished)  # not earlier: after Ctrl-C, `store_finished` stores the pending ones
        self.wait_for_storing()

    def _repeat(self, finished: _Submitted, *, first: bool = False) -> None:
        self._pending.remove(finished)
        self._waiting.insert(0 if first else len(self._waiting), finished.job)

    def store_finished(self) -> None:
        """Store the trials that are finished but whose results were not taken yet, and wait."""
        for submitted in self._pending:
            with suppress(Exception, CancelledError):
                trial = submitted.future.result(timeout=0) if submitted.future.done() else None
                if trial is not None:
                    self._to_store.put(trial)
        self.wait_for_storing()

    def _store_all(self) -> None:
        while (item := self._to_store.get()) is not None:
            if isinstance(item, Event):
                item.set()
            else:
                self._store(item)

    def _store(self, trial: Trial) -> None:
        if trial.seed in self.done:
            return
        if self._log is not None:
            try:
                append(self._log, self._setting, trial, self._intended)
            except Exception as error:  # a full disk must not discard hours of training
                self._log_error = f"trial of seed {trial.seed} could not be written to the log {self._log}: {error}"
        self.done[trial.seed] = trial

    def wait_for_storing(self) -> None:
        """Wait until all trials are stored, and warn if one could not be logged."""
        stored = Event()
        self._to_store.put(stored)
        stored.wait()
        message, self._log_error = self._log_error, ""
        if message:
            warnings.warn(message, stacklevel=6)

    # ---- workers that die

    def _count_death(self, job: Job, error: BaseException) -> None:
        """Count a worker that died with a waiting job. Repeat the job last, or give it up."""
        self._deaths[job.seed] += 1
        self._waiting.sort(key=lambda each: self._deaths[each.seed])
        if self._deaths[job.seed] < _MAX_DEATHS:
            if self._at_once is None:
                _warn(f"a worker died: {_first_line(error)}; the trial of seed {job.seed} is repeated")
            return
        self._waiting.remove(job)
        if not self.done and not self._waiting and not self._pending:
            raise error
        _warn(
            f"the trial of seed {job.seed} is given up, because {_MAX_DEATHS} workers died with it; the last error: "
            f"{_first_line(error)}"
        )

    def _replace_pool(self, error: BrokenExecutor) -> None:
        if self._pool >= _MAX_DEATHS and not self.done:
            raise BrokenExecutor(
                f"{self._pool + 1} pools of processes failed before any trial was complete: {_first_line(error)}. "
                "Check that there is enough memory, and that a script calls run_trials within "
                '`if __name__ == "__main__":`'
            ) from error
        new = _new_pool(self._executor)
        if new is None:
            raise error
        _warn(f"a worker process died: {_first_line(error)}; a new pool of processes repeats the unfinished trials")
        self._close_pool()
        self._executor, self._at_once = new
        self._pool += 1

    # ---- progress

    def _show(self, jobs: Sequence[Job]) -> None:
        epochs = len(self._listener.epochs)
        if not self._here:
            epochs = sum(job.recipe.epochs for job in jobs if job.seed in self.done)
        accuracies = [trial.accuracy for trial in self.done.values() if trial.accuracy is not None]
        numbers = {"mean": percent(sum(accuracies) / len(accuracies))} if accuracies else {}
        self._bar.show(epochs, title=f"{len(self.done)}/{len(jobs)} trials", **numbers)


def _new_pool(broken: Any) -> tuple[Executor, int] | None:
    """Return a pool like a broken one and the number of its workers, or None if its kind is not known."""
    count = getattr(broken, "_max_workers", 0)
    initializer, arguments = getattr(broken, "_initializer", None), getattr(broken, "_initargs", ())
    if isinstance(broken, ProcessPoolExecutor) and count:
        options = {"mp_context": getattr(broken, "_mp_context", None)}
        if (tasks := getattr(broken, "_max_tasks_per_child", None)) is not None:  # since Python 3.11
            options["max_tasks_per_child"] = tasks
        return ProcessPoolExecutor(count, initializer=initializer, initargs=arguments, **options), count
    # loky, which joblib contains too: this function returns a new pool if the present one is broken
    reusable = getattr(sys.modules.get(type(broken).__module__), "get_reusable_executor", None)
    if reusable is None or not count:
        return None
    return reusable(count, initializer=initializer, initargs=arguments), count


def _lost_worker_errors() -> tuple[type[BaseException], ...]:
    """Return the errors of a single job whose worker died, of the libraries that are in use."""
    found = (
        getattr(sys.modules.get("distributed"), "KilledWorker", None),
        getattr(sys.modules.get("submitit.core.utils"), "UncompletedJobError", None),
    )
    return tuple(each for each in found if each is not None)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=7)

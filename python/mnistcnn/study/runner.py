"""Parallel execution of trials: one thread per trial and one trial per core, or on an executor of the caller."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn._internal.progress import ProgressBar
from mnistcnn._internal.tables import percent
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set
from mnistcnn.study.job import Job, Listener, Template, run_job
from mnistcnn.study.log import DEFAULT_LOG, append, check_log
from mnistcnn.study.spool import SetMissingError, Spool, facts_of
from mnistcnn.study.trials import Setting, Trial, Trials, checked_target
from mnistcnn.training.published_recipes import recipe as published_recipe
from mnistcnn.training.recipes import Recipe, hint_for
from mnistcnn.training.trainer import Trainer
from mnistcnn.training.validation import Validation

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model

_REDRAW = 0.2  # seconds between updates of the progress bar


def run_trials(
    model: Model | nn.Module | str,
    train_set: ImageSet,
    test_set: ImageSet,
    recipe: Recipe | None = None,
    seeds: int | Iterable[int] = 10,
    *,
    variant: str | None = None,
    validation: Validation = None,
    executor: Executor | None = None,
    log: str | Path | None = None,
    target: float | None = None,
    engine: str | None = None,
    device: str = "cpu",
    keep_models: bool = False,
    progress: bool = True,
    **changes: Any,
) -> Trials:
    """Train a network with several seeds in parallel, and report the mean and spread of the test accuracy.

    The seed of a trial determines its initial weights, data order, dropout masks and augmentation. Each trial uses one
    thread. The test set is evaluated once per trial, after the last epoch, and never used for model selection.

    Ctrl-C stops all trials. Complete trials are returned, with a warning that lists their seeds. A trial whose loss
    becomes NaN or infinite is reported as diverged and excluded from the mean.

    Parameters
    ----------
    model
        Name of a published network, or a `mnistcnn.Model` or ``torch.nn.Module`` as a template. A template is not
        changed. Each trial initialises new weights as PyTorch's layers do; only frozen parameters are kept.
    train_set
        Training images and labels.
    test_set
        Test images and labels.
    recipe
        Training recipe. Default: None, which uses the published recipe of a network given by name, and ``Recipe()``
        for a model.
    seeds
        Number n of trials, for seeds 0 to n - 1, or the seeds themselves.
    variant
        Variant of the published recipe, such as "rotation_step". Default: None, the recipe without a variant name.
    validation
        Validation set, or a fraction of the training set, evaluated after every epoch. Default: None, no validation.
    executor
        ``concurrent.futures.Executor`` that runs the trials, such as Dask's ``client.get_executor()``. It is not shut
        down. Data sets are sent by reference: a worker reads them from a temporary directory or from its own data sets
        of `mnistcnn.load`, verified by digest. If both fail, they are sent by value. Default: None, a pool of one
        thread per core in this process.
    log
        Path of the experiment log to which finished trials are appended, such as ``"experiments.jsonl"``;
        `mnistcnn.experiments` reads it. Default: None, no log.
    target
        Accuracy from 0 to 1. The report then includes the fraction of seeds that reach it, and with ``validation`` of
        those that reach it in each of the last three epochs. Default: None, no target.
    engine
        "lanes", "aten" or "auto". Default: None, which uses the engine of the model.
    device
        PyTorch device to train on.
    keep_models
        Keep the trained models in ``trials.models``.
    progress
        Show a progress bar in terminals and notebooks.
    **changes
        Fields of the recipe to change, such as ``epochs=5``.

    Returns
    -------
    Trials
        The finished trials, with mean, standard deviation and 95 % interval of the test accuracy.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:1000], test_set[:500], mnistcnn.Recipe(),
    ...                              seeds=3, epochs=1, progress=False)
    >>> len(trials.accuracies), trials.minimum <= trials.mean, trials.interval[0] < trials.mean
    (3, True, True)
    """
    numbers = _seeds(seeds)
    recipe = chosen_recipe(model, recipe, variant, changes)
    template = Template.of(model, train_set)
    check_run(template, recipe, train_set, validation, engine, device)
    check_set(template.model(0), test_set, "test_set")
    _check_executor(executor)
    target = None if target is None else checked_target(target)
    setting = setting_of(template, recipe, train_set, test_set, validation)
    jobs = [
        Job(template, recipe, seed, train_set, test_set, validation, None, engine, device, keep_models)
        for seed in numbers
    ]
    trials, unfinished = run_jobs(jobs, setting, executor=executor, log=log_path(log), progress=progress)
    return Trials(setting, trials, unfinished, target)


def run_jobs(
    jobs: Sequence[Job], setting: Setting, *, executor: Executor | None, log: Path | None, progress: bool
) -> tuple[tuple[Trial, ...], tuple[int, ...]]:
    """Run the jobs. Return the finished trials, in the order of the jobs, and the seeds of interrupted jobs."""
    with ExitStack() as stack:
        total = sum(job.recipe.epochs for job in jobs)
        bar = stack.enter_context(ProgressBar(total, enabled=progress, unit="epoch"))
        if executor is None:
            cores = len(os.sched_getaffinity(0))
            executor = stack.enter_context(ThreadPoolExecutor(min(cores, len(jobs)), thread_name_prefix="trial"))
        execution = _Execution(executor, setting, log, bar, stack.enter_context(Spool()))
        stack.callback(execution.stop)  # runs before the pool is joined
        try:
            execution.run(jobs)
        except KeyboardInterrupt:
            execution.stop()
            execution.wait_for_storing()
            if not execution.done:
                raise
            done = ", ".join(str(seed) for seed in sorted(execution.done))
            warnings.warn(
                f"interrupted: {len(execution.done)} of {len(jobs)} trials are complete (seeds {done}); "
                "only these are returned",
                stacklevel=3,
            )
    finished = tuple(execution.done[job.seed] for job in jobs if job.seed in execution.done)
    return finished, tuple(job.seed for job in jobs if job.seed not in execution.done)


class _Execution:
    """Submitted jobs and their results."""

    def __init__(self, executor: Executor, setting: Setting, log: Path | None, bar: ProgressBar, spool: Spool) -> None:
        self._executor, self._setting, self._log, self._bar, self._spool = executor, setting, log, bar, spool
        self._here = isinstance(executor, ThreadPoolExecutor)  # jobs share the memory of this process
        self._listener = Listener()
        self._pending: dict[Future[Trial], Job] = {}
        # Not concurrent.futures.wait: it holds the locks of all futures, and Ctrl-C inside would leave them locked.
        self._finished: SimpleQueue[Future[Trial]] = SimpleQueue()
        self._storing: Thread | None = None
        self._log_error = ""
        self.done: dict[int, Trial] = {}

    def run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._submit(job, self._by_reference(job))
        while self._pending:
            try:
                future = self._finished.get(timeout=_REDRAW)
            except Empty:
                future = None
            if future is not None:
                self._take(future, self._pending.pop(future))
            self._show(jobs)

    def stop(self) -> None:
        """Cancel pending jobs. Jobs that run in this process stop within a few steps."""
        self._listener.stopped = True
        for future in self._pending:
            future.cancel()

    def _submit(self, job: Job, sent: Job) -> None:
        arguments = (sent, self._listener) if self._here else (sent,)
        future = self._executor.submit(run_job, *arguments)
        self._pending[future] = job
        future.add_done_callback(self._finished.put)

    def _by_reference(self, job: Job) -> Job:
        if self._here:
            return job
        return job.with_sets(self._spool.lend)

    def _take(self, future: Future[Trial], job: Job) -> None:
        try:
            trial = future.result()
        except SetMissingError:
            self._submit(job, job)  # by value
            return
        # In a thread of its own, which Ctrl-C does not interrupt: a trial is stored and logged, or neither.
        self._storing = Thread(target=self._store, args=(trial,))
        self._storing.start()
        self.wait_for_storing()

    def _store(self, trial: Trial) -> None:
        if self._log is not None:
            try:
                append(self._log, self._setting, trial)
            except OSError as error:  # a full disk must not discard hours of training
                self._log_error = f"trial of seed {trial.seed} could not be written to the experiment log: {error}"
        self.done[trial.seed] = trial

    def wait_for_storing(self) -> None:
        """Wait until the latest trial is stored, and warn if it could not be logged."""
        if self._storing is not None:
            self._storing.join()
        message, self._log_error = self._log_error, ""
        if message:
            warnings.warn(message, stacklevel=6)

    def _show(self, jobs: Sequence[Job]) -> None:
        epochs = len(self._listener.epochs)
        if not self._here:
            epochs = sum(job.recipe.epochs for job in jobs if job.seed in self.done)
        accuracies = [trial.accuracy for trial in self.done.values() if trial.accuracy is not None]
        numbers = {"mean": percent(sum(accuracies) / len(accuracies))} if accuracies else {}
        self._bar.show(epochs, title=f"{len(self.done)}/{len(jobs)} trials", **numbers)


# ---- checks of arguments


def chosen_recipe(
    model: Model | nn.Module | str, recipe: Recipe | None, variant: str | None, changes: dict[str, Any]
) -> Recipe:
    """Return the recipe of a study: given, published or default, with ``changes`` applied."""
    if recipe is not None and not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be an mnistcnn.Recipe, got {recipe!r}; use variant= to select a published recipe")
    if recipe is not None and variant is not None:
        raise ValueError(f"recipe and variant={variant!r} must not both be given; variant selects a published recipe")
    if recipe is None:
        name = model if isinstance(model, str) else getattr(model, "name", type(model).__name__)
        use_published = variant is not None or isinstance(model, str)
        recipe = published_recipe(name, variant) if use_published else Recipe()
    if "seed" in changes:
        raise TypeError("seed is not supported, because each trial has its own seed; use seeds=")
    known = {each.name for each in fields(Recipe)}
    unknown = {name: value for name, value in changes.items() if name not in known}
    if unknown:
        first, names = next(iter(unknown)), sorted(known)
        raise TypeError(f"{first!r} is neither an argument nor a field of Recipe{hint_for(unknown, names)}")
    return recipe.replace(**changes)


def log_path(log: str | Path | None) -> Path | None:
    """Return the path of the log, checked for writing, or None without a log."""
    if log is None:
        return None
    if not isinstance(log, str | os.PathLike):
        raise TypeError(f"log must be the path of a file, such as {DEFAULT_LOG!r}, or None, got {log!r}")
    path = Path(log)
    check_log(path)
    return path


def check_run(
    template: Template,
    recipe: Recipe,
    train_set: ImageSet,
    validation: Validation,
    engine: str | None = None,
    device: str = "cpu",
) -> None:
    """Raise the errors that a trial would raise for these arguments, before any trial starts."""
    model = template.model(0)
    Trainer(model, recipe, engine=engine, threads=1, device=device, progress=False).epochs(train_set, validation)


def _check_executor(executor: object) -> None:
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "executor must be a concurrent.futures.Executor, such as ThreadPoolExecutor(4) or Dask's "
            f"client.get_executor(), got {executor!r}"
        )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        numbers = [seed_number(seed) for seed in seeds]
    else:
        numbers = list(range(whole_number("seeds", seeds, maximum=100_000)))
    if not numbers:
        raise ValueError("seeds must contain at least one seed, got none")
    if len(set(numbers)) < len(numbers):
        repeated = next(seed for seed in numbers if numbers.count(seed) > 1)
        raise ValueError(f"seeds must be different, got {repeated} more than once; the same seed gives the same result")
    return numbers


def setting_of(
    template: Template, recipe: Recipe, train_set: ImageSet, test_set: ImageSet, validation: Validation
) -> Setting:
    """Return the settings that all trials share, for reports and the log."""
    model = template.model(0)
    return Setting(
        model=template.name,
        graph=template.digest,
        parameters=model.parameter_count,
        receptive_field=model.summary().receptive_field,
        recipe=recipe.replace(seed=0).described(),
        train_set=facts_of(train_set),
        test_set=facts_of(test_set),
        validation=facts_of(validation) if isinstance(validation, ImageSet) else validation,
    )

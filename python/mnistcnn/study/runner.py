"""Many trials side by side: one per core, each with one thread, or wherever an executor puts them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set
from mnistcnn.study.job import Job, Listener, Template, run_job
from mnistcnn.study.log import DEFAULT_LOG, append, check_log
from mnistcnn.study.spool import SetMissingError, Spool, facts_of
from mnistcnn.study.trials import Setting, Trial, Trials, checked_target, percent
from mnistcnn.training.published_recipes import recipe as published_recipe
from mnistcnn.training.recipes import Recipe, hint_for
from mnistcnn.training.trainer import Trainer
from mnistcnn.training.validation import Validation

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model

_REDRAW = 0.2  # seconds between two looks at how far the trials are


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
    log: str | Path | bool | None = DEFAULT_LOG,
    target: float | None = None,
    engine: str | None = None,
    device: str = "cpu",
    keep_models: bool = False,
    progress: bool = True,
    **changes: Any,
) -> Trials:
    """Trains the same thing with many seeds, side by side, and says how good it is and how sure that is.

    Every seed draws its own weights, order, dropout masks and augmentation. Each trial uses one thread, so that there
    is nothing to wait for. The test set is looked at once per trial, after the last epoch, and chooses nothing.

    Ctrl-C stops all trials; those that are complete are returned, with a warning that says which. A trial whose loss
    is no longer a number is reported, and has no part in the mean.

    Parameters
    ----------
    model
        The name of a published network, or a model or any ``torch.nn.Module`` as a template: its weights are not
        touched, and only those of frozen layers are used. Every trial draws fresh ones as torch's layers do.
    train_set, test_set
        What to train on, and what to test on at the end.
    recipe, variant, **changes
        How to train. None: the published recipe of a network that is given by name (the one called ``variant``), or
        ``Recipe()`` for a model. Further keywords change fields of it: ``epochs=5``.
    seeds
        A number n, for the seeds 0 to n - 1, or the seeds themselves.
    validation
        A set, or a fraction of the training set, to be looked at after every epoch.
    executor
        Any ``concurrent.futures.Executor``; by default a pool of one thread per core, in this process. To others, the
        sets are sent as a reference: workers read them from a temporary folder or from their own copy of what
        `mnistcnn.load` knows (checked by digest), and get them by value where they have neither. Dask:
        ``executor=client.get_executor()``. It is not shut down.
    log
        The experiment log that every finished trial is appended to, for `mnistcnn.experiments`;
        ``./experiments.jsonl`` if nothing is said. None or False: no log.
    target
        An accuracy from 0 to 1; the report then says which share of the seeds reaches it.
    engine, device
        As in `mnistcnn.train`.
    keep_models
        Whether ``trials.models`` shall hold the trained models.
    progress
        Whether to show a bar for all (in terminals and notebooks).

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:1000], test_set[:500], mnistcnn.Recipe(),
    ...                              seeds=3, epochs=1, log=None, progress=False)
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
    """The trials of all jobs, in the order of the jobs, and the seeds of those that were interrupted."""
    with ExitStack() as stack:
        total = sum(job.recipe.epochs for job in jobs)
        bar = stack.enter_context(ProgressBar(total, enabled=progress, unit="epoch"))
        if executor is None:
            cores = len(os.sched_getaffinity(0))
            executor = stack.enter_context(ThreadPoolExecutor(min(cores, len(jobs)), thread_name_prefix="trial"))
        run = _Run(executor, setting, log, bar, stack.enter_context(Spool()))
        stack.callback(run.stop)  # before the pool is waited for
        try:
            run.all_of(jobs)
        except KeyboardInterrupt:
            run.stop()
            if not run.done:
                raise
            done = ", ".join(str(seed) for seed in sorted(run.done))
            warnings.warn(
                f"interrupted: {len(run.done)} of {len(jobs)} trials are complete (seeds {done}); "
                "what is returned and logged are these alone",
                stacklevel=3,
            )
    finished = tuple(run.done[job.seed] for job in jobs if job.seed in run.done)
    return finished, tuple(job.seed for job in jobs if job.seed not in run.done)


class _Run:
    """Jobs under way."""

    def __init__(self, executor: Executor, setting: Setting, log: Path | None, bar: ProgressBar, spool: Spool) -> None:
        self._executor, self._setting, self._log, self._bar, self._spool = executor, setting, log, bar, spool
        self._here = isinstance(executor, ThreadPoolExecutor)  # shares our memory
        self._listener = Listener()
        self._pending: dict[Future[Trial], Job] = {}
        # Not concurrent.futures.wait: it holds the locks of all futures, and Ctrl-C there would leave them locked.
        self._finished: SimpleQueue[Future[Trial]] = SimpleQueue()
        self.done: dict[int, Trial] = {}

    def all_of(self, jobs: Sequence[Job]) -> None:
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
        """Nothing new begins; what runs in this process ends with its next step."""
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
        self.done[job.seed] = trial
        if self._log is not None:
            try:
                append(self._log, self._setting, trial)
            except OSError as error:  # hours of training are not lost for a full disk
                warnings.warn(f"the trial of seed {trial.seed} could not be logged: {error}", stacklevel=5)

    def _show(self, jobs: Sequence[Job]) -> None:
        epochs = len(self._listener.epochs)
        if not self._here:
            epochs = sum(job.recipe.epochs for job in jobs if job.seed in self.done)
        accuracies = [trial.accuracy for trial in self.done.values() if trial.accuracy is not None]
        numbers = {"mean": percent(sum(accuracies) / len(accuracies))} if accuracies else {}
        self._bar.show(epochs, title=f"{len(self.done)}/{len(jobs)} trials", **numbers)


# ---- what is asked for


def chosen_recipe(
    model: Model | nn.Module | str, recipe: Recipe | None, variant: str | None, changes: dict[str, Any]
) -> Recipe:
    """The recipe with all changes made."""
    if recipe is not None and not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be an mnistcnn.Recipe, got {recipe!r}; variant= chooses a published one")
    if recipe is not None and variant is not None:
        raise ValueError(f"give a recipe or a variant ({variant!r}) of the published one, not both")
    if recipe is None:
        name = model if isinstance(model, str) else getattr(model, "name", type(model).__name__)
        asked = variant is not None or isinstance(model, str)
        recipe = published_recipe(name, variant) if asked else Recipe()
    if "seed" in changes:
        raise TypeError("every trial has its own seed: say seeds=, not seed=")
    known = {each.name for each in fields(Recipe)}
    unknown = {name: value for name, value in changes.items() if name not in known}
    if unknown:
        first, names = next(iter(unknown)), sorted(known)
        raise TypeError(f"{first!r} is neither an argument nor a field of Recipe{hint_for(unknown, names)}")
    return recipe.replace(**changes)


def log_path(log: str | Path | bool | None) -> Path | None:
    """Where to log, checked; None for nowhere."""
    if log is None or log is False:
        return None
    path = Path(DEFAULT_LOG if log is True else log)
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
    """Refuses what the trials would refuse, before any of them begins."""
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
        numbers = list(range(whole_number("seeds", seeds, most=100_000)))
    if not numbers:
        raise ValueError("seeds is empty: say how many, or which")
    if len(set(numbers)) < len(numbers):
        twice = next(seed for seed in numbers if numbers.count(seed) > 1)
        raise ValueError(f"seed {twice} is given twice; the same seed gives the same bits")
    return numbers


def setting_of(
    template: Template, recipe: Recipe, train_set: ImageSet, test_set: ImageSet, validation: Validation
) -> Setting:
    """What all trials have in common, for reports and the log."""
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

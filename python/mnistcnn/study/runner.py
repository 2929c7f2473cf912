"""Parallel execution of trials: one thread per trial and one trial per core, or on an executor of the caller."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn._internal.native import core
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set
from mnistcnn.study.execution import Execution
from mnistcnn.study.job import Job, Template
from mnistcnn.study.log import DEFAULT_LOG, Seeds, check_log
from mnistcnn.study.shared_sets import SharedSets, facts_of
from mnistcnn.study.trials import SetFacts, Setting, Trial, Trials, checked_target
from mnistcnn.training.published_recipes import recipe as published_recipe
from mnistcnn.training.recipes import Recipe, recipe_with
from mnistcnn.training.trainer import Trainer
from mnistcnn.training.validation import Validation

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model


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
    shard: tuple[int, int] | None = None,
    log: str | Path | None = None,
    target: float | None = None,
    engine: str | None = None,
    device: str = "cpu",
    keep_models: bool = False,
    progress: bool = True,
    **changes: Any,
) -> Trials:
    """Train a network with several seeds in parallel, and report the mean and spread of the test accuracy.

    The seed of a trial determines its initial weights, data order, dropout masks, augmentation and held-out images.
    Each trial uses one thread. The test set is evaluated once per trial, after the last epoch, and never used for model
    selection.

    Ctrl-C stops all trials. Complete trials are returned, with a warning that lists their seeds. An error of one trial
    stops the others too; the complete trials are in its attribute ``trials``. A trial whose loss
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
        Variant of the published recipe, such as "rotation_step". Default: None, the default variant.
    validation
        Validation set, or a fraction of the training set, evaluated after every epoch. Default: None, no validation.
    executor
        ``concurrent.futures.Executor`` that runs the trials, such as Dask's ``client.get_executor()``, or another
        object with ``submit``, such as an executor of submitit. It is not shut down. If a worker dies, its trial is
        repeated; if three workers die with the same trial, its seed is in ``trials.unfinished``. Default: None, a pool
        of one thread per core in this process.
    shard
        (k, n) with k from 1 to n: run every n-th seed, starting with the k-th. Give each
        shard its own log; `mnistcnn.experiments` merges them. Default: None, all seeds.
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
    intended = _seeds(seeds)
    numbers = intended if shard is None else seeds_of_shard(intended, shard)
    recipe = chosen_recipe(model, recipe, variant, changes, run_trials)
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
    trials, unfinished = run_jobs(
        jobs, setting, executor=executor, log=log_path(log), intended=intended, progress=progress
    )
    return Trials(setting, trials, unfinished, target)


def run_jobs(
    jobs: Sequence[Job],
    setting: Setting,
    *,
    executor: Executor | None,
    log: Path | None,
    intended: Seeds | None = None,
    progress: bool,
) -> tuple[tuple[Trial, ...], tuple[int, ...]]:
    """Run the jobs. Return the finished trials, in the order of the jobs, and the seeds of unfinished jobs.

    ``intended`` are the seeds of the whole study, for the log: `jobs` may be a part of it.
    """
    with ExitStack() as stack:
        total = sum(job.recipe.epochs for job in jobs)
        bar = stack.enter_context(ProgressBar(total, enabled=progress, unit="epoch"))
        if executor is None:
            count = min(core.available_cores(), len(jobs))
            executor = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="trial"))
        shared_sets = stack.enter_context(SharedSets())
        execution = Execution(executor, setting, log=log, intended=intended, bar=bar, shared_sets=shared_sets)
        stack.callback(execution.close)
        stack.callback(execution.stop)  # runs before the pool is joined
        try:
            execution.run(jobs)
        except BaseException as error:
            execution.stop()
            execution.store_finished()
            if not execution.done:
                raise
            if not isinstance(error, KeyboardInterrupt):
                finished, unfinished = _divided(jobs, execution.done)
                error.trials = Trials(setting, finished, unfinished)  # type: ignore[attr-defined]
                raise
            done = ", ".join(str(seed) for seed in sorted(execution.done))
            warnings.warn(
                f"interrupted: {len(execution.done)} of {len(jobs)} trials are complete (seeds {done}); "
                "only these are returned",
                stacklevel=3,
            )
    return _divided(jobs, execution.done)


def _divided(jobs: Sequence[Job], done: Mapping[int, Trial]) -> tuple[tuple[Trial, ...], tuple[int, ...]]:
    """Return the finished trials in the order of the jobs, and the seeds of the other jobs."""
    return tuple(done[job.seed] for job in jobs if job.seed in done), tuple(
        job.seed for job in jobs if job.seed not in done
    )


# ---- checks of arguments


def chosen_recipe(
    model: Model | nn.Module | str,
    recipe: Recipe | None,
    variant: str | None,
    changes: dict[str, Any],
    function: Callable[..., Any],
) -> Recipe:
    """Return the recipe of a study: given, published or default, with changes.

    ``function`` is the function whose unknown keywords are the changes, for errors.
    """
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
    return recipe_with(recipe, changes, function)


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
            f"client.get_executor(), or another object with submit(), got {executor!r}"
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


def seeds_of_shard(seeds: list[int], shard: tuple[int, int]) -> list[int]:
    """Return the seeds of a shard: every n-th, so that a shard keeps its seeds if more are appended."""
    try:
        part, count = shard
        part, count = whole_number("shard", part), whole_number("shard", count)
    except (TypeError, ValueError):
        part, count = 1, 0
    if part > count:
        raise ValueError(
            f"shard must be a pair of integers (k, n) with k from 1 to n, such as (3, 10) for the third of ten shards, "
            f"got {shard!r}"
        )
    if part > len(seeds):
        raise ValueError(f"shard {part} of {count} has no seeds: there are only {len(seeds)} seeds")
    return seeds[part - 1 :: count]


def _plain_validation(validation: ImageSet | float) -> SetFacts | float:
    return facts_of(validation) if isinstance(validation, ImageSet) else float(validation)


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
        recipe=recipe.replace(seed=0).describe(),
        train_set=facts_of(train_set),
        test_set=facts_of(test_set),
        validation=validation if validation is None else _plain_validation(validation),
    )

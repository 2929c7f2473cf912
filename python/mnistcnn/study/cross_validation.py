"""Cross-validation: every image is held out once, and none is needed for testing alone."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn.data.image_set import ImageSet
from mnistcnn.study.folds import Fold, check_folds
from mnistcnn.study.job import Job, Template
from mnistcnn.study.log import DEFAULT_LOG
from mnistcnn.study.runner import check_run, chosen_recipe, log_path, run_jobs, setting_of
from mnistcnn.study.trials import Trials
from mnistcnn.training.recipes import Recipe
from mnistcnn.training.validation import Validation

if TYPE_CHECKING:
    from torch import nn

    from mnistcnn.nn.model import Model


def cross_validate(
    model: Model | nn.Module | str,
    data: ImageSet,
    recipe: Recipe | None = None,
    folds: int = 5,
    *,
    variant: str | None = None,
    validation: Validation = None,
    seed: int = 0,
    executor: Executor | None = None,
    log: str | Path | bool | None = DEFAULT_LOG,
    engine: str | None = None,
    device: str = "cpu",
    keep_models: bool = False,
    progress: bool = True,
    **changes: Any,
) -> Trials:
    """Trains once per fold on the rest, and tests on the fold: accuracies without a test set.

    The folds are stratified: within every class their sizes differ by at most one image. They are trained side by
    side.

    Parameters
    ----------
    model, recipe, variant, executor, log, engine, device, keep_models, progress, **changes
        As in `mnistcnn.run_trials`.
    data
        The set that is divided; usually the training set.
    folds
        How many parts.
    validation
        A set, or a fraction of the images of the other folds, for schedules that need one.
    seed
        Decides the folds. The weights of fold k are those of seed k.

    Returns
    -------
    Trials
        One per fold; ``trials.results`` holds the answers to the held-out images. Folds share training images, so the
        95 % interval is narrower than that of independent experiments.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:600]
    >>> scores = mnistcnn.cross_validate("budget_model3", data, mnistcnn.Recipe(epochs=1), folds=3, log=None,
    ...                                  progress=False)
    >>> [result.count for result in scores.results]
    [200, 200, 200]
    """
    folds, seed = whole_number("folds", folds, least=2), seed_number(seed)
    recipe = chosen_recipe(model, recipe, variant, changes)
    template = Template.of(model, data)
    check_run(template, recipe, data, validation, engine, device)
    check_folds(data.labels, folds)
    setting = replace(setting_of(template, recipe, data, data, validation), folds=folds)
    jobs = [
        Job(template, recipe, k, data, data, validation, Fold(k, folds, seed), engine, device, keep_models)
        for k in range(folds)
    ]
    trials, unfinished = run_jobs(jobs, setting, executor=executor, log=log_path(log), progress=progress)
    return Trials(setting, trials, unfinished)

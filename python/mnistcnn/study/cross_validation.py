"""Stratified k-fold cross-validation: one model per fold, tested on the images held out."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.input_checks import check_set
from mnistcnn.study.folds import Fold, check_folds
from mnistcnn.study.job import Job, Template
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
    log: str | Path | None = None,
    engine: str | None = None,
    device: str = "cpu",
    keep_models: bool = False,
    progress: bool = True,
    **changes: Any,
) -> Trials:
    """Estimate test accuracy by stratified k-fold cross-validation, without a test set.

    For each fold, a model is trained on the other folds and tested on the images of the fold. Folds are stratified:
    their sizes differ by at most one image per class. They are trained in parallel, one thread each.

    Parameters
    ----------
    model
        Name of a published network, or a `mnistcnn.Model` or ``torch.nn.Module`` as a template, as in
        `mnistcnn.run_trials`.
    data
        Data set to split into folds, usually the training set.
    recipe
        Training recipe. Default: None, which uses the published recipe of a network given by name, and ``Recipe()``
        for a model.
    folds
        Number of folds, at least 2.
    variant
        Variant of the published recipe, such as "rotation_step". Default: None, the default variant.
    validation
        Validation set, or a fraction of the training images of each fold, for schedules that need one. Default: None,
        no validation.
    seed
        Seed of the assignment of images to folds. Fold k trains with seed k.
    executor
        ``concurrent.futures.Executor`` that runs the folds, as in `mnistcnn.run_trials`. Default: None, one thread per
        core in this process.
    log
        Path of the experiment log to which finished folds are appended, such as ``"experiments.jsonl"``. Default: None,
        no log.
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
        One trial per fold; ``trials.results`` holds the predictions for the held-out images. Folds share training
        images, so the 95 % interval is narrower than that of independent experiments.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:600]
    >>> scores = mnistcnn.cross_validate("budget_model3", data, mnistcnn.Recipe(epochs=1), folds=3,
    ...                                  progress=False)
    >>> [result.count for result in scores.results]
    [200, 200, 200]
    """
    folds, seed = whole_number("folds", folds, minimum=2), seed_number(seed)
    recipe = chosen_recipe(model, recipe, variant, changes, cross_validate)
    template = Template.of(model, data)
    check_set(template.model(0), data, "data")
    check_folds(data.labels, folds)
    for k in (0, folds - 1):  # the largest fold and the smallest one
        check_run(template, recipe, Fold(k, folds, seed).parts(data)[0], validation, engine, device)
    setting = replace(setting_of(template, recipe, data, data, validation), folds=folds)
    jobs = [
        Job(template, recipe, k, data, data, validation, Fold(k, folds, seed), engine, device, keep_models)
        for k in range(folds)
    ]
    trials, unfinished = run_jobs(
        jobs, setting, executor=executor, log=log_path(log), intended=range(folds), progress=progress
    )
    return Trials(setting, trials, unfinished)

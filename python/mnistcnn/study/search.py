"""Hyperparameter search with Optuna: validation accuracy as objective, median pruning, resumable studies.

Needs Optuna: ``pip install optuna``.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn._internal.native import core
from mnistcnn._internal.plain_values import describe
from mnistcnn._internal.progress import ProgressBar
from mnistcnn._internal.tables import aligned, html_table, json_text, pandas, percent, without_nan
from mnistcnn.data.image_set import ImageSet
from mnistcnn.study.job import Template
from mnistcnn.study.runner import check_run, chosen_recipe
from mnistcnn.study.shared_sets import facts_of
from mnistcnn.study.space import Space, changed, checked_space
from mnistcnn.study.storage import opened_study
from mnistcnn.training.history import EpochRecord
from mnistcnn.training.recipes import Recipe
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from torch import nn

    from mnistcnn.nn.model import Model

_INTERRUPTED = "interrupted"  # user attribute of trials ended by Ctrl-C: they are not counted, and repeated on resume


@dataclass(frozen=True)
class SweepTrial:
    """Result of one recipe of a sweep.

    Attributes
    ----------
    number
        Number of the trial, from 0.
    state
        "complete", "pruned", "diverged" or "failed".
    accuracy
        Accuracy on the validation set after the last epoch trained, from 0 to 1.
    epochs
        Number of epochs trained.
    choices
        Sampled values by field name.
    """

    number: int
    state: str
    accuracy: float | None
    epochs: int
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Sweep:
    """Result of `mnistcnn.sweep`: all trials and the best recipe.

    Attributes
    ----------
    model
        Name of the model.
    trials
        All trials, each a ``SweepTrial``.
    best_recipe
        Recipe of the best trial.
    best_trial
        Complete trial with the highest validation accuracy.
    validation
        Description of the validation set.
    unfinished
        Number of trials that are missing because of an interruption.
    """

    model: str
    trials: tuple[SweepTrial, ...]
    best_recipe: Recipe
    best_trial: SweepTrial
    validation: str
    unfinished: int = 0

    @property
    def best_accuracy(self) -> float:
        """Return the validation accuracy of the best complete trial, 0 to 1.

        As the maximum over many trials, it overestimates the accuracy on new data.
        """
        assert self.best_trial.accuracy is not None
        return self.best_trial.accuracy

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[SweepTrial]:
        return iter(self.trials)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per trial."""
        return [
            {"number": each.number, "state": each.state, "accuracy": each.accuracy, "epochs": each.epochs}
            | each.choices
            for each in self.trials
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of lists, numbers and strings."""
        return {
            "model": self.model,
            "validation": self.validation,
            "unfinished": self.unfinished,
            "best_accuracy": self.best_accuracy,
            "best_trial": self.best_trial.number,
            "best_recipe": self.best_recipe.describe(),
            "trials": [{name: describe(value) for name, value in each.items()} for each in self.to_dicts()],
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text; also write it to ``path`` if given."""
        return json_text(without_nan(self.to_dict()), path)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a pandas DataFrame with one row per trial."""
        return pandas().DataFrame(self.to_dicts()).set_index("number")

    def _title(self) -> str:
        states = [each.state for each in self.trials]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        counted += f", {self.unfinished} interrupted" if self.unfinished else ""
        return (
            f"Sweep of {self.model}: {counted}; best {percent(self.best_accuracy)} on {self.validation} "
            f"(trial {self.best_trial.number})"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = list(dict.fromkeys(name for each in self.trials for name in each.choices))
        ranked = sorted(self.trials, key=lambda each: (each.state != "complete", -(each.accuracy or 0), each.number))
        rows = [
            [
                str(each.number),
                each.state,
                "-" if each.accuracy is None else percent(each.accuracy),
                str(each.epochs),
                *(_shown(each.choices.get(name, "-")) for name in names),
            ]
            for each in ranked
        ]
        return ["trial", "state", "accuracy", "epochs", *names], rows

    def __repr__(self) -> str:
        headings, rows = self._table()
        return "\n".join([self._title(), *(f"  {line}" for line in aligned([headings, *rows]))])

    def _repr_html_(self) -> str:
        return html_table(*self._table(), title=self._title())


def sweep(
    model: Model | nn.Module | str,
    train_set: ImageSet,
    space: Mapping[str, Any],
    *,
    recipe: Recipe | None = None,
    variant: str | None = None,
    trials: int = 20,
    validation: ImageSet | float = 0.1,
    storage: str | None = None,
    name: str | None = None,
    pruning: bool = True,
    resume: bool = True,
    seed: int = 0,
    engine: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    **changes: Any,
) -> Sweep:
    """Search for the recipe with the best validation accuracy, using Optuna. The test set is not used.

    Optuna's TPE sampler proposes one recipe at a time. Each trial trains a new model with the same seed. With pruning,
    a trial stops if its best validation accuracy so far is below the median of earlier trials at the same epoch.
    Pruning starts after five complete trials.

    Ctrl-C returns the finished trials, with a warning. With a ``storage``, calling the function again with the same
    arguments resumes the search, also after the process was killed.

    Parameters
    ----------
    model
        Name of a published network, or a `mnistcnn.Model` or ``torch.nn.Module`` as a template, as in
        `mnistcnn.run_trials`.
    train_set
        Training images and labels.
    space
        Search space: a mapping from names of recipe fields to candidate values. Nested fields are written with dots:
        "optimizer.lr". A list enumerates the values. ``(low, high)`` is a range of floats, or of integers if both
        limits are integers. ``(low, high, "log")`` is sampled log-uniformly.
    recipe
        Recipe to which the sampled values are applied. Default: None, which uses the published recipe of a network
        given by name, and ``Recipe()`` for a model.
    variant
        Variant of the published recipe, such as "rotation_step". Default: None, the default variant.
    trials
        Total number of trials, including those of an earlier call that is resumed.
    validation
        Validation set, or the fraction of the training set to hold out.
    storage
        Database URL of the study, such as ``"sqlite:///sweep.db"``. Default: None, which keeps the study in memory.
    name
        Name of the study in the storage. Default: None, the name of the model.
    pruning
        Stop unpromising trials early.
    resume
        Resume a study of this name if the storage has one. It must have been created with the same arguments.
    seed
        Seed of the sampler and of the training of every trial.
    engine
        "lanes", "aten" or "auto". Default: None, which uses the engine of the model.
    threads
        Number of threads. Default: None, one per physical core.
    device
        PyTorch device to train on.
    progress
        Show a progress bar in terminals and notebooks.
    **changes
        Fields of the recipe to change, such as ``epochs=5``.

    Returns
    -------
    Sweep
        All trials, the best one and its recipe.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[0][:600]
    >>> found = mnistcnn.sweep("budget_model3", data, {"optimizer.lr": (1e-3, 1e-1, "log"), "batch_size": [32, 64]},
    ...                        recipe=mnistcnn.Recipe(epochs=1), trials=2, progress=False)
    >>> len(found.trials), found.best_recipe.epochs
    (2, 1)
    """
    trials, seed = whole_number("trials", trials), seed_number(seed)
    if validation is None:
        raise ValueError(
            "validation must be an ImageSet or a fraction such as 0.1, got None; a sweep selects by validation accuracy"
        )
    recipe = chosen_recipe(model, recipe, variant, changes, sweep).replace(seed=seed)
    template = Template.of(model, train_set)
    check_run(template, recipe, train_set, validation, engine, device)
    choices = checked_space(space, recipe)
    if len(choices) == 1:  # otherwise a value may require one of another part; combinations that fail are skipped
        ((part, choice),) = choices.items()
        for value in choice.values:
            try:
                check_run(template, changed(recipe, {part: value}), train_set, validation, engine, device)
            except (TypeError, ValueError) as error:
                raise type(error)(f"space[{part!r}] contains {value!r}: {error}") from None
    text = _describe(template, recipe, choices, train_set, validation, pruning)
    options = {"validation": validation, "engine": engine, "threads": threads, "device": device, "progress": False}
    objective = partial(
        _validation_accuracy, template=template, recipe=recipe, choices=choices, train_set=train_set, options=options
    )
    validated_on = (
        str(facts_of(validation)) if isinstance(validation, ImageSet) else f"{100 * validation:g} % of {train_set.name}"
    )
    with opened_study(storage, name or template.name, text, seed, pruning, resume) as study:
        _search(study, objective, trials, progress)
        found = _collected(study, template.name, recipe, choices, validated_on, trials)
    if found.unfinished:
        advice = "; call sweep again with the same arguments to resume" if storage else ""
        warnings.warn(
            f"interrupted: {len(found)} of {trials} trials are finished, only these are returned{advice}", stacklevel=2
        )
    return found


# ---- the study


def _describe(
    template: Template,
    recipe: Recipe,
    choices: Space,
    train_set: ImageSet,
    validation: ImageSet | float,
    pruning: bool,
) -> str:
    """Return digests of all arguments that must be the same when a study is resumed, as JSON."""
    validated_on = facts_of(validation).digest if isinstance(validation, ImageSet) else validation
    parts = {
        "network": template.digest,
        "recipe": recipe.describe() | {"about": None},
        "space": {name: describe(choice) for name, choice in choices.items()},
        "training set": facts_of(train_set).digest,
        "validation": validated_on,
        "pruning": pruning,
    }
    texts = {name: repr(without_nan(part)) for name, part in parts.items()}
    return json.dumps({name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()})


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that are finished and were not interrupted."""
    return [trial for trial in study.trials if trial.state.is_finished() and _INTERRUPTED not in trial.user_attrs]


def _search(study: optuna.Study, objective: Callable[[optuna.Trial], float], trials: int, progress: bool) -> None:
    """Run trials up to the requested number. Ctrl-C ends the loop; it is raised again if no trial is complete."""
    remaining = max(0, trials - len(_finished(study)))
    with ProgressBar(remaining, enabled=progress, unit="trial") as bar:
        try:
            for done in range(remaining):
                trial = study.ask()
                _run_trial(study, trial, objective)
                bar.show(done + 1, title=f"trial {trial.number}", **_best_so_far(study))
        except KeyboardInterrupt:
            if not _best_so_far(study):
                raise


def _validation_accuracy(
    trial: optuna.Trial,
    template: Template,
    recipe: Recipe,
    choices: Space,
    train_set: ImageSet,
    options: dict[str, Any],
) -> float:
    """Train a model with the values that a trial samples, and return its validation accuracy after the last epoch."""
    sampled = {name: choice.suggest(trial, name) for name, choice in choices.items()}
    recipe = changed(recipe, sampled)
    model = template.model(recipe.seed)
    history = train(model, train_set, recipe, callbacks=[_Reporter(trial, recipe.epochs)], **options)
    accuracy = history.last.validation_accuracy
    assert accuracy is not None
    return accuracy


class _Reporter:
    """Callback that reports each epoch to Optuna, and raises TrialPruned if the pruner stops the trial."""

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        self._trial, self._epochs = trial, epochs

    def on_epoch(self, record: EpochRecord) -> None:
        """Report the validation accuracy. Raise TrialPruned if the trial is to be pruned."""
        import optuna

        assert record.validation_accuracy is not None
        self._trial.report(record.validation_accuracy, record.epoch)
        if record.epoch < self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned


def _run_trial(study: optuna.Study, trial: optuna.Trial, objective: Callable[[optuna.Trial], float]) -> None:
    import optuna

    state = optuna.trial.TrialState
    try:
        value = objective(trial)
    except optuna.TrialPruned:
        study.tell(trial, state=state.PRUNED)
    except core.DivergedError as error:
        trial.set_user_attr("diverged", str(error))
        study.tell(trial, state=state.PRUNED)
    except ValueError as error:  # of a combination of values
        warnings.warn(f"trial {trial.number} failed: {error}", stacklevel=4)
        study.tell(trial, state=state.FAIL)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            trial.set_user_attr(_INTERRUPTED, True)
        study.tell(trial, state=state.FAIL)
        raise
    else:
        study.tell(trial, value)


def _best_so_far(study: optuna.Study) -> dict[str, str]:
    values = [trial.value for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    return {"best": percent(max(values))} if values else {}


def _collected(study: optuna.Study, model: str, recipe: Recipe, choices: Space, validation: str, trials: int) -> Sweep:
    finished = [_sweep_trial(trial, choices) for trial in _finished(study)]
    complete = [trial for trial in finished if trial.state == "complete" and trial.accuracy is not None]
    if not complete:
        raise ValueError(f"none of the {len(finished)} trials is complete; check the search space or increase trials")
    best = max(complete, key=lambda trial: (trial.accuracy or -math.inf, -trial.number))
    missing = max(0, trials - len(finished))
    return Sweep(model, tuple(finished), changed(recipe, best.choices), best, validation, missing)


def _sweep_trial(trial: optuna.trial.FrozenTrial, choices: Space) -> SweepTrial:
    state = "diverged" if "diverged" in trial.user_attrs else {"FAIL": "failed"}.get(trial.state.name)
    accuracies = trial.intermediate_values  # validation accuracy by epoch
    last = max(accuracies, default=0)
    sampled = {name: choices[name].value(value) for name, value in trial.params.items() if name in choices}
    accuracy = accuracies.get(last)
    return SweepTrial(trial.number, state or trial.state.name.lower(), accuracy, last, sampled)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

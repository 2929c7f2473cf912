"""A search for the best recipe, on a validation set alone, with early ends for what falls behind.

Needs Optuna: ``pip install "mnistcnn[sweep]"``.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import seed_number, whole_number
from mnistcnn._internal.native import core
from mnistcnn._internal.progress import ProgressBar
from mnistcnn._internal.tables import aligned, html_table, json_text, pandas, without_nan
from mnistcnn.data.image_set import ImageSet
from mnistcnn.study.job import Template
from mnistcnn.study.runner import check_run, chosen_recipe
from mnistcnn.study.space import Space, changed, checked_space
from mnistcnn.study.spool import facts_of
from mnistcnn.study.storage import opened_study
from mnistcnn.study.trials import percent, plain
from mnistcnn.training.history import EpochRecord
from mnistcnn.training.recipes import Recipe
from mnistcnn.training.trainer import train

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from torch import nn

    from mnistcnn.nn.model import Model

_INTERRUPTED = "interrupted"  # a trial that Ctrl-C ended says nothing about its recipe, and is tried again


@dataclass(frozen=True)
class SweepTrial:
    """One recipe that was tried."""

    number: int
    state: str  # "complete", "pruned" (it fell behind), "diverged" or "failed"
    accuracy: float | None  # on the validation set, in the last epoch it reached
    epochs: int
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Sweep:
    """What a search has found. `mnistcnn.sweep` makes it."""

    model: str
    trials: tuple[SweepTrial, ...]
    best_recipe: Recipe
    best_trial: SweepTrial
    validation: str  # what was looked at
    unfinished: int = 0  # how many were asked for, but interrupted

    @property
    def best_accuracy(self) -> float:
        """Of the best complete trial, on the validation set; being the best of many, it flatters."""
        assert self.best_trial.accuracy is not None
        return self.best_trial.accuracy

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[SweepTrial]:
        return iter(self.trials)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per trial."""
        return [
            {"number": each.number, "state": each.state, "accuracy": each.accuracy, "epochs": each.epochs}
            | each.choices
            for each in self.trials
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and words."""
        return {
            "model": self.model,
            "validation": self.validation,
            "unfinished": self.unfinished,
            "best_accuracy": self.best_accuracy,
            "best_trial": self.best_trial.number,
            "best_recipe": self.best_recipe.to_dict(),
            "trials": self.to_dicts(),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if given."""
        return json_text(without_nan(plain(self.to_dict())), path)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per trial."""
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
    """Searches for the recipe with the best accuracy on a validation set. No test set takes part.

    Recipes are proposed by Optuna's TPE sampler, one after the other; each trains a fresh model with the same seed. A
    trial whose validation accuracy after an epoch is below the median of the earlier ones is ended (``pruning``), once
    there are five. Ctrl-C returns what is finished, with a warning. Kill it whenever you like: with a ``storage``, the
    same call goes on where it was.

    Parameters
    ----------
    model
        The name of a published network, or a model or any ``torch.nn.Module`` as a template.
    train_set
        What to train on.
    space
        What to vary: names of recipe fields, with dots for fields of these, and their choices. A list holds the choices
        themselves; ``(low, high)`` is a range of floats, or of integers if both ends are integers;
        ``(low, high, "log")`` a range whose orders of magnitude are equally likely.
    recipe, variant, **changes
        What all trials share, as in `mnistcnn.run_trials`.
    trials
        How many recipes to try in all, those of an earlier call included.
    validation
        A set, or a fraction of the training set, which is then not trained on.
    storage
        Where to keep the study, such as ``"sqlite:///sweep.db"``; None: in memory.
    name
        Of the study in the storage; by default the model's.
    pruning
        Whether to end what falls behind.
    resume
        Whether to go on with a study of that name. It must have been about the same.
    seed
        Decides what is proposed, and how every trial is trained.
    engine, threads, device
        As in `mnistcnn.train`.
    progress
        Whether to show a bar.

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
        raise ValueError("a sweep needs a validation set, or a fraction such as validation=0.1: it chooses by it")
    recipe = chosen_recipe(model, recipe, variant, changes).replace(seed=seed)
    template = Template.of(model, train_set)
    check_run(template, recipe, train_set, validation, engine, device)
    choices = checked_space(space, recipe)
    text = _describe(template, recipe, choices, train_set, validation, pruning)
    options = {"validation": validation, "engine": engine, "threads": threads, "device": device, "progress": False}
    run = _Objective(template, recipe, choices, train_set, options)
    seen = str(facts_of(validation)) if isinstance(validation, ImageSet) else f"{validation:.0%} of {train_set.name}"
    with opened_study(storage, name or template.name, text, seed, pruning, resume) as study:
        _search(study, run, trials, progress)
        found = _collected(study, template.name, recipe, choices, seen, trials)
    if found.unfinished:
        goes_on = "; the same call goes on with it" if storage else ""
        warnings.warn(
            f"interrupted: {len(found)} of {trials} trials are finished, and returned alone{goes_on}", stacklevel=2
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
    """What a study is about; two that differ can't be one."""
    seen = facts_of(validation).digest if isinstance(validation, ImageSet) else validation
    parts = {
        "network": template.digest,
        "recipe": recipe.described() | {"about": None},
        "space": {name: repr(choice) for name, choice in choices.items()},
        "training set": facts_of(train_set).digest,
        "validation": seen,
        "pruning": pruning,
    }
    return json.dumps({name: hashlib.sha256(repr(plain(part)).encode()).hexdigest() for name, part in parts.items()})


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """All that have come to their end by themselves."""
    return [trial for trial in study.trials if trial.state.is_finished() and _INTERRUPTED not in trial.user_attrs]


def _search(study: optuna.Study, run: Callable[[optuna.Trial], float], trials: int, progress: bool) -> None:
    """Tries one recipe after the other. Ctrl-C ends it, and goes on only where nothing is complete yet."""
    asked = max(0, trials - len(_finished(study)))
    with ProgressBar(asked, enabled=progress, unit="trial") as bar:
        try:
            for done in range(asked):
                trial = study.ask()
                _tell(study, trial, run)
                bar.show(done + 1, title=f"trial {trial.number}", **_best_so_far(study))
        except KeyboardInterrupt:
            if not _best_so_far(study):
                raise


class _Objective:
    """Trains what a trial proposes."""

    def __init__(
        self,
        template: Template,
        recipe: Recipe,
        choices: Space,
        train_set: ImageSet,
        options: dict[str, Any],
    ) -> None:
        self._template, self._recipe, self._choices = template, recipe, choices
        self._train_set, self._options = train_set, options

    def __call__(self, trial: optuna.Trial) -> float:
        """The validation accuracy of the last epoch."""
        picked = {name: choice.suggest(trial, name) for name, choice in self._choices.items()}
        recipe = changed(self._recipe, picked)
        model = self._template.model(recipe.seed)
        model.threads = None
        history = train(model, self._train_set, recipe, callbacks=[_Reporter(trial, recipe.epochs)], **self._options)
        accuracy = history.last.validation_accuracy
        assert accuracy is not None
        return accuracy


class _Reporter:
    """Tells Optuna of every epoch, and ends what falls behind."""

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        self._trial, self._epochs = trial, epochs

    def on_epoch(self, record: EpochRecord) -> None:
        """Reports; raises Optuna's TrialPruned."""
        import optuna

        assert record.validation_accuracy is not None
        self._trial.report(record.validation_accuracy, record.epoch)
        if record.epoch < self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned


def _tell(study: optuna.Study, trial: optuna.Trial, run: Callable[[optuna.Trial], float]) -> None:
    import optuna

    state = optuna.trial.TrialState
    try:
        value = run(trial)
    except optuna.TrialPruned:
        study.tell(trial, state=state.PRUNED)
    except core.DivergedError as error:
        trial.set_user_attr("diverged", str(error))
        study.tell(trial, state=state.PRUNED)
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
    rows = [_row(trial, choices) for trial in _finished(study)]
    complete = [row for row in rows if row.state == "complete" and row.accuracy is not None]
    if not complete:
        raise ValueError(f"none of the {len(rows)} trials was completed; look at the ranges, or try more")
    best = max(complete, key=lambda row: (row.accuracy or -math.inf, -row.number))
    missing = max(0, trials - len(rows))
    return Sweep(model, tuple(rows), changed(recipe, best.choices), best, validation, missing)


def _row(trial: optuna.trial.FrozenTrial, choices: Space) -> SweepTrial:
    state = "diverged" if "diverged" in trial.user_attrs else {"FAIL": "failed"}.get(trial.state.name)
    reached = trial.intermediate_values
    last = max(reached, default=0)
    picked = {name: choices[name].value(value) for name, value in trial.params.items() if name in choices}
    accuracy = reached.get(last)
    return SweepTrial(trial.number, state or trial.state.name.lower(), accuracy, last, picked)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

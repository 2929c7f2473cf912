"""Results of an experiment over several seeds: each trial, and statistics over all trials."""

from __future__ import annotations

import hashlib
import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mnistcnn._internal.checks import finite_number, whole_number
from mnistcnn._internal.json_data import check_format, errors_naming, read_json, typed
from mnistcnn._internal.tables import aligned, counted, html_table, json_text, percent, without_nan
from mnistcnn.study.student_t import deviation_of, interval_of, mean_of
from mnistcnn.training.history import History
from mnistcnn.training.recipes import Recipe, RecipeData

if TYPE_CHECKING:
    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model

_FORMAT = "mnistcnn trials 1"
_LAST = 3  # number of epochs at the end of a run that a report compares with the target


@dataclass(frozen=True)
class SetFacts:
    """Identity of a data set: name, number of images, and SHA-256 of shape, classes, pixels and labels."""

    name: str
    images: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.images:,} images)"


@dataclass(frozen=True)
class Setting:
    """Settings that all trials of an experiment share: everything except the seed."""

    model: str
    graph: str  # SHA-256 of the network's nodes, its input shape and normalization
    parameters: int
    receptive_field: int
    recipe: dict[str, Any]  # result of Recipe.describe; its seed is not used
    train_set: SetFacts
    test_set: SetFacts
    validation: float | SetFacts | None = None
    folds: int | None = None  # number of folds, if it is a cross-validation

    @property
    def variant(self) -> str | None:
        """Return the variant of the published recipe and the names of changed fields, or None without a variant."""
        about = self.recipe.get("about") or {}
        parts = [about["variant"]] if about.get("variant") else []
        if parts and about.get("changed"):
            parts.append(f"changed {' and '.join(about['changed'])}")
        return ", ".join(parts) or None

    @property
    def title(self) -> str:
        """Return the name of the model, with the variant of the recipe if it has one."""
        return f"{self.model} ({self.variant})" if self.variant else self.model

    @property
    def data_digest(self) -> str:
        """Return eight hexadecimal digits that identify the training, test and validation set together."""
        sets = [each for each in (self.train_set, self.test_set, self.validation) if isinstance(each, SetFacts)]
        return hashlib.sha256(" ".join(each.digest for each in sets).encode()).hexdigest()[:8]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setting:
        """Return the setting from the result of ``dataclasses.asdict``; raise ValueError if a field is wrong."""
        setting: Setting = typed(values, cls, "setting")
        typed(setting.recipe, RecipeData, "setting.recipe")
        return setting


@dataclass(frozen=True, eq=False)
class Trial:
    """Result of training with one seed: history, and test accuracy and loss after the last epoch.

    Attributes
    ----------
    seed
        Seed of the trial.
    history
        History of the training.
    accuracy
        Accuracy on the test set, from 0 to 1; None if the training diverged.
    loss
        Loss on the test set; None if the training diverged.
    failure
        Error message if the training diverged.
    made_with
        Versions, machine and engine.
    result
        Result on the test set; None if the trial was read from a file.
    model
        Trained model; only with ``keep_models=True``.
    """

    seed: int
    history: History
    accuracy: float | None
    loss: float | None
    failure: str | None = None
    made_with: dict[str, Any] = field(default_factory=dict)
    result: TestResult | None = field(default=None, repr=False)
    model: Model | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        result = f"diverged: {self.failure}" if self.accuracy is None else f"test accuracy {percent(self.accuracy)}"
        epochs = counted(len(self.history), "epoch")
        return f"Trial: seed {self.seed}, {epochs} in {self.history.seconds:.1f} s, {result}"

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of numbers and strings, without step losses, predictions and weights."""
        history = {**self.history.to_dict(), "step_losses": [], "recipe": None}
        numbers = {"seed": self.seed, "accuracy": self.accuracy, "loss": self.loss, "failure": self.failure}
        values: dict[str, Any] = without_nan({**numbers, "made_with": dict(self.made_with), "history": history})
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """Return the trial from the result of `to_dict`; raise ValueError if a field is wrong."""
        data = typed(values, _TrialData, "trial")
        history = History.from_dict(data["history"])
        if data["accuracy"] is not None:
            finite_number("trial.accuracy", data["accuracy"], maximum=1)
            if not history.epochs:
                raise ValueError("trial.history must have epochs, since the trial has an accuracy")
        return cls(**{**data, "history": history})


class _RequiredData(TypedDict):
    seed: int
    history: dict[str, Any]
    accuracy: float | None
    loss: float | None


class _TrialData(_RequiredData, total=False):
    failure: str | None
    made_with: dict[str, str | dict[str, Any]]


class _TrialsData(TypedDict):
    format: str
    setting: dict[str, Any]
    trials: list[dict[str, Any]]
    unfinished: list[int]
    target: float | None


@dataclass(frozen=True, eq=False, repr=False)
class Trials:
    """Trials of one experiment with different seeds, returned by `mnistcnn.run_trials`.

    Accuracies are from 0 to 1, measured on the test set after the last epoch. A diverged trial has no accuracy: it is
    excluded from mean and standard deviation, and counts as below every target.

    Attributes
    ----------
    setting
        What all trials share: model, recipe and data sets.
    trials
        All trials, diverged ones included.
    unfinished
        Seeds without a result: interrupted, given up, or missing in the logs.
    target
        Accuracy that the report compares with, from 0 to 1.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:500], test_set[:200], mnistcnn.Recipe(epochs=1),
    ...                              seeds=2, progress=False)
    >>> len(trials.accuracies), trials.seeds
    (2, (0, 1))
    """

    setting: Setting
    trials: tuple[Trial, ...]
    unfinished: tuple[int, ...] = ()
    target: float | None = None

    # ---- statistics

    @property
    def complete(self) -> tuple[Trial, ...]:
        """Return the trials that have an accuracy."""
        return tuple(trial for trial in self.trials if trial.accuracy is not None)

    @property
    def diverged(self) -> tuple[Trial, ...]:
        """Return the trials whose loss became NaN or infinite."""
        return tuple(trial for trial in self.trials if trial.accuracy is None)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of the complete trials, in the order of all other properties."""
        return tuple(trial.seed for trial in self.complete)

    @property
    def histories(self) -> tuple[History, ...]:
        """Return the histories of the complete trials."""
        return tuple(trial.history for trial in self.complete)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Return the test accuracies of the complete trials after the last epoch."""
        return tuple(trial.accuracy for trial in self.trials if trial.accuracy is not None)

    @property
    def results(self) -> tuple[TestResult, ...]:
        """Return the test results of the complete trials. Raise ValueError if the trials were read from a file."""
        results = tuple(trial.result for trial in self.complete if trial.result is not None)
        if len(results) < len(self.complete):
            raise ValueError("trials read from a file have no test results, only accuracies")
        return results

    @property
    def models(self) -> tuple[Model, ...]:
        """Return the trained models. Raise ValueError unless `run_trials` was called with ``keep_models=True``."""
        models = tuple(trial.model for trial in self.complete if trial.model is not None)
        if len(models) < len(self.complete):
            raise ValueError("the models were not kept; pass keep_models=True to run_trials")
        return models

    @property
    def recipe(self) -> Recipe:
        """Return the recipe of the trials. Raise ValueError if it contains a teacher, which trials do not store."""
        recipe = Recipe.from_dict(self.setting.recipe)
        if isinstance(getattr(recipe.loss, "teacher", None), str):
            raise ValueError("the recipe has a Distillation loss, and trials do not store its teacher")
        return recipe

    @property
    def mean(self) -> float:
        """Return the mean accuracy; NaN if no trial is complete."""
        return mean_of(self.accuracies)

    @property
    def sd(self) -> float:
        """Return the sample standard deviation over seeds (n - 1); NaN for a single seed."""
        return deviation_of(self.accuracies)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the mean (Student's t), clipped to 0 and 1; NaN for a single seed."""
        return interval_of(self.accuracies)

    @property
    def minimum(self) -> float:
        """Return the lowest accuracy; NaN if no trial is complete."""
        return min(self.accuracies, default=math.nan)

    @property
    def train_accuracy(self) -> float:
        """Return the mean training accuracy of the last epoch over the complete trials."""
        return mean_of(tuple(history.last.train_accuracy for history in self.histories))

    def share_at_least(self, target: float) -> float:
        """Return the fraction of all trials, diverged ones included, with an accuracy of at least ``target``."""
        target = checked_target(target)
        reached = sum(accuracy >= target for accuracy in self.accuracies)
        return reached / len(self.trials) if self.trials else math.nan

    def consistent(self, target: float, last: int = 3) -> float:
        """Return the fraction of all trials whose last epochs all have a validation accuracy of at least ``target``.

        Diverged trials are included and count as below the target. With ``validation=test_set`` in `run_trials` the
        accuracies are those of the test set. Report the result then, but do not select a recipe by it.

        Parameters
        ----------
        target
            Accuracy from 0 to 1, for example 0.994.
        last
            Number of epochs at the end of the run.

        Examples
        --------
        >>> import mnistcnn
        >>> train_set, test_set = mnistcnn.load("digits")
        >>> trials = mnistcnn.run_trials("budget_model3", train_set[:300], test_set[:100], mnistcnn.Recipe(epochs=3),
        ...                              seeds=2, validation=test_set[:100], progress=False)
        >>> trials.consistent(0.0)
        1.0
        """
        target, last = checked_target(target), whole_number("last", last)
        for trial in self.complete:
            if lowest_of_last(trial, last) is None:
                raise ValueError(
                    "the trials have no accuracy per epoch; pass validation=0.1 to run_trials, or validation=test_set "
                    "to report the test accuracy of every epoch"
                )
            if last > len(trial.history):
                raise ValueError(f"last must be at most {len(trial.history)}, the number of epochs, got {last}")
        reached = sum((lowest_of_last(trial, last) or 0.0) >= target for trial in self.complete)
        return reached / len(self.trials) if self.trials else math.nan

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __getitem__(self, index: int) -> Trial:
        return self.trials[index]

    # ---- export and display

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of lists, numbers and strings, ready for JSON."""
        return {
            "format": _FORMAT,
            "setting": without_nan(asdict(self.setting)),
            "trials": [trial.to_dict() for trial in self.trials],
            "unfinished": list(self.unfinished),
            "target": self.target,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trials:
        """Return the trials from the result of `to_dict`; raise ValueError if a field is wrong."""
        check_format(values, _FORMAT)
        data = typed(values, _TrialsData, "trials")
        trials = tuple(Trial.from_dict(each) for each in data["trials"])
        target = None if data["target"] is None else checked_target(data["target"])
        return cls(Setting.from_dict(data["setting"]), trials, tuple(data["unfinished"]), target)

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text; also write it to ``path`` if given."""
        return json_text(self.to_dict(), path)

    @classmethod
    def from_json(cls, path: str | Path) -> Trials:
        """Read trials from a file written by `to_json`; raise ValueError if it is not one."""
        with errors_naming(path):
            return cls.from_dict(read_json(path))

    def headline(self) -> str:
        """Return a one-line summary: mean, standard deviation, interval, minimum and target."""
        if not self.complete:
            return f"no result: {self._counted()}"
        parts = [f"{spread(self.mean, self.sd)} ({self._counted()})"]
        if len(self.complete) > 1:
            low, high = self.interval
            parts += [f"95 % interval {100 * low:.2f} to {percent(high)}", f"minimum {percent(self.minimum)}"]
        if self.target is not None:
            parts.append(f"{percent(self.share_at_least(self.target), 0)} of seeds at or above {percent(self.target)}")
        if self._shows_last_epochs():
            share = percent(self.consistent(checked_target(self.target), _LAST), 0)
            evaluated = "test" if self.setting.validation == self.setting.test_set else "validation"
            parts.append(f"{share} in each of the last {_LAST} epochs ({evaluated} set)")
        return ", ".join(parts)

    def _shows_last_epochs(self) -> bool:
        """Return whether there is a target, and an accuracy of each of the last epochs to compare with it."""
        known = (len(each.history) >= _LAST and lowest_of_last(each, _LAST) is not None for each in self.complete)
        return self.target is not None and bool(self.complete) and all(known)

    def _counted(self) -> str:
        """Return the number of trials as text, such as "10 seeds, last epoch; 1 diverged, excluded from the mean"."""
        unit = "fold" if self.setting.folds else "seed"
        done, total = len(self.complete), len(self.trials) + len(self.unfinished)
        finished = f"{done} of {total} {unit}s" if done < total else counted(done, unit)
        parts = [f"{finished}, last epoch"]
        if self.diverged:
            parts.append(f"{len(self.diverged)} diverged, excluded from the mean")
        if self.unfinished:
            parts.append(f"{len(self.unfinished)} unfinished")
        return "; ".join(parts)

    def _about(self) -> str:
        setting = self.setting
        sets = f"trained on {setting.train_set}, tested on {setting.test_set}"
        if setting.folds:
            sets = f"{setting.folds} folds of {setting.train_set}"
        return f"{setting.title}: {setting.parameters:,} parameters, {sets}"

    def __repr__(self) -> str:
        lines = [f"  {line}" for line in aligned([self._headings(), *(_cells(trial) for trial in self.trials)])]
        failures = [f"seed {trial.seed} diverged: {trial.failure}" for trial in self.diverged]
        return "\n".join([self.headline(), self._about(), *lines, *failures])

    def _repr_html_(self) -> str:
        about = html_table(self._headings(), [_cells(trial) for trial in self.trials], title=self.headline())
        return about + f"<div>{html.escape(self._about())}</div>"

    def _headings(self) -> list[str]:
        return ["fold" if self.setting.folds else "seed", "epochs", "train acc", "test acc", "test loss", "seconds"]


def checked_target(target: object) -> float:
    """Return the target as float. Raise ValueError unless it is an accuracy from 0 to 1."""
    number = float(target) if isinstance(target, Real) and not isinstance(target, bool) else math.nan
    if not 0 <= number <= 1:
        hint = f"; for {target} % pass {number / 100:g}" if 1 < number <= 100 else ""
        raise ValueError(f"target must be an accuracy from 0 to 1, such as 0.994, got {target!r}{hint}")
    return round(number, 9)  # 99.4 / 100 is slightly larger than 9940 / 10000


def spread(mean: float, sd: float) -> str:
    """Return mean and standard deviation as text in percent."""
    return percent(mean) if math.isnan(sd) else f"{100 * mean:.2f} ± {percent(sd)}"


def lowest_of_last(trial: Trial, last: int) -> float | None:
    """Return the lowest validation accuracy of the last epochs; None if an epoch has none."""
    values = [record.validation_accuracy for record in trial.history.epochs[-last:]]
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None


def _cells(trial: Trial) -> list[str]:
    history = trial.history
    return [
        str(trial.seed),
        str(len(history)),
        percent(history.last.train_accuracy) if len(history) else "-",
        "diverged" if trial.accuracy is None else percent(trial.accuracy),
        "-" if trial.loss is None else f"{trial.loss:.4f}",
        f"{history.seconds:.1f}",
    ]

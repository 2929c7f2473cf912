"""What many runs of one experiment leave behind: every run, and what they say together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.tables import aligned, html_table, json_text, without_nan
from mnistcnn.study.student import deviation_of, mean_of, quantile
from mnistcnn.training.history import History

if TYPE_CHECKING:
    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model
    from mnistcnn.training.recipes import Recipe

_FORMAT = "mnistcnn trials 1"


@dataclass(frozen=True)
class SetFacts:
    """Which images a run has seen: their set's name, how many, and the SHA-256 of pixels and labels."""

    name: str
    images: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.images:,} images)"


@dataclass(frozen=True)
class Setting:
    """All that the trials of one experiment share: everything but the seed."""

    model: str
    graph: str  # SHA-256 of the network's nodes, its input shape and normalization
    parameters: int
    receptive_field: int
    recipe: dict[str, Any]  # as Recipe.described gives it; the seed is the trial's
    train_set: SetFacts
    test_set: SetFacts
    validation: float | SetFacts | None = None
    folds: int | None = None  # of a cross-validation

    @property
    def variant(self) -> str | None:
        """Which published recipe it is, where a network has several, and what has been changed of it."""
        about = self.recipe.get("about") or {}
        words = [about["variant"]] if about.get("variant") else []
        if words and about.get("changed"):
            words.append(f"other {' and '.join(about['changed'])}")
        return ", ".join(words) or None

    @property
    def title(self) -> str:
        """The model, and the recipe's variant if it has one."""
        return f"{self.model} ({self.variant})" if self.variant else self.model

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Setting:
        """What ``dataclasses.asdict`` made of a setting."""
        validation = values.get("validation")
        return cls(
            **{
                **values,
                "train_set": SetFacts(**values["train_set"]),
                "test_set": SetFacts(**values["test_set"]),
                "validation": SetFacts(**validation) if isinstance(validation, dict) else validation,
            }
        )


@dataclass(frozen=True, eq=False)
class Trial:
    """One seed: how it was trained, and what its model says about the test set after the last epoch."""

    seed: int
    history: History
    accuracy: float | None  # on the test set, 0 to 1; None if the training diverged
    loss: float | None
    failure: str | None = None  # why it has no result
    made_with: dict[str, Any] = field(default_factory=dict)  # versions and machine
    result: TestResult | None = field(default=None, repr=False)
    model: Model | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and words only; neither step losses, nor answers, nor weights."""
        history = {**self.history.to_dict(), "step_losses": [], "recipe": None}
        numbers = {"seed": self.seed, "accuracy": self.accuracy, "loss": self.loss, "failure": self.failure}
        plain: dict[str, Any] = without_nan({**numbers, "made_with": dict(self.made_with), "history": history})
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """The trial that `to_dict` described."""
        return cls(**{**values, "history": History.from_dict(values["history"])})


@dataclass(frozen=True, eq=False, repr=False)
class Trials:
    """The same experiment with many seeds. `mnistcnn.run_trials` makes it.

    Accuracies lie in 0 to 1 and are those of the last epoch on the test set, which was looked at once. A seed whose
    training diverged has no accuracy: it is missing in mean and deviation, and counts as below every target.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> trials = mnistcnn.run_trials("budget_model3", train_set[:500], test_set[:200], mnistcnn.Recipe(epochs=1),
    ...                              seeds=2, log=None, progress=False)
    >>> len(trials.accuracies), trials.seeds
    (2, (0, 1))
    """

    setting: Setting
    trials: tuple[Trial, ...]
    unfinished: tuple[int, ...] = ()  # seeds that were asked for, but interrupted
    target: float | None = None

    # ---- what it says

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that have an accuracy."""
        return tuple(trial for trial in self.trials if trial.accuracy is not None)

    @property
    def diverged(self) -> tuple[Trial, ...]:
        """The trials whose loss was no longer a number."""
        return tuple(trial for trial in self.trials if trial.accuracy is None)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of `complete`; histories, accuracies, results and models are in the same order."""
        return tuple(trial.seed for trial in self.complete)

    @property
    def histories(self) -> tuple[History, ...]:
        """Every epoch of every complete trial."""
        return tuple(trial.history for trial in self.complete)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """On the test set, after the last epoch."""
        return tuple(trial.accuracy for trial in self.trials if trial.accuracy is not None)

    @property
    def results(self) -> tuple[TestResult, ...]:
        """Every answer of every complete trial. Files keep numbers only, so what was read from one has none."""
        results = tuple(trial.result for trial in self.complete if trial.result is not None)
        if len(results) < len(self.complete):
            raise ValueError("trials that were read from a file have accuracies, but not every single answer")
        return results

    @property
    def models(self) -> tuple[Model, ...]:
        """The trained models, if ``run_trials(..., keep_models=True)`` kept them."""
        models = tuple(trial.model for trial in self.complete if trial.model is not None)
        if len(models) < len(self.complete):
            raise ValueError("the models were not kept; say run_trials(..., keep_models=True)")
        return models

    @property
    def recipe(self) -> Recipe:
        """How they were trained."""
        from mnistcnn.training.recipes import Recipe

        return Recipe.from_dict(self.setting.recipe)

    @property
    def mean(self) -> float:
        """The mean accuracy; NaN if no trial is complete."""
        return mean_of(self.accuracies)

    @property
    def sd(self) -> float:
        """The standard deviation over seeds (n - 1); NaN of a single one."""
        return deviation_of(self.accuracies)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean, by Student's t, cut off at 0 and 1; NaN of a single seed."""
        count = len(self.accuracies)
        if count < 2:
            return math.nan, math.nan
        reach = quantile(0.95, count - 1) * self.sd / math.sqrt(count)
        return max(0.0, self.mean - reach), min(1.0, self.mean + reach)

    @property
    def minimum(self) -> float:
        """The accuracy of the worst complete trial; NaN if there is none."""
        return min(self.accuracies, default=math.nan)

    @property
    def train_accuracy(self) -> float:
        """The mean accuracy seen while training in the last epoch, of the complete trials."""
        return mean_of(tuple(history.last.train_accuracy for history in self.histories))

    def share_at_least(self, target: float) -> float:
        """The share of trials with an accuracy of at least ``target`` (0 to 1); a diverged one has none."""
        target = checked_target(target)
        reached = sum(accuracy >= target for accuracy in self.accuracies)
        return reached / len(self.trials) if self.trials else math.nan

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __getitem__(self, index: int) -> Trial:
        return self.trials[index]

    # ---- on paper

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and words."""
        return {
            "format": _FORMAT,
            "setting": without_nan(plain(asdict(self.setting))),
            "trials": [trial.to_dict() for trial in self.trials],
            "unfinished": list(self.unfinished),
            "target": self.target,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trials:
        """The trials that `to_dict` described."""
        if values.get("format") != _FORMAT:
            raise ValueError(f"expected a dictionary of format {_FORMAT!r}, got {values.get('format')!r}")
        trials = tuple(Trial.from_dict(each) for each in values["trials"])
        return cls(Setting.from_dict(values["setting"]), trials, tuple(values["unfinished"]), values["target"])

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if given."""
        return json_text(self.to_dict(), path)

    @classmethod
    def from_json(cls, path: str | Path) -> Trials:
        """Reads what `to_json` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))

    def headline(self) -> str:
        """One line: mean and deviation first."""
        if not self.complete:
            return f"no result: {self._counted()}"
        parts = [f"{spread(self.mean, self.sd)} ({self._counted()})"]
        if len(self.complete) > 1:
            low, high = self.interval
            parts += [f"95 % interval {100 * low:.2f} to {percent(high)}", f"minimum {percent(self.minimum)}"]
        if self.target is not None:
            parts.append(f"{percent(self.share_at_least(self.target), 0)} of seeds at or above {percent(self.target)}")
        return ", ".join(parts)

    def _counted(self) -> str:
        """Such as "10 seeds, last epoch", with all that is missing."""
        unit = "fold" if self.setting.folds else "seed"
        done, asked = len(self.complete), len(self.trials) + len(self.unfinished)
        counted = f"{done} of {asked} {unit}s" if done < asked else f"{done} {unit}{'' if done == 1 else 's'}"
        words = [f"{counted}, last epoch"]
        if self.diverged:
            words.append(
                f"{len(self.diverged)} diverged and {'is' if len(self.diverged) == 1 else 'are'} not in the mean"
            )
        if self.unfinished:
            words.append(f"{len(self.unfinished)} interrupted")
        return "; ".join(words)

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
        return about + f"<div>{self._about()}</div>"

    def _headings(self) -> list[str]:
        return ["fold" if self.setting.folds else "seed", "epochs", "train acc", "test acc", "test loss", "seconds"]


def checked_target(target: object) -> float:
    """An accuracy from 0 to 1."""
    if isinstance(target, bool) or not isinstance(target, int | float) or not 0 <= target <= 1:
        hint = f"; for {target} % say {target / 100:g}" if isinstance(target, int | float) and target <= 100 else ""
        raise ValueError(f"target must be an accuracy from 0 to 1, such as 0.994, got {target!r}{hint}")
    return float(target)


def percent(value: float, digits: int = 2) -> str:
    """An accuracy as people say it."""
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def spread(mean: float, sd: float) -> str:
    """Mean and standard deviation in percent."""
    return percent(mean) if math.isnan(sd) else f"{100 * mean:.2f} ± {percent(sd)}"


def plain(value: Any) -> Any:
    """The same with lists for tuples, as JSON gives it back."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


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

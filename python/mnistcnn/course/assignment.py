"""`check`: the requirements of the course's assignment, read from the graph of a network and from its training."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from mnistcnn._internal.checks import choice, whole_number
from mnistcnn._internal.tables import aligned, counted, html_table, markdown_table, percent, without_nan
from mnistcnn.course.networks import Network, network_of
from mnistcnn.course.structure import FEATURES, features
from mnistcnn.data.datasets import load
from mnistcnn.data.image_set import ImageSet
from mnistcnn.nn.model import Model
from mnistcnn.study.runner import run_trials
from mnistcnn.study.trials import Trial, Trials, checked_target, lowest_of_last
from mnistcnn.training.recipes import Recipe, recipe_with

_HEADINGS = ("", "requirement", "required", "found")


@dataclass(frozen=True)
class Requirement:
    """One requirement: what is required, what was found, and whether it is met."""

    name: str
    required: str
    found: str
    passed: bool


@dataclass(frozen=True, eq=False, repr=False)
class CheckResult:
    """Result of `mnistcnn.check`: a table with a tick for each requirement that is met.

    It is true if all requirements are met, so ``assert mnistcnn.check(net)`` works.

    Attributes
    ----------
    model
        Name of the network.
    requirements
        All requirements, in the order of the table.
    trials
        Training runs whose accuracy was checked; None if nothing was trained.
    """

    model: str
    requirements: tuple[Requirement, ...]
    trials: Trials | None = None

    @property
    def passed(self) -> bool:
        """Whether all requirements are met."""
        return all(each.passed for each in self.requirements)

    def __bool__(self) -> bool:
        return self.passed

    def assert_passed(self) -> None:
        """Raise AssertionError with the table unless all requirements are met."""
        if not self.passed:
            raise AssertionError(repr(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON."""
        rows = [asdict(each) for each in self.requirements]
        trials = None if self.trials is None else self.trials.to_dict()
        return without_nan({"model": self.model, "passed": self.passed, "requirements": rows, "trials": trials})  # type: ignore[no-any-return]

    def to_markdown(self) -> str:
        """Return the table in Markdown, for example for the summary of a CI job."""
        table = markdown_table(_HEADINGS, map(_cells, self.requirements))
        return "\n\n".join(filter(None, [f"### {self._title()}", table, self._about()])) + "\n"

    def __repr__(self) -> str:
        lines = aligned([_cells(each) for each in self.requirements], left=len(_HEADINGS))
        return "\n".join(filter(None, [self._title(), *(f"  {line.rstrip()}" for line in lines), self._about()]))

    def _repr_html_(self) -> str:
        rows = [_cells(each) for each in self.requirements]
        return (
            html_table(_HEADINGS, rows, title=self._title(), left=len(_HEADINGS))
            + f"<div>{html.escape(self._about())}</div>"
        )

    def _title(self) -> str:
        failed = sum(not each.passed for each in self.requirements)
        count = len(self.requirements)
        return f"{self.model}: " + (f"{failed} of {count} requirements failed" if failed else f"all {count} passed")

    def _about(self) -> str:
        if self.trials is None:
            return ""
        setting = self.trials.setting
        epochs = counted(setting.recipe["epochs"], "epoch")
        return (
            f"Trained for {epochs} on {setting.train_set}. The accuracies are those of the test set after each epoch: "
            "a report, not used for model selection."
        )


def check(
    model: Model | nn.Module | str,
    train_set: ImageSet | None = None,
    test_set: ImageSet | None = None,
    recipe: Recipe | None = None,
    *,
    max_parameters: int | None = 8000,
    require: Iterable[str] = ("batchnorm", "dropout", "gap"),
    forbid: Iterable[str] = (),
    epochs: int = 15,
    target: float | None = 0.994,
    last: int = 3,
    seeds: int | Iterable[int] = 1,
    engine: str | None = None,
    progress: bool = True,
) -> CheckResult:
    """Check the requirements of the course's assignment: size, layers, and accuracy of the last epochs.

    The layers are read from the graph of ``forward``, so calls of functions count: ``x.mean((2, 3))`` is global average
    pooling. Then the network is trained from new weights. Each of the last epochs must reach the target on the test
    set, with every seed. The accuracies are only reported, and never used for model selection.

    Parameters
    ----------
    model
        `mnistcnn.Model` or ``torch.nn.Module``, which is not changed; the name of a published network; or
        ``"file.py:Class"``, which is imported in a separate process.
    train_set
        Training images and labels. Default: None, those of MNIST.
    test_set
        Test images and labels. Default: None, those of MNIST.
    recipe
        Training recipe. Default: None, the published recipe of a network given by name, the attribute ``recipe`` of a
        module's class, or ``Recipe()``.
    max_parameters
        Largest number of parameters, including those of layers that ``forward`` does not use. None for no limit.
    require
        Features that the network must have: "batchnorm", "dropout", "gap" (global average pooling), "linear".
    forbid
        Features that the network must not have.
    epochs
        Largest number of epochs. A recipe with more epochs is trained for this number.
    target
        Accuracy from 0 to 1. None to check the structure only, without training.
    last
        Number of epochs at the end of the training that must reach the target.
    seeds
        Number n of training runs, for seeds 0 to n - 1, or the seeds themselves.
    engine
        "lanes", "aten" or "auto". Default: None, which uses the engine of the model.
    progress
        Show a progress bar in terminals and notebooks.

    Returns
    -------
    CheckResult
        Table of the requirements. It is true if all of them are met; ``assert_passed()`` raises an error otherwise.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.check("compact_net", target=None)
    compact_net: 1 of 4 requirements failed
      ✓   parameters   at most 8,000   7,570
      ✓   batchnorm    required        conv1.1, conv2.1, conv3.1 and 5 more
      ✗   dropout      required        none
      ✓   gap          required        gap
    """
    assignment = Assignment(max_parameters, tuple(require), tuple(forbid), epochs, target, last)
    if (train_set is None) != (test_set is None):
        raise ValueError("train_set and test_set must be given together, got one of them")
    if train_set is None and target is not None:
        train_set, test_set = load("mnist")
    network = network_of(model, train_set)
    return check_network(
        network, assignment, train_set, test_set, recipe, seeds=seeds, engine=engine, progress=progress
    )


@dataclass(frozen=True)
class Assignment:
    """Requirements of an assignment; see `check`."""

    max_parameters: int | None
    require: tuple[str, ...]
    forbid: tuple[str, ...]
    epochs: int
    target: float | None
    last: int

    def __post_init__(self) -> None:
        if self.max_parameters is not None:
            whole_number("max_parameters", self.max_parameters)
        for name in (*self.require, *self.forbid):
            choice("each name in require and forbid", name, FEATURES)
        whole_number("epochs", self.epochs)
        whole_number("last", self.last)
        if self.target is not None:
            checked_target(self.target)

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with at most ``epochs`` epochs. Raise ValueError if the check does not support it."""
        check_recipe(recipe)
        epochs = min(self.epochs, recipe.epochs)
        if self.last > epochs:
            raise ValueError(f"last must be at most the number of epochs, {epochs}, got {self.last}")
        return recipe.replace(epochs=epochs)


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError if the test set, which is evaluated after each epoch, would influence the training."""
    if recipe.schedule is not None and recipe.schedule.monitors_validation:
        raise ValueError(
            f"the schedule of the recipe must not monitor a validation set, got {recipe.schedule!r}. The test set is "
            'evaluated after each epoch and must not influence the training; use monitor="train_loss"'
        )


def check_network(
    network: Network,
    assignment: Assignment,
    train_set: ImageSet | None,
    test_set: ImageSet | None,
    recipe: Recipe | None,
    **options: Any,
) -> CheckResult:
    """Check the structure of a network. Train it if there is a target, and check the last epochs."""
    requirements = _structure_requirements(network, assignment)
    if assignment.target is None or train_set is None or test_set is None:
        return CheckResult(network.model.name, requirements)
    recipe = assignment.recipe(network.recipe if recipe is None else recipe_with(recipe, {}))
    # As in the course, the test set is evaluated after each epoch.
    trials = run_trials(network.model, train_set, test_set, recipe, validation=test_set, log=None, **options)
    if trials.unfinished:
        raise KeyboardInterrupt
    return CheckResult(network.model.name, (*requirements, _accuracy_requirement(trials, assignment)), trials)


def reaches(trial: Trial, target: float, last: int) -> bool:
    """Return whether each of the last epochs of a trial has an accuracy of at least ``target``.

    A diverged trial does not reach any target.
    """
    lowest = lowest_of_last(trial, last) if trial.accuracy is not None and len(trial.history) >= last else None
    return lowest is not None and lowest >= target


# ---- requirements


def _structure_requirements(network: Network, assignment: Assignment) -> tuple[Requirement, ...]:
    found = features(network.model)
    rows = [] if assignment.max_parameters is None else [_parameter_requirement(network, assignment.max_parameters)]
    rows += [Requirement(name, "required", str(found[name]), bool(found[name].nodes)) for name in assignment.require]
    rows += [Requirement(name, "not allowed", str(found[name]), not found[name].nodes) for name in assignment.forbid]
    return tuple(rows)


def _parameter_requirement(network: Network, limit: int) -> Requirement:
    unused = network.parameters - network.model.parameter_count
    note = f" ({unused:,} in layers that `forward` does not use)" if unused > 0 else ""
    return Requirement("parameters", f"at most {limit:,}", f"{network.parameters:,}{note}", network.parameters <= limit)


def _accuracy_requirement(trials: Trials, assignment: Assignment) -> Requirement:
    target, last = checked_target(assignment.target), assignment.last
    epochs = "the last epoch" if last == 1 else f"each of the last {last} epochs"
    required = f"at least {percent(target)} in {epochs}"
    failed = [each for each in trials if not reaches(each, target, last)]
    found = f"{len(trials) - len(failed)} of {len(trials)} seeds" if len(trials) > 1 else ""
    shown = trials.trials if len(trials) == 1 else failed
    parts = [found, *(f"seed {each.seed}: {_last_epochs(each, last)}" for each in shown)]
    return Requirement("accuracy", required, "; ".join(filter(None, parts)), not failed)


def _last_epochs(trial: Trial, last: int) -> str:
    if trial.accuracy is None:
        return f"diverged: {trial.failure}"
    accuracies = [each.validation_accuracy or 0.0 for each in trial.history.epochs[-last:]]
    return f"{', '.join(f'{100 * each:.2f}' for each in accuracies)} %"


def _cells(requirement: Requirement) -> tuple[str, str, str, str]:
    return "✓" if requirement.passed else "✗", requirement.name, requirement.required, requirement.found

"""What a test says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mnistcnn._internal.tables import html_table

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised. A ratio without any case is NaN."""

    name: str
    precision: float  # fraction of the images predicted as this class that are of it
    recall: float  # fraction of the images of this class that are predicted as it
    f1: float  # harmonic mean of both
    count: int  # images of this class


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for something else."""

    index: int
    label: int
    prediction: int
    confidence: float  # the probability of the wrong answer


@dataclass(frozen=True)
class Confusion:
    """One class that was taken for another, and how often."""

    label: int
    prediction: int
    count: int


@dataclass(frozen=True)
class Calibration:
    """Confidence beside accuracy, in ranges of confidence. A range without answers has NaN."""

    edges: tuple[float, ...]  # of the ranges, from 0 to 1: one more than there are ranges
    counts: tuple[int, ...]
    confidences: tuple[float, ...]  # the mean confidence of the answers in a range
    accuracies: tuple[float, ...]  # and the part of them that was right
    expected_error: float  # ECE: the mean distance of the two, weighted by the counts
    maximum_error: float  # MCE: the largest distance
    brier: float  # the mean squared distance of the probabilities from the truth, 0 (perfect) to 2


@dataclass(frozen=True, eq=False)
class TestResult:
    """Loss and accuracy over a whole set, and every single answer."""

    __test__ = False  # not a test case for pytest

    loss: float
    accuracy: float  # 0 to 1
    correct: int
    count: int
    confusion: Integers  # [classes, classes]: rows are labels, columns predictions
    predictions: Integers  # [N]
    labels: Integers  # [N]
    probabilities: Floats  # [N, classes]
    classes: tuple[str, ...]

    @cached_property
    def per_class(self) -> tuple[ClassScore, ...]:
        """Return precision, recall and F1 of every class."""
        from mnistcnn._internal.native import core

        scores = core.class_scores(self.confusion)
        return tuple(ClassScore(name, *score) for name, score in zip(self.classes, scores, strict=True))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The wrong answers, the most confident ones first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        confidence = self.probabilities[wrong, self.predictions[wrong]]
        return tuple(
            Mistake(int(i), int(self.labels[i]), int(self.predictions[i]), float(confidence[k]))
            for k, i in sorted(enumerate(wrong), key=lambda item: (-confidence[item[0]], item[1]))
        )

    def mistakes_between(self, label: int, prediction: int) -> tuple[Mistake, ...]:
        """The images of one class that were taken for another, the most confident ones first."""
        return tuple(each for each in self.mistakes if (each.label, each.prediction) == (label, prediction))

    @cached_property
    def least_confident(self) -> Integers:
        """The positions of all images, right or wrong, the least certain answer first: those to look at by eye."""
        order: Integers = np.argsort(self.probabilities.max(axis=1), kind="stable").astype(np.int64)
        return order

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """Which class was taken for which, the most frequent first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        pairs = [Confusion(int(i), int(j), int(wrong[i, j])) for i, j in zip(*np.nonzero(wrong), strict=True)]
        return tuple(sorted(pairs, key=lambda pair: (-pair.count, pair.label, pair.prediction)))

    def top_accuracy(self, k: int) -> float:
        """The part of the images whose label is among the ``k`` likeliest answers.

        Ties count for the label, as everything that is at least as likely as the others may stand first.
        """
        classes = self.probabilities.shape[1]
        if not 1 <= k <= classes:
            raise ValueError(f"k must be between 1 and {classes}, got {k!r}")
        own = self.probabilities[np.arange(self.count), self.labels]
        likelier = (self.probabilities > own[:, None]).sum(axis=1)
        return float((likelier < k).mean())

    def calibration(self, bins: int = 15) -> Calibration:
        """Whether confidence means anything: in ranges of equal width, the part of right answers beside it."""
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins!r}")
        confidence = self.probabilities.max(axis=1).astype(np.float64)
        right = (self.predictions == self.labels).astype(np.float64)
        place = np.clip(np.ceil(np.nan_to_num(confidence) * bins).astype(int) - 1, 0, bins - 1)  # ranges are open below
        counts = np.bincount(place, minlength=bins)
        with np.errstate(invalid="ignore"):
            confidences = np.bincount(place, confidence, bins) / counts
            accuracies = np.bincount(place, right, bins) / counts
        distances = np.abs(accuracies - confidences)[counts > 0]
        truth = np.zeros(self.probabilities.shape)
        truth[np.arange(self.count), self.labels] = 1
        return Calibration(
            edges=tuple(float(each) for each in np.linspace(0, 1, bins + 1)),
            counts=tuple(int(each) for each in counts),
            confidences=tuple(float(each) for each in confidences),
            accuracies=tuple(float(each) for each in accuracies),
            expected_error=float(distances @ counts[counts > 0] / self.count),
            maximum_error=float(distances.max()),
            brier=float(((self.probabilities - truth) ** 2).sum(axis=1).mean()),
        )

    def headline(self) -> str:
        """One line: accuracy first."""
        return f"accuracy {100 * self.accuracy:.2f} % ({self.correct:,} of {self.count:,}), loss {self.loss:.4f}"

    def __repr__(self) -> str:
        return f"TestResult: {self.headline()}"

    def _repr_html_(self) -> str:
        rows = [
            [
                score.name,
                str(score.count),
                *(f"{100 * value:.2f} %" for value in (score.precision, score.recall, score.f1)),
            ]
            for score in self.per_class
        ]
        return html_table(["class", "images", "precision", "recall", "F1"], rows, title=repr(self), left=1)

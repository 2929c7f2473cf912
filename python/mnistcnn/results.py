"""What a test says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ClassScore:
    """How one class was recognised. A ratio without any case is NaN."""

    name: str
    precision: float  # of what was called so, the part that was so
    recall: float  # of what was so, the part that was called so
    f1: float
    count: int


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for something else."""

    index: int
    label: int
    prediction: int
    confidence: float  # the probability of the wrong answer


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
        """Precision, recall and F1 of every class."""
        hits = np.diagonal(self.confusion).astype(float)
        called, actual = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall, f1 = hits / called, hits / actual, 2 * hits / (called + actual)
        return tuple(
            ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(actual[i]))
            for i, name in enumerate(self.classes)
        )

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The wrong answers, the most confident ones first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        confidence = self.probabilities[wrong, self.predictions[wrong]]
        return tuple(
            Mistake(int(i), int(self.labels[i]), int(self.predictions[i]), float(confidence[k]))
            for k, i in sorted(enumerate(wrong), key=lambda item: (-confidence[item[0]], item[1]))
        )

    def __repr__(self) -> str:
        return (
            f"TestResult: accuracy {100 * self.accuracy:.2f} % ({self.correct:,} of {self.count:,}), "
            f"loss {self.loss:.4f}"
        )

    def _repr_html_(self) -> str:
        from mnistcnn.html import table

        rows = [
            [
                score.name,
                str(score.count),
                *(f"{100 * value:.2f} %" for value in (score.precision, score.recall, score.f1)),
            ]
            for score in self.per_class
        ]
        return table(["class", "images", "precision", "recall", "F1"], rows, title=repr(self), left=1)

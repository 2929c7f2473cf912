"""Test results: accuracy, confusion matrix, scores per class, calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.tables import html_table, percent

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and F1 of one class; NaN where the denominator is zero.

    Attributes
    ----------
    name
        Name of the class.
    precision
        Fraction of the predictions of this class that are correct.
    recall
        Fraction of the images of this class that are predicted correctly.
    f1
        Harmonic mean of precision and recall.
    count
        Number of images of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True)
class Mistake:
    """Misclassified image.

    Attributes
    ----------
    index
        Position of the image in the test set.
    label
        True class.
    prediction
        Predicted class.
    confidence
        Probability of the predicted class.
    """

    index: int
    label: int
    prediction: int
    confidence: float


@dataclass(frozen=True)
class Confusion:
    """Number of images of one class that were predicted as another."""

    label: int
    prediction: int
    count: int


@dataclass(frozen=True)
class Calibration:
    """Confidence and accuracy in bins of confidence; NaN in empty bins.

    Attributes
    ----------
    edges
        Edges of the bins from 0 to 1, [bins + 1].
    counts
        Number of predictions per bin.
    confidences
        Mean confidence per bin.
    accuracies
        Accuracy per bin.
    expected_error
        Expected calibration error (ECE): mean |accuracy - confidence|, weighted by counts.
    maximum_error
        Maximum calibration error (MCE): maximum |accuracy - confidence|.
    brier
        Brier score: mean squared distance of probabilities from one-hot labels, 0 (perfect) to 2.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidences: tuple[float, ...]
    accuracies: tuple[float, ...]
    expected_error: float
    maximum_error: float
    brier: float


@dataclass(frozen=True, eq=False)
class TestResult:
    """Result of `mnistcnn.test`: loss, accuracy, confusion matrix and the prediction for each image.

    Attributes
    ----------
    loss
        Mean negative log-likelihood.
    accuracy
        Fraction of correct predictions, from 0 to 1.
    correct
        Number of correct predictions.
    count
        Number of images.
    confusion
        Confusion matrix, int64 [classes, classes]: rows are labels, columns are predictions.
    predictions
        Predicted classes, int64 [N].
    labels
        True classes, int64 [N].
    probabilities
        Class probabilities, f32 [N, classes].
    classes
        Class names.
    """

    __test__ = False  # not a test case for pytest

    loss: float
    accuracy: float
    correct: int
    count: int
    confusion: Integers
    predictions: Integers
    labels: Integers
    probabilities: Floats
    classes: tuple[str, ...]

    @cached_property
    def per_class(self) -> tuple[ClassScore, ...]:
        """Return precision, recall and F1 of each class."""
        from mnistcnn._internal.native import core

        scores = core.class_scores(self.confusion)
        return tuple(ClassScore(name, *score) for name, score in zip(self.classes, scores, strict=True))

    @property
    def precision(self) -> float:
        """Return the macro average of the precision: its mean over the classes that have images or predictions.

        The precision of a class without predictions counts as 0. The values per class are in `per_class`.
        """
        return self._mean_scores("macro")[0]

    @property
    def recall(self) -> float:
        """Return the macro average of the recall: its mean over the classes that have images or predictions.

        The recall of a class without images counts as 0. The values per class are in `per_class`.
        """
        return self._mean_scores("macro")[1]

    @property
    def f1(self) -> float:
        """Return the macro average of the F1 score: its mean over the classes that have images or predictions."""
        return self._mean_scores("macro")[2]

    def report(self, digits: int = 4) -> str:
        """Return precision, recall, F1 and number of images of each class as text, with averages over the classes.

        It is the text of scikit-learn's ``classification_report`` with ``zero_division=0``: classes without images and
        predictions are left out, and other undefined values are 0.

        Parameters
        ----------
        digits
            Number of decimal places.

        Examples
        --------
        >>> import mnistcnn
        >>> data = mnistcnn.load("digits")[1][:300]
        >>> result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
        >>> print(result.report().splitlines()[0])
                      precision    recall  f1-score   support
        """
        digits = whole_number("digits", digits, minimum=0)
        width = max(len("weighted avg"), *(len(name) for name in self.classes), digits)

        def line(name: str, values: tuple[float, ...], count: int) -> str:
            cells = "".join(f" {value:>9.{digits}f}" for value in values)
            return f"{name:>{width}} {cells:>30} {count:>9}\n"

        headings = "".join(f" {heading:>9}" for heading in ("precision", "recall", "f1-score", "support"))
        scores = [(score.name, _defined(score), score.count) for score in self._present()]
        averages = [(f"{kind} avg", self._mean_scores(kind), self.count) for kind in ("macro", "weighted")]
        return "\n".join(
            [
                f"{'':>{width}} {headings}\n",
                "".join(line(*each) for each in scores),
                line("accuracy", (self.accuracy,), self.count) + "".join(line(*each) for each in averages),
            ]
        )

    def _present(self) -> list[ClassScore]:
        """Return the scores of the classes that have images or predictions."""
        return [score for score in self.per_class if not math.isnan(score.f1)]

    def _mean_scores(self, kind: str) -> tuple[float, ...]:
        """Return the means of precision, recall and F1 over the classes, weighted by their images or not ("macro")."""
        scores = self._present()
        weights = [score.count if kind == "weighted" else 1 for score in scores]
        return tuple(float(each) for each in np.average([_defined(score) for score in scores], axis=0, weights=weights))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Return the misclassified images, most confident first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        confidence = self.probabilities[wrong, self.predictions[wrong]]
        return tuple(
            Mistake(int(i), int(self.labels[i]), int(self.predictions[i]), float(confidence[k]))
            for k, i in sorted(enumerate(wrong), key=lambda item: (-confidence[item[0]], item[1]))
        )

    def mistakes_between(self, label: int, prediction: int) -> tuple[Mistake, ...]:
        """Return the images of class ``label`` that were predicted as ``prediction``, most confident first."""
        return tuple(each for each in self.mistakes if (each.label, each.prediction) == (label, prediction))

    @cached_property
    def least_confident(self) -> Integers:
        """Return the positions of all images, least confident prediction first."""
        order: Integers = np.argsort(self.probabilities.max(axis=1), kind="stable").astype(np.int64)
        return order

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """Return the pairs of confused classes, most frequent first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        pairs = [Confusion(int(i), int(j), int(wrong[i, j])) for i, j in zip(*np.nonzero(wrong), strict=True)]
        return tuple(sorted(pairs, key=lambda pair: (-pair.count, pair.label, pair.prediction)))

    def top_accuracy(self, k: int) -> float:
        """Return the top-k accuracy: the fraction of images whose label is among the ``k`` most probable classes.

        Ties are resolved in favour of the label.
        """
        k = whole_number("k", k, maximum=self.probabilities.shape[1])
        label_probability = self.probabilities[np.arange(self.count), self.labels]
        rank = (~(self.probabilities <= label_probability[:, None])).sum(axis=1)  # all classes if there is NaN
        return float((rank < k).mean())

    def calibration(self, bins: int = 15) -> Calibration:
        """Return accuracy and calibration errors in ``bins`` equal-width bins of confidence."""
        bins = whole_number("bins", bins)
        confidence = self.probabilities.max(axis=1).astype(np.float64)
        correct = (self.predictions == self.labels).astype(np.float64)
        bin_index = np.clip(
            np.ceil(np.nan_to_num(confidence) * bins).astype(int) - 1, 0, bins - 1
        )  # bins are (low, high]
        counts = np.bincount(bin_index, minlength=bins)
        with np.errstate(invalid="ignore"):
            confidences = np.bincount(bin_index, confidence, bins) / counts
            accuracies = np.bincount(bin_index, correct, bins) / counts
        gaps = np.abs(accuracies - confidences)[counts > 0]
        one_hot = np.zeros(self.probabilities.shape)
        one_hot[np.arange(self.count), self.labels] = 1
        return Calibration(
            edges=tuple(float(each) for each in np.linspace(0, 1, bins + 1)),
            counts=tuple(int(each) for each in counts),
            confidences=tuple(float(each) for each in confidences),
            accuracies=tuple(float(each) for each in accuracies),
            expected_error=float(gaps @ counts[counts > 0] / self.count),
            maximum_error=float(gaps.max()),
            brier=float(((self.probabilities - one_hot) ** 2).sum(axis=1).mean()),
        )

    def headline(self) -> str:
        """Return a one-line summary: accuracy, counts and loss."""
        return f"accuracy {100 * self.accuracy:.2f} % ({self.correct:,} of {self.count:,}), loss {self.loss:.4f}"

    def __repr__(self) -> str:
        return f"TestResult: {self.headline()}"

    def _repr_html_(self) -> str:
        rows = [
            [
                score.name,
                str(score.count),
                *(percent(value) for value in (score.precision, score.recall, score.f1)),
            ]
            for score in self.per_class
        ]
        return html_table(["class", "images", "precision", "recall", "F1"], rows, title=repr(self), left=1)


def _defined(score: ClassScore) -> tuple[float, float, float]:
    """Return precision, recall and F1; 0 where they are undefined, as in scikit-learn."""
    precision, recall, f1 = (0.0 if math.isnan(each) else each for each in (score.precision, score.recall, score.f1))
    return precision, recall, f1

"""TestResult: precision, recall, F1 and mistakes compared with values computed by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mnistcnn import TestResult


@pytest.fixture
def result() -> TestResult:
    """Return a result of seven images: class "c" is never predicted, and "d" has neither images nor predictions."""
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    probabilities = np.array(
        [
            [0.7, 0.2, 0.1, 0.0],
            [0.6, 0.3, 0.1, 0.0],
            [0.2, 0.8, 0.0, 0.0],  # mistake with high confidence
            [0.1, 0.9, 0.0, 0.0],
            [0.5, 0.4, 0.1, 0.0],  # mistake with low confidence
            [0.8, 0.1, 0.1, 0.0],  # mistake with the same confidence as the first
            [0.3, 0.4, 0.3, 0.0],
        ],
        dtype=np.float32,
    )
    predictions = probabilities.argmax(1)
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    return TestResult(
        loss=0.5,
        accuracy=3 / 7,
        correct=3,
        count=7,
        confusion=confusion,
        predictions=predictions,
        labels=labels,
        probabilities=probabilities,
        classes=("a", "b", "c", "d"),
    )


@pytest.mark.filterwarnings("error")
def test_calibration_of_nan_outputs_is_nan(result: TestResult):
    invalid = dataclasses.replace(result, probabilities=np.full_like(result.probabilities, np.nan), loss=math.nan)
    assert math.isnan(invalid.calibration().expected_error)
    assert "loss nan" in str(invalid)


def test_per_class(result: TestResult):
    a, b, c, d = result.per_class
    assert (a.name, a.count) == ("a", 3)
    assert (a.precision, a.recall) == (pytest.approx(2 / 4), pytest.approx(2 / 3))
    assert a.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))
    assert (b.precision, b.recall, b.f1) == (pytest.approx(1 / 3), pytest.approx(1 / 2), pytest.approx(2 / 5))
    assert math.isnan(c.precision)
    assert (c.recall, c.f1, c.count) == (0, 0, 2)
    assert all(math.isnan(each) for each in (d.precision, d.recall, d.f1))


def test_non_square_confusion_matrix_raises(result: TestResult):
    with pytest.raises(ValueError, match=r"confusion.* square.*got \[3, 4\]"):
        _ = dataclasses.replace(result, confusion=result.confusion[:3]).per_class


def test_mistakes_are_sorted_by_confidence(result: TestResult):
    assert [mistake.index for mistake in result.mistakes] == [2, 5, 4, 6]
    first = result.mistakes[0]
    assert (first.label, first.prediction, first.confidence) == (0, 1, pytest.approx(0.8))


def test_text_and_html(result: TestResult):
    assert repr(result) == "TestResult: accuracy 42.86 % (3 of 7), loss 0.5000"
    html = result._repr_html_()
    assert html.count("<tr>") == 5
    assert "66.67 %" in html
    assert "nan" not in html


def test_scores_and_report_equal_those_of_scikit_learn(result: TestResult):
    metrics = pytest.importorskip("sklearn.metrics")
    draws = np.random.default_rng(1)
    labels, predictions = draws.integers(0, 10, 500), draws.integers(0, 9, 500)  # class 9 is never predicted
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    large = dataclasses.replace(
        result,
        accuracy=float((labels == predictions).mean()),
        count=500,
        confusion=confusion,
        predictions=predictions,
        labels=labels,
        classes=tuple(f"class number {k}" for k in range(10)),
    )
    for each in (result, large):
        given = each.labels, each.predictions
        for score, average in ((each.precision, "precision"), (each.recall, "recall"), (each.f1, "f1")):
            wanted = getattr(metrics, f"{average}_score")(*given, average="macro", zero_division=0)
            assert score == pytest.approx(wanted, rel=1e-12)
        names = [each.classes[k] for k in np.union1d(*given)]
        for digits in (2, 4):
            wanted = metrics.classification_report(*given, target_names=names, digits=digits, zero_division=0)
            assert each.report(digits) == wanted


def test_top_accuracy_of_nan_probabilities(result: TestResult):
    broken = dataclasses.replace(result, probabilities=np.full_like(result.probabilities, np.nan))
    assert broken.top_accuracy(1) == 0


def test_arguments_must_be_whole_numbers(result: TestResult):
    for call in (lambda: result.top_accuracy(1.5), lambda: result.calibration(2.5), lambda: result.report(-1)):
        with pytest.raises(ValueError, match="must be an integer of at least"):
            call()

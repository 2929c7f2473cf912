"""TestResult: precision, recall, F1 and mistakes, computed by hand beside it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mnistcnn import TestResult


@pytest.fixture
def result() -> TestResult:
    """Three classes, seven images; nothing is ever called "c", and there is no "d" at all."""
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    probabilities = np.array(
        [
            [0.7, 0.2, 0.1, 0.0],
            [0.6, 0.3, 0.1, 0.0],
            [0.2, 0.8, 0.0, 0.0],  # a mistake, sure of itself
            [0.1, 0.9, 0.0, 0.0],
            [0.5, 0.4, 0.1, 0.0],  # an unsure one
            [0.8, 0.1, 0.1, 0.0],  # as sure as the first
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
def test_outputs_that_are_no_numbers_have_no_calibration(result: TestResult):
    broken = dataclasses.replace(result, probabilities=np.full_like(result.probabilities, np.nan), loss=math.nan)
    assert math.isnan(broken.calibration().expected_error)
    assert "loss nan" in str(broken)


def test_per_class(result: TestResult):
    a, b, c, d = result.per_class
    assert (a.name, a.count) == ("a", 3)
    assert (a.precision, a.recall) == (pytest.approx(2 / 4), pytest.approx(2 / 3))
    assert a.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))
    assert (b.precision, b.recall, b.f1) == (pytest.approx(1 / 3), pytest.approx(1 / 2), pytest.approx(2 / 5))
    assert math.isnan(c.precision)
    assert (c.recall, c.f1, c.count) == (0, 0, 2)
    assert all(math.isnan(each) for each in (d.precision, d.recall, d.f1))


def test_a_confusion_matrix_must_be_square(result: TestResult):
    with pytest.raises(ValueError, match=r"confusion must be square, \[classes, classes\], got \[3, 4\]"):
        _ = dataclasses.replace(result, confusion=result.confusion[:3]).per_class


def test_mistakes_come_most_confident_first(result: TestResult):
    assert [mistake.index for mistake in result.mistakes] == [2, 5, 4, 6]
    first = result.mistakes[0]
    assert (first.label, first.prediction, first.confidence) == (0, 1, pytest.approx(0.8))


def test_text_and_html(result: TestResult):
    assert repr(result) == "TestResult: accuracy 42.86 % (3 of 7), loss 0.5000"
    html = result._repr_html_()
    assert html.count("<tr>") == 5
    assert "66.67 %" in html

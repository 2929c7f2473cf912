"""Student's t distribution compared with tables, exact formulas and SciPy (if installed)."""

from __future__ import annotations

import math
import random

import pytest

from mnistcnn.study.student_t import deviation_of, incomplete_beta, mean_of, quantile, two_sided_p

# Degrees of freedom -> two-sided quantiles at 90, 95, 99 and 99.9 %.
TABLE = {
    1: (6.314, 12.706, 63.657, 636.619),
    2: (2.920, 4.303, 9.925, 31.599),
    4: (2.132, 2.776, 4.604, 8.610),
    9: (1.833, 2.262, 3.250, 4.781),
    29: (1.699, 2.045, 2.756, 3.659),
    120: (1.658, 1.980, 2.617, 3.373),
}


@pytest.mark.parametrize("degrees", TABLE)
def test_quantiles_match_tables(degrees: int):
    for confidence, expected in zip((0.90, 0.95, 0.99, 0.999), TABLE[degrees], strict=True):
        assert quantile(confidence, degrees) == pytest.approx(expected, abs=5.1e-4)
        assert two_sided_p(quantile(confidence, degrees), degrees) == pytest.approx(1 - confidence, rel=1e-10)


def test_one_and_two_degrees_match_formulas():
    for t in (0.0, 0.1, 1.0, 3.0, 50.0):
        assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-12)
        assert two_sided_p(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-10)
    assert two_sided_p(math.inf, 3) == 0
    assert quantile(0.5, 1) == pytest.approx(1, rel=1e-12)


def test_t_approaches_the_normal_for_many_degrees_of_freedom():
    for t in (0.5, 1.959964, 4.0):
        assert two_sided_p(t, 1e7) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-5)


def test_incomplete_beta_limits_symmetry_and_binomial_sum():
    assert incomplete_beta(3, 5, 0) == 0
    assert incomplete_beta(3, 5, 1) == 1
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3, rel=1e-13)
    for a, b, x in ((0.5, 0.5, 0.2), (8, 3, 0.7), (40, 0.5, 0.99)):
        assert incomplete_beta(a, b, x) + incomplete_beta(b, a, 1 - x) == pytest.approx(1, rel=1e-12)
    binomial = sum(math.comb(7, k) * 0.3**k * 0.7 ** (7 - k) for k in range(3, 8))
    assert incomplete_beta(3, 5, 0.3) == pytest.approx(binomial, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_matches_scipy(seed: int):
    stats = pytest.importorskip("scipy.stats")
    generator = random.Random(seed)
    for _ in range(50):
        degrees, t, confidence = generator.uniform(0.5, 300), generator.gauss(0, 4), generator.uniform(0.01, 0.9999)
        assert two_sided_p(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-9)
        assert quantile(confidence, degrees) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, degrees), rel=1e-9)


def test_mean_and_deviation():
    assert mean_of((1.0, 2.0, 6.0)) == 3
    assert deviation_of((1.0, 2.0, 6.0)) == pytest.approx(math.sqrt(7))
    assert math.isnan(mean_of(()))
    assert math.isnan(deviation_of((1.0,)))


def test_invalid_arguments_raise():
    for call in (lambda: incomplete_beta(0, 1, 0.5), lambda: incomplete_beta(1, 1, 2), lambda: two_sided_p(1, 0)):
        with pytest.raises(ValueError, match="must be above 0"):
            call()
    with pytest.raises(ValueError, match="t must not be NaN"):
        two_sided_p(math.nan, 3)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 1"):
        quantile(1, 3)

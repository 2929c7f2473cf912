"""compare: Welch's t test against SciPy, the permutation test against a slow reference, verdicts and errors."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

import mnistcnn
from mnistcnn import Trials
from studies import made_setting, made_trials


def samples(seed: int, sizes: tuple[int, int], difference: float = 0.0006) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(0.99 + difference, 0.0006, sizes[0]), generator.normal(0.99, 0.001, sizes[1])
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_welch_matches_scipy(seed: int):
    stats = pytest.importorskip("scipy.stats")
    a, b = samples(seed, (10, 7))
    ours, theirs = mnistcnn.compare(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert ours.welch_t == pytest.approx(theirs.statistic, rel=1e-9)
    assert ours.welch_degrees == pytest.approx(theirs.df, rel=1e-9)
    assert ours.welch_p == pytest.approx(theirs.pvalue, rel=1e-8)
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-8)


def test_welch_matches_the_formula():
    result = mnistcnn.compare([0.1, 0.2, 0.3], [0.2, 0.4, 0.6, 0.8])
    # Variances 0.01 and 0.0667: t = -0.3 / sqrt(0.01 / 3 + 0.0667 / 4)
    assert result.difference == pytest.approx(-0.3)
    assert result.welch_t == pytest.approx(-0.3 / math.sqrt(0.02))
    assert result.welch_degrees == pytest.approx(0.02**2 / ((0.01 / 3) ** 2 / 2 + (0.2 / 12) ** 2 / 3))
    assert result.effect == pytest.approx(-0.3 / math.sqrt((2 * 0.01 + 3 * 0.2 / 3) / 5))


def slow_permutation_p(a: list[float], b: list[float]) -> float:
    values, observed = a + b, abs(np.mean(a) - np.mean(b)) - 1e-12
    extreme = possible = 0
    for chosen in itertools.combinations(range(len(values)), len(a)):
        first = [values[i] for i in chosen]
        second = [values[i] for i in range(len(values)) if i not in chosen]
        extreme += abs(np.mean(first) - np.mean(second)) >= observed
        possible += 1
    return extreme / possible


@pytest.mark.parametrize(("seed", "sizes"), [(1, (3, 4)), (2, (5, 5)), (3, (2, 7))])
def test_permutation_test_enumerates_all_splits_of_small_samples(seed: int, sizes: tuple[int, int]):
    a, b = samples(seed, sizes)
    result = mnistcnn.compare(a, b)
    assert result.exact
    assert result.permutations == math.comb(sum(sizes), sizes[0])
    assert result.permutation_p == pytest.approx(slow_permutation_p(a, b), rel=1e-12)


def test_permutation_test_uses_random_splits_for_large_samples():
    a, b = samples(5, (10, 10), difference=0.0004)
    exact = mnistcnn.compare(a, b)
    assert exact.exact  # 184,756 splits
    sampled = mnistcnn.compare([*a, *a], [*b, *b])
    assert (sampled.exact, sampled.permutations) == (False, 100_000)
    assert mnistcnn.compare([*a, *a], [*b, *b]) == sampled  # same seed
    other = mnistcnn.compare([*a, *a], [*b, *b], seed=1).permutation_p
    assert 0 < abs(other - sampled.permutation_p) < 0.005
    assert 0 < sampled.permutation_p < exact.permutation_p


def test_tied_splits_count_as_extreme():
    """Accuracies are multiples of 1/10,000: sums that differ by rounding only must compare equal."""
    a, b = [0.9931, 0.9942, 0.9942], [0.9931, 0.9942, 0.9931]
    assert mnistcnn.compare(a, b).permutation_p == 1


def test_false_positive_rate_is_five_percent():
    """Of 500 pairs of samples without a difference, about 5 % have p < 0.05 (within four standard deviations)."""
    generator = np.random.default_rng(7)
    pairs = generator.normal(0.99, 0.001, (500, 2, 5))
    found = [mnistcnn.compare(a.tolist(), b.tolist()) for a, b in pairs]
    for values in ([each.welch_p for each in found], [each.permutation_p for each in found]):
        assert 0.011 < np.mean(np.array(values) < 0.05) < 0.09


def test_significant_difference():
    a, b = made_trials(accuracies=(0.994, 0.9942, 0.9938, 0.9941)), made_trials("other", (0.99, 0.9902, 0.9899, 0.9901))
    result = mnistcnn.compare(a, b)
    assert result.is_real
    assert result.verdict.startswith("session7_net is better than other by 0.40 points (significant")
    assert mnistcnn.compare(b, a).verdict == result.verdict
    assert result.difference > 0 > mnistcnn.compare(b, a).difference
    assert "p = 0.029, all 70 splits" in repr(result)
    assert "session7_net is better" in result._repr_html_()
    assert json.loads(result.to_json())["is_real"] is True


def test_no_significant_difference():
    a, b = samples(1, (5, 5), difference=0)
    result = mnistcnn.compare(a, b, names=("wide", "narrow"))
    assert not result.is_real
    assert result.verdict.startswith("no significant difference between wide and narrow")
    assert all(f"{100 * limit:+.2f}" in result.verdict for limit in result.interval)


def test_two_seeds_are_not_enough_for_the_permutation_test():
    result = mnistcnn.compare([0.99, 0.991], [0.5, 0.501])
    assert result.permutation_p == pytest.approx(1 / 3)
    assert result.verdict == (
        "too few seeds to decide on a difference of 49.00 points (Welch's t test finds it significant): with 2 and 2 "
        "seeds the permutation test cannot give less than p = 0.33; run at least 4 seeds each"
    )
    near = mnistcnn.compare([0.99, 0.991, 0.992], [0.991, 0.992, 0.99])
    assert "does not find it significant): with 3 and 3 seeds" in near.verdict
    assert "less than p = 0.1;" in near.verdict
    assert not result.is_real


@pytest.mark.parametrize("sizes", [(4, 4), (2, 6), (6, 2)])
def test_enough_seeds_for_the_permutation_test(sizes: tuple[int, int]):
    first, second = ([start + 0.0001 * k for k in range(size)] for start, size in zip((0.99, 0.5), sizes, strict=True))
    result = mnistcnn.compare(first, second)
    assert result.permutation_p < 0.05
    assert result.is_real


def test_tests_that_disagree():
    result = mnistcnn.compare([0.9923, 0.9927, 0.9923, 0.991], [0.9912, 0.9909, 0.9901, 0.991])
    assert result.welch_p < 0.05 < result.permutation_p
    assert result.verdict.startswith("the two tests disagree on a difference of 0.13 points; run more seeds")


def test_samples_without_variation(tmp_path: Any):
    same = mnistcnn.compare([0.99] * 5, [0.99] * 5)
    assert (same.welch_p, same.permutation_p, same.effect) == (1, 1, 0)
    different = mnistcnn.compare([0.99] * 5, [0.98] * 5)
    assert (different.welch_t, different.welch_p, different.effect) == (math.inf, 0, math.inf)
    assert json.loads(different.to_json(tmp_path / "comparison.json"))["effect"] is None  # JSON has no infinity
    assert (tmp_path / "comparison.json").exists()


def test_trials_of_one_network_are_named_by_the_differences_of_their_recipes():
    plain = made_trials()
    assert mnistcnn.compare(plain, plain).names == ("the first", "the second")
    recipe = mnistcnn.Recipe(epochs=2, batch_size=32).to_dict()
    small = Trials(made_setting(recipe=recipe), plain.trials)
    assert mnistcnn.compare(small, plain).names == ("session7_net: batch_size 32", "session7_net")


def test_verdict_lists_diverged_trials():
    a = made_trials(accuracies=(0.994, 0.9942, None, 0.9941))
    result = mnistcnn.compare(a, made_trials(accuracies=(0.99, 0.9901, 0.9902)))
    assert result.diverged == (1, 0)
    assert result.verdict.endswith("; diverged trials are excluded: 1 of the first")


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match="second must have at least two accuracies, got 1"):
        mnistcnn.compare([0.1, 0.2], [0.3])
    with pytest.raises(ValueError, match=r"first must have accuracies from 0 to 1, got 99\.4"):
        mnistcnn.compare([99.4, 99.3], [0.3, 0.4])
    with pytest.raises(TypeError, match="first must be Trials or a sequence of accuracies, got float"):
        mnistcnn.compare(0.5, [0.3, 0.4])


@pytest.mark.parametrize("names", [("one",), "ab", ("a", "b", "c")])
def test_other_than_two_names_raise(names: Any):
    with pytest.raises(ValueError, match="names must be two names, one of each experiment, got"):
        mnistcnn.compare([0.99, 0.991], [0.98, 0.981], names=names)

"""Statistical comparison of the accuracies of two experiments: Welch's t test and a permutation test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, count, islice
from pathlib import Path
from typing import Any

import numpy as np

from mnistcnn._internal.checks import seed_number
from mnistcnn._internal.tables import html_table, json_text, without_nan
from mnistcnn.study.recipe_words import distinct_titles
from mnistcnn.study.student_t import deviation_of, mean_of, quantile, two_sided_p
from mnistcnn.study.trials import Trials, spread

_EXACT, _SAMPLES = 200_000, 100_000  # maximum number of splits to enumerate; number of random splits beyond it
_CHUNK = 20_000  # splits per batch
_ROUNDING = 1e-12  # upper bound of rounding errors, for comparisons of sums and differences
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """Result of `mnistcnn.compare`: two samples of accuracies (0 to 1) and the tests of their difference.

    Differences are first minus second.

    Attributes
    ----------
    names
        Names of the two experiments.
    accuracies
        Accuracies of the complete trials of each experiment.
    difference
        Difference of the means.
    interval
        95 % confidence interval of the difference (Welch).
    welch_t
        Test statistic of Welch's t test.
    welch_degrees
        Degrees of freedom of Welch's t test.
    welch_p
        p-value of Welch's t test.
    permutation_p
        p-value of the permutation test.
    permutations
        Number of splits counted.
    exact
        Whether all possible splits were counted.
    effect
        Cohen's d: the difference divided by the pooled standard deviation.
    diverged
        Number of trials of each experiment that are excluded, because they diverged.
    """

    names: tuple[str, str]
    accuracies: tuple[tuple[float, ...], tuple[float, ...]]
    difference: float
    interval: tuple[float, float]
    welch_t: float
    welch_degrees: float
    welch_p: float
    permutation_p: float
    permutations: int
    exact: bool
    effect: float
    diverged: tuple[int, int] = (0, 0)

    @property
    def is_real(self) -> bool:
        """Return True if both tests find the difference significant at the 5 % level."""
        return max(self.welch_p, self.permutation_p) < _SIGNIFICANT

    @property
    def verdict(self) -> str:
        """Return the conclusion as one sentence."""
        low, high = self.interval
        points = f"{100 * abs(self.difference):.2f} points"
        if self.is_real:
            better, worse = self.names if self.difference > 0 else self.names[::-1]
            text = f"{better} is better than {worse} by {points} (significant at the 5 % level in both tests)"
        elif _lowest_p(*map(len, self.accuracies)) >= _SIGNIFICANT:
            text = self._too_few_seeds(points)
        elif min(self.welch_p, self.permutation_p) < _SIGNIFICANT:
            text = f"the two tests disagree on a difference of {points}; run more seeds"
        else:
            text = (
                f"no significant difference between {self.names[0]} and {self.names[1]} with these seeds; "
                f"95 % interval of the difference: {100 * low:+.2f} to {100 * high:+.2f} points"
            )
        return text + self._missing()

    def _too_few_seeds(self, points: str) -> str:
        first, second = map(len, self.accuracies)
        needed = next(number for number in count(2) if _lowest_p(number, number) < _SIGNIFICANT)
        welch = "finds" if self.welch_p < _SIGNIFICANT else "does not find"
        return (
            f"too few seeds to decide on a difference of {points} (Welch's t test {welch} it significant): "
            f"with {first} and {second} seeds the permutation test cannot give less than "
            f"p = {_lowest_p(first, second):.2g}; run at least {needed} seeds each"
        )

    def _missing(self) -> str:
        lost = [f"{n} of {name}" for n, name in zip(self.diverged, self.names, strict=True) if n]
        return f"; diverged trials are excluded: {' and '.join(lost)}" if lost else ""

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of lists, numbers and strings, ready for JSON."""
        values: dict[str, Any] = without_nan(asdict(self))
        return {**values, "is_real": self.is_real, "verdict": self.verdict}

    def to_json(self, path: str | Path | None = None) -> str:
        """Return JSON text; also write it to ``path`` if given."""
        return json_text(self.to_dict(), path)

    def _lines(self) -> list[tuple[str, str]]:
        low, high = self.interval
        sizes = [
            (name, f"{spread(mean_of(values), deviation_of(values))} ({len(values)} seeds)")
            for name, values in zip(self.names, self.accuracies, strict=True)
        ]
        counted = f"{'all' if self.exact else 'from'} {self.permutations:,} {'' if self.exact else 'random '}splits"
        return [
            *sizes,
            (
                "difference",
                f"{100 * self.difference:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}",
            ),
            (
                "Welch's t test",
                f"t = {self.welch_t:.2f}, {self.welch_degrees:.1f} degrees, {_format_p_value(self.welch_p)}",
            ),
            ("permutation test", f"{_format_p_value(self.permutation_p)}, {counted}"),
            ("effect (Cohen's d)", f"{self.effect:+.2f}"),
        ]

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(len(name) for name, _ in lines)
        return "\n".join([self.verdict, *(f"  {name.ljust(width)}   {text}" for name, text in lines)])

    def _repr_html_(self) -> str:
        return html_table(["", ""], [list(line) for line in self._lines()], title=self.verdict, left=2)


def compare(
    first: Trials | Sequence[float],
    second: Trials | Sequence[float],
    *,
    names: tuple[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Test whether the accuracies of two experiments differ by more than the variation between seeds.

    Two tests are computed from the complete trials. Welch's t test assumes normal distributions. The permutation test
    does not. Its p-value is the fraction of all splits of the accuracies into two groups of the same sizes whose means
    differ by at least as much as the observed ones. With more than 200,000 possible splits, 100,000 random ones are
    used. With equal numbers of seeds, p < 5 % requires at least four each.

    Parameters
    ----------
    first
        First experiment: `Trials`, or a sequence of at least two accuracies from 0 to 1.
    second
        Second experiment, likewise.
    names
        Names of the two experiments in the report. Default: None, which names trials by their model, and by the
        differences of their recipes if the model is the same; otherwise "the first" and "the second".
    seed
        Seed of the random splits.

    Returns
    -------
    Comparison
        Means, difference, confidence interval, p-values, effect size and a conclusion.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.compare([0.991, 0.992, 0.993, 0.992], [0.985, 0.986, 0.984, 0.986], names=("wide", "narrow"))
    wide is better than narrow by 0.68 points (significant at the 5 % level in both tests)
      wide                 99.20 ± 0.08 % (4 seeds)
      narrow               98.52 ± 0.10 % (4 seeds)
      difference           +0.68 points, 95 % interval +0.52 to +0.83
      Welch's t test       t = 10.73, 5.9 degrees, p = 0.00005
      permutation test     p = 0.029, all 70 splits
      effect (Cohen's d)   +7.59
    """
    seed_number(seed)
    if names is not None and (isinstance(names, str) or len(names) != 2):
        raise ValueError(f"names must be two names, one of each experiment, got {names!r}")
    a, b = _accuracies(first, "first"), _accuracies(second, "second")
    t, degrees, p, interval = _welch(a, b)
    permutation_p, permutations, exact = _permutation(a, b, seed)
    return Comparison(
        names=names or _names(first, second),
        accuracies=(a, b),
        difference=mean_of(a) - mean_of(b),
        interval=interval,
        welch_t=t,
        welch_degrees=degrees,
        welch_p=p,
        permutation_p=permutation_p,
        permutations=permutations,
        exact=exact,
        effect=_effect(a, b),
        diverged=(_diverged(first), _diverged(second)),
    )


def _accuracies(sample: object, which: str) -> tuple[float, ...]:
    if isinstance(sample, Trials):
        values = sample.accuracies
    elif isinstance(sample, Sequence | np.ndarray) and not isinstance(sample, str):
        values = tuple(float(value) for value in sample)
    else:
        raise TypeError(f"{which} must be Trials or a sequence of accuracies, got {type(sample).__name__}")
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError(f"{which} must have accuracies from 0 to 1, got {next(v for v in values if not 0 <= v <= 1)}")
    if len(values) < 2:
        raise ValueError(f"{which} must have at least two accuracies, got {len(values)}; run more seeds")
    return values


def _names(first: object, second: object) -> tuple[str, str]:
    if isinstance(first, Trials) and isinstance(second, Trials):
        titles = distinct_titles([first.setting, second.setting])
        if titles[0] != titles[1]:
            return titles[0], titles[1]
    return "the first", "the second"


def _diverged(sample: object) -> int:
    return len(sample.diverged) if isinstance(sample, Trials) else 0


# ---- the tests


def _welch(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float, tuple[float, float]]:
    """Return t, degrees of freedom, two-sided p and the 95 % confidence interval of the difference."""
    variances = [deviation_of(values) ** 2 / len(values) for values in (a, b)]
    difference, error = mean_of(a) - mean_of(b), math.sqrt(sum(variances))
    if error <= _ROUNDING:  # no variation between seeds in either sample
        same = abs(difference) <= _ROUNDING
        t = 0.0 if same else math.copysign(math.inf, difference)
        return t, float(len(a) + len(b) - 2), 1.0 if same else 0.0, (difference, difference)
    degrees = sum(variances) ** 2 / sum(
        variance**2 / (len(values) - 1) for variance, values in zip(variances, (a, b), strict=True)
    )
    margin = quantile(0.95, degrees) * error
    t = difference / error
    return t, degrees, two_sided_p(t, degrees), (difference - margin, difference + margin)


def _permutation(a: tuple[float, ...], b: tuple[float, ...], seed: int) -> tuple[float, int, bool]:
    """Return p, the number of splits counted, and whether all splits were enumerated."""
    values = np.array(a + b)
    values -= values.mean()
    # After centring, the difference of means of a split is proportional to the sum of its first group.
    observed = abs(values[: len(a)].sum()) - _ROUNDING
    possible = math.comb(len(values), len(a))
    if possible <= _EXACT:
        splits = combinations(range(len(values)), len(a))
        extreme = 0
        while chunk := list(islice(splits, _CHUNK)):
            extreme += int((np.abs(values[np.array(chunk)].sum(axis=1)) >= observed).sum())
        return extreme / possible, possible, True
    random = np.random.default_rng(seed)
    extreme = 1  # includes the observed split
    for start in range(0, _SAMPLES, _CHUNK):
        copies = np.tile(values, (min(_CHUNK, _SAMPLES - start), 1))
        extreme += int((np.abs(random.permuted(copies, axis=1)[:, : len(a)].sum(axis=1)) >= observed).sum())
    return extreme / (_SAMPLES + 1), _SAMPLES, False


def _lowest_p(first: int, second: int) -> float:
    """Return the lowest possible p of the permutation test for samples of these sizes.

    Only the observed split is as extreme as itself, and for equal sizes also the split with exchanged groups.
    """
    return (2 if first == second else 1) / math.comb(first + second, first)


def _effect(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    difference = mean_of(a) - mean_of(b)
    squares = sum((len(values) - 1) * deviation_of(values) ** 2 for values in (a, b))
    pooled = math.sqrt(squares / (len(a) + len(b) - 2))
    if pooled <= _ROUNDING:
        return 0.0 if abs(difference) <= _ROUNDING else math.copysign(math.inf, difference)
    return difference / pooled


def _format_p_value(value: float) -> str:
    """Return p as text with two significant digits."""
    return "p < 0.00001" if value < 1e-5 else f"p = {value:.5f}" if value < 1e-3 else f"p = {value:.2g}"

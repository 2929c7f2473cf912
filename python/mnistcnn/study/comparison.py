"""Is a difference between two experiments real, or the luck of the seeds?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np

from mnistcnn._internal.checks import seed_number
from mnistcnn._internal.tables import html_table, json_text, without_nan
from mnistcnn.study.student import deviation_of, mean_of, quantile, two_sided_p
from mnistcnn.study.trials import Trials, spread

_EXACT, _SAMPLES = 200_000, 100_000  # splits that are all counted; splits that are drawn where there are more
_CHUNK = 20_000  # splits at a time
_ROUNDING = 1e-12  # sums of the same numbers in another order differ by less
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two samples of accuracies (0 to 1), first minus second. `mnistcnn.compare` makes it."""

    names: tuple[str, str]
    accuracies: tuple[tuple[float, ...], tuple[float, ...]]
    difference: float  # of the means
    interval: tuple[float, float]  # 95 %, Welch
    welch_t: float
    welch_degrees: float
    welch_p: float
    permutation_p: float
    permutations: int  # how many splits were counted
    exact: bool  # whether these were all there are
    effect: float  # Cohen's d: the difference in pooled standard deviations
    diverged: tuple[int, int] = (0, 0)  # trials without an accuracy

    @property
    def is_real(self) -> bool:
        """Whether both tests call the difference significant at 5 %."""
        return max(self.welch_p, self.permutation_p) < _SIGNIFICANT

    @property
    def verdict(self) -> str:
        """In plain words."""
        low, high = self.interval
        points = f"{100 * abs(self.difference):.2f} points"
        if self.is_real:
            better, worse = self.names if self.difference > 0 else self.names[::-1]
            text = f"{better} is better than {worse} by {points}, and the difference is real"
        elif min(self.welch_p, self.permutation_p) < _SIGNIFICANT:
            text = f"the two tests disagree about a difference of {points}: more seeds would tell"
        else:
            text = (
                f"no difference between {self.names[0]} and {self.names[1]} can be shown with these seeds; if there is "
                f"one, it lies between {100 * low:+.2f} and {100 * high:+.2f} points"
            )
        return text + self._missing()

    def _missing(self) -> str:
        lost = [f"{n} of {name}" for n, name in zip(self.diverged, self.names, strict=True) if n]
        return f"; but trials that diverged are left out: {' and '.join(lost)}" if lost else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and words."""
        values: dict[str, Any] = without_nan(json.loads(json.dumps(asdict(self))))
        return {**values, "is_real": self.is_real, "verdict": self.verdict}

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if given."""
        return json_text(self.to_dict(), path)

    def _lines(self) -> list[tuple[str, str]]:
        low, high = self.interval
        sizes = [
            (name, f"{spread(mean_of(values), deviation_of(values))} ({len(values)} seeds)")
            for name, values in zip(self.names, self.accuracies, strict=True)
        ]
        counted = f"{'all' if self.exact else 'of'} {self.permutations:,} {'' if self.exact else 'drawn '}splits"
        return [
            *sizes,
            (
                "difference",
                f"{100 * self.difference:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}",
            ),
            ("Welch's t test", f"t = {self.welch_t:.2f}, {self.welch_degrees:.1f} degrees, {_p(self.welch_p)}"),
            ("permutation test", f"{_p(self.permutation_p)}, {counted}"),
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
    """Says whether two experiments differ in accuracy by more than the luck of their seeds.

    Two tests are made of the complete trials: Welch's t test, and a permutation test, which asks how many of the ways
    to split all accuracies into two groups differ by at least as much. It needs no normal distribution; where there
    are too many ways, 100,000 of them are drawn.

    Parameters
    ----------
    first, second
        `Trials`, or accuracies from 0 to 1; at least two each.
    names
        What to call them; by default their models and recipes.
    seed
        Decides which splits are drawn.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.compare([0.991, 0.992, 0.993, 0.992], [0.985, 0.986, 0.984, 0.986], names=("wide", "narrow"))
    wide is better than narrow by 0.68 points, and the difference is real
      wide                 99.20 ± 0.08 % (4 seeds)
      narrow               98.52 ± 0.10 % (4 seeds)
      difference           +0.68 points, 95 % interval +0.52 to +0.83
      Welch's t test       t = 10.73, 5.9 degrees, p = 0.00005
      permutation test     p = 0.029, all 70 splits
      effect (Cohen's d)   +7.59
    """
    seed_number(seed)
    a, b = _accuracies(first, "first"), _accuracies(second, "second")
    t, degrees, p, interval = _welch(a, b)
    permutation_p, count, exact = _permutation(a, b, seed)
    return Comparison(
        names=names or _names(first, second),
        accuracies=(a, b),
        difference=mean_of(a) - mean_of(b),
        interval=interval,
        welch_t=t,
        welch_degrees=degrees,
        welch_p=p,
        permutation_p=permutation_p,
        permutations=count,
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
        raise TypeError(f"the {which} must be Trials or a sequence of accuracies, got {type(sample).__name__}")
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError(f"the {which} has an accuracy outside 0 to 1: {next(v for v in values if not 0 <= v <= 1)}")
    if len(values) < 2:
        raise ValueError(f"the {which} has {len(values)} accuracies, but a comparison needs at least two: more seeds")
    return values


def _names(first: object, second: object) -> tuple[str, str]:
    titles = [each.setting.title if isinstance(each, Trials) else "" for each in (first, second)]
    if not all(titles) or titles[0] == titles[1]:
        return "the first", "the second"
    return titles[0], titles[1]


def _diverged(sample: object) -> int:
    return len(sample.diverged) if isinstance(sample, Trials) else 0


# ---- the tests


def _welch(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float, tuple[float, float]]:
    """t, degrees of freedom, two-sided p, and the 95 % interval of the difference."""
    parts = [deviation_of(values) ** 2 / len(values) for values in (a, b)]
    difference, error = mean_of(a) - mean_of(b), math.sqrt(sum(parts))
    if error <= _ROUNDING:  # every seed the same on both sides
        same = abs(difference) <= _ROUNDING
        t = 0.0 if same else math.copysign(math.inf, difference)
        return t, float(len(a) + len(b) - 2), 1.0 if same else 0.0, (difference, difference)
    degrees = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    reach = quantile(0.95, degrees) * error
    t = difference / error
    return t, degrees, two_sided_p(t, degrees), (difference - reach, difference + reach)


def _permutation(a: tuple[float, ...], b: tuple[float, ...], seed: int) -> tuple[float, int, bool]:
    """p, the number of splits, and whether these are all."""
    values = np.array(a + b)
    values -= values.mean()
    # With the total at 0, a split's difference of means is in proportion to the sum of its first group.
    observed = abs(values[: len(a)].sum()) - _ROUNDING
    every = math.comb(len(values), len(a))
    if every <= _EXACT:
        splits = combinations(range(len(values)), len(a))
        extreme = 0
        while chunk := list(islice(splits, _CHUNK)):
            extreme += int((np.abs(values[np.array(chunk)].sum(axis=1)) >= observed).sum())
        return extreme / every, every, True
    random = np.random.default_rng(seed)
    extreme = 1  # the split that was observed is one of them
    for start in range(0, _SAMPLES, _CHUNK):
        rows = np.tile(values, (min(_CHUNK, _SAMPLES - start), 1))
        extreme += int((np.abs(random.permuted(rows, axis=1)[:, : len(a)].sum(axis=1)) >= observed).sum())
    return extreme / (_SAMPLES + 1), _SAMPLES, False


def _effect(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    difference = mean_of(a) - mean_of(b)
    squares = sum((len(values) - 1) * deviation_of(values) ** 2 for values in (a, b))
    pooled = math.sqrt(squares / (len(a) + len(b) - 2))
    if pooled <= _ROUNDING:
        return 0.0 if abs(difference) <= _ROUNDING else math.copysign(math.inf, difference)
    return difference / pooled


def _p(value: float) -> str:
    """Two digits that count."""
    return "p < 0.00001" if value < 1e-5 else f"p = {value:.5f}" if value < 1e-3 else f"p = {value:.2g}"

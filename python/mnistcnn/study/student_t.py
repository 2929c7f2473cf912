"""Student's t distribution in plain Python: quantiles and p-values, and mean and standard deviation of a sample."""

from __future__ import annotations

import math

_STEPS, _PRECISION, _TINY = 10_000, 1e-15, 1e-300


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Examples
    --------
    >>> round(incomplete_beta(2, 3, 0.5), 12)
    0.6875
    """
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        raise ValueError(f"a and b must be above 0 and x must be from 0 to 1, got a={a}, b={b}, x={x}")
    if x in (0, 1):
        return float(x)
    # The continued fraction converges quickly below the mean; above it, use the symmetry I_x(a, b) = 1 - I_{1-x}(b, a).
    if x > (a + 1) / (a + b + 2):
        return 1 - _lower_tail(b, a, 1 - x)
    return _lower_tail(a, b, x)


def _lower_tail(a: float, b: float, x: float) -> float:
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / (a * _continued_fraction(a, b, x))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)) of the incomplete beta function, by Lentz's method."""
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower or _TINY)
        upper = 1 + term / upper or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < _PRECISION:
            break
    return value


def two_sided_p(t: float, degrees: float) -> float:
    """Return the two-sided p-value of ``t`` with ``degrees`` degrees of freedom.

    Examples
    --------
    >>> round(two_sided_p(2.262157, 9), 6)
    0.05
    """
    _check_degrees(degrees)
    if math.isnan(t):
        raise ValueError("t must not be NaN, got nan")
    if math.isinf(t):
        return 0.0
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def quantile(confidence: float, degrees: float) -> float:
    """Return the t for which the interval from -t to t has probability ``confidence``.

    Examples
    --------
    >>> round(quantile(0.95, 9), 6)
    2.262157
    """
    _check_degrees(degrees)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided_p(middle, degrees) > 1 - confidence else (low, middle)
    return (low + high) / 2


def mean_of(values: tuple[float, ...]) -> float:
    """Return the arithmetic mean; NaN if there are no values."""
    return math.fsum(values) / len(values) if values else math.nan


def deviation_of(values: tuple[float, ...]) -> float:
    """Return the sample standard deviation (n - 1); NaN for fewer than two values."""
    if len(values) < 2:
        return math.nan
    mean = mean_of(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def interval_of(values: tuple[float, ...]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of accuracies, clipped to 0 and 1; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    mean, margin = mean_of(values), quantile(0.95, len(values) - 1) * deviation_of(values) / math.sqrt(len(values))
    return max(0.0, mean - margin), min(1.0, mean + margin)


def _check_degrees(degrees: float) -> None:
    if not degrees > 0:
        raise ValueError(f"degrees of freedom must be above 0, got {degrees}")

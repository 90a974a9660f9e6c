"""Intervals and three-valued verdicts over seeds. A handful of runs decides less than it seems: say so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError

Verdict = Literal["holds", "does not hold", "not decided"]


@dataclass(frozen=True)
class Interval:
    """An interval that covers the truth with probability `level`; infinite when there is too little to go by.

    >>> 0.5 in Interval(0.0, 1.0, 0.95), Interval(-math.inf, math.inf, 0.95).known
    (True, False)
    """

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def known(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def width(self) -> float:
        """Distance between the ends."""
        return self.high - self.low


@dataclass(frozen=True)
class Comparison:
    """Our values against a base's, run by run.

    Attributes:
        difference: Mean of ours less base.
        interval: Of that mean.
        verdict: Whether the difference exceeds the margin.
    """

    difference: float
    interval: Interval
    verdict: Verdict


def mean_interval(values: Float[np.ndarray, " s"], level: float = 0.95) -> Interval:
    """Student's interval of the mean of independent values; infinite for fewer than two.

    >>> round(mean_interval(np.array([1.0, 2.0, 3.0])).high, 3)
    4.484
    >>> mean_interval(np.array([1.0]))
    Interval(low=-inf, high=inf, level=0.95)
    """
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return Interval(-math.inf, math.inf, level)
    reach = float(stdtrit(len(values) - 1, 0.5 + level / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    centre = float(values.mean())
    return Interval(centre - reach, centre + reach, level)


def bootstrap(
    values: Float[np.ndarray, "s ..."],
    level: float = 0.95,
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic over resamples of the first axis (Efron, 1979); infinite for fewer than two.

    >>> bootstrap(np.array([1.0, 1.0, 1.0]))
    Interval(low=1.0, high=1.0, level=0.95)
    """
    values = np.asarray(values)
    if len(values) < 2:
        return Interval(-math.inf, math.inf, level)
    rng = np.random.default_rng(seed)
    found = [float(statistic(values[rng.integers(len(values), size=len(values))])) for _ in range(draws)]
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high), level)


def paired(
    ours: Float[np.ndarray, " s"], base: Float[np.ndarray, " s"], margin: float = 0.0, level: float = 0.95
) -> Comparison:
    """Do our values exceed the base's by more than a margin? Paired t interval of the mean difference.

    *holds* when the whole interval lies above the margin, *does not hold* when it lies below, else *not decided*, as
    for fewer than two pairs. For a score of which less is better, exchange the two.

    >>> paired(np.array([0.9, 0.8, 0.85]), np.array([0.1, 0.1, 0.1])).verdict
    'holds'
    >>> paired(np.array([0.9]), np.array([0.1])).verdict
    'not decided'
    """
    ours, base = np.asarray(ours, dtype=np.float64), np.asarray(base, dtype=np.float64)
    if ours.shape != base.shape or ours.ndim != 1:
        raise DataError("pairs: two arrays of one shape (S,)", got=f"{ours.shape} and {base.shape}")
    interval = mean_interval(ours - base, level)
    verdict: Verdict = "not decided"
    if interval.low > margin:
        verdict = "holds"
    elif interval.high < margin:
        verdict = "does not hold"
    return Comparison(float((ours - base).mean()) if len(ours) else math.nan, interval, verdict)


def holm(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """P-values adjusted for their number so that the chance of any false finding stays at the level (Holm, 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def critical_difference(methods: int, sets: int, level: float = 0.95) -> float:
    """How far two mean ranks over data sets must lie apart to be told apart among all pairs (Nemenyi, 1963).

    Infinite for fewer than two methods or sets.

    >>> round(critical_difference(8, 11), 2)  # Demsar (2006): 3.031 * sqrt(8 * 9 / (6 * 11))
    3.17
    """
    if methods < 2 or sets < 2:
        return math.inf
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * sets))

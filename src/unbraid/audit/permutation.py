"""What shuffled labels would do to a score: exact moments, and a p-value from them.

A label array scores T = sum_i a_i(y_i). Under the hypothesis that the labels say nothing about the codes, every
arrangement of a stratum's labels over its items is as likely as any other. Mean, variance and third moment of T over
all arrangements are closed sums of the doubly centred scores (Hoeffding, 1951), so nothing need be drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

_CELLS = 2_000_000
_NOTHING = 1e-9  # rounding: the probe says the same of every item
_STRAIGHT = 1e-3
_FEW_FOLDS = 1.4  # measured: holds the level for 2, 3 and 5 folds and 1 to 300 free weights


@dataclass(frozen=True)
class Moments:
    """Of a score over all arrangements of the labels.

    Attributes:
        excess: The observed score less its mean.
        variance: Its variance.
        third: Its third central moment.
        arrangements: Natural logarithm of the number of arrangements that differ.
    """

    excess: float
    variance: float
    third: float
    arrangements: float

    def __add__(self, other: Moments) -> Moments:
        """Of the sum of two scores whose labels are arranged independently."""
        return Moments(
            self.excess + other.excess,
            self.variance + other.variance,
            self.third + other.third,
            self.arrangements + other.arrangements,
        )


def within(a: Float[np.ndarray, "n c"], y: Int[np.ndarray, " n"], strata: Int[np.ndarray, " n"]) -> Moments:
    """Moments when the labels are arranged anew within each stratum.

    Args:
        a: Score of each item for each class.
        y: The class of each item.
        strata: The stratum of each item, numbers from 0.

    >>> within(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), np.zeros(2, int))
    Moments(excess=1.0, variance=1.0, third=0.0, arrangements=0.6931471805599453)
    """
    from scipy.special import gammaln

    classes, count = a.shape[1], int(strata.max()) + 1
    labels = np.bincount(strata * classes + y, minlength=count * classes).reshape(count, classes).astype(float)
    sizes = labels.sum(1)
    share = labels / np.maximum(sizes, 1)[:, None]
    mean = np.stack([np.bincount(strata, column, count) for column in a.T], 1) / np.maximum(sizes, 1)[:, None]
    rows = (share[strata] * a).sum(1)  # what the item would score on average
    excess = float(a[np.arange(len(a)), y].sum() - rows.sum())
    centred = a - mean[strata] - rows[:, None] + (share * mean).sum(1)[strata, None]
    square = np.bincount(strata, (labels[strata] * centred**2).sum(1), count)
    cube = np.bincount(strata, (labels[strata] * centred**3).sum(1), count)
    ways = float((gammaln(sizes + 1) - gammaln(labels + 1).sum(1)).sum())
    return Moments(excess, *_summed(square, cube, sizes), ways)


def between(
    scores: Float[np.ndarray, "g c"], mixes: Float[np.ndarray, "g c"], strata: Int[np.ndarray, " g"]
) -> Moments:
    """Moments when whole groups exchange their labels with the other groups of their stratum.

    Args:
        scores: Sum of the scores of a group's items for each class.
        mixes: Share of each class among a group's items.
        strata: The stratum of each group, numbers from 0.
    """
    total = Moments(0.0, 0.0, 0.0, 0.0)
    for stratum in range(int(strata.max()) + 1):
        here = strata == stratum
        if here.sum() > 1:
            total = total + _exchange(scores[here], mixes[here])
    return total


def _exchange(scores: np.ndarray, mixes: np.ndarray) -> Moments:
    excess = float((scores * (mixes - mixes.mean(0))).sum())
    kinds, counts = np.unique(mixes, axis=0, return_counts=True)
    left, right = scores - scores.mean(0), kinds - mixes.mean(0)
    square = cube = 0.0
    for part in np.array_split(left, max(1, len(left) * len(right) // _CELLS)):
        cells = part @ right.T
        square, cube = square + float((cells**2 @ counts).sum()), cube + float((cells**3 @ counts).sum())
    variance, third = _summed(np.array([square]), np.array([cube]), np.array([float(len(scores))]))
    return Moments(excess, variance, third, math.lgamma(len(scores) + 1) - sum(math.lgamma(c + 1) for c in counts))


def _summed(square: np.ndarray, cube: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Variance and third moment over strata from the sums of squares and cubes of the doubly centred scores."""
    variance = (square / np.maximum(sizes - 1, 1)).sum()
    third = (cube * np.where(sizes > 2, sizes / np.maximum((sizes - 1) * (sizes - 2), 1), 0)).sum()
    return float(variance), float(third)


def p_value(moments: Moments, folds: int = 5, freedom: float = math.inf) -> float:
    """Chance that labels which say nothing would score as high with a cross-fitted probe. No probe is taught anew.

    Arranging one fold's labels at a time shows too little: fold A's labels teach the probe that reads B, and B's the
    one that reads A, so each pair of folds says the same thing twice and the variance of the sum doubles. With the
    doubled variance a normal tail errs on the safe side, the more so the fewer free weights the probe has. For a
    probe with f of them the standard score is (X - f) / sqrt(2 X) with X chi-squared, here with an allowance for
    few folds; where that is the shorter tail, it counts. Skewness enters through a gamma tail with the labels' own
    three moments (Pearson, type III). Never less than one over the number of arrangements.

    Args:
        moments: Of the score, summed over folds.
        folds: Number of folds.
        freedom: Free weights of the probe; infinity when they cannot be counted.
    """
    from scipy.special import gammaincc, ndtr, ndtri

    if moments.variance <= _NOTHING:
        return 1.0
    z = moments.excess / math.sqrt(2 * moments.variance)
    skew = max(0.0, moments.third / moments.variance**1.5)
    if skew > _STRAIGHT:
        shape = 4 / skew**2
        tail = float(gammaincc(shape, max(0.0, shape + z * math.sqrt(shape))))
        z = float(-ndtri(min(1.0, max(tail, 1e-300)))) if tail > 0 else z
    tail = float(ndtr(-z))
    if z > 0 and math.isfinite(freedom):
        root = (math.sqrt(2) * z + math.sqrt(2 * z * z + 4 * freedom)) / 2
        tail = min(tail, float(gammaincc(freedom / 2, root * root / 2)) * (folds / (folds - 1)) ** _FEW_FOLDS)
    return min(1.0, max(tail, math.exp(-min(moments.arrangements, 700.0))))

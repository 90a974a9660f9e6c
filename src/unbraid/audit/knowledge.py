"""How many bits of a factor out-of-fold predictions hold, with an interval and a p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unbraid.audit.permutation import Moments, between, p_value, within

_CLIP = 8.0
_BOUND = 64.0
_FLAT = 1e-12
_FITTING = 10
_NEAR = 1e-3
_EXACT = 1e-6


@dataclass(frozen=True)
class Knowledge:
    """What a probe's predictions say about a factor.

    Attributes:
        bits: Information in bits per item; below 0 when they point away from the truth, as chance makes them do.
        low, high: Ends of its 95 % interval, which covers 0 as often as it says when nothing is known.
        most: What may be known at most. Nobody knows less than nothing, so this is not below the upper end that 0 bits
            would have, and the noise is taken as doubled (see `p_value`): *clean* must be safe.
        entropy: Bits that are to be known: the factor's entropy within the folds.
        p: Chance that labels which say nothing would score as high.
        samples: Items counted.
    """

    bits: float
    low: float
    high: float
    most: float
    entropy: float
    p: float
    samples: int


def knowledge(
    log_p: Float[np.ndarray, "n c"],
    y: Int[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"] | None = None,
    freedom: float = math.inf,
) -> Knowledge:
    """Calibrated information of out-of-fold predictions about labels.

    The chance predictor q is the class frequencies of each fold, and a_i(c) = log p_i(c) - log q(c) the evidence.
    The predictions p ~ q exp(lambda a) are tempered by the one lambda that fits best (concave: Newton), and their mean
    gain over q is the information, signed by lambda. Its root is close to normal both near zero and far from it.

    Args:
        log_p: Natural log-probabilities from a probe that saw neither the item nor its group.
        y: True classes 0..C-1.
        folds: The fold of each item.
        groups: The group of each item, or None.
        freedom: Free weights of the probe, see `p_value`.
    """
    n = len(y)
    folds = np.unique(folds, return_inverse=True)[1]
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    frequency = _frequencies(y, folds, log_p.shape[1])
    mixes, unit_fold = _mixes(y, units, log_p.shape[1]), _first(folds, units)
    offset = frequency if groups is None else _means(mixes, unit_fold)
    evidence = _evidence(log_p.astype(np.float64), offset, folds)
    with np.errstate(divide="ignore"):
        log_q = np.log(frequency)[folds]
    entropy = float(-log_q[np.arange(n), y].mean() / math.log(2))
    by_fold = _moments(evidence, y, folds, None if groups is None else units, mixes, unit_fold)
    moments = sum(by_fold[1:], by_fold[0])
    bits, low, high, most = _tempered(evidence, log_q, y, units, moments, _overlap(by_fold))
    return Knowledge(bits, low, high, most, entropy, p_value(moments, len(frequency), freedom), n)


def _frequencies(y: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(folds * classes + y, minlength=(int(folds.max()) + 1) * classes).reshape(-1, classes)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def _mixes(y: np.ndarray, units: np.ndarray, classes: int) -> np.ndarray:
    return _frequencies(y, units, classes)


def _first(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.unique(units, return_index=True)[1]])


def _means(mixes: np.ndarray, strata: np.ndarray) -> np.ndarray:
    sizes = np.bincount(strata)[:, None]
    return np.stack([np.bincount(strata, column) for column in mixes.T], 1) / sizes


def _evidence(log_p: np.ndarray, chance: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Log-ratio of the predictions to chance, after each fold's predictions are made to agree with chance on average.

    A probe has learned from other folds, whose frequencies differ a little from this one's. That difference tells
    nothing of the single item; left in, it would swamp weak knowledge. Proportional fitting takes it out.
    """
    evidence = np.zeros_like(log_p)
    for fold in range(len(chance)):
        rows, present = np.flatnonzero(folds == fold), np.flatnonzero(chance[fold])
        here, target = log_p[np.ix_(rows, present)], chance[fold, present]
        p, weight = np.exp(here), np.ones(len(present))
        for _ in range(_FITTING):
            weight *= target / np.maximum(weight * (p.T @ (1 / (p @ weight))) / len(rows), 1e-30)
        ratio = here + np.log(weight / target) - np.log(p @ weight)[:, None]
        evidence[np.ix_(rows, present)] = np.clip(ratio, -_CLIP, _CLIP)
    return evidence


def _moments(
    evidence: np.ndarray, y: np.ndarray, folds: np.ndarray, groups: np.ndarray | None, mixes: np.ndarray,
    group_fold: np.ndarray,
) -> list[Moments]:  # fmt: skip
    """Of each fold. Labels change places within each group, and whole groups within the fold; items alone within it."""
    found = []
    for fold in range(int(folds.max()) + 1):
        a, labels = evidence[folds == fold], y[folds == fold]
        if groups is None:
            found.append(within(a, labels, np.zeros(len(a), dtype=np.int64)))
            continue
        inside, here = np.unique(groups[folds == fold], return_inverse=True)[1], group_fold == fold
        scores = np.stack([np.bincount(inside, column) for column in a.T], 1)
        whole = between(scores, mixes[here], np.zeros(len(scores), dtype=np.int64))
        found.append(within(a, labels, inside) + whole)
    return found


def _overlap(by_fold: Sequence[Moments]) -> float:
    """How much of the noise cross-fitting counts twice: 1 for folds whose probes are equally sure, 0 for one alone.

    What folds A and B say to each other is one number, weighed by how sure the probe of A is and by how sure that of B
    is. Ridge strengths and pulls are tuned for each fold, so these differ.
    """
    spread = np.sqrt([max(m.variance, 0.0) for m in by_fold])
    alone = float((spread**2).sum()) * (len(spread) - 1)
    return (float(spread.sum()) ** 2 - float((spread**2).sum())) / alone if alone > 0 else 1.0


def _tempered(
    a: np.ndarray, log_q: np.ndarray, y: np.ndarray, units: np.ndarray, moments: Moments, overlap: float
) -> tuple[float, float, float, float]:
    """Signed bits, their interval and the most there may be, computed for the signed root r = sign(lambda) sqrt(bits).

    Where r may be nothing but noise, its variance is that over all arrangements of the labels, which is known and not
    estimated, and what is counted twice is added.
    """
    from scipy.special import stdtrit

    n, at = len(y), np.arange(len(y))
    scale, curvature = _fit(a, log_q, y)
    count = int(units.max()) + 1
    student = float(stdtrit(count - 1, 0.975))
    if curvature <= _FLAT * n:  # the probe says the same of every item: what it may miss is what noise would hide
        hidden = student**2 / count / math.log(2)
        return 0.0, -hidden, hidden, hidden
    steady = math.copysign(max(abs(scale), _NEAR), scale)  # gain / lambda has a limit at 0: go near enough to it
    weights = log_q + steady * a
    slope = a[at, y] - _log_sum(weights)[0] / steady  # gain of each item, divided by lambda
    ratio = curvature / 2 if abs(scale) <= _NEAR else float(slope.sum()) / scale  # total gain / lambda^2
    spread = np.bincount(units, slope - slope.mean(), count)
    variance = float((spread**2).sum()) * count / (count - 1)
    doubt = _doubt(moments)
    variance += doubt * max(0.0, moments.variance - variance)
    root = math.copysign(math.sqrt(scale**2 * ratio / n), scale)
    error = math.sqrt(variance / n) / (2 * math.sqrt(ratio))
    reach = float(stdtrit((count - 1) / max(1 - doubt, _EXACT), 0.975)) * error * math.sqrt(1 + doubt * overlap)
    most = max(root, 0.0) + student * error * math.sqrt(1 + doubt)
    return _squared(root), _squared(root - reach), _squared(root + reach), _squared(most)


def _squared(root: float) -> float:
    """Bits of a signed root in nats."""
    return math.copysign(root * root, root) / math.log(2)


def _doubt(moments: Moments) -> float:
    """Share of the evidence's spread that may be noise, seen twice by cross-fitting (see `p_value`): 1 near zero."""
    if moments.excess <= 0:
        return 1.0
    return min(1.0, 9.0 * 2 * moments.variance / moments.excess**2)


def _fit(a: np.ndarray, log_q: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The lambda at which the tempered predictions fit best, and the curvature there; Newton between brackets."""
    scale, low, high = 0.0, -_BOUND, _BOUND
    observed = float(a[np.arange(len(y)), y].sum())
    for _ in range(40):
        _, p = _log_sum(log_q + scale * a)
        mean = (p * a).sum(1)
        slope, curvature = observed - float(mean.sum()), float(((p * a * a).sum(1) - mean**2).sum())
        if scale == 0.0:
            first = curvature
        low, high = (scale, high) if slope > 0 else (low, scale)
        if curvature <= _FLAT * len(y) or abs(slope) < 1e-9 * len(y) or high - low < 1e-9:
            break
        ahead = scale + slope / curvature
        ahead = ahead if low < ahead < high else (low + high) / 2
        if abs(ahead - scale) < 1e-7:
            break
        scale = ahead
    return scale, first


def _log_sum(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of the sum of exponentials of each row, and the softmax."""
    most = weights.max(1, keepdims=True)
    p = np.exp(weights - most)
    total = p.sum(1, keepdims=True)
    return (most + np.log(total))[:, 0], p / total

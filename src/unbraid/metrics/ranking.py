"""How well one number per item ranks the positives above the others: ROC, precision and recall, equal errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import DataError

Scores = Float[np.ndarray, " n"]
Positives = Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Roc:
    """The receiver operating characteristic: one point per distinct score, from (0, 0) to (1, 1).

    Attributes:
        fpr: Share of the negatives that score at least the threshold; ascending.
        tpr: Share of the positives that do; ascending.
        thresholds: Descending; infinite at the first point, where nothing scores as much.
    """

    fpr: Float[np.ndarray, " points"]
    tpr: Float[np.ndarray, " points"]
    thresholds: Float[np.ndarray, " points"]


def roc(scores: Scores, positive: Positives) -> Roc:
    """The curve of scores of which more should mean positive; equal scores make one point.

    Args:
        scores: One finite number per item.
        positive: Whether the item is one of those that should score high.

    Raises:
        DataError: There are no positives, no negatives, or scores that are not finite.

    >>> curve = roc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    >>> curve.fpr.tolist(), curve.tpr.tolist(), curve.thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 0.9, 0.4, 0.1])
    """
    thresholds, true, false = _counts(scores, positive)
    return Roc(
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], true / true[-1]]),
        np.concatenate([[np.inf], thresholds]),
    )


def auroc(scores: Scores, positive: Positives) -> float:
    """The chance that a positive scores above a negative, a tie counting half: the area under the ROC.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    curve = roc(scores, positive)
    return float((np.diff(curve.fpr) * (curve.tpr[1:] + curve.tpr[:-1])).sum() / 2)


def aupr(scores: Scores, positive: Positives) -> float:
    """Average precision: the precision at each threshold, weighted by the recall that the threshold adds.

    >>> round(aupr(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])), 4)
    0.8333
    """
    _, true, false = _counts(scores, positive)
    recall = np.concatenate([[0.0], true / true[-1]])
    return float((np.diff(recall) * true / (true + false)).sum())


def fpr_at_tpr(scores: Scores, positive: Positives, tpr: float = 0.95) -> float:
    """The least share of negatives let through by a threshold that finds at least this share of the positives.

    >>> fpr_at_tpr(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]), 0.95)
    0.5
    """
    if not 0 < tpr <= 1:
        raise DataError("a share above 0 and up to 1", got=f"{tpr:g}", where="tpr")
    curve = roc(scores, positive)
    return float(curve.fpr[np.argmax(curve.tpr >= tpr - 1e-12)])


@dataclass(frozen=True)
class EqualErrors:
    """Where as large a share of the positives is missed as of the negatives is let through.

    Attributes:
        rate: That share.
        threshold: Of the score.
    """

    rate: float
    threshold: float


def equal_errors(scores: Scores, positive: Positives) -> EqualErrors:
    """The point of the ROC at which both kinds of error are equal, on a straight line between two thresholds.

    >>> equal_errors(np.array([0.1, 0.6, 0.4, 0.9]), np.array([False, False, True, True]))
    EqualErrors(rate=0.5, threshold=0.6)
    """
    curve = roc(scores, positive)
    balance = curve.fpr + curve.tpr - 1  # rises from -1 to 1; the rate is where it is 0
    after = int(np.argmax(balance >= 0))
    low, high = balance[after - 1], balance[after]
    share = -low / (high - low)
    rate = curve.fpr[after - 1] + share * (curve.fpr[after] - curve.fpr[after - 1])
    above = curve.thresholds[after - 1]
    above = curve.thresholds[after] if np.isinf(above) else above
    return EqualErrors(float(rate), float(above + share * (curve.thresholds[after] - above)))


def eer(scores: Scores, positive: Positives) -> float:
    """The equal error rate, 0 (perfect) to 0.5 (chance) and above (upside down).

    >>> eer(np.array([0.1, 0.6, 0.4, 0.9]), np.array([False, False, True, True]))
    0.5
    """
    return equal_errors(scores, positive).rate


def balanced_accuracy(said: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"]) -> float:
    """The share of each class's items that are told right, averaged over the classes that there are.

    >>> balanced_accuracy(np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0]))
    0.75
    """
    said, true = np.asarray(said), np.asarray(true)
    if said.shape != true.shape or said.ndim != 1 or not len(true):
        got = f"shapes {said.shape} and {true.shape}"
        raise DataError("an answer and a class for each of one item or more", got=got, where="balanced accuracy")
    return float(np.mean([(said[true == value] == value).mean() for value in np.unique(true)]))


def macro_auroc(probabilities: Float[np.ndarray, "n c"], true: Int[np.ndarray, " n"]) -> float:
    """The area under the ROC of each class against all others, averaged over the classes that there are.

    >>> macro_auroc(np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9]]), np.array([0, 0, 1, 1]))
    0.75
    """
    return float(np.mean([auroc(probabilities[:, c], true == c) for c in np.unique(true)]))


def macro_f1(said: Int[np.ndarray, " n"], true: Int[np.ndarray, " n"]) -> float:
    """Twice what is right of a class over what is said and what is true of it, averaged over classes said or true.

    >>> macro_f1(np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])).__round__(4)
    0.7333
    """
    classes = np.union1d(said, true)
    right = [2 * ((said == c) & (true == c)).sum() / ((said == c).sum() + (true == c).sum()) for c in classes]
    return float(np.mean(right))


def _counts(scores: Scores, positive: Positives) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, descending, and how many positives and negatives score at least as much."""
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if scores.shape != positive.shape or scores.ndim != 1:
        got = f"shapes {scores.shape} and {positive.shape}"
        raise DataError("a score and an answer for each item", got=got, where="ranking")
    if not np.isfinite(scores).all():
        raise DataError("finite scores", got="NaN or infinity", where="ranking")
    if positive.all() or not positive.any():
        got = f"{int(positive.sum())} of {len(positive)} items positive"
        raise DataError("both positive and negative items", got=got, where="ranking")
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of equal scores
    true = np.cumsum(positive)[last]
    return scores[last], true.astype(np.float64), (1 + last - true).astype(np.float64)

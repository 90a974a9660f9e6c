"""Whether a classifier that says 80 % is right in 80 of 100 cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import DataError


@dataclass(frozen=True)
class Reliability:
    """Stated confidence against accuracy, in bins of equal width; empty bins are left out.

    Attributes:
        confidence: Mean confidence of the items in each bin.
        accuracy: Share of them that is right.
        share: Share of all items that is in the bin.
    """

    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    share: Float[np.ndarray, " bins"]


def reliability(
    probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], bins: int = 15
) -> Reliability:
    """The reliability diagram of the most probable class (Guo et al., 2017); a bin holds (low, high].

    >>> found = reliability(np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]), np.array([0, 1, 1]), bins=2)
    >>> found.accuracy.round(3).tolist(), found.confidence.round(3).tolist()
    ([0.667], [0.8])
    """
    p, y = _checked(probabilities, labels)
    confidence, right = p.max(1), p.argmax(1) == y
    at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    there = count > 0
    sums = (np.bincount(at, weights=w, minlength=bins)[there] / count[there] for w in (confidence, right))
    return Reliability(next(sums), next(sums), count[there] / len(y))


def ece(probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], bins: int = 15) -> float:
    """Expected calibration error: mean distance between confidence and accuracy over the bins, 0 to 1.

    >>> round(ece(np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]), np.array([0, 1, 1]), bins=2), 4)
    0.1333
    """
    found = reliability(probabilities, labels, bins)
    return float((found.share * np.abs(found.confidence - found.accuracy)).sum())


def brier(probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean squared distance between the probabilities and the true class as a unit vector, 0 to 2.

    >>> round(brier(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0])), 4)
    0.37
    """
    p, y = _checked(probabilities, labels)
    return float(np.square(p - np.eye(p.shape[1])[y]).sum(1).mean())


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if p.ndim != 2 or y.shape != (len(p),) or not len(p):
        got = f"shapes {p.shape} and {y.shape}"
        raise DataError("a row of probabilities and a label for each item", got=got, where="calibration")
    if not ((p >= -1e-6).all() and np.allclose(p.sum(1), 1, atol=1e-4)):
        raise DataError("probabilities that sum to 1", got="others", fix="take a softmax first", where="calibration")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise DataError(f"labels 0..{p.shape[1] - 1}", got=f"{y.min()}..{y.max()}", where="calibration")
    return p, y

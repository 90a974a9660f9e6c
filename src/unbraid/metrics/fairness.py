"""Unfairness of predictions from a representation (Locatello et al., 2019, arXiv:1905.13662, section 4)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def group_distances(counts: Int[np.ndarray, "v s"]) -> tuple[float, float]:
    """How far the predictions of each sensitive value are from those of all, in total variation.

    Args:
        counts: How often each class (row) was predicted for items of each sensitive value (column).

    Returns:
        The mean over sensitive values, weighted by their items, and the largest.

    >>> group_distances(np.array([[10, 0], [0, 10]]))
    (0.5, 0.5)
    """
    groups = counts.sum(axis=0)
    counts, groups = counts[:, groups > 0], groups[groups > 0]
    if not len(groups):
        return 0.0, 0.0
    overall = counts.sum(axis=1) / groups.sum()
    apart = np.abs(counts / groups - overall[:, None]).sum(axis=0) / 2
    return float((apart * groups).sum() / groups.sum()), float(apart.max())


def unfairness_matrix(
    predicted: Int[np.ndarray, "n k"], factors: Int[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "k k"], Float[np.ndarray, "k k"]]:
    """Mean and largest distance for every target (row) and sensitive factor (column); the diagonals are 0.

    The authors change the sensitive factor of the same items and let everything else be. Here items that have the
    value are compared, which is the same in expectation where the factors are independent, as in a complete grid; it
    blames a representation for what the data themselves associate elsewhere.

    Args:
        predicted: For each factor what a classifier that reads the codes says, of items it has not seen.
        factors: The labels of these items.
    """
    wide = factors.shape[1]
    mean, most = np.zeros((wide, wide)), np.zeros((wide, wide))
    for target in range(wide):
        classes = int(max(predicted[:, target].max(initial=0), factors[:, target].max(initial=0))) + 1
        for sensitive in range(wide):
            if target == sensitive:
                continue
            values = int(factors[:, sensitive].max(initial=0)) + 1
            cells = predicted[:, target] * values + factors[:, sensitive]
            counts = np.bincount(cells, minlength=classes * values).reshape(classes, values)
            mean[target, sensitive], most[target, sensitive] = group_distances(counts)
    return mean, most


def unfairness_per_factor(matrix: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Mean over the sensitive factors of each target."""
    others = max(1, len(matrix) - 1)
    return np.asarray(matrix.sum(axis=1) / others)


def unfairness(matrix: Float[np.ndarray, "k k"]) -> float:
    """Mean over all pairs of a target and a sensitive factor; 0 to 1, lower is better.

    >>> unfairness(np.array([[0.0, 0.2], [0.4, 0.0]])).__round__(6)
    0.3
    """
    return float(unfairness_per_factor(matrix).mean()) if matrix.size else 0.0

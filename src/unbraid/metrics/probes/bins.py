"""The table probe: one column, cut into bins, and how often each class falls in each bin."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics.probes.common import Labels, LogProbabilities

PULLS = (1.0, 4.0, 16.0, 64.0, 256.0)
"""Strengths of the pull towards the marginal to choose from, in items per bin."""


def table(
    codes: Float[np.ndarray, "n d"], labels: Labels, folds: Int[np.ndarray, " n"], *, bins: int | None = None
) -> Iterator[LogProbabilities]:
    """Out-of-fold log-probabilities from each column on its own; one list for each column.

    A class's probability in a bin is its frequency there among the training items, pulled towards its frequency over
    all bins. The pull is the one that predicts the training items best when each is left out (closed form).

    Args:
        codes: One row of numbers per item.
        labels: See `Labels`.
        folds: The fold 0..K-1 of each item.
        bins: Most bins, see `most_bins`.

    >>> x, y = np.tile([[0.0], [1.0]], (50, 1)), np.tile([0, 1], 50)
    >>> [column] = table(x, [y], np.arange(100) % 5)
    >>> column[0].argmax(1).tolist() == y.tolist()
    True
    """
    most = bins or most_bins(len(codes))
    for column in np.asarray(codes, dtype=np.float64).T:
        cell = equal_frequency(column, most)
        yield [_read(cell, np.asarray(y), folds) for y in labels]


def most_bins(items: int) -> int:
    """Bins that a column is cut into by default: half the root of the number of items, between 5 and 40.

    >>> most_bins(2000), most_bins(10_000)
    (22, 40)
    """
    return int(np.clip(round(math.sqrt(items) / 2), 5, 40))


def equal_frequency(values: Float[np.ndarray, " n"], bins: int) -> Int[np.ndarray, " n"]:
    """Bins 0..b-1 of about equal frequency; equal values share a bin, and few enough values are a bin each.

    >>> equal_frequency(np.array([3.0, 1.0, 1.0, 1.0, 2.0, 9.0]), 2).tolist()
    [1, 0, 0, 0, 1, 1]
    """
    distinct, which = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return np.asarray(which)
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    found = np.searchsorted(edges, values, side="right")
    return np.asarray(np.unique(found, return_inverse=True)[1])


def _read(cell: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    known = y >= 0
    shape = int(folds.max()) + 1, int(cell.max()) + 1, int(y.max(initial=0)) + 1
    flat = np.ravel_multi_index((folds[known], cell[known], y[known]), shape)
    held = np.bincount(flat, minlength=math.prod(shape)).reshape(shape).astype(np.float64)
    n = held.sum(0) - held  # (K, B, C): the counts that each fold's probe learns from
    total = n.sum(2, keepdims=True)
    prior = (n.sum(1, keepdims=True) + 0.5) / (n.sum((1, 2), keepdims=True) + 0.5 * shape[2])
    pulls = np.array(PULLS)[:, None, None, None]
    left_out = np.log(np.maximum(n - 1, 0) + pulls * prior) - np.log(np.maximum(total - 1, 0) + pulls)
    pull = pulls[(n * left_out).sum((2, 3)).argmax(0), 0]  # (K, 1, 1)
    return np.asarray(np.log((n + pull * prior) / (total + pull))[folds, cell], dtype=np.float32)

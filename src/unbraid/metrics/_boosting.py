"""Gradient boosted trees as scikit-learn's `GradientBoostingClassifier` grows them by default, compiled by numba.

Friedman's (2001) boosting of the log loss: 100 rounds of one least-squares tree of depth 3 for each class (one tree in
all for two classes), a Newton step in each leaf, learning rate 0.1. The codes never change, so each latent is sorted
once for all trees: a node keeps its items in the order of every latent, and a split divides each order stably.
The values are scikit-learn's up to rounding, and up to chance where two splits are equally good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32, Int64, UInt32

ROUNDS = 100
DEPTH = 3
RATE = 0.1

_NODES = 2**DEPTH - 1
# scikit-learn's limits: values closer than this are one, a node of this variance is not split, such a leaf is still.
_SAME = np.float32(1e-7)
_PURE = np.finfo(np.float64).eps
_NO_CURVE = 1e-150

_F = TypeVar("_F", bound=Callable[..., object])


def _compiled(function: _F) -> _F:
    """The function as machine code, kept on disk for the next process where there is a place for it."""
    try:
        compiled: _F = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True)(function)
    return compiled


def boost(
    codes: Float32[np.ndarray, "n l"], labels: Int[np.ndarray, " n"], others: Float32[np.ndarray, "m l"], seed: int = 0
) -> tuple[Float[np.ndarray, " l"], Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    """Fit the trees and predict with them.

    Args:
        codes: Latents of the items to fit, finite.
        labels: Classes 0..V-1, all of which occur, V at least 2.
        others: Latents of further items to predict.
        seed: Of the order in which latents are tried; the first of equally good ones is taken.

    Returns:
        The share of the decrease in squared error that each latent brought (all 0 if no tree has a split), and the
        classes predicted for the items fitted and for the others.
    """
    x, x_test = np.ascontiguousarray(codes.T), np.ascontiguousarray(others.T)
    order = np.argsort(x, axis=1, kind="stable").astype(np.uint32)
    share = np.clip(np.bincount(labels) / len(labels), _PURE, 1 - _PURE)
    start = np.log(share) - np.log(share).mean() if len(share) > 2 else np.log(share[1:] / share[:1])
    tried = np.tile(np.arange(len(x), dtype=np.int32), (ROUNDS * len(start) * DEPTH, 1))
    tried = np.random.default_rng(seed).permuted(tried, axis=1).reshape(ROUNDS, len(start), DEPTH, len(x))
    importance, raw, raw_test = _boost(x, order, np.ascontiguousarray(labels, np.int64), x_test, start, tried)
    total = importance.sum()
    return importance / total if total > 0 else importance, _decide(raw), _decide(raw_test)


def _decide(raw: Float64[np.ndarray, "v n"]) -> Int[np.ndarray, " n"]:
    return np.asarray((raw[0] >= 0).astype(np.int64) if len(raw) == 1 else raw.argmax(axis=0))


@_compiled
def _boost(
    x: Float32[np.ndarray, "l n"],
    order: UInt32[np.ndarray, "l n"],
    labels: Int64[np.ndarray, " n"],
    x_test: Float32[np.ndarray, "l m"],
    start: Float64[np.ndarray, " v"],
    tried: Int32[np.ndarray, "rounds v depth l"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decrease brought by each latent, and the scores of each class for the items fitted and for the others."""
    classes, items = len(start), x.shape[1]
    importance = np.zeros(len(x))
    raw, raw_test = np.empty((classes, items)), np.empty((classes, x_test.shape[1]))
    for c in range(classes):
        raw[c], raw_test[c] = start[c], start[c]
    step = RATE * (classes - 1) / classes if classes > 1 else RATE
    # One over each count, as a product takes a fraction of the time of a quotient.
    inverse = 1.0 / np.maximum(np.arange(items + 1), 1)
    residual, rows = np.empty_like(raw), np.empty_like(order)
    for turn in range(len(tried)):
        _residuals(raw, labels, residual)
        for c in range(classes):
            rows[:] = order
            feature, threshold, begin = _grow(x, rows, residual[c], inverse, tried[turn, c], importance)
            value = _leaf_values(residual[c], rows[0], begin)
            for p in range(_NODES + 1):
                for i in rows[0, begin[p] : begin[p + 1]]:
                    raw[c, i] += step * value[p]
            for i in range(x_test.shape[1]):
                raw_test[c, i] += step * value[_leaf(x_test[:, i], feature, threshold)]
    return importance, raw, raw_test


@_compiled
def _residuals(
    raw: Float64[np.ndarray, "v n"], labels: Int64[np.ndarray, " n"], residual: Float64[np.ndarray, "v n"]
) -> None:
    """Write the negative gradient of the log loss: one or nothing, less the probability of the class."""
    classes, items = raw.shape
    for i in range(items):
        if classes == 1:
            residual[0, i] = labels[i] - 1.0 / (1.0 + np.exp(-raw[0, i]))
            continue
        most, total = raw[:, i].max(), 0.0
        for c in range(classes):
            residual[c, i] = np.exp(raw[c, i] - most)
            total += residual[c, i]
        for c in range(classes):
            residual[c, i] = (labels[i] == c) - residual[c, i] / total


@_compiled
def _grow(
    x: Float32[np.ndarray, "l n"],
    rows: UInt32[np.ndarray, "l n"],
    target: Float64[np.ndarray, " n"],
    inverse: Float64[np.ndarray, " n+1"],
    tried: Int32[np.ndarray, "depth l"],
    importance: Float64[np.ndarray, " l"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grow one tree on the target: latent and threshold of each inner node, and where each leaf begins in `rows`.

    Node p has the children 2p + 1 and 2p + 2. One that is not split has an infinite threshold and its left child has
    all its items, so that there are always eight leaves. Reorders `rows` and adds to the importances.
    """
    feature, threshold = np.zeros(_NODES, np.int64), np.full(_NODES, np.inf)
    side, aside = np.empty(rows.shape[1], np.bool_), np.empty(rows.shape[1], np.uint32)
    begin = np.array([0, rows.shape[1]])
    for depth in range(DEPTH):
        parts, begin = begin, np.empty(2 * len(begin) - 1, np.int64)
        begin[0] = 0
        for p in range(len(parts) - 1):
            here, stop = parts[p], parts[p + 1]
            node = len(parts) - 2 + p
            begin[2 * p + 1], begin[2 * p + 2] = stop, stop
            gain = _best_split(x, rows[:, here:stop], target, inverse, tried[depth], feature[node:], threshold[node:])
            if gain > -np.inf:
                importance[feature[node]] += gain
                for i in rows[0, here:stop]:
                    side[i] = x[feature[node], i] > threshold[node]
                for f in range(len(x) if depth + 1 < DEPTH else 1):
                    begin[2 * p + 1] = here + _divide(rows[f, here:stop], side, aside)
    return feature, threshold, begin


@_compiled
def _best_split(
    x: Float32[np.ndarray, "l n"],
    rows: UInt32[np.ndarray, "l m"],
    target: Float64[np.ndarray, " n"],
    inverse: Float64[np.ndarray, " n+1"],
    tried: Int32[np.ndarray, " l"],
    feature: Int64[np.ndarray, " rest"],
    threshold: Float64[np.ndarray, " rest"],
) -> float:
    """Decrease in squared error by the best split of one node, minus infinity if it has none; writes the split."""
    count, total, square = rows.shape[1], 0.0, 0.0
    for i in rows[0]:
        total += target[i]
        square += target[i] * target[i]
    whole = total * total * inverse[count]
    best = -np.inf
    if count < 2 or (square - whole) * inverse[count] <= _PURE:
        return best
    for f in tried:
        left, values, items = 0.0, x[f], rows[f]
        for n in range(1, count):
            left += target[items[n - 1]]
            right = total - left
            gain = left * left * inverse[n] + right * right * inverse[count - n]
            if gain > best:
                low, high = values[items[n - 1]], values[items[n]]
                if high > low + _SAME:
                    best, feature[0] = gain, f
                    threshold[0] = np.float64(low) / 2.0 + np.float64(high) / 2.0
    return float(best - whole)


@_compiled
def _divide(items: UInt32[np.ndarray, " m"], side: Bool[np.ndarray, " n"], aside: UInt32[np.ndarray, " n"]) -> int:
    """Move the items of the right side behind the others, all in their order; the number of the others."""
    kept = moved = 0
    for r in range(len(items)):
        i = items[r]
        items[kept] = i
        aside[moved] = i
        moved += side[i]
        kept = r + 1 - moved
    items[kept:] = aside[:moved]
    return kept


@_compiled
def _leaf_values(
    residual: Float64[np.ndarray, " n"], items: UInt32[np.ndarray, " n"], begin: Int64[np.ndarray, " leaves+1"]
) -> np.ndarray:
    """One Newton step of the log loss in each leaf."""
    value = np.zeros(len(begin) - 1)
    for p in range(len(value)):
        slope = curve = 0.0
        for i in items[begin[p] : begin[p + 1]]:
            slope += residual[i]
            curve += abs(residual[i]) * (1.0 - abs(residual[i]))
        if curve > _NO_CURVE:
            value[p] = slope / curve
    return value


@_compiled
def _leaf(
    item: Float32[np.ndarray, " l"], feature: Int64[np.ndarray, " nodes"], threshold: Float64[np.ndarray, " nodes"]
) -> int:
    p: int = 0
    while p < _NODES:
        p = 2 * p + 1 + (item[feature[p]] > threshold[p])
    return int(p - _NODES)

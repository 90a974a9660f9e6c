"""How well attributes of three kinds are read from codes by linear readers, on items that these did not see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.metrics.probes.common import Heads
from unbraid.metrics.probes.softmax import linear, regression
from unbraid.metrics.ranking import aupr

_PENALTY = 1.0


def measure_of(classes: int) -> str:
    """What is told of an attribute of so many classes; 0 for one that is a number.

    >>> [measure_of(n) for n in (0, 2, 7)]
    ['correlation', 'average precision', 'accuracy']
    """
    return {0: "correlation", 2: "average precision"}.get(classes, "accuracy")


def attribute_scores(
    codes: Float[np.ndarray, "n d"],
    values: Sequence[Float[np.ndarray, " n"]],
    classes: Sequence[int],
    folds: Int[np.ndarray, " n"],
) -> list[float]:
    """Average precision of binary attributes, accuracy of those of more classes, correlation of numbers.

    The readers are ridge multinomial regressions, and ridge regressions of numbers; each fold is read by those that
    learned from the others. An attribute that does not vary has NaN.

    Args:
        codes: One row of numbers per item.
        values: Of each attribute: classes 0, 1, ... or numbers, NaN where unknown.
        classes: Of each attribute; 0 for numbers.
        folds: The fold of each item.

    >>> codes = np.linspace(-1, 1, 40)[:, None]
    >>> found = attribute_scores(codes, [(codes[:, 0] > 0) * 1.0, 2 * codes[:, 0]], [2, 0], np.arange(40) % 5)
    >>> [round(score, 2) for score in found]
    [1.0, 1.0]
    """
    varied = [len(np.unique(v[~np.isnan(v)])) > 1 for v in values]
    discrete = [j for j, n in enumerate(classes) if n and varied[j]]
    labels = [np.where(np.isnan(values[j]), -1, values[j]).astype(np.int64) for j in discrete]
    said = linear(codes, labels, folds) if discrete else []
    scores = [float("nan")] * len(values)
    for j, label, logs in zip(discrete, labels, said, strict=True):
        known = label >= 0
        if classes[j] == 2:
            scores[j] = aupr(logs[known, 1], label[known] == 1)
        else:
            scores[j] = float((logs.argmax(1) == label)[known].mean())
    for j in range(len(values)):
        if not classes[j] and varied[j]:
            scores[j] = _correlation(codes, values[j], folds)
    return scores


def _correlation(codes: np.ndarray, value: np.ndarray, folds: np.ndarray) -> float:
    known = ~np.isnan(value)
    x, y, fold = codes[known].astype(np.float64), value[known], folds[known]
    guess = np.empty_like(y)
    for f in np.unique(fold):
        here, mean = fold != f, x[fold != f].mean(0)
        scale = x[here].std(0) + 1e-12
        z = (x - mean) / scale
        gram = z[here].T @ z[here] + _PENALTY * np.eye(z.shape[1])
        guess[~here] = z[~here] @ np.linalg.solve(gram, z[here].T @ (y[here] - y[here].mean())) + y[here].mean()
    if guess.std() == 0:
        return 0.0
    return float(np.corrcoef(guess, y)[0, 1])


def direction(codes: Float[np.ndarray, "n d"], positive: Int[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """The weights of a linear reader of a binary attribute, in standard deviations of each number of the codes.

    >>> codes = np.stack([np.tile([0.0, 1.0], 50), np.repeat([0.0, 1.0], 50)], 1)
    >>> w = direction(codes, np.tile([0, 1], 50))
    >>> bool(w[0] > 10 * abs(w[1]))
    True
    """
    heads = Heads.of([positive])
    x = torch.as_tensor(np.ascontiguousarray(codes), dtype=torch.float32)
    everything = np.arange(len(codes))
    found = regression(x, heads, [everything], torch.full((1, 1), 1.0))
    no, yes = (found.axes[0].turn @ found.found.weights[0]).unbind(1)
    weights: np.ndarray = ((yes - no) * x.std(0)).numpy()
    return weights

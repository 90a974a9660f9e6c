"""Whether an item is of the kind that was learned from, told by its codes or by the logits of a classifier.

Every score is higher the more an item looks like what was learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unbraid.core.errors import DataError
from unbraid.metrics.ranking import aupr, auroc, fpr_at_tpr
from unbraid.ops.knn import knn

Codes = Float[np.ndarray, "n d"]
Scores = Float[np.ndarray, " n"]

NEIGHBOURS = 50


def probability(logits: Float[np.ndarray, "n c"]) -> Scores:
    """The largest probability of a class (Hendrycks and Gimpel, 2017).

    >>> probability(np.log([[1.0, 3.0]])).round(6).tolist()
    [0.75]
    """
    top = logits.max(1, keepdims=True)
    return np.asarray(1 / np.exp(logits - top).sum(1), dtype=np.float64)


def energy(logits: Float[np.ndarray, "n c"]) -> Scores:
    """The negative energy, log sum exp of the logits (Liu et al., 2020).

    >>> energy(np.log([[1.0, 3.0]])).round(6).tolist() == [round(np.log(4), 6)]
    True
    """
    top = logits.max(1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(1)), dtype=np.float64)


@dataclass(frozen=True)
class Normals:
    """A normal distribution for each class, all of one shape.

    Attributes:
        means: Of the classes.
        covariance: Of all items around the mean of their class.
        shrinkage: Share of it that is the identity times the mean variance.
    """

    means: Float[np.ndarray, "c d"]
    covariance: Float[np.ndarray, "d d"]
    shrinkage: float

    def score(self, codes: Codes) -> Scores:
        """Minus the squared Mahalanobis distance to the nearest mean (Lee et al., 2018)."""
        lower = np.linalg.cholesky(self.covariance)
        z, means = (np.linalg.solve(lower, np.asarray(a, dtype=np.float64).T).T for a in (codes, self.means))
        return np.asarray(-np.min([((z - m) ** 2).sum(1) for m in means], axis=0))


def normals(
    codes: Codes, labels: Int[np.ndarray, " n"], shrinkage: float | None = None, *, tied: bool = True
) -> Normals:
    """The class means of items, and the covariance around them.

    Args:
        codes: Of the items that were learned from.
        labels: Their classes.
        shrinkage: 0 to 1, see `Normals`; Ledoit and Wolf's (2004) where None.
        tied: Without, the covariance is the identity, and distances are Euclidean.

    >>> found = normals(np.array([[0.0, 0], [2, 0], [0, 4], [2, 4]]), np.array([0, 0, 1, 1]), 0.5)
    >>> found.means.tolist(), found.covariance.tolist()
    ([[1.0, 0.0], [1.0, 4.0]], [[0.75, 0.0], [0.0, 0.25]])
    """
    codes = np.asarray(codes, dtype=np.float64)
    if len(codes) < 2 or codes.shape[0] != len(labels) or (shrinkage is not None and not 0 <= shrinkage <= 1):
        got = f"{len(codes)} codes, {len(labels)} labels, shrinkage {shrinkage}"
        raise DataError("a label for each of two codes or more, and a shrinkage from 0 to 1", got=got, where="normals")
    kinds, place = np.unique(labels, return_inverse=True)
    means = np.stack([codes[place == k].mean(0) for k in range(len(kinds))])
    size = codes.shape[1]
    if not tied:
        return Normals(means, np.eye(size), 1.0)
    around = codes - means[place]
    s = ledoit_wolf(around) if shrinkage is None else shrinkage
    raw = around.T @ around / len(around)
    variance = max(float(np.trace(raw)) / size, 1e-12)
    floor = 1e-9 * variance * np.eye(size)  # a covariance of few items that is not shrunk has no inverse
    return Normals(means, (1 - s) * raw + s * variance * np.eye(size) + (floor if s < 1e-6 else 0), s)


def ledoit_wolf(around: Codes) -> float:
    """The shrinkage towards a multiple of the identity that loses least on average (Ledoit and Wolf, 2004).

    Args:
        around: Items less their mean.
    """
    n, d = around.shape
    raw = around.T @ around / n
    variance = np.trace(raw) / d
    away = ((raw - variance * np.eye(d)) ** 2).sum()
    noise = (((around**2).sum(1) ** 2).sum() / n - (raw**2).sum()) / n
    return float(min(1.0, max(0.0, noise) / away)) if away > 0 else 1.0


def near(codes: Codes, pool: Codes, k: int = NEIGHBOURS) -> Scores:
    """Minus the distance, of normalised codes, to the k-th nearest of those learned from (Sun et al., 2022).

    >>> near(np.eye(2), np.array([[2.0, 0.0]]), k=1).round(4).tolist()
    [0.0, -1.4142]
    """
    a, b = (torch.as_tensor(z, dtype=torch.float32) for z in (codes, pool))
    cosine_distance: Tensor = knn(a, b, min(k, len(b)))[0][:, -1]
    return np.asarray(0.0 - (2 * cosine_distance.double().clamp(min=0)).sqrt().numpy())


@dataclass(frozen=True)
class Detection:
    """How well a score tells items of the known kind (positive) from others.

    Attributes:
        auroc: Area under the ROC; a half by chance.
        aupr_in: Average precision of the known items.
        aupr_out: That of the others.
        fpr: Share of the others let through where 95 % of the known items are.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr: float


def detected(known: Scores, others: Scores) -> Detection:
    """From the scores of both.

    >>> detected(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    Detection(auroc=1.0, aupr_in=1.0, aupr_out=1.0, fpr=0.0)
    """
    scores = np.concatenate([known, others])
    is_known = np.arange(len(scores)) < len(known)
    return Detection(
        auroc(scores, is_known), aupr(scores, is_known), aupr(-scores, ~is_known), fpr_at_tpr(scores, is_known)
    )

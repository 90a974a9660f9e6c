"""Modularity and explicitness (Ridgeway and Mozer, 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics._quiet import quiet
from unbraid.metrics.information import standardise


def modularity_per_code(information: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " l"]:
    """One less the information on other factors than the latent's best, squared, relative to the best.

    A latent that knows nothing scores 0; with a single factor every latent that knows it scores 1.
    """
    best = information.max(axis=1)
    others = (information**2).sum(axis=1) - best**2
    template = best**2 * max(1, information.shape[1] - 1)
    off = np.divide(others, template, out=np.ones_like(best), where=template > 0)
    return np.asarray(1.0 - off)


def modularity(information: Float[np.ndarray, "l k"]) -> float:
    """Mean over all latents, dead ones included; 0 to 1, higher is better (Ridgeway and Mozer, 2018, eq. 2).

    >>> modularity(np.array([[0.7, 0.0], [0.0, 0.7]])), modularity(np.ones((2, 2)))
    (1.0, 0.0)
    """
    return float(modularity_per_code(information).mean()) if information.size else 0.0


def explicitness_per_factor(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Float[np.ndarray, "m l"],
    factors_test: Int[np.ndarray, "m k"],
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """How well logistic regression tells each factor's values from all latents: ROC-AUC on train and on test items.

    Codes are standardised by the train items and constant latents dropped; the regression is scikit-learn's default
    (L2, C = 1, at most 100 iterations). The AUC is one value against the rest, averaged over a factor's values.
    0.5 is chance, which is also given to a constant factor and to codes without any latent that varies.

    Returns:
        Train and test AUC of each factor.
    """
    alive = np.ptp(codes, axis=0) > 0
    train = standardise(codes[:, alive])
    test = standardise(codes_test[:, alive], like=codes[:, alive])
    on_train, on_test = np.full(factors.shape[1], 0.5), np.full(factors.shape[1], 0.5)
    for k in range(factors.shape[1]) if alive.any() else ():
        values = np.unique(factors[:, k])
        if len(values) > 1:
            model = _logistic(train, factors[:, k])
            on_train[k] = mean_auc(model.predict_proba(train), factors[:, k], values)
            on_test[k] = mean_auc(model.predict_proba(test), factors_test[:, k], values)
    return on_train, on_test


def explicitness(areas: Float[np.ndarray, " k"]) -> float:
    """Mean over factors of the test AUC; 0.5 is chance, 1 is best (Ridgeway and Mozer, 2018)."""
    return float(np.mean(areas)) if len(areas) else 0.5


def mean_auc(scores: Float[np.ndarray, "n v"], labels: Int[np.ndarray, " n"], values: Int[np.ndarray, " v"]) -> float:
    """Area under the ROC curve of each value against the rest, averaged over the values that have both; else 0.5.

    >>> mean_auc(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), np.array([0, 1]))
    1.0
    """
    areas = [_auc(scores[:, i], labels == v) for i, v in enumerate(values) if 0 < (labels == v).sum() < len(labels)]
    return float(np.mean(areas)) if areas else 0.5


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Share of pairs (positive, negative) in the right order, ties counting half."""
    negatives = np.sort(scores[~positive])
    below = np.searchsorted(negatives, scores[positive], side="left")
    upto = np.searchsorted(negatives, scores[positive], side="right")
    return float((below + upto).mean() / (2 * len(negatives)))


def _logistic(codes: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    with quiet():
        return LogisticRegression().fit(codes, labels)

"""The beta-VAE score (Higgins et al., 2017): can a line tell which factor was held still?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics._quiet import quiet
from unbraid.metrics.draws import pairs

TRAIN, EVALUATE, BATCH = 10_000, 5_000, 64
"""Points to learn from, points to score, and pairs behind each point (Locatello et al., 2019)."""


def pair_features(
    codes: Float[np.ndarray, "n l"], first: Int[np.ndarray, "p b"], second: Int[np.ndarray, "p b"]
) -> Float[np.ndarray, "p l"]:
    """Mean absolute difference of the two codes over each set of pairs."""
    features = np.empty((len(first), codes.shape[1]))
    for j, code in enumerate(np.ascontiguousarray(codes.T)):
        features[:, j] = np.abs(code[first] - code[second]).mean(axis=1)
    return features


def beta_vae_accuracy(
    features: Float[np.ndarray, "p l"],
    labels: Int[np.ndarray, " p"],
    features_eval: Float[np.ndarray, "m l"],
    labels_eval: Int[np.ndarray, " m"],
) -> tuple[float, float]:
    """Train and evaluation accuracy of logistic regression (scikit-learn's defaults, features as they are)."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return 1.0, float(np.mean(labels_eval == labels[0]))
    with quiet():
        model = LogisticRegression().fit(features, labels)
    return float(model.score(features, labels)), float(model.score(features_eval, labels_eval))


def beta_vae_score(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    *,
    seed: int = 0,
    train: int = TRAIN,
    evaluate: int = EVALUATE,
    batch: int = BATCH,
) -> float:
    """Share of points whose factor a linear classifier names; 1/K is chance, 1 is best, higher is better.

    It saturates: codes that are only rotated still get about 1.

    Args:
        codes: One row per item.
        factors: Labels.
        seed: Of the draws.
        train: Points to learn from.
        evaluate: Points to score.
        batch: Pairs behind each point.
    """
    rng = np.random.default_rng(seed)
    draws, second = pairs(factors, train + evaluate, batch, rng)
    features = pair_features(codes, draws.rows, second)
    return beta_vae_accuracy(features[:train], draws.factor[:train], features[train:], draws.factor[train:])[1]

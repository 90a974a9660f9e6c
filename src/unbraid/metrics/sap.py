"""Separated attribute predictability (Kumar et al., 2018): does one latent predict each factor better than the next?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics._quiet import quiet
from unbraid.metrics.mig import top_gap


def sap_accuracy(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Float[np.ndarray, "m l"],
    factors_test: Int[np.ndarray, "m k"],
    *,
    seed: int = 0,
) -> Float[np.ndarray, "l k"]:
    """Test accuracy of a linear SVM (C = 0.01, balanced classes, codes not scaled) on one latent, for discrete factors.

    As the codes are not scaled, the matrix changes with their scale; that is the published definition.
    """
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for k, (train, test) in enumerate(zip(factors.T, factors_test.T, strict=True)):
        if len(np.unique(train)) < 2:
            found[:, k] = np.mean(test == train[0])
            continue
        for j in range(codes.shape[1]):
            found[j, k] = _accuracy(codes[:, [j]], train, codes_test[:, [j]], test, seed)
    return found


def sap_correlation(codes: Float[np.ndarray, "n l"], factors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "l k"]:
    """Squared correlation of each latent with each ordered or continuous factor; 0 where either is constant.

    >>> sap_correlation(np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]]), np.array([[0.0], [2.0], [4.0]])).tolist()
    [[1.0], [0.0]]
    """
    codes = codes - codes.mean(axis=0, dtype=np.float64)
    factors = factors - factors.mean(axis=0, dtype=np.float64)
    degrees = max(1, len(codes) - 1)
    of_codes, of_factors = (codes**2).sum(axis=0) / degrees, (factors**2).sum(axis=0) / degrees
    together = codes.T @ factors / degrees
    varies = (of_codes > 1e-12)[:, None] & (of_factors > 1e-12)[None, :]
    share = np.divide(together**2, np.outer(of_codes, of_factors), out=np.zeros_like(together), where=varies)
    return np.asarray(share)


def sap_per_factor(matrix: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " k"]:
    """Gap between the two latents that predict a factor best."""
    return top_gap(matrix)


def sap(matrix: Float[np.ndarray, "l k"]) -> float:
    """Mean of `sap_per_factor`; 0 to 1, higher is better (Kumar et al., 2018).

    >>> sap(np.array([[1.0, 0.5], [0.5, 1.0]]))
    0.5
    """
    return float(sap_per_factor(matrix).mean()) if matrix.size else 0.0


def _accuracy(codes: np.ndarray, train: np.ndarray, codes_test: np.ndarray, test: np.ndarray, seed: int) -> float:
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
    with quiet():
        model.fit(codes.astype(np.float64), train)
    return float(np.mean(model.predict(codes_test.astype(np.float64)) == test))

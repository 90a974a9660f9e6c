"""Disentanglement, completeness and informativeness (Eastwood and Williams, 2018), with gradient boosted trees.

The importances are those of scikit-learn's `GradientBoostingClassifier` with its defaults (100 trees of depth 3 for
each value of a factor), as in Locatello et al. (2019) and every later paper. Where numba is installed, our own kernel
grows the same trees more than twenty times faster; otherwise scikit-learn does. What it costs: see `dci_cost`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import DataError
from unbraid.metrics._quiet import quiet

_TINY = 1e-11
_ROUNDS = 100

_Boost = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Codes, labels 0..V-1, other codes and a seed to importances and the labels predicted for both."""


@dataclass(frozen=True)
class DciFit:
    """What the trees of all factors found.

    Attributes:
        importance: (L, K), columns sum to 1, or to 0 for a constant factor.
        train_accuracy: (K,), on the items that the trees were fitted to.
        test_accuracy: (K,), on the other items.
        predicted: (M, K), what the trees say of the other items.
    """

    importance: Float[np.ndarray, "l k"]
    train_accuracy: Float[np.ndarray, " k"]
    test_accuracy: Float[np.ndarray, " k"]
    predicted: Int[np.ndarray, "m k"]


def dci_cost(rows: int, latents: int, factors: Int[np.ndarray, "n k"]) -> float:
    """About how many seconds one core needs for `dci_fit`; a formula, one with numba and one without.

    >>> dci_cost(1000, 10, np.arange(32)[:, None].repeat(5, 1)) > 1
    True
    """
    values = np.array([len(np.unique(column)) for column in factors.T])
    trees = _ROUNDS * int(np.where(values > 2, values, values - 1).sum())
    per_tree, per_cell = (1e-3, 2.5e-7) if not compiled() else (2e-5, 1e-8)
    return trees * (per_tree + per_cell * rows * latents)


def dci_fit(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Float[np.ndarray, "m l"],
    factors_test: Int[np.ndarray, "m k"],
    *,
    seed: int = 0,
    max_rows: int | None = None,
) -> DciFit:
    """Fit one classifier per factor on all latents.

    Args:
        codes: Train codes.
        factors: Train labels.
        codes_test: Test codes.
        factors_test: Test labels.
        seed: Decides among equal features.
        max_rows: Fit on the first so many items only; None for all.

    Raises:
        DataError: Codes that single precision, in which the trees compare them, cannot hold.
    """
    boost = booster()
    codes, codes_test, factors = _single(codes[:max_rows]), _single(codes_test), factors[:max_rows]
    importance = np.zeros((codes.shape[1], factors.shape[1]))
    accuracy, predicted = np.zeros((2, factors.shape[1])), np.zeros(factors_test.shape, dtype=np.int64)
    for k, (train, test) in enumerate(zip(factors.T, factors_test.T, strict=True)):
        values, labels = np.unique(train, return_inverse=True)
        if len(values) < 2:
            accuracy[:, k], predicted[:, k] = (1.0, np.mean(test == train[0])), train[0]
            continue
        importance[:, k], fitted, guessed = boost(codes, labels.reshape(-1), codes_test, seed)
        predicted[:, k] = values[guessed]
        accuracy[:, k] = np.mean(values[fitted] == train), np.mean(predicted[:, k] == test)
    return DciFit(importance, accuracy[0], accuracy[1], predicted)


def dci_importance(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, seed: int = 0, max_rows: int | None = None
) -> Float[np.ndarray, "l k"]:
    """How much the trees that predict factor k lean on latent j; no bound on time (arguments as for `dci_fit`)."""
    return dci_fit(codes, factors, codes[:1], factors[:1], seed=seed, max_rows=max_rows).importance


def disentanglement_per_code(importance: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " l"]:
    """One less the entropy, to base K, of each latent's importances; 0 for a latent that no factor needs."""
    return _concentration(importance)


def completeness_per_factor(importance: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " k"]:
    """One less the entropy, to base L, of each factor's importances; 0 for a factor that no latent predicts."""
    return _concentration(importance.T)


def disentanglement(importance: Float[np.ndarray, "l k"]) -> float:
    """Does each latent serve one factor? `disentanglement_per_code` weighted by importance; 0 to 1, higher is better.

    >>> round(disentanglement(np.eye(3)), 6), round(disentanglement(np.ones((3, 3))), 6)
    (1.0, 0.0)
    """
    return _weighted(_concentration(importance), importance.sum(axis=1))


def completeness(importance: Float[np.ndarray, "l k"]) -> float:
    """Is each factor in one latent? `completeness_per_factor` weighted by importance; 0 to 1, higher is better."""
    return _weighted(_concentration(importance.T), importance.sum(axis=0))


def informativeness(accuracy: Float[np.ndarray, " k"]) -> float:
    """Mean accuracy over factors; 0 to 1, higher is better."""
    return float(np.mean(accuracy)) if len(accuracy) else 0.0


def compiled() -> bool:
    """Whether numba is there, so that the trees grow in our own kernel."""
    return booster() is not _scikit_learn


def booster() -> _Boost:
    """What grows the trees: our own kernel where numba is there, otherwise scikit-learn."""
    try:
        from unbraid.metrics._boosting import boost
    except ImportError:
        return _scikit_learn
    return boost


def _scikit_learn(
    codes: np.ndarray, labels: np.ndarray, others: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.ensemble import GradientBoostingClassifier

    with quiet():
        model = GradientBoostingClassifier(random_state=seed).fit(codes, labels)
    return np.abs(model.feature_importances_), model.predict(codes), model.predict(others)


def _single(codes: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        single = codes.astype(np.float32)
    if not np.isfinite(single).all():
        raise DataError("codes within the range of single precision", got="larger ones, infinity or NaN", where="codes")
    return single


def _concentration(rows: np.ndarray) -> np.ndarray:
    if rows.shape[1] < 2:
        return np.asarray((rows.sum(axis=1) > 0).astype(np.float64))
    share = rows + _TINY
    share = share / share.sum(axis=1, keepdims=True)
    spread = -(share * np.log(share)).sum(axis=1) / np.log(rows.shape[1])
    return np.asarray(np.clip(1.0 - spread, 0.0, 1.0))


def _weighted(scores: np.ndarray, weights: np.ndarray) -> float:
    if not weights.sum() > 0:
        weights = np.ones_like(weights)
    return float((scores * weights).sum() / weights.sum()) if len(scores) else 0.0

"""InfoMEC: modularity, explicitness and compactness by information (Hsu et al., 2023, section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.metrics._quiet import quiet
from unbraid.metrics.gauges import active_by_range
from unbraid.metrics.information import entropy, information_matrix, label_encode, standardise


def normalised_information(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, discrete: bool = False, seed: int = 0
) -> Float[np.ndarray, "l k"]:
    """I(z_j; f_k) / H(f_k): plug-in for discrete codes, 10 nearest neighbours for continuous ones.

    About 0 to 1. A constant latent or factor gives 0. The continuous estimate may exceed 1 a little.

    Args:
        codes: Latents.
        factors: Labels.
        discrete: Whether the codes take few values, each a symbol.
        seed: Of the noise that breaks ties between continuous codes.
    """
    known = entropy(label_encode(factors))
    found = information_matrix(codes, factors, discrete=discrete, seed=seed)
    return np.asarray(np.divide(found, known, out=np.zeros_like(found), where=known > 0))


def active_latents(codes: Float[np.ndarray, "n l"], *, discrete: bool = False) -> Bool[np.ndarray, " l"]:
    """Discrete: takes two values or more. Continuous: its range exceeds a twentieth of the largest range."""
    return active_by_range(codes, share=0.0 if discrete else 1 / 20)


def infom_per_latent(nmi: Float[np.ndarray, "l k"], active: Bool[np.ndarray, " l"]) -> Float[np.ndarray, " l"]:
    """Share of a latent's information that its best factor holds, scaled so that 1/K becomes 0; 0 where inactive."""
    return _preference(nmi * active[:, None])


def infoc_per_factor(nmi: Float[np.ndarray, "l k"], active: Bool[np.ndarray, " l"]) -> Float[np.ndarray, " k"]:
    """Share of a factor's information that its best active latent holds, scaled so that 1/A becomes 0."""
    return _preference(nmi[active].T)


def infom(nmi: Float[np.ndarray, "l k"], active: Bool[np.ndarray, " l"]) -> float:
    """Modularity: does each active latent know one factor? 0 to 1, higher is better.

    Active latents with no information at all are skipped, as the authors do while training; their standalone
    program gives NaN there. On noise it is a ratio of small numbers: read it together with `infoe`.

    >>> infom(np.eye(3), np.array([True, True, True])), infom(np.ones((2, 2)), np.array([True, True]))
    (1.0, 0.0)
    """
    return _mean(infom_per_latent(nmi, active), (nmi.sum(axis=1) > 0) & active)


def infoc(nmi: Float[np.ndarray, "l k"], active: Bool[np.ndarray, " l"]) -> float:
    """Compactness: is each factor in one active latent? 0 to 1, higher is better. Factors known to none are skipped.

    >>> infoc(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.9]]), np.array([True, True, False]))
    0.0
    """
    return _mean(infoc_per_factor(nmi, active), nmi[active].sum(axis=0) > 0)


def infoe_per_factor(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, discrete: bool = False
) -> Float[np.ndarray, " k"]:
    """Predictive information of a linear model on each factor, as a share of the most there is.

    1 less the log-loss of an unpenalised logistic regression (balanced classes, at most 100 iterations, on the items
    it was fitted to) over the log-loss without codes, log V. Discrete codes enter as one column per value, continuous
    ones standardised. 0 for a constant factor; may fall a little below 0.
    """
    columns = _one_hot(codes) if discrete else standardise(codes)
    gained = np.zeros(factors.shape[1])
    for k, labels in enumerate(label_encode(factors).T):
        if labels.any():
            gained[k] = 1.0 - _log_loss(columns, labels) / np.log(labels.max() + 1)
    return gained


def infoe(gained: Float[np.ndarray, " k"]) -> float:
    """Explicitness: mean of `infoe_per_factor`; about 0 to 1, higher is better."""
    return float(np.mean(gained)) if len(gained) else 0.0


def _preference(rows: np.ndarray) -> np.ndarray:
    """Largest over sum of each row, scaled from [1/width, 1] to [0, 1]; 0 for an empty row."""
    if rows.shape[1] < 2:
        return np.asarray((rows.sum(axis=1) > 0).astype(np.float64))
    total = rows.sum(axis=1)
    share = np.divide(rows.max(axis=1), total, out=np.full(len(rows), 1 / rows.shape[1]), where=total > 0)
    return np.asarray((share - 1 / rows.shape[1]) / (1 - 1 / rows.shape[1]))


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    return float(values[counted].mean()) if counted.any() else 0.0


def _one_hot(codes: np.ndarray) -> Any:
    from scipy.sparse import csr_array

    labels = label_encode(codes)
    widths = labels.max(axis=0) + 1
    cells = (labels + np.cumsum(widths) - widths).ravel()
    pointer = np.arange(0, labels.size + 1, labels.shape[1])
    return csr_array((np.ones(labels.size), cells, pointer), shape=(len(labels), int(widths.sum())))


def _log_loss(columns: Any, labels: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100, tol=1e-4)
    with quiet():
        model.fit(columns, labels)
    chance = model.predict_proba(columns)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chance, np.finfo(np.float64).eps)).mean())

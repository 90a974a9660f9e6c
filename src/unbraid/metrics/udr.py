"""Unsupervised disentanglement ranking (Duan et al., 2020): models that disentangle resemble each other.

Models of one kind, trained with different seeds, encode the same items. Where each latent of one model corresponds to
one latent of another, up to order and sign, both have probably found the axes of the data.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from unbraid.core.errors import DataError
from unbraid.metrics._quiet import quiet
from unbraid.metrics.information import standardise

How = Literal["lasso", "spearman"]

INFORMATIVE = 0.01
"""Mean KL to the prior in nats above which a latent counts."""

_ALPHA = 0.1
_CONVERGED = 1e-6  # scikit-learn's own 1e-4 may stop 3e-4 short of the solution


def relation(
    source: Float[np.ndarray, "n l"], target: Float[np.ndarray, "n m"], how: How = "lasso"
) -> Float[np.ndarray, "l m"]:
    """How much each latent of one model says of each latent of another, from 0.

    Args:
        source: Codes of the one model, standardised.
        target: Codes of the other for the same items, standardised.
        how: Size of the coefficients of a lasso (alpha 0.1) from source to target, or size of the rank correlations.
    """
    if how == "lasso":
        from sklearn.linear_model import Lasso

        with quiet():
            return np.asarray(np.abs(np.atleast_2d(Lasso(alpha=_ALPHA, tol=_CONVERGED).fit(source, target).coef_)).T)
    from scipy.stats import rankdata

    ranks = [standardise(rankdata(codes, axis=0)) for codes in (source, target)]
    return np.asarray(np.abs(ranks[0].T @ ranks[1]) / len(source))


def one_to_one(
    matrix: Float[np.ndarray, "l m"], rows: Bool[np.ndarray, " l"], columns: Bool[np.ndarray, " m"]
) -> float:
    """How near the matrix, cut to some rows and columns, is to one entry in each; 0 to 1.

    Each row and column counts its largest entry squared over its sum; those without any count 0.

    >>> all_ = np.ones(2, dtype=bool)
    >>> one_to_one(np.eye(2), all_, all_), one_to_one(np.full((2, 2), 0.5), all_, all_)
    (1.0, 0.25)
    """
    kept = matrix[rows][:, columns]
    if not kept.size:
        return 0.0
    shares = []
    for axis in (0, 1):
        most, total = kept.max(axis=axis), kept.sum(axis=axis)
        shares.append(np.divide(most**2, total, out=np.zeros_like(total), where=total > 0).mean())
    return float(np.mean(shares))


def udr_pairwise(
    codes: Float[np.ndarray, "models n l"], kl: Float[np.ndarray, "models l"], how: How = "lasso"
) -> Float[np.ndarray, "models models"]:
    """`one_to_one` of every model with every other; the diagonal is 0.

    Args:
        codes: Of each model for the same items.
        kl: Mean KL of each latent's posterior to the prior, in nats.
        how: See `relation`.

    Raises:
        DataError: Shapes that do not fit, or fewer than two models.
    """
    if codes.ndim != 3 or kl.shape != (len(codes), codes.shape[2]) or len(codes) < 2:
        raise DataError("codes (M, N, L) and kl (M, L) of two models or more", got=f"{codes.shape} and {kl.shape}")
    alive = kl > INFORMATIVE
    # Latents that say nothing are silenced, not dropped: the lasso sees as many columns as the authors'.
    read = [standardise(model) * on for model, on in zip(codes, alive, strict=True)]
    found = np.zeros((len(codes), len(codes)))
    for i in range(len(codes)):
        for j in range(len(codes)):
            if i != j:
                found[i, j] = one_to_one(relation(read[i], read[j], how), alive[i], alive[j])
    return found


def udr(pairwise: Float[np.ndarray, "models models"]) -> Float[np.ndarray, " models"]:
    """The score of each model: the median of how the others see it; 0 to 1, higher is better.

    >>> udr(np.array([[0.0, 0.9, 0.2], [0.9, 0.0, 0.3], [0.2, 0.3, 0.0]])).tolist()
    [0.55, 0.6, 0.25]
    """
    others = ~np.eye(len(pairwise), dtype=bool)
    return np.array([np.median(pairwise[others[:, i], i]) for i in range(len(pairwise))])

"""Gauges of collapse and use: how much of a representation is alive. Pure functions of numpy arrays."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import DataError


def effective_rank(z: Float[np.ndarray, "n d"]) -> float:
    """Exponential of the entropy of the centred codes' normalised singular values (Roy and Vetterli, 2007).

    1 to D; 0 when all codes are equal.

    >>> round(effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6), effective_rank(np.ones((4, 3)))
    (3.0, 0.0)
    """
    z = np.asarray(z, dtype=np.float64)
    if not z.size or not (np.ptp(z, axis=0) > 0).any():
        return 0.0
    return _spread_over(np.linalg.svd(z - z.mean(axis=0), compute_uv=False))


def covariance_rank(z: Float[np.ndarray, "n d"]) -> float:
    """The same of the codes' covariance, whose singular values are the squares of these (Bonheme and Grzes, 2023).

    >>> round(covariance_rank(np.vstack([np.eye(3), -np.eye(3)])), 6), covariance_rank(np.ones((4, 3)))
    (3.0, 0.0)
    """
    z = np.asarray(z, dtype=np.float64)
    if not z.size or not (np.ptp(z, axis=0) > 0).any():
        return 0.0
    return _spread_over(np.linalg.svd(z - z.mean(axis=0), compute_uv=False) ** 2)


def _spread_over(values: Float[np.ndarray, " d"]) -> float:
    """Exponential of the entropy of the values' shares."""
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def posterior_share(mu: Float[np.ndarray, "n l"], logvar: Float[np.ndarray, "n l"]) -> Float[np.ndarray, " l"]:
    """Share of each latent's variance that depends on the input: Var(mu) / (Var(mu) + mean posterior variance).

    0 for a passive latent (the posterior is the same for every input), 1 for one without noise.

    >>> posterior_share(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros((2, 2))).tolist()
    [0.5, 0.0]
    """
    signal = np.var(np.asarray(mu, dtype=np.float64), axis=0)
    total = signal + np.exp(np.asarray(logvar, dtype=np.float64)).mean(axis=0)
    return np.asarray(np.divide(signal, total, out=np.zeros_like(signal), where=total > 0))


def active_by_posterior(
    mu: Float[np.ndarray, "n l"], logvar: Float[np.ndarray, "n l"], share: float = 0.01
) -> Bool[np.ndarray, " l"]:
    """Latents whose `posterior_share` exceeds `share`; the others are passive.

    The threshold is that of Burda et al. (2016), Var(mu) > 0.01 at unit posterior variance.
    """
    return np.asarray(posterior_share(mu, logvar) > share)


def active_by_range(codes: Float[np.ndarray, "n l"], share: float = 1 / 20) -> Bool[np.ndarray, " l"]:
    """Latents whose range exceeds `share` of the largest range (Hsu et al., 2023).

    >>> active_by_range(np.array([[0.0, 3.0, 0.0], [1.0, 3.0, 0.01]])).tolist()
    [True, False, False]
    """
    ranges = np.ptp(codes, axis=0)
    return np.asarray(ranges > ranges.max(initial=0.0) * share)


def code_usage(ids: Int[np.ndarray, "..."], K: int) -> Float[np.ndarray, " k"]:
    """Share of the items in each of K codes; sums to 1.

    >>> code_usage(np.array([0, 2, 2, 2]), K=4).tolist()
    [0.25, 0.0, 0.75, 0.0]
    """
    ids = np.asarray(ids).ravel()
    if len(ids) and not 0 <= ids.min() <= ids.max() < K:
        raise DataError(f"ids in 0..{K - 1}", got=f"{ids.min()}..{ids.max()}")
    counts = np.bincount(ids, minlength=K).astype(np.float64)
    return np.asarray(counts / max(1.0, counts.sum()))


def perplexity(usage: Float[np.ndarray, " k"]) -> float:
    """Number of codes in use as the exponential of the usage's entropy; 1 to K, 0 without items."""
    used = usage[usage > 0]
    return float(np.exp(-(used * np.log(used)).sum())) if len(used) else 0.0


def dead_codes(ids: Int[np.ndarray, "..."], K: int) -> Int[np.ndarray, " dead"]:
    """The codes that no item uses, in order.

    >>> dead_codes(np.array([0, 2, 2, 2]), K=4).tolist()
    [1, 3]
    """
    return np.flatnonzero(code_usage(ids, K) == 0)


def mean_cosine(z: Float[np.ndarray, "n d"]) -> float:
    """Mean cosine between two different items; -1/(N-1) to 1, near 1 when all codes point the same way.

    Items at the origin count as orthogonal to all; 0 with fewer than two items.

    >>> mean_cosine(np.array([[1.0, 0.0], [3.0, 0.0]])), mean_cosine(np.eye(4))
    (1.0, 0.0)
    """
    z = np.asarray(z, dtype=np.float64)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    units = np.divide(z, lengths, out=np.zeros_like(z), where=lengths > 0)
    if len(z) < 2:
        return 0.0
    pairs = (units.sum(axis=0) ** 2).sum() - (units**2).sum()
    return float(pairs / (len(z) * (len(z) - 1)))

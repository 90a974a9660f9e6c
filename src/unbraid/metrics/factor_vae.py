"""The FactorVAE score (Kim and Mnih, 2018): does the latent that varies least tell which factor was held still?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.metrics.draws import agreeing

TRAIN, EVALUATE, BATCH, VARIANCE = 10_000, 5_000, 64, 10_000
"""Votes to learn from, votes to score, items of a vote, and items behind the global variances (Locatello, 2019)."""

PRUNE = 0.05
"""Standard deviation below which a latent casts no votes, as in all configurations of the study."""

_CHUNK = 2**22


def active_by_deviation(variances: Float[np.ndarray, " l"], least: float = PRUNE) -> Bool[np.ndarray, " l"]:
    """Latents whose standard deviation is at least `least`."""
    return np.asarray(np.sqrt(variances) >= least)


def votes(
    codes: Float[np.ndarray, "n l"],
    rows: Int[np.ndarray, "p b"],
    factor: Int[np.ndarray, " p"],
    variances: Float[np.ndarray, " l"],
    factors: int,
) -> Int[np.ndarray, "k l"]:
    """How often each latent was the one that varied least, relative to its variance, for each factor held still.

    Args:
        codes: Latents that vary; others have been left out.
        rows: Items of each vote.
        factor: The factor in which they agree.
        variances: Of each latent, over all items.
        factors: How many factors there are.
    """
    calm = np.concatenate([_least(codes, part, variances) for part in _parts(rows)])
    counts = np.bincount(factor * codes.shape[1] + calm, minlength=factors * codes.shape[1])
    return np.asarray(counts.reshape(factors, codes.shape[1]))


def majority_accuracy(train: Int[np.ndarray, "k l"], evaluate: Int[np.ndarray, "k l"]) -> tuple[float, float]:
    """Share of the votes that fall to the factor for which their latent voted most often in training.

    >>> majority_accuracy(np.array([[9, 1], [1, 9]]), np.array([[4, 2], [0, 4]]))
    (0.9, 0.8)
    """
    winner, latents = train.argmax(axis=0), np.arange(train.shape[1])
    shares = [float(v[winner, latents].sum() / max(1, v.sum())) for v in (train, evaluate)]
    return shares[0], shares[1]


def factor_vae_score(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    *,
    seed: int = 0,
    train: int = TRAIN,
    evaluate: int = EVALUATE,
    batch: int = BATCH,
    variance: int = VARIANCE,
) -> float:
    """Share of votes that a majority classifier names right; 1/K is chance, 1 is best, higher is better.

    0 when no latent varies enough (see `PRUNE`), so it depends on the scale of the codes. It saturates: codes that
    are only rotated still get about 1.

    Args:
        codes: One row per item.
        factors: Labels.
        seed: Of the draws.
        train: Votes to learn from.
        evaluate: Votes to score.
        batch: Items of a vote.
        variance: Items drawn for the global variances.
    """
    rng = np.random.default_rng(seed)
    variances = codes[rng.integers(len(codes), size=variance)].var(axis=0, ddof=1)
    active = active_by_deviation(variances)
    if not active.any():
        return 0.0
    draws = agreeing(factors, train + evaluate, batch, rng)
    cast = [
        votes(codes[:, active], draws.rows[part], draws.factor[part], variances[active], factors.shape[1])
        for part in (slice(train), slice(train, None))
    ]
    return majority_accuracy(*cast)[1]


def _least(codes: np.ndarray, rows: np.ndarray, variances: np.ndarray) -> np.ndarray:
    local = np.stack([code[rows].var(axis=1, ddof=1) for code in np.ascontiguousarray(codes.T)], axis=1)
    return np.asarray((local / variances).argmin(axis=1))


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, rows.size // _CHUNK))

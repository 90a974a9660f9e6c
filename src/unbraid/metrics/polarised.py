"""Which latents of a Gaussian encoder are used: by all items, by some, or by none (Bonheme and Grzes, 2023).

An encoder that is taught to keep to its prior N(0, 1) leaves the latents that it does not need there: variance 1 and
mean 0, whatever the item. What little is left in such a mean is a smooth function of the item, and so goes together
with other latents' means, however small it is; in the samples it drowns in the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError
from unbraid.metrics.information import BINS, histogram_bins, mutual_information
from unbraid.metrics.unsupervised import gaussian_total_correlation, gaussian_wasserstein, mean_off_diagonal

SPREAD = 0.1
"""Variance that a latent's posterior variance may have over the items, to be the same for all of them."""

MARGIN = 0.1
"""How far the mean posterior variance may be from 0 (active) or from 1 (passive)."""

ITEMS = 10_000
"""Items that the authors tell the regime from; with fewer than a thousand it is not sure."""

GROUPS = ("active", "mixed", "passive")


@dataclass(frozen=True)
class Regime:
    """Three lists that divide the latents, in their order, and what they were told from.

    Attributes:
        active: Latents that every item uses.
        mixed: Latents that some items use, and all those that are neither.
        passive: Latents that no item uses.
        mean: (L,) mean posterior variance of each latent.
        spread: (L,) variance of the posterior variance over the items.
    """

    active: tuple[int, ...]
    mixed: tuple[int, ...]
    passive: tuple[int, ...]
    mean: Float[np.ndarray, " l"]
    spread: Float[np.ndarray, " l"]

    @property
    def kept(self) -> tuple[int, ...]:
        """Active and mixed latents, in the order of the code."""
        return tuple(sorted(self.active + self.mixed))

    @property
    def names(self) -> tuple[str, ...]:
        """The group of each latent."""
        return tuple(next(g for g in GROUPS if j in getattr(self, g)) for j in range(len(self.mean)))

    def subsets(self) -> dict[str, tuple[int, ...]]:
        """The latents of every union of groups that is asked, the whole code first."""
        a, m, p = self.active, self.mixed, self.passive
        unions = {"full": a + m + p, "active": a, "mixed": m, "passive": p}
        unions |= {"active+mixed": a + m, "active+passive": a + p, "mixed+passive": m + p}
        return {name: tuple(sorted(latents)) for name, latents in unions.items()}


def regime(variance: Float[np.ndarray, "n l"], spread: float = SPREAD, margin: float = MARGIN) -> Regime:
    """The group of each latent, told from the posterior variances alone.

    Passive: nearly the same variance for all items, near 1. Active: nearly the same for all, near 0. Mixed: the rest.

    Args:
        variance: Posterior variances (not their logarithms), of a thousand items or more.
        spread: Population variance below which a latent's variance counts as the same for all.
        margin: Distance from 0 or 1 up to which its mean counts as near.

    >>> found = regime(np.array([[0.01, 0.01, 1.02], [0.02, 0.99, 0.98]]))
    >>> found.active, found.mixed, found.passive
    ((0,), (1,), (2,))
    """
    variance = np.asarray(variance, dtype=np.float64)
    if variance.ndim != 2 or not len(variance):
        raise DataError("variances (items, latents)", got=f"shape {variance.shape}")
    if not (variance >= 0).all():
        raise DataError("variances from 0 on", got=f"{variance.min():g}", fix="give exp(log variance)")
    mean, over = variance.mean(0), variance.var(0)
    steady = over < spread
    passive = steady & (mean >= 1 - margin) & (mean <= 1 + margin)
    active = steady & (mean <= margin) & ~passive
    a, m, p = (tuple(np.flatnonzero(which).tolist()) for which in (active, ~(active | passive), passive))
    return Regime(a, m, p, mean, over)


@dataclass(frozen=True)
class Correlation:
    """How much some latents know of each other.

    Attributes:
        total: Total correlation in nats of a Gaussian with their covariance.
        total_scaled: The same of their correlation matrix: another number only where rounding hurts.
        wasserstein: Squared 2-Wasserstein distance of that Gaussian to the product of its marginals.
        information: Mean information in nats between two of them in 20 bins.
    """

    total: float
    total_scaled: float
    wasserstein: float
    information: float


def correlations(
    codes: Float[np.ndarray, "n l"], subsets: Mapping[str, Sequence[int]], bins: int = BINS
) -> dict[str, Correlation]:
    """The scores of every subset of at least two latents; the others are left out.

    Args:
        codes: Means, or samples.
        subsets: Name -> latents.
        bins: Of the information.

    >>> z = np.random.default_rng(0).normal(size=(1000, 3))
    >>> list(correlations(z, {"full": (0, 1, 2), "active": (0,)}))
    ['full']
    """
    codes = np.asarray(codes, dtype=np.float64)
    between = information_between(codes, bins)
    found = {}
    for name, latents in subsets.items():
        if len(latents) < 2:
            continue
        some, chosen = codes[:, list(latents)], np.ix_(latents, latents)
        found[name] = Correlation(
            gaussian_total_correlation(some, scaled=False),
            gaussian_total_correlation(some),
            gaussian_wasserstein(some, normalise=False),
            mean_off_diagonal(between[chosen]),
        )
    return found


def information_between(codes: Float[np.ndarray, "n l"], bins: int = BINS) -> Float[np.ndarray, "l l"]:
    """Information in nats between every two latents in equal-width bins; 0 on the diagonal."""
    labels = histogram_bins(codes, bins)
    between = mutual_information(labels, labels)
    np.fill_diagonal(between, 0.0)
    return between


def absolute_correlation(codes: Float[np.ndarray, "n l"], latents: Sequence[int]) -> float:
    """Mean |correlation| of some latents with all others of the code; 0 where there is no such pair.

    >>> round(absolute_correlation(np.array([[0.0, 0.0], [1.0, -2.0], [2.0, -4.0]]), [1]), 6)
    1.0
    """
    codes = np.asarray(codes, dtype=np.float64)
    scale = codes.std(0)
    z = np.divide(codes - codes.mean(0), scale, out=np.zeros_like(codes), where=scale > 0)
    size = np.abs(z.T @ z) / max(1, len(z))
    np.fill_diagonal(size, 0.0)
    pairs = len(latents) * (codes.shape[1] - 1)
    return float(size[list(latents)].sum() / pairs) if pairs else 0.0


def drawn(
    mean: Float[np.ndarray, "n l"], variance: Float[np.ndarray, "n l"], seed: int = 0
) -> Float[np.ndarray, "n l"]:
    """One sample of each item's posterior: the sampled representation."""
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    return np.asarray(mean, dtype=np.float64) + np.sqrt(np.asarray(variance, dtype=np.float64)) * noise

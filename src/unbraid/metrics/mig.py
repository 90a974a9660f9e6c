"""Gaps in a matrix of information: MIG and its relatives.

A gap over latents (MIG, RMIG, JEMMIG) asks whether each factor is in one latent only; a gap over factors (MIG-sup,
DCIMIG) asks whether each latent knows one factor only.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics.information import BINS, histogram_bins, label_encode, mutual_information

BINS_OF_GAPS = 10
"""Bins of MIG-sup, JEMMIG and DCIMIG in the authors' comparison (Carbonneau et al., 2022)."""


def histogram_information(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], bins: int = BINS
) -> Float[np.ndarray, "l k"]:
    """Plug-in mutual information in nats of latents in equal-width bins with factors (Locatello et al., 2019)."""
    return mutual_information(histogram_bins(codes, bins), label_encode(factors))


def top_gap(matrix: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " k"]:
    """Largest less second largest of each column; the second is 0 when there is one row only.

    >>> top_gap(np.array([[1.0, 2.0], [0.25, 5.0]])).tolist()
    [0.75, 3.0]
    """
    best = np.sort(np.vstack([np.zeros((max(0, 2 - len(matrix)), matrix.shape[1])), matrix]), axis=0)
    return np.asarray(best[-1] - best[-2])


def mig_per_factor(
    information: Float[np.ndarray, "l k"], entropies: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Gap between the two latents that know a factor best, as a share of its entropy; 0 for a constant factor."""
    gap = top_gap(information)
    return np.asarray(np.divide(gap, entropies, out=np.zeros_like(gap), where=entropies > 0))


def mig(information: Float[np.ndarray, "l k"], entropies: Float[np.ndarray, " k"]) -> float:
    """Mean of `mig_per_factor` over the factors that vary; 0 to 1, higher is better (Chen et al., 2018).

    >>> mig(np.array([[0.7, 0.0], [0.0, 0.7]]), np.array([0.7, 0.7]))
    1.0
    """
    varies = entropies > 0
    return float(mig_per_factor(information, entropies)[varies].mean()) if varies.any() else 0.0


def normalised_by(
    information: Float[np.ndarray, "l k"], entropies: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "l k"]:
    """Information as a share of entropies: (K,) of the factors, or (L, 1) of the latents; 0 where there is none."""
    entropies = np.broadcast_to(entropies, information.shape)
    return np.asarray(np.divide(information, entropies, out=np.zeros_like(information), where=entropies > 0))


def mig_sup_per_latent(normalised: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " l"]:
    """Gap between the two factors that a latent knows best; 0 for a dead latent."""
    return top_gap(normalised.T)


def mig_sup(normalised: Float[np.ndarray, "l k"]) -> float:
    """Mean of `mig_sup_per_latent` over all latents; 0 to 1, higher is better (Li et al., 2020).

    Dead latents count as 0.

    Args:
        normalised: Information as a share of each factor's entropy, as in the paper. The program of Carbonneau et al.
            divides by the latent's own entropy instead, and gives NaN for a dead one; see `normalised_by`.

    >>> mig_sup(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).__round__(4)
    0.6667
    """
    return float(mig_sup_per_latent(normalised).mean()) if normalised.size else 0.0


def jemmig_per_factor(
    information: Float[np.ndarray, "l k"],
    entropies: Float[np.ndarray, " k"],
    code_entropies: Float[np.ndarray, " l"],
    bins: int = BINS_OF_GAPS,
) -> Float[np.ndarray, " k"]:
    """1 - (H(f, z) - I(f; z) + I(f; z')) / (H(f) + log bins), with z the latent that knows f best and z' the next.

    Unlike MIG it also asks that the latent holds nothing but the factor: its own entropy counts against it.

    Args:
        information: In nats, of codes in equal-width bins.
        entropies: Of the factors, in nats.
        code_entropies: Of the binned codes, in nats.
        bins: How many they may take.
    """
    best = information.argmax(axis=0)
    known = np.take_along_axis(information, best[None], axis=0)[0]
    joint = entropies + code_entropies[best] - known
    lost = joint - top_gap(information)
    return np.asarray(1.0 - lost / (entropies + np.log(bins)))


def jemmig(
    information: Float[np.ndarray, "l k"],
    entropies: Float[np.ndarray, " k"],
    code_entropies: Float[np.ndarray, " l"],
    bins: int = BINS_OF_GAPS,
) -> float:
    """Mean of `jemmig_per_factor` over the factors that vary; 0 to 1, higher is better (Do and Tran, 2020, eq. 9).

    >>> two = np.log(2)
    >>> jemmig(two * np.eye(2), np.array([two, two]), np.array([two, two]), bins=2)
    1.0
    """
    varies = entropies > 0
    if not varies.any() or not len(information):
        return 0.0
    return float(jemmig_per_factor(information, entropies, code_entropies, bins)[varies].mean())


def dcimig_per_factor(
    information: Float[np.ndarray, "l k"], entropies: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Largest gap among the latents that know this factor best, as a share of its entropy; 0 where there is none."""
    gap, owner = top_gap(information.T), information.argmax(axis=1)
    best = np.where(owner[:, None] == np.arange(information.shape[1]), gap[:, None], 0.0).max(axis=0, initial=0.0)
    return np.asarray(np.divide(best, entropies, out=np.zeros_like(best), where=entropies > 0))


def dcimig(information: Float[np.ndarray, "l k"], entropies: Float[np.ndarray, " k"]) -> float:
    """`dcimig_per_factor` weighted by entropy; 0 to 1, higher is better (Sepliarskaia et al., 2020, section 4).

    >>> dcimig(np.array([[0.7, 0.0], [0.0, 0.7], [0.0, 0.3]]), np.array([0.7, 0.7]))
    1.0
    """
    total = entropies.sum()
    return float((dcimig_per_factor(information, entropies) * entropies).sum() / total) if total > 0 else 0.0


def posterior_information(
    mu: Float[np.ndarray, "n l"],
    logvar: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    edges: Float[np.ndarray, "e l"],
) -> Float[np.ndarray, "l k"]:
    """Information in nats of binned latents about factors, each item spread over the bins by its Gaussian posterior.

    The first and the last bin are open to infinity, so that no mass is lost. Without variance it is the plug-in
    information of the means in the same bins (open on the left: a mean on an edge belongs to the bin below).

    Args:
        mu: Means of the posteriors.
        logvar: Their log variances; -inf for none.
        factors: Labels.
        edges: The inner edges of each latent's bins, ascending.
    """
    labels = label_encode(factors)
    found = np.zeros((mu.shape[1], labels.shape[1]))
    for j in range(mu.shape[1]):
        mass = _mass(mu[:, j], logvar[:, j], edges[:, j])
        for k, column in enumerate(labels.T):
            joint = np.stack([mass[column == v].sum(axis=0) for v in range(column.max() + 1)]) / len(mass)
            found[j, k] = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint.ravel())
    return np.maximum(found, 0.0)


def even_edges(low: float, high: float, bins: int, latents: int) -> Float[np.ndarray, "e l"]:
    """The inner edges of equal-width bins, the same for every latent.

    >>> even_edges(-4, 4, 4, 1).ravel().tolist()
    [-2.0, 0.0, 2.0]
    """
    return np.tile(np.linspace(low, high, bins + 1)[1:-1, None], (1, latents))


def _mass(mu: np.ndarray, logvar: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(N, bins): how much of each posterior lies in each bin."""
    from scipy.special import ndtr

    sigma = np.maximum(np.exp(logvar / 2), np.finfo(np.float64).tiny)[:, None]
    with np.errstate(over="ignore"):
        below = ndtr((edges - mu[:, None]) / sigma)
    ends = np.zeros((len(mu), 1)), np.ones((len(mu), 1))
    return np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1)


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())

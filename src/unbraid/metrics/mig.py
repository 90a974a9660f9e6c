"""Mutual information gap (Chen et al., 2018): is each factor in one latent only?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics.information import BINS, histogram_bins, label_encode, mutual_information


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

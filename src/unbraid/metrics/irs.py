"""Interventional robustness (Suter et al., 2019): does a latent stay where it is while other factors change?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.metrics.information import label_encode

QUANTILE = 0.99
"""Of the deviations; 1.0 is the paper's largest deviation, which one outlier decides."""


@dataclass(frozen=True)
class Robustness:
    """What the latents that vary do when all but one factor change.

    Attributes:
        matrix: (A, K) 1 - (mean over a factor's values of the deviation) / (largest deviation of all).
        deviation: (A,) the largest deviation of each latent from its mean.
        active: (L,) which latents vary.
    """

    matrix: Float[np.ndarray, "a k"]
    deviation: Float[np.ndarray, " a"]
    active: Bool[np.ndarray, " l"]

    @property
    def per_latent(self) -> Float[np.ndarray, " l"]:
        """Robustness for the factor that suits best; 0 for a latent that does not vary."""
        full = np.zeros(len(self.active))
        full[self.active] = self.matrix.max(axis=1, initial=0.0)
        return full

    @property
    def parents(self) -> Int[np.ndarray, " a"]:
        """The factor that suits each latent best."""
        return np.asarray(self.matrix.argmax(axis=1))


def robustness(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], quantile: float = QUANTILE
) -> Robustness:
    """How far each latent strays from its mean given a factor.

    Args:
        codes: One row per item; float64 decides which latents vary.
        factors: Labels of few values each.
        quantile: Of the deviations within a value.
    """
    active = np.asarray(np.ptp(codes, axis=0) > 0)
    varying, labels = codes[:, active], label_encode(factors)
    largest = np.abs(varying - varying.mean(axis=0)).max(axis=0, initial=0.0)
    strayed = np.stack([_strayed(varying, column, quantile) for column in labels.T], axis=1)
    return Robustness(1.0 - strayed / largest[:, None], largest, active)


def irs(found: Robustness) -> float:
    """Mean over the latents that vary, weighted by how far they go; 0 to 1, higher is better.

    >>> irs(robustness(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0, 0], [0, 1], [1, 0], [1, 1]])))
    1.0
    """
    total = found.deviation.sum()
    return float((found.matrix.max(axis=1) * found.deviation).sum() / total) if total > 0 else 0.0


def _strayed(codes: np.ndarray, labels: np.ndarray, quantile: float) -> np.ndarray:
    """Mean over the values of one factor of the quantile of each latent's distance to its mean there."""
    order = np.argsort(labels, kind="stable")
    groups = np.split(codes[order], np.flatnonzero(np.diff(labels[order])) + 1)
    return np.asarray(np.mean([np.quantile(np.abs(g - g.mean(axis=0)), quantile, axis=0) for g in groups], axis=0))

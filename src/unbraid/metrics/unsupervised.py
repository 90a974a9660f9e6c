"""How much the latents know of each other: scores that need no factors (Locatello et al., 2019). Lower is better."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from unbraid.metrics.information import BINS, histogram_bins, mutual_information


def gaussian_total_correlation(codes: Float[np.ndarray, "n l"], *, scaled: bool = True) -> float:
    """Total correlation in nats of a Gaussian with the codes' covariance; 0 for uncorrelated latents, no upper end.

    Constant latents are left out; infinite where one latent is a line through others.

    Args:
        codes: One row per item.
        scaled: Whether the determinant is that of the correlations, or of the covariances, as the authors have it:
            the same number but for rounding where some variances are tiny.

    >>> round(gaussian_total_correlation(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])), 6)
    0.0
    """
    covariance = _covariance(codes)
    if not len(covariance):
        return 0.0
    scale = np.sqrt(np.diag(covariance)) if scaled else np.ones(len(covariance))
    matrix = covariance / np.outer(scale, scale)
    sign, logdet = np.linalg.slogdet(matrix)
    return max(0.0, 0.5 * float(np.log(np.diag(matrix)).sum() - logdet)) if sign > 0 else float("inf")


def gaussian_wasserstein(codes: Float[np.ndarray, "n l"], *, normalise: bool = True) -> float:
    """Squared 2-Wasserstein distance of that Gaussian to the product of its marginals; 0 for uncorrelated latents.

    Args:
        codes: One row per item; constant latents are left out.
        normalise: Divide by the total variance, so that the scale of the codes does not matter.
    """
    covariance = _covariance(codes)
    total = float(np.trace(covariance))
    if not total > 0:
        return 0.0
    # The authors take the root of D C, with D the diagonal of C; it has the eigenvalues of D^1/2 C D^1/2.
    scale = np.sqrt(np.diag(covariance))
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(scale[:, None] * covariance * scale), 0.0)).sum()
    distance = max(0.0, 2 * total - 2 * float(shared))
    return distance / total if normalise else distance


def mutual_information_score(codes: Float[np.ndarray, "n l"], bins: int = BINS) -> float:
    """Mean information in nats between two different latents, each in equal-width bins; 0 to log bins.

    All latents count, constant ones too, as in the authors' program.
    """
    labels = histogram_bins(codes, bins)
    return mean_off_diagonal(mutual_information(labels, labels))


def mean_off_diagonal(between: Float[np.ndarray, "l l"]) -> float:
    """The mean over pairs of different latents; 0 where there are fewer than two.

    >>> mean_off_diagonal(np.array([[9.0, 1.0], [2.0, 9.0]]))
    1.5
    """
    latents = len(between)
    return float((between.sum() - np.trace(between)) / (latents * (latents - 1))) if latents > 1 else 0.0


def _covariance(codes: np.ndarray) -> np.ndarray:
    varying = np.asarray(codes, dtype=np.float64)[:, np.ptp(codes, axis=0) > 0]
    return np.atleast_2d(np.cov(varying, rowvar=False)) if varying.shape[1] else np.zeros((0, 0))

"""Groups of latents, and how much their means and samples know of each other, against the authors' scripts."""

import numpy as np

from unbraid.metrics.gauges import covariance_rank
from unbraid.metrics.polarised import correlations, information_between, regime

SLUG = "11-active-variables"
SCORES = {
    "gaussian_total_correlation": ("total", 1e-5),
    "normalized_gaussian_total_correlation": ("total_scaled", 1e-5),
    "gaussian_wasserstein_correlation": ("wasserstein", 1e-4),
    "mutual_info_score": ("information", 1e-5),
}


def check(name: str, arrays: dict[str, np.ndarray]) -> set[str]:
    """Compare every array of one file; the inputs count as compared."""
    found = regime(arrays["variance"])
    for group in ("active", "mixed", "passive"):
        assert list(getattr(found, group)) == arrays[group].tolist(), group
    np.testing.assert_allclose(found.mean, arrays["mean_of_variance"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.spread, arrays["var_of_variance"], rtol=1e-5, atol=1e-6)
    compared = {"variance", "active", "mixed", "passive", "mean_of_variance", "var_of_variance"}
    return compared | _scores("mean", found.subsets(), arrays) | _scores("sampled", found.subsets(), arrays)


def _scores(of: str, subsets: dict[str, tuple[int, ...]], arrays: dict[str, np.ndarray]) -> set[str]:
    codes = arrays[of].astype(np.float64)
    expected = {f"{of}_mutual_info_matrix": (information_between(codes), 1e-5)}
    expected[f"{of}_effective_rank"] = (np.asarray(covariance_rank(codes)), 1e-5)
    for subset, found in correlations(codes, subsets).items():
        for theirs, (ours, tolerance) in SCORES.items():
            expected[f"{of}_{subset.replace('+', '_')}_{theirs}"] = (np.asarray(getattr(found, ours)), tolerance)
    there = {key: value for key, value in expected.items() if key in arrays}
    for key, (ours, tolerance) in there.items():
        np.testing.assert_allclose(ours, arrays[key], rtol=tolerance, atol=tolerance, err_msg=key)
    return {of, *there}

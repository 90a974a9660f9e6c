"""The scores by intervention, on the authors' own draws."""

import numpy as np

from unbraid.metrics import beta_vae, factor_vae


class Sampler:
    """The authors' generator of factors, in their order of draws."""

    def __init__(self, sizes: np.ndarray, seed: int = 0) -> None:
        self.sizes, self.random = sizes, np.random.RandomState(seed)

    def factors(self, n: int) -> np.ndarray:
        return np.stack([self.random.randint(size, size=n) for size in self.sizes], axis=1)

    def rows(self, factors: np.ndarray) -> np.ndarray:
        return np.ravel_multi_index(tuple(factors.T), tuple(self.sizes))

    def factor(self) -> int:
        return int(self.random.randint(len(self.sizes)))


def settings(arrays: dict[str, np.ndarray]) -> tuple[int, int, int, int]:
    train, evaluate, batch, variance = (int(v) for v in arrays["sampling_settings"])
    return train, evaluate, batch, variance


def pair_draws(sampler: Sampler, points: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, first, second = [], [], []
    for _ in range(points):
        k = sampler.factor()
        a, b = sampler.factors(batch), sampler.factors(batch)
        b[:, k] = a[:, k]
        labels.append(k)
        first.append(sampler.rows(a))
        second.append(sampler.rows(b))
    return np.array(labels), np.array(first), np.array(second)


def vote_draws(sampler: Sampler, points: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    labels, rows = [], []
    for _ in range(points):
        k = sampler.factor()
        factors = sampler.factors(batch)
        factors[:, k] = factors[0, k]
        labels.append(k)
        rows.append(sampler.rows(factors))
    return np.array(labels), np.array(rows)


def beta_vae_values(arrays: dict[str, np.ndarray]) -> dict[str, tuple[object, float]]:
    """Name -> what we get and the tolerance; stored features count as inputs where their draws are not known."""
    train, evaluate, batch, _ = settings(arrays)
    table = arrays["code_table"].astype(np.float64)
    found: dict[str, tuple[object, float]] = {}
    for seed, split, points in ((0, "train", train), (1, "eval", evaluate)):
        stored = arrays[f"beta_vae_labels_{split}"], arrays[f"beta_vae_features_{split}"]
        labels, first, second = pair_draws(Sampler(arrays["factor_sizes"], seed), points, batch)
        known = np.array_equal(labels, stored[0])
        found[f"beta_vae_labels_{split}"] = labels if known else stored[0], 0
        found[f"beta_vae_features_{split}"] = beta_vae.pair_features(table, first, second) if known else stored[1], 1e-5
    sampler = Sampler(arrays["factor_sizes"])
    drawn = [pair_draws(sampler, points, batch) for points in (train, evaluate)]
    points = [(beta_vae.pair_features(table, first, second), labels) for labels, first, second in drawn]
    ours = beta_vae.beta_vae_accuracy(*points[0], *points[1])
    found["beta_vae_train"], found["beta_vae_eval"] = (ours[0], 0.03), (ours[1], 0.03)
    given = (arrays[f"beta_vae_{what}_{split}"] for split in ("train", "eval") for what in ("features", "labels"))
    found["beta_vae_on_stored_features"] = beta_vae.beta_vae_accuracy(*given)[1], 5e-3
    return found


def factor_vae_values(arrays: dict[str, np.ndarray]) -> dict[str, tuple[object, float]]:
    """Name -> what we get and the tolerance; votes are compared one by one where their draws are known."""
    train, evaluate, batch, variance = settings(arrays)
    table = arrays["code_table"].astype(np.float64)
    sampler = Sampler(arrays["factor_sizes"])
    variances = table[sampler.rows(sampler.factors(variance))].var(axis=0, ddof=1)
    stored = arrays["factor_vae_global_variances"]
    known = np.allclose(variances, stored, rtol=0, atol=1e-5)
    active = factor_vae.active_by_deviation(stored.astype(np.float64))
    found: dict[str, tuple[object, float]] = {
        "factor_vae_global_variances": (variances if known else stored, 1e-5),
        "factor_vae_active": (active, 0),
    }
    cast, drawn = [], []
    for split, points in (("train", train), ("eval", evaluate)):
        k, rows = vote_draws(sampler, points, batch)
        cast.append(arrays[f"factor_vae_votes_{split}"])
        full = np.zeros_like(cast[-1])
        if active.any():
            kept = factor_vae.votes(table[:, active], rows, k, variances[active], len(sampler.sizes))
            full[:, : kept.shape[1]] = kept
        drawn.append(full)
        found[f"factor_vae_votes_{split}"] = full if known else cast[-1], 0
    exact, sampled = factor_vae.majority_accuracy(*cast), factor_vae.majority_accuracy(*drawn)
    np.testing.assert_allclose(sampled, exact, rtol=0, atol=0.02, err_msg="factor_vae from sampling")
    found["factor_vae_train"], found["factor_vae_eval"] = (exact[0], 1e-9), (exact[1], 1e-9)
    return found

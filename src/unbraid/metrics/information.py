"""Estimators of mutual information and entropy, in nats: plug-in for discrete codes, nearest neighbours for continuous.

Shapes: codes (N, L) are N items of L latents, factors (N, K) are N items of K factors, matrices are (L, K).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

BINS = 20
"""Bins of the histogram discretiser (Locatello et al., 2019, appendix D)."""

NEIGHBOURS = 10
"""Neighbours of the continuous estimator (Hsu et al., 2023, InfoMEC)."""

_BLOCK = 4_000_000
_ROUNDING = 64 * np.finfo(np.float64).eps


def label_encode(values: Shaped[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """Each column's values as labels 0..V-1 in the order of the values.

    >>> label_encode(np.array([[5, 1], [9, 1], [5, 1]])).tolist()
    [[0, 0], [1, 0], [0, 0]]
    """
    labels = np.empty(values.shape, dtype=np.int64)
    for j in range(values.shape[1]):
        labels[:, j] = np.unique(values[:, j], return_inverse=True)[1].reshape(-1)
    return labels


def complete_rows(factors: Shaped[np.ndarray, "n k"]) -> Bool[np.ndarray, " n"]:
    """Which rows have every factor; NaN means missing."""
    return np.asarray(~np.isnan(np.asarray(factors, dtype=np.float64)).any(axis=1))


def drop_missing(
    codes: Float[np.ndarray, "n l"], factors: Shaped[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "m l"], Int[np.ndarray, "m k"]]:
    """The rows whose factors are all known, with the factors as labels.

    Give one factor at a time, `factors[:, [k]]`, to lose only the rows that miss that one.

    >>> drop_missing(np.array([[0.1], [0.2]]), np.array([[3.0], [np.nan]]))
    (array([[0.1]]), array([[0]]))
    """
    known = complete_rows(factors)
    return codes[known], label_encode(factors[known])


def histogram_bins(codes: Float[np.ndarray, "n l"], bins: int = BINS) -> Int[np.ndarray, "n l"]:
    """Each latent in equal-width bins 0..bins-1 between its least and largest value (Locatello et al., 2019).

    Bins are open on the right, the largest value is in the last one, a constant latent has one bin.

    >>> histogram_bins(np.array([[0.0], [0.5], [0.49], [1.0]]), bins=2).ravel().tolist()
    [0, 1, 0, 1]
    """
    codes = np.asarray(codes, dtype=np.float64)
    labels = np.zeros(codes.shape, dtype=np.int64)
    if not len(codes):
        return labels
    low, high = codes.min(axis=0), codes.max(axis=0)
    for j in np.flatnonzero(low < high):
        edges = np.linspace(low[j], high[j], bins + 1)
        labels[:, j] = np.searchsorted(edges[:-1], codes[:, j], side="right") - 1
    return labels


def entropy(labels: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " k"]:
    """Plug-in entropy of each column, in nats.

    >>> entropy(np.array([[0, 0], [1, 0], [0, 0], [1, 0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    return np.array([_entropy_of_counts(np.bincount(column)) for column in labels.T])


def mutual_information(codes: Int[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"]) -> Float[np.ndarray, "l k"]:
    """Plug-in mutual information of every column of labels with every other, in nats.

    Never below 0 nor above the lesser of the two entropies. Its bias is about (B-1)(V-1)/2N for B and V values.

    Args:
        codes: Labels, as `histogram_bins` or `label_encode` give them.
        factors: Labels.

    >>> mutual_information(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [0], [1], [1]])).round(4).tolist()
    [[0.6931], [0.0]]
    """
    if not len(codes):
        return np.zeros((codes.shape[1], factors.shape[1]))
    tables, rows, columns = _contingency(codes, factors)
    joint = np.add.reduceat(np.add.reduceat(_xlogx(tables), rows, axis=0), columns, axis=1)
    of_codes, of_factors = entropy(codes)[:, None], entropy(factors)[None, :]
    together = np.log(len(codes)) - joint / len(codes)
    found = of_codes + of_factors - together
    found[found < _ROUNDING * (1 + together)] = 0.0
    return np.asarray(np.minimum(found, np.minimum(of_codes, of_factors)))


def neighbour_information(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], neighbours: int = NEIGHBOURS, seed: int = 0
) -> Float[np.ndarray, "l k"]:
    """Mutual information of continuous latents with discrete factors, by nearest neighbours (Ross, 2014), in nats.

    psi(N) + mean psi(k) - mean psi(N_x) - mean psi(m_x), clipped at 0, with N_x the items of x's class and m_x the
    items of any class that are nearer than its k-th neighbour of its own class. Classes of one item are dropped,
    smaller classes use all their neighbours. Each latent is standardised and ties are broken by noise of 1e-10.
    scikit-learn's values are lower for classes of at most 2k + 1 items, whose distances it rounds to about 1e-8.

    Args:
        codes: Continuous latents; a constant one has no information.
        factors: Labels.
        neighbours: k.
        seed: Of the noise, which is the same for every latent.

    >>> labels = np.repeat([0, 1], 50)[:, None]
    >>> neighbour_information(labels + np.linspace(0, 0.5, 100)[:, None], labels).round(1).tolist()
    [[0.7]]
    """
    codes = standardise(codes)
    noise = 1e-10 * np.random.default_rng(seed).standard_normal(len(codes))
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for j in np.flatnonzero(np.ptp(codes, axis=0) > 0) if len(codes) else ():
        code = codes[:, j] + noise
        order = np.argsort(code, kind="stable")
        for k in range(factors.shape[1]):
            found[j, k] = _ross(code[order], factors[order, k], neighbours)
    return found


def information_matrix(
    codes: Float[np.ndarray, "n l"], factors: Int[np.ndarray, "n k"], *, discrete: bool = False, seed: int = 0
) -> Float[np.ndarray, "l k"]:
    """Mutual information in nats: plug-in on the values of discrete codes, nearest neighbours for continuous ones."""
    if discrete:
        return mutual_information(label_encode(codes), label_encode(factors))
    return neighbour_information(codes, label_encode(factors), seed=seed)


def standardise(
    codes: Float[np.ndarray, "n l"], like: Float[np.ndarray, "m l"] | None = None
) -> Float[np.ndarray, "n l"]:
    """Codes less the mean and over the standard deviation of `like` (of themselves by default); constants become 0."""
    codes = np.asarray(codes, dtype=np.float64)
    like = codes if like is None else np.asarray(like, dtype=np.float64)
    if not len(like):
        return codes
    varies = np.ptp(like, axis=0) > 0
    scale = np.where(varies, like.std(axis=0), 1.0)
    varies &= scale > 0
    return np.asarray(np.where(varies, (codes - like.mean(axis=0)) / np.where(varies, scale, 1.0), 0.0))


def _xlogx(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))


def _entropy_of_counts(counts: np.ndarray) -> float:
    total = counts.sum()
    if np.count_nonzero(counts) < 2:
        return 0.0
    return float(np.log(total) - _xlogx(counts).sum() / total)


def _contingency(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All tables side by side (sum of B, sum of V), and where each latent's rows and each factor's columns begin."""
    heights, widths = codes.max(axis=0) + 1, factors.max(axis=0) + 1
    rows, columns = np.cumsum(heights) - heights, np.cumsum(widths) - widths
    shape = int(heights.sum()), int(widths.sum())
    tables = np.zeros(shape[0] * shape[1], dtype=np.int64)
    step = max(1, _BLOCK // (codes.shape[1] * factors.shape[1]))
    for start in range(0, len(codes), step):
        block = slice(start, start + step)
        cells = ((codes[block] + rows) * shape[1])[:, :, None] + (factors[block] + columns)[:, None, :]
        tables += np.bincount(cells.ravel(), minlength=len(tables))
    return tables.reshape(shape), rows, columns


def _ross(code: np.ndarray, labels: np.ndarray, neighbours: int) -> float:
    """Ross's estimate for one sorted latent and one factor."""
    from scipy.special import digamma

    counts = np.bincount(labels)
    kept = counts[labels] > 1
    code, labels = code[kept], labels[kept]
    if not len(code):
        return 0.0
    order = np.argsort(labels, kind="stable")
    start, size = (np.cumsum(counts * (counts > 1)) - counts)[labels[order]], counts[labels[order]]
    k = np.minimum(neighbours, size - 1)
    radius = np.nextafter(_kth_distance(code[order], k, start, start + size), 0.0)
    inside = _count_within(code, code[order], radius)
    estimate = digamma(len(code)) + digamma(k).mean() - digamma(size).mean() - digamma(inside).mean()
    return max(0.0, float(estimate))


def _kth_distance(code: np.ndarray, k: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Distance of each value to its k-th neighbour inside its own sorted run [start, stop)."""
    here = np.arange(len(code))
    distance = np.full(len(code), np.inf)
    for right in range(int(k.max()) + 1):
        low, high = here - k + right, here + right
        fits = (right <= k) & (low >= start) & (high < stop)
        i = np.flatnonzero(fits)
        reach = np.maximum(code[i] - code[low[i]], code[high[i]] - code[i])
        distance[i] = np.minimum(distance[i], reach)
    return distance


def _count_within(values: np.ndarray, centres: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """How many sorted values lie within the radius of each centre, by the rounded difference itself.

    The window found with centre plus or minus radius may be off by rounding, so its ends are then moved.
    """
    low = np.searchsorted(values, centres - radius, side="left")
    high = np.searchsorted(values, centres + radius, side="right")
    last = len(values) - 1
    while (move := (low > 0) & (centres - values[np.maximum(low - 1, 0)] <= radius)).any():
        low = low - move
    while (move := centres - values[np.minimum(low, last)] > radius).any():
        low = low + move
    while (move := (high <= last) & (values[np.minimum(high, last)] - centres <= radius)).any():
        high = high + move
    while (move := values[np.maximum(high - 1, 0)] - centres > radius).any():
        high = high - move
    return np.asarray(high - low)

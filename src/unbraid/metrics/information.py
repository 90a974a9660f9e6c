"""Estimators of mutual information and entropy, in nats: plug-in for discrete codes, nearest neighbours for continuous.

Shapes: codes (N, L) are N items of L latents, factors (N, K) are N items of K factors, matrices are (L, K).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

BINS = 20
"""Bins of the histogram discretiser (Locatello et al., 2019, appendix D)."""

NEIGHBOURS = 10
"""Neighbours of the continuous estimator (Hsu et al., 2023, InfoMEC)."""

_BLOCK = 4_000_000
_FAR = 1e300  # beyond every code, yet the difference of two such is finite
_ROUNDING = 64 * np.finfo(np.float64).eps


def label_encode(values: Shaped[np.ndarray, "n k"]) -> Int[np.ndarray, "n k"]:
    """Each column's values as labels 0..V-1 in the order of the values.

    >>> label_encode(np.array([[5, 1], [9, 1], [5, 1]])).tolist()
    [[0, 0], [1, 0], [0, 0]]
    """
    labels = np.empty(values.shape, dtype=np.int64)
    for j in range(values.shape[1]):
        labels[:, j] = _ranks(values[:, j])
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
    for j, code in enumerate(np.ascontiguousarray(codes.T)):
        low, high = code.min(), code.max()
        if low < high:
            labels[:, j] = _bins_of(code, np.linspace(low, high, bins + 1))
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
    # Short whole numbers are sorted by digits, several times faster.
    small = np.min_scalar_type(int(factors.max(initial=0)))
    noise = 1e-10 * np.random.default_rng(seed).standard_normal(len(codes))
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for j in np.flatnonzero(np.ptp(codes, axis=0) > 0) if len(codes) else ():
        code = codes[:, j] + noise
        order = np.argsort(code, kind="stable")
        code, labels = code[order], factors[order].T.astype(small)
        for k in range(factors.shape[1]):
            found[j, k] = _ross(code, labels[k], neighbours)
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


def _ranks(values: np.ndarray) -> np.ndarray:
    """Each value's place among the different values; whole numbers of a small range are looked up, not sorted."""
    if len(values) and np.can_cast(values.dtype, np.int64):
        low, high = int(values.min()), int(values.max())
        if high - low <= 2 * len(values):
            shifted = values.astype(np.int64) - low
            return np.asarray((np.cumsum(np.bincount(shifted) > 0) - 1)[shifted])
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(-1))


def _bins_of(code: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The last bin whose left edge is not above each value: guessed by division, then moved until that is so."""
    last = len(edges) - 2
    bins = np.minimum((code - edges[0]) / (edges[-1] - edges[0]) * (last + 1), last).astype(np.int64)
    while (move := code < edges[bins]).any():
        bins -= move
    inner = np.append(edges[1:-1], np.inf)
    while (move := code >= inner[bins]).any():
        bins += move
    return np.asarray(bins)


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
    tables = np.empty(shape, dtype=np.int64)
    wide = factors + columns
    for j, code in enumerate(codes.T):
        tables[rows[j] : rows[j] + heights[j]] = _table(code * shape[1], wide, int(heights[j]), shape[1])
    return tables, rows, columns


def _table(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    table = np.zeros(height * width, dtype=np.int64)
    step = max(1, _BLOCK // columns.shape[1])
    for start in range(0, len(rows), step):
        cells = rows[start : start + step, None] + columns[start : start + step]
        table += np.bincount(cells.ravel(), minlength=len(table))
    return table.reshape(height, width)


def _ross(code: np.ndarray, labels: np.ndarray, neighbours: int) -> float:
    """Ross's estimate for one sorted latent and one factor."""
    counts = np.bincount(labels)
    if (counts == 1).any():
        kept = counts[labels] > 1
        code, labels, counts = code[kept], labels[kept], counts * (counts > 1)
    if not len(code):
        return 0.0
    order = np.argsort(labels, kind="stable")
    by_class = code[order]
    sizes = counts[counts > 0]
    k = np.minimum(neighbours, sizes - 1)
    radius = np.empty(len(code))
    for same in np.unique(k):
        chosen = np.repeat(k == same, sizes)
        radius[chosen] = _kth_distance(by_class[chosen], int(same), sizes[k == same])
    inside = _count_within(code, by_class, np.nextafter(radius, 0.0))
    psi = _digamma(len(code))
    estimate = psi[-1] + (sizes * (psi[k] - psi[sizes])).sum() / len(code) - psi[inside].mean()
    return max(0.0, float(estimate))


@lru_cache(maxsize=1)
def _digamma(most: int) -> np.ndarray:
    """At the whole numbers 0..most."""
    from scipy.special import digamma

    return np.asarray(digamma(np.arange(most + 1)))


def _kth_distance(code: np.ndarray, k: int, sizes: np.ndarray) -> np.ndarray:
    """Distance of each value to its k-th neighbour inside its own sorted run; runs of more than k follow each other.

    That neighbour is an end of one of the k + 1 windows of k + 1 values around the value: of the one that reaches
    least far. Runs are set apart by k values out of reach.
    """
    at = np.arange(len(code)) + k * np.repeat(np.arange(1, len(sizes) + 1), sizes)
    least = np.full(len(code) + k * (len(sizes) + 1), -_FAR)
    least[at] = code
    most = np.full(len(least), _FAR)
    most[at] = code
    middle = slice(k, len(least) - k)
    distance = np.full(len(least), np.inf)
    for right in range(k + 1):
        left = least[middle] - least[right : len(least) - 2 * k + right]
        reach = np.maximum(left, most[k + right : len(least) - k + right] - most[middle], out=left)
        np.minimum(distance[middle], reach, out=distance[middle])
    return np.asarray(distance[at])


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

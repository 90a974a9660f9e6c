"""How strong augmentations are, what an encoder makes of them, and the bounds that follow (Zhai et al., 2024).

X is a clean item, A an augmentation of it, p(a) the marginal of p(a|x) over the items. (G g)(x) = E[g(A) | x] averages
functions of augmentations; l_1 = 1 >= l_2 >= ... are the eigenvalues of G G*, whose kernel is
K(x, x') = sum_a p(a|x) p(a|x') / p(a). Everything here is a pure function of numpy arrays, in double precision.

The items are the whole population: p(a) is always the mean over them, each of them included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError

_CEILING = 0.9  # share of the number of items above which the complexity says no more than that number
_PENALTIES = np.logspace(-8, 1, 19)  # relative to the mean square of the features

Moments = tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d d"]]
"""E_a[phi phi^T] over all augmentations, and E_x[psi psi^T] of their average psi = E[phi | x] for each item."""


# --------------------------------------------------------------------------------------------- known densities


@dataclass(frozen=True)
class Complexity:
    """How much the augmentations of one item differ from those of all.

    Attributes:
        of_items: K(x, x) of each item: 1 + the chi-squared divergence of p(.|x) from p(a).
        spectrum: The eigenvalues l, largest first; empty where they were not estimated.
    """

    of_items: Float[np.ndarray, " n"]
    spectrum: Float[np.ndarray, " l"]

    @property
    def kappa2(self) -> float:
        """The largest K(x, x). Of few draws, an estimate that is biased upwards."""
        return float(self.of_items.max())

    @property
    def upper(self) -> float:
        """The quantile .99 of K(x, x)."""
        return float(np.quantile(self.of_items, 0.99))

    @property
    def trace(self) -> float:
        """The mean of K(x, x): the sum of the eigenvalues."""
        return float(self.of_items.mean())

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know of these numbers."""
        items = len(self.of_items)
        if self.kappa2 <= _CEILING * items:
            return ()
        return (
            f"kappa^2 of {items} items is at most {items}, and {self.kappa2:.3g} is nearly that: augmentations of "
            "different items hardly ever coincide, and the number says little but how many items there are.",
        )

    def numbers(self) -> Mapping[str, float]:
        """The three summaries, by name."""
        return {"kappa^2, largest": self.kappa2, "kappa^2, quantile .99": self.upper, "trace": self.trace}


def kernel_K_X(logp: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n n"]:  # noqa: N802  (the paper's name)
    """K(x, x') of all pairs of items.

    Args:
        logp: log p(a|x) of every item x and of every augmentation a that there is.

    >>> with np.errstate(divide="ignore"):  # two items, and a third of the time nothing is left of them
    ...     kernel_K_X(np.log([[2 / 3, 0, 1 / 3], [0, 2 / 3, 1 / 3]])).round(3).tolist()
    [[1.667, 0.333], [0.333, 1.667]]
    """
    logp = np.asarray(logp, dtype=np.float64)
    share = np.exp(logp - np.where(np.isfinite(m := _marginal(logp)), m, 0.0))  # p(a|x) / p(a), 0 where p(a) is
    kernel = share @ np.exp(logp).T
    return np.asarray((kernel + kernel.T) / 2)


def augmentation_complexity(
    logp_a_given_x: Float[np.ndarray, "n m"] | Float[np.ndarray, "n n r"],
) -> Complexity:
    """Complexity and spectrum from known densities: exactly, or from draws.

    Args:
        logp_a_given_x: log p(a|x) of every item x. Either of every augmentation that there is (n, m); or (n, n, r) of r
            augmentations drawn from each item: [j, i, s] is log p(a_is | x_j).

    Raises:
        DataError: The array is neither.

    >>> logp = np.log(np.full((4, 4, 3), 0.5))  # augmentations that say nothing of the item
    >>> found = augmentation_complexity(logp)
    >>> round(found.kappa2, 6), round(found.trace, 6), found.spectrum.round(6).tolist()
    (1.0, 1.0, [1.0, 0.0, 0.0, 0.0])
    """
    logp = np.asarray(logp_a_given_x, dtype=np.float64)
    if logp.ndim == 2:
        kernel = kernel_K_X(logp)
        return Complexity(kernel.diagonal().copy(), spectrum_of(kernel))
    if logp.ndim != 3 or logp.shape[0] != logp.shape[1]:
        raise DataError("log densities of shape (n, m) or (n, n, r)", got=f"{logp.shape}")
    weights = np.exp(logp - _marginal(logp))  # p(a_is | x_j) / p(a_is)
    own = np.einsum("iis->i", weights) / logp.shape[2]
    flat = weights.reshape(len(logp), -1)
    return Complexity(own, spectrum_of(flat @ flat.T / flat.shape[1]))


def spectrum_of(kernel: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """The eigenvalues l of K / n, largest first.

    >>> spectrum_of(np.array([[1.5, 0.5], [0.5, 1.5]])).round(6).tolist()
    [1.0, 0.5]
    """
    return np.asarray(np.linalg.eigvalsh(kernel)[::-1].clip(0) / len(kernel))


def density_by_kernels(
    features: Float[np.ndarray, "n r d"], bandwidth: float | None = None
) -> Float[np.ndarray, "n n r"]:
    """Log p(a|x) by Gaussians around the augmentations of each item, for `augmentation_complexity`.

    A draw is not counted among its own neighbours. Good for ranking augmentations in one feature space with one
    bandwidth, and for no more than that.

    Args:
        features: Of r augmentations of each of n items, in a space that does not depend on the augmentation.
        bandwidth: Deviation of the Gaussians; where None, the median distance between two augmentations of an item
            over sqrt(2 d), their own deviation if they are normal.

    Raises:
        DataError: There are less than two augmentations of each item, or all are the same.
    """
    x = np.asarray(features, dtype=np.float64)
    n, r, d = _several(x).shape
    flat = x.reshape(n * r, d)
    square = (flat**2).sum(1)
    apart = (square[:, None] + square - 2 * flat @ flat.T).clip(0).reshape(n, r, n, r)
    if bandwidth is None:
        own = np.einsum("isit->ist", apart)[:, ~np.eye(r, dtype=bool)]
        bandwidth = float(np.sqrt(np.median(own) / (2 * d)))
    if not bandwidth > 0:
        raise DataError("augmentations of an item that differ, or a bandwidth", got=f"a bandwidth of {bandwidth:g}")
    logs = -apart / (2 * bandwidth**2)  # [j, t, i, s]: the t-th kernel of item j at augmentation s of item i
    logs = logs.transpose(0, 2, 3, 1).copy()
    items, draws = np.arange(n)[:, None], np.arange(r)[None]
    logs[items, items, draws, draws] = -np.inf
    kernels = np.where(np.eye(n, dtype=bool), r - 1, r)[..., None]
    return np.asarray(np.logaddexp.reduce(logs, axis=3) - np.log(kernels))


def _marginal(logp: Float[np.ndarray, "n *m"]) -> Float[np.ndarray, "*m"]:
    """Log p(a), the items being the population."""
    return np.asarray(np.logaddexp.reduce(logp, axis=0) - math.log(len(logp)))


# ---------------------------------------------------------------------------------------------------- an encoder


def pair_moments(phi: Float[np.ndarray, "n r d"]) -> Moments:
    """The two moments from r augmentations of each item.

    The second is the mean over pairs of different augmentations of an item. The product of their averages would be
    larger by their variance over r.

    Raises:
        DataError: There are less than two augmentations of each item.
    """
    phi = _several(np.asarray(phi, dtype=np.float64))
    n, r, _ = phi.shape
    gram = np.einsum("nrd,nre->de", phi, phi, optimize=True) / (n * r)
    sums = phi.sum(1)
    pairs = (sums.T @ sums / n - r * gram) / (r * (r - 1))
    return np.asarray(gram), np.asarray(pairs)


def enumerated_moments(values: Float[np.ndarray, "m d"], p: Float[np.ndarray, "n m"]) -> Moments:
    """The two moments, exactly.

    Args:
        values: Of every augmentation that there is.
        p: p(a|x) of every item.
    """
    values, p = np.asarray(values, dtype=np.float64), np.asarray(p, dtype=np.float64)
    mean = p @ values
    return np.asarray((values * p.mean(0)[:, None]).T @ values), np.asarray(mean.T @ mean / len(p))


def with_constant(phi: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n e"]:
    """The features and the constant function, the first eigenfunction."""
    phi = np.asarray(phi, dtype=np.float64)
    return np.concatenate([np.ones((*phi.shape[:-1], 1)), phi], -1)


def eigenfunctions(moments: Moments, cutoff: float = 1e-6) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "d k"]]:
    """The ratios r, largest first, and the maps from features to functions that are orthonormal over augmentations.

    The ratios are the generalised eigenvalues of the two moments. r_1 + ... + r_k never exceeds l_1 + ... + l_k, and
    equals it where the features span the first k eigenfunctions. Estimates may leave [0, 1] by a little.

    Args:
        moments: Of the features, not centred.
        cutoff: Directions with less than this share of the largest second moment are left out, each feature having
            been scaled to one.

    >>> ratios, _ = eigenfunctions((np.diag([1.0, 4.0]), np.diag([1.0, 1.0])))
    >>> ratios.tolist()
    [1.0, 0.25]
    """
    gram, pairs = (np.asarray(m, dtype=np.float64) for m in moments)
    size = np.sqrt(gram.diagonal().clip(0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    keep = values > cutoff * values.max(initial=0.0)
    white = scale[:, None] * vectors[:, keep] / np.sqrt(values[keep])
    ratios, turns = np.linalg.eigh(white.T @ (pairs + pairs.T) @ white / 2)
    return ratios[::-1].copy(), np.asarray(white @ turns[:, ::-1])


def ratio_trace(phi_samples: Float[np.ndarray, "n r d"]) -> float:
    """tr(E[phi phi^T]^-1 E[psi psi^T]), the same for all invertible linear maps of the features.

    At most the sum of the first d eigenvalues.

    >>> phi = np.repeat(np.eye(3)[:, None], 2, axis=1)  # features that augmentations do not change
    >>> round(ratio_trace(phi), 9)
    3.0
    """
    return float(eigenfunctions(pair_moments(phi_samples))[0].sum())


def surrogate_complexity(phi_samples: Float[np.ndarray, "n r d"]) -> Complexity:
    """Lower estimates of K(x, x) where densities are unknown: its part within the span of the features.

    sum_i l_i psi_i(x)^2 over the span's eigenfunctions, which is psi(x)^T E[phi phi^T]^-1 psi(x). Grows with the
    features; the mean over items is the ratio trace. Products are of two different augmentations.
    """
    phi = _several(np.asarray(phi_samples, dtype=np.float64))
    ratios, maps = eigenfunctions(pair_moments(phi))
    white, r = phi @ maps, phi.shape[1]
    squares = (white.sum(1) ** 2).sum(1) - (white**2).sum((1, 2))
    return Complexity(np.asarray(squares / (r * (r - 1))), ratios)


def trace_gap(r: Float[np.ndarray, " d"], l: Float[np.ndarray, " m"]) -> float:  # noqa: E741  (the paper's names)
    """tau^2: how much of the top eigenfunctions an encoder misses; at least l_(d+1), and equal to it for the best.

    min over k of l_1 + ... + l_(k+1) - (r_1 + ... + r_k).

    Args:
        r: The ratios of the encoder, with the constant function in its span.
        l: The eigenvalues, largest first, as far as they are known; with 1 for each that is not, the gap is an upper
            bound, and at least 1.

    Raises:
        DataError: Not two eigenvalues are known.

    >>> trace_gap(np.array([1.0, 0.5]), np.array([1.0, 0.5, 0.25]))
    0.25
    """
    if len(l) < 2 or not len(r):
        raise DataError("at least 1 ratio and 2 eigenvalues", got=f"{len(r)} and {len(l)}")
    most = min(len(r), len(l) - 1)
    return float((np.cumsum(l)[1 : most + 1] - np.cumsum(r)[:most]).min())


# ------------------------------------------------------------------------------------------------------ a target


@dataclass(frozen=True)
class Isometry:
    """How well a target goes with the augmentations.

    Attributes:
        eps: 0 for a target that augmentations leave as it is, near 1 for one that they destroy.
        residual: Share of the target's square that is not the average of any function in the span: what `eps` does not
            speak of.
    """

    eps: float
    residual: float


def isometry_eps(g_samples: Float[np.ndarray, "n r *c"]) -> float:
    """1 - |G g|^2 / |g|^2 of a function's values at r augmentations of each item, summed over its components.

    Half the mean squared difference of two augmentations of an item, over the mean square.

    Raises:
        DataError: There are less than two augmentations of each item, or the function is 0.

    >>> isometry_eps(np.array([[1.0, 1.0], [1.0, -1.0]]))
    1.0
    """
    g = np.asarray(g_samples, dtype=np.float64)
    return isometry_of(pair_moments(g.reshape(*g.shape[:2], -1)))


def isometry_of(moments: Moments) -> float:
    """The same from the moments of the function."""
    gram, pairs = moments
    square = float(np.trace(gram))
    if square <= 0:
        raise DataError("a function that is not 0 everywhere", got="a mean square of 0")
    return 1.0 - float(np.trace(pairs)) / square


def target_isometry(phi_samples: Float[np.ndarray, "n r d"], y: Float[np.ndarray, "n *c"]) -> Isometry:
    """The isometry of a target of which only the values at clean items are known.

    g is linear in the features, by a ridge regression of the target on their average whose penalty leaves the least
    error for items that are left out.

    Args:
        phi_samples: Features of r augmentations of each item, the constant among them.
        y: The target of each item; centre it, as constants are invariant.
    """
    phi = _several(np.asarray(phi_samples, dtype=np.float64))
    y = np.asarray(y, dtype=np.float64).reshape(len(phi), -1)
    total = float((y**2).sum())
    if total <= 0:
        raise DataError("a target that varies", got="the same value for every item")
    psi = phi.mean(1)
    weights = ridge(psi, y)
    return Isometry(isometry_eps(phi @ weights), float(((y - psi @ weights) ** 2).sum()) / total)


def ridge(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "d c"]:
    """Weights of a ridge regression without intercept, the penalty by the error of items that are left out.

    >>> ridge(np.eye(3)[:, :2] * 2, np.eye(3)[:, :1]).round(3).tolist()
    [[0.5], [0.0]]
    """
    u, s, v = np.linalg.svd(x, full_matrices=False)
    mean = (s**2).mean()
    if mean <= 0:
        return np.zeros((x.shape[1], y.shape[1]))
    best, least = np.zeros_like(s), math.inf
    projected = u.T @ y
    for penalty in _PENALTIES * mean:
        shrink = s**2 / (s**2 + penalty)
        leverage = (u**2 @ shrink).clip(max=1 - 1e-9)
        error = float((((y - u @ (shrink[:, None] * projected)) / (1 - leverage)[:, None]) ** 2).sum())
        if error < least:
            best, least = s / (s**2 + penalty), error
    return np.asarray(v.T @ (best[:, None] * projected))


# -------------------------------------------------------------------------------------------------------- bounds


def approximation_bound(l: float, eps: float, bound: float = 1.0) -> float:  # noqa: E741  (the paper's name)
    """Largest squared error of the best approximation in the span of an encoder, over all targets of this isometry.

    l / (1 - l) * eps / (1 - eps) * B^2; infinite where l or eps reach 1.

    Args:
        l: l_(d+1) for the span of the first d eigenfunctions; tau^2 for any encoder.
        eps: Isometry of the targets.
        bound: B, the largest norm of a target.

    >>> approximation_bound(0.5, 0.5), approximation_bound(1.0, 0.5)
    (1.0, inf)
    """
    if l >= 1 or eps >= 1:
        return math.inf
    l, eps = max(l, 0.0), max(eps, 0.0)  # noqa: E741
    return l / (1 - l) * eps / (1 - eps) * bound**2


def approximation_term(tau2: float, eps: float, bound: float = 1.0, constant: float = 9.0) -> float:
    """What an encoder adds to the error of the probe: c tau^2 (tau + eps)^2 / ((1 - tau^2) (1 - eps)) B^2.

    Only comparisons of this number mean something: its form and its constant were not checked against the proof.
    """
    if tau2 >= 1 or eps >= 1:
        return math.inf
    tau2, eps = max(tau2, 0.0), max(eps, 0.0)
    return constant * tau2 * (math.sqrt(tau2) + eps) ** 2 / ((1 - tau2) * (1 - eps)) * bound**2


def estimation_term(
    kappa2: float, eps: float, dims: int, labels: int, bound: float = 1.0, noise: float = 0.0, constant: float = 1.0
) -> float:
    """What few labels add to the error of the probe: c kappa^2 (B^2 / (1 - eps) + sigma^2) d / n.

    Only comparisons of this number mean something: its constant is unknown.

    Args:
        kappa2: Augmentation complexity.
        eps: Isometry of the target.
        dims: d, functions in the span of the encoder.
        labels: n.
        bound: B, norm of the target.
        noise: sigma, deviation of the labels' noise.
        constant: c.

    >>> estimation_term(8.0, 0.5, dims=4, labels=64)
    1.0
    """
    if eps >= 1:
        return math.inf
    return constant * kappa2 * (bound**2 / (1 - max(eps, 0.0)) + noise**2) * dims / labels


def pretrained_gap(l: float, kappa2: float, dims: int, items: int, constant: float = 1.0) -> float:  # noqa: E741
    """What stands for tau^2 where the encoder learned from so many items: l_(d+1) + c kappa^2 d / sqrt(N).

    Only comparisons of this number mean something: only its form is known.

    >>> pretrained_gap(0.25, 2.0, dims=1, items=64)
    0.5
    """
    return l + constant * kappa2 * dims / math.sqrt(items)


def _several(phi: Float[np.ndarray, "n r *d"]) -> Float[np.ndarray, "n r *d"]:
    if phi.ndim < 3 or phi.shape[1] < 2 or not len(phi):
        raise DataError("values (items, augmentations, numbers) of at least 2 augmentations each", got=f"{phi.shape}")
    return phi

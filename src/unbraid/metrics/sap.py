"""Separated attribute predictability (Kumar et al., 2018): does one latent predict each factor better than the next?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unbraid.metrics.mig import top_gap

_COST = 0.01
_STEPS = 50
_ROUNDING = 1e-12


def sap_accuracy(
    codes: Float[np.ndarray, "n l"],
    factors: Int[np.ndarray, "n k"],
    codes_test: Float[np.ndarray, "m l"],
    factors_test: Int[np.ndarray, "m k"],
) -> Float[np.ndarray, "l k"]:
    """Test accuracy of a linear SVM (C = 0.01, balanced classes, codes not scaled) on one latent, for discrete factors.

    It is scikit-learn's `LinearSVC`: squared hinge, one value against the rest, and a penalty on the intercept, too. Of
    one latent it has two unknowns, so that we find the optimum itself, near which `LinearSVC` stops.
    As the codes are not scaled, the matrix changes with their scale; that is the published definition.
    """
    codes, codes_test = codes.astype(np.float64), codes_test.astype(np.float64)
    orders = np.argsort(codes, axis=0)
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for k, (train, test) in enumerate(zip(factors.T, factors_test.T, strict=True)):
        values, labels = np.unique(train, return_inverse=True)
        labels = labels.reshape(-1).astype(np.min_scalar_type(len(values)))
        for j, order in enumerate(orders.T):
            predicted = _predict(codes_test[:, j], *_fit(codes[order, j], labels[order])) if len(values) > 1 else 0
            found[j, k] = np.mean(values[predicted] == test)
    return found


def sap_correlation(codes: Float[np.ndarray, "n l"], factors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "l k"]:
    """Squared correlation of each latent with each ordered or continuous factor; 0 where either is constant.

    >>> sap_correlation(np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]]), np.array([[0.0], [2.0], [4.0]])).tolist()
    [[1.0], [0.0]]
    """
    codes = codes - codes.mean(axis=0, dtype=np.float64)
    factors = factors - factors.mean(axis=0, dtype=np.float64)
    degrees = max(1, len(codes) - 1)
    of_codes, of_factors = (codes**2).sum(axis=0) / degrees, (factors**2).sum(axis=0) / degrees
    together = codes.T @ factors / degrees
    varies = (of_codes > 1e-12)[:, None] & (of_factors > 1e-12)[None, :]
    share = np.divide(together**2, np.outer(of_codes, of_factors), out=np.zeros_like(together), where=varies)
    return np.asarray(share)


def sap_per_factor(matrix: Float[np.ndarray, "l k"]) -> Float[np.ndarray, " k"]:
    """Gap between the two latents that predict a factor best."""
    return top_gap(matrix)


def sap(matrix: Float[np.ndarray, "l k"]) -> float:
    """Mean of `sap_per_factor`; 0 to 1, higher is better (Kumar et al., 2018).

    >>> sap(np.array([[1.0, 0.5], [0.5, 1.0]]))
    0.5
    """
    return float(sap_per_factor(matrix).mean()) if matrix.size else 0.0


def _predict(code: np.ndarray, slope: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The label whose line is highest; of two labels, the second where the only line is above 0."""
    heights = code[:, None] * slope + offset
    return np.asarray(heights.argmax(axis=1) if len(slope) > 1 else (heights[:, 0] > 0).astype(np.int64))


def _fit(code: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of each label's line, or of the second label's only when there are two, by Newton's method.

    The objective is smooth and quadratic wherever the items inside the margin stay the same; a step goes to the optimum
    of the piece it is on, or half as far, and again, as long as that is no better.
    """
    problem = _Problem(code, labels)
    at = np.zeros((2, len(problem.costs)))
    sums = problem.inside(at)
    value = problem.objective(at, sums)
    for _ in range(_STEPS):
        goal = problem.optimum(sums)
        for _ in range(_STEPS):
            sums = problem.inside(goal)
            reached = problem.objective(goal, sums)
            worse = reached > value * (1 + _ROUNDING)
            if not worse.any():
                break
            goal = np.where(worse, (at + goal) / 2, goal)
        moved = np.abs(goal - at).max() > _ROUNDING * np.abs(goal).max()
        at, value = goal, reached
        if not moved:
            break
    return at[0], at[1] - at[0] * problem.mean


class _Problem:
    """One label against the rest, for all labels at once: squared hinge of lines slope * (code - mean) + offset.

    Items inside the margin are those below or above a threshold, so that their number, sum and sum of squares come
    from running sums of the sorted items. All sums are (3, V): of powers 0, 1 and 2.
    """

    def __init__(self, code: np.ndarray, labels: np.ndarray) -> None:
        self.mean = code.mean()
        self.code = code - self.mean
        counts = np.bincount(labels)
        weights = _COST * len(labels) / (len(counts) * counts)
        self.of = np.arange(len(counts)) if len(counts) > 2 else np.array([1])
        self.costs = weights[self.of]
        self.rest = np.full(len(self.of), _COST) if len(counts) > 2 else weights[:1]
        powers = np.stack([np.ones(len(code)), self.code, self.code**2])
        grouped = np.argsort(labels, kind="stable")
        self.place = labels[grouped].astype(np.int64) * len(code) + grouped
        self.running, self.running_own = _running(powers), _running(powers[:, grouped])
        start = (np.cumsum(counts) - counts)[self.of]
        self.before = self.running_own[:, start]
        self.own = self.running_own[:, start + counts[self.of]] - self.before
        self.others = self.running[:, -1:] - self.own

    def inside(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of a label's own items below +1, and of the others above -1."""
        slope, offset = at
        rises = slope >= 0
        own = self._below(_crossing(slope, offset, 1.0))[1]
        every, among = self._below(_crossing(slope, offset, -1.0))
        others = every - among
        own = np.where(rises, own, self.own - own)
        others = np.where(rises, self.others - others, others)
        return self.costs * own, self.rest * others

    def objective(self, at: np.ndarray, sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Penalty of slope and offset at 0, and the squares of what is missing to the margin."""
        slope, offset = at
        value = (slope**2 + (offset - slope * self.mean) ** 2) / 2
        for sign, (count, total, square) in zip((1.0, -1.0), sums, strict=True):
            gap = sign - offset
            value = value + gap * gap * count - 2 * gap * slope * total + slope * slope * square
        return np.asarray(value)

    def optimum(self, sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Slope and offset that are best as long as the same items are inside."""
        count, total, square = 2 * (sums[0] + sums[1])
        ones, codes, _ = 2 * (sums[0] - sums[1])
        mean = self.mean
        # The determinant is expanded: squares of a mean far from 0 would cancel in it.
        determinant = (square + 1) * (count + 1) - total**2 + mean * (mean * count + 2 * total)
        slope = codes * (count + 1) - ones * (total - mean)
        offset = ones * (square + 1 + mean**2) - codes * (total - mean)
        return np.asarray(np.stack([slope, offset]) / determinant)

    def _below(self, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of all items below each label's threshold, and of its own among them."""
        rank = np.searchsorted(self.code, threshold)
        own = np.searchsorted(self.place, self.of * len(self.code) + rank)
        return self.running[:, rank], self.running_own[:, own] - self.before


def _running(powers: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... N items."""
    return np.concatenate([np.zeros((3, 1)), np.cumsum(powers, axis=1)], axis=1)


def _crossing(slope: np.ndarray, offset: np.ndarray, level: float) -> np.ndarray:
    """Where each line reaches the level; a flat line below it does so at infinity, one above it at minus infinity."""
    flat = np.where(offset < level, np.inf, -np.inf)
    with np.errstate(over="ignore"):
        return np.asarray(np.divide(level - offset, slope, out=flat, where=slope != 0))

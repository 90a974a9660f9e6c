"""Factors as classes that a probe can be asked for, or the reason why one cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped

from unbraid.data.factors import Factor, FactorTable

BINS = 10
"""Classes of equal frequency that a continuous factor is cut into."""
MOST = 32
"""Values of an ordinal or circular factor that are kept apart; with more, neighbours are merged."""
RARE = 5
"""Items that a class needs; the items of rarer classes are left out for that factor."""
FEWEST = 40
"""Items with a known value that a factor needs."""
FEWEST_GROUPS = 6
"""Groups needed to hold some out."""


@dataclass(frozen=True)
class Target:
    """One factor, ready to be asked for.

    Attributes:
        name: The factor.
        kind: Its kind.
        y: Classes 0..C-1 of all items, -1 where the item does not count.
        classes: C.
        entropy: Of the classes among the items that count, in bits (plug-in).
        note: What was merged or left out; "" when nothing.
        reason: Why it cannot be decided; "" when it can.
    """

    name: str
    kind: str
    y: Int[np.ndarray, " n"]
    classes: int
    entropy: float
    note: str = ""
    reason: str = ""

    @property
    def samples(self) -> int:
        """Items that count."""
        return int((self.y >= 0).sum())


def targets(table: FactorTable, names: Sequence[str], groups: Int[np.ndarray, " n"] | None = None) -> list[Target]:
    """The named factors of a table as targets.

    Args:
        table: The factors of the items.
        names: Which of them.
        groups: The group of each item, or None.
    """
    return [target(table.factor(name), table.column(name), groups) for name in names]


def target(factor: Factor, values: np.ndarray, groups: Int[np.ndarray, " n"] | None = None) -> Target:
    """One factor's values (N,), NaN where missing, as a target.

    >>> found = target(Factor("site", "categorical", ("a", "b")), np.array([0.0, 1.0] * 30 + [np.nan]))
    >>> found.classes, found.samples, found.entropy, found.reason
    (2, 60, 1.0, '')
    """
    y, notes = _classes(factor, values)
    counts = np.bincount(y[y >= 0], minlength=1)
    rare = (counts > 0) & (counts < RARE)
    if rare.any():
        notes.append(f"{int(counts[rare].sum())} items of {int(rare.sum())} rare values left out")
        y = np.where((y >= 0) & ~rare[np.maximum(y, 0)], y, -1)
    kept = np.flatnonzero(np.bincount(y[y >= 0], minlength=1))
    y = np.where(y >= 0, np.searchsorted(kept, y), -1)
    missing = int(np.isnan(values).sum())
    if missing:
        notes.append(f"{missing} items without a value left out")
    reason = _reason(factor.name, y, len(kept), groups)
    return Target(factor.name, factor.kind, y, len(kept), entropy(y), "; ".join(notes), reason)


def entropy(y: Int[np.ndarray, " n"]) -> float:
    """Plug-in entropy in bits of the classes, -1 left out.

    >>> entropy(np.array([0, 1, 2, 3, -1]))
    2.0
    """
    counts = np.bincount(y[y >= 0], minlength=1)
    share = counts[counts > 0] / max(1, counts.sum())
    return max(0.0, float(-(share * np.log2(share)).sum()))


def group_ids(values: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Group numbers 0..g-1; all missing values are one group."""
    return np.asarray(np.unique(values, return_inverse=True)[1])


def _classes(factor: Factor, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    known = ~np.isnan(values)
    y = np.full(len(values), -1)
    if not known.any():
        return y, []
    if factor.kind == "continuous":
        edges = np.unique(np.quantile(values[known], np.arange(1, BINS) / BINS))
        y[known] = np.searchsorted(edges, values[known], side="right")
        return y, [f"cut into {len(np.unique(y[known]))} bins of about equal frequency"]
    y[known] = values[known].astype(np.int64)
    if factor.kind == "categorical" or factor.size <= MOST:
        return y, []
    return np.where(known, y * MOST // factor.size, -1), [
        f"{factor.size} values merged into {MOST}, neighbours together"
    ]


def _reason(name: str, y: np.ndarray, classes: int, groups: np.ndarray | None) -> str:
    known = y >= 0
    if not known.any():
        return "no item has a value that enough others share"
    if classes < 2:
        return "all items have the same value"
    if known.sum() < FEWEST:
        return f"only {int(known.sum())} items have a value, {FEWEST} are needed"
    if groups is None:
        return ""
    present = np.unique(groups[known])
    if len(present) < FEWEST_GROUPS:
        return f"only {len(present)} groups, {FEWEST_GROUPS} are needed to hold some out: leave out --group to ask this"
    pairs = np.unique(np.stack([y[known], groups[known]], 1), axis=0)
    if (np.bincount(pairs[:, 0]) == 1).all():
        return f"each value of {name} occurs in one group only: leave out --group to ask this"
    return ""

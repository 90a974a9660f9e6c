"""Rows of a table of factors that agree in one factor: what the scores by intervention look at.

The authors draw from a generator of observations with chosen factors. Here the items at hand are drawn, among those
that have the value asked for. For a complete grid of factors both are the same; elsewhere the other factors follow
the value as they do in the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Draws:
    """Sets of rows.

    Attributes:
        factor: (P,) the factor in which the rows of a set agree.
        rows: (P, B) the rows of each set.
    """

    factor: Int[np.ndarray, " p"]
    rows: Int[np.ndarray, "p b"]


class Table:
    """Items by the values of their factors.

    Args:
        factors: Labels.
    """

    def __init__(self, factors: Int[np.ndarray, "n k"]) -> None:
        self.factors = factors
        self._order = np.argsort(factors, axis=0, kind="stable")
        counts = [np.bincount(column) for column in factors.T]
        self._count = [c[column] for c, column in zip(counts, factors.T, strict=True)]
        self._start = [(np.cumsum(c) - c)[column] for c, column in zip(counts, factors.T, strict=True)]

    def like(self, rows: Int[np.ndarray, "*any"], factor: int, rng: np.random.Generator) -> Int[np.ndarray, "*any"]:
        """For each row another one (or the same) with the same value of a factor."""
        place = (rng.random(rows.shape) * self._count[factor][rows]).astype(np.int64)
        return np.asarray(self._order[self._start[factor][rows] + place, factor])


def agreeing(factors: Int[np.ndarray, "n k"], sets: int, size: int, rng: np.random.Generator) -> Draws:
    """Sets of items that share the value of one factor, drawn uniformly (Kim and Mnih, 2018)."""
    chosen, table = rng.integers(factors.shape[1], size=sets), Table(factors)
    rows = np.tile(rng.integers(len(factors), size=(sets, 1)), (1, size))
    for factor in range(factors.shape[1]):
        here = chosen == factor
        rows[here] = table.like(rows[here], factor, rng)
    return Draws(chosen, rows)


def pairs(
    factors: Int[np.ndarray, "n k"], sets: int, size: int, rng: np.random.Generator
) -> tuple[Draws, Int[np.ndarray, "p b"]]:
    """Sets of pairs; the two items of every pair of a set agree in one factor (Higgins et al., 2017).

    Returns:
        The first items, and the second ones.
    """
    chosen, table = rng.integers(factors.shape[1], size=sets), Table(factors)
    first = rng.integers(len(factors), size=(sets, size))
    second = np.empty_like(first)
    for factor in range(factors.shape[1]):
        here = chosen == factor
        second[here] = table.like(first[here], factor, rng)
    return Draws(chosen, first), second

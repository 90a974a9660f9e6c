"""How much of a class can be told after few labels: nested shares of them, and a linear probe tuned on other items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from unbraid.core.errors import DataError
from unbraid.metrics.probes.common import Heads, Rows
from unbraid.metrics.probes.softmax import STRENGTHS, Regression, regression, tuned

Codes = Float[np.ndarray, "n d"]
Classes = Int[np.ndarray, " n"]

SHARES = (0.01, 0.1, 1.0)
"""Of the labels, as is usual."""


def nested(labels: Classes, shares: Sequence[float] = SHARES, seed: int = 0) -> dict[float, Int[np.ndarray, " m"]]:
    """Share -> the items whose label is told: that share of each class, one at least.

    The items of a share are among those of every larger one. Who asks with the same labels and seed gets the same ones.

    Args:
        labels: Classes 0..C-1; items with -1 are nobody's.
        shares: Above 0 and up to 1.
        seed: Which items.

    >>> rows = nested(np.repeat([0, 1], [90, 10]), (0.01, 0.1))
    >>> [np.bincount(np.repeat([0, 1], [90, 10])[r]).tolist() for r in rows.values()]
    [[1, 1], [9, 1]]
    """
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong or not (labels >= 0).any():
        raise DataError("labels, and shares of them above 0 and up to 1", got=str(wrong or "no labels"))
    rng = np.random.default_rng(seed)
    order = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels[labels >= 0])]
    return {s: np.sort(np.concatenate([rows[: max(1, round(s * len(rows)))] for rows in order])) for s in shares}


@dataclass(frozen=True)
class Probe:
    """A fitted linear probe.

    Attributes:
        fitted: The regression.
        strength: Of its ridge, as chosen.
    """

    fitted: Regression
    strength: float

    def logits(self, codes: Codes) -> Float[np.ndarray, "n c"]:
        """Unnormalised log probabilities of the classes."""
        weights: np.ndarray = self.fitted.logits(0, torch.as_tensor(codes, dtype=torch.float32), slice(None)).numpy()
        return weights


def linear_probe(
    codes: Codes,
    labels: Classes,
    held: Codes,
    held_labels: Classes,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Probe:
    """Ridge multinomial regression on some items, its strength chosen by how well it tells others.

    Args:
        codes: Of the items that are learned from.
        labels: Their classes.
        held: Codes of the validation items, from which nothing else is taken.
        held_labels: Their classes.
        classes: How many there are.
        strengths: Ridges to choose from.
        seed: Which 2,000 items of each kind the choice looks at, where there are more.

    >>> codes = np.repeat(np.eye(2), 20, axis=0)
    >>> probe = linear_probe(codes, np.repeat([0, 1], 20), codes, np.repeat([0, 1], 20), 2)
    >>> probe.logits(codes).argmax(1).tolist() == [0] * 20 + [1] * 20
    True
    """
    if len(codes) < 2 or not len(held):
        got = f"{len(codes)} and {len(held)}"
        raise DataError("two items or more to learn from, and items to choose by", got=got, where="linear probe")
    rng = np.random.default_rng(seed)
    rows = Rows(rng.permutation(len(codes)), len(codes) + rng.permutation(len(held)))
    x = torch.as_tensor(np.concatenate([codes, held]), dtype=torch.float32)
    heads = Heads(torch.from_numpy(np.concatenate([labels, held_labels]).astype(np.int64))[:, None], (classes,))
    strength = tuned(x, heads, [rows], strengths)
    return Probe(regression(x, heads, [rows.learn], strength), float(strength))

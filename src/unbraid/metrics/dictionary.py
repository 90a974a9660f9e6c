"""How good a dictionary of features is at standing in for, explaining and controlling activations (numpy in, out)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Match(NamedTuple):
    """How well the items in which a feature is active are those for which a predicate holds.

    Attributes:
        precision: (W, P): NaN for a feature that is never active.
        recall: (W, P): NaN for a predicate that never holds.
        f1: (W, P): their harmonic mean; NaN where that is 0/0.
    """

    precision: Float[np.ndarray, "width predicates"]
    recall: Float[np.ndarray, "width predicates"]
    f1: Float[np.ndarray, "width predicates"]


def match(active: Bool[np.ndarray, "n width"], holds: Bool[np.ndarray, "n predicates"]) -> Match:
    """Precision, recall and F1 of every feature for every predicate.

    >>> found = match(np.array([[True], [True], [False]]), np.array([[True], [False], [False]]))
    >>> found.precision.item(), found.recall.item(), round(found.f1.item(), 3)
    (0.5, 1.0, 0.667)
    """
    both = active.T.astype(np.float64) @ holds.astype(np.float64)
    with np.errstate(invalid="ignore"):
        precision = both / active.sum(0)[:, None]
        recall = both / holds.sum(0)[None]
        f1 = 2 * precision * recall / (precision + recall)
    return Match(precision, recall, f1)


def best(f1: Float[np.ndarray, "width predicates"]) -> tuple[Int[np.ndarray, " width"], Float[np.ndarray, " width"]]:
    """The predicate that explains each feature best, and its F1; a feature that matches nothing has 0."""
    plain = np.where(np.isnan(f1), -np.inf, f1)
    which = plain.argmax(1)
    return which, np.maximum(plain[np.arange(len(plain)), which], 0.0)


def union(
    active: Bool[np.ndarray, "n width"],
    label: Int[np.ndarray, " n"],
    f1: Float[np.ndarray, "width values"],
    most: int = 10,
) -> tuple[Int[np.ndarray, " width"], Float[np.ndarray, " width"]]:
    """For each feature the best predicate of the form "the attribute takes one of these values".

    Values are taken in the order of their F1, and the best beginning of that order, of at most `most`, is kept.

    Args:
        active: Where each feature is active.
        label: The attribute's value of each item, -1 where not known.
        f1: Of each feature for each value.
        most: Values in a union at most.

    Returns:
        How many values each feature's union has, and its F1, 0 where it matches nothing.

    >>> union(np.array([[1], [1], [0]], bool), np.array([0, 1, 2]), np.array([[0.667, 0.667, 0.0]]))
    (array([2]), array([1.]))
    """
    holds = label[:, None] == np.arange(f1.shape[1])
    both, sizes = active.T.astype(np.float64) @ holds.astype(np.float64), holds.sum(0)
    order = np.argsort(-np.where(np.isnan(f1), -np.inf, f1), axis=1, kind="stable")[:, :most]
    hits = np.take_along_axis(both, order, 1).cumsum(1)
    held = sizes[order].cumsum(1)
    with np.errstate(invalid="ignore"):
        score = 2 * hits / (active.sum(0)[:, None] + held)  # F1 = 2 |F and P| / (|F| + |P|)
    score = np.nan_to_num(score, nan=0.0)
    which = score.argmax(1)
    return which + 1, score[np.arange(len(score)), which]


class Effect(NamedTuple):
    """What replacing activations does to a gap between logits: its mean with the true ones, with others, with the mean.

    Attributes:
        clean: With the activations as they are.
        patched: With what is examined in their place.
        ablated: With their mean in their place.
    """

    clean: float
    patched: float
    ablated: float

    @property
    def matters(self) -> bool:
        """Whether ablation changes a tenth of the gap: if not, nothing can be said of what would stand in."""
        return abs(self.clean - self.ablated) >= 0.1 * abs(self.clean)


def sufficiency(effect: Effect) -> float:
    """The part of what ablation destroys that a reconstruction brings back: 1 for all of it, more where it overshoots.

    NaN where the activation does not matter.

    >>> sufficiency(Effect(clean=7.0, patched=6.5, ablated=2.0)), sufficiency(Effect(7.0, 6.5, 6.9))
    (0.9, nan)
    """
    if not effect.matters:
        return math.nan
    return (effect.patched - effect.ablated) / (effect.clean - effect.ablated)


def necessity(effect: Effect) -> float:
    """How much of the effect of ablation comes from taking away only what the reconstruction holds.

    1 - |ablated - patched| / |ablated - clean|: 1 where what is left does no more than the mean does, 0 where it does
    as much as the whole, negative where it does more. NaN where the activation does not matter.

    >>> necessity(Effect(clean=7.0, patched=2.5, ablated=2.0))
    0.9
    """
    if not effect.matters:
        return math.nan
    return 1.0 - abs(effect.ablated - effect.patched) / abs(effect.ablated - effect.clean)


def agreement(one: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"]) -> float:
    """The share of items for which both say the same; NaN where there are none."""
    return float(np.mean(one == other)) if len(one) else math.nan


def scaled(value: float, none: float, full: float) -> float:
    """Where a value stands between that of doing nothing (0) and that of a reference (1); NaN where both are the same.

    >>> scaled(0.75, none=0.5, full=1.0)
    0.5
    """
    return math.nan if full == none else (value - none) / (full - none)

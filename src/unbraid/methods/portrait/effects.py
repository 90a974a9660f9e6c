"""What edits of one attribute do to the others, by scores that the edits do not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ITEMS = 200
STEP, STEPS = 0.1, 80  # of an edit that is judged: short, so that each stops where it has just arrived


@runtime_checkable
class Scored(Protocol):
    """Data that can tell the true scores of any item."""

    def scores(self, items: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch factors"]:
        """One for each factor."""


Truth = Callable[[Float[Tensor, "batch dim"]], Float[Tensor, "batch outputs"]]
"""Codes -> a score of each attribute, or logits of its classes."""
Navigate = Callable[[int, Callable[[Tensor], Tensor]], Float[Tensor, "batch dim"]]
"""(control, who has arrived) -> where codes end."""


@dataclass(frozen=True)
class Effect:
    """What edits by one control did.

    Attributes:
        success: Share of the items that got where they should.
        others: Mean change of the other attributes of these items; 0 where there are none.
    """

    success: float
    others: float


def effect(
    codes: Float[Tensor, "batch dim"],
    truth: Truth,
    spread: Float[Tensor, " outputs"],
    classes: Sequence[int],
    control: int,
    navigate: Navigate,
) -> Effect:
    """Edit by one control until the true score has grown by a standard deviation, or the class is reached.

    The change of another attribute is that of its score in standard deviations, or whether its class is another.

    Args:
        codes: What is edited.
        truth: The scores that count.
        spread: Their standard deviations.
        classes: Columns of each attribute, 1 for a score.
        control: Column of the target.
        navigate: Edits these codes.
    """
    owners = [k for k, n in enumerate(classes) for _ in range(n)]
    target = owners[control]
    before = truth(codes)

    def arrived(w: Tensor) -> Bool[Tensor, " batch"]:
        now = truth(w)
        if classes[target] == 1:
            return now[:, control] - before[:, control] >= spread[control]
        mine = [c for c, owner in enumerate(owners) if owner == target]
        return now[:, mine].argmax(1) == mine.index(control)

    end = navigate(control, arrived)
    there = arrived(end)
    after = truth(end)
    changes = []
    for k, (old, new, sd) in enumerate(
        zip(*(torch.split(t, list(classes), dim=-1) for t in (before, after, spread)), strict=True)
    ):
        if k != target:
            changes.append(
                (new - old).abs()[:, 0] / sd if classes[k] == 1 else (old.argmax(1) != new.argmax(1)).float()
            )
    if not there.any() or not changes:
        return Effect(float(there.float().mean()), 0.0)
    return Effect(float(there.float().mean()), float(torch.stack(changes, 1)[there].mean()))

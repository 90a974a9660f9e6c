"""What edits of one attribute do to the others, by scores that the edits do not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STEP, STEPS = 0.1, 80  # short, so that an edit stops where it has just arrived


@dataclass(frozen=True)
class Look:
    """How edits are judged: of how many items, in steps of what length, and whether scores have ends.

    Where they have, only what is below the middle grows, and what is above it falls, so that all have room.
    """

    items: int = 200
    step: float = STEP
    steps: int = STEPS
    ends: bool = False


CODES, PICTURES = Look(), Look(48, 0.25, 32, ends=True)  # of pictures each step is drawn


@runtime_checkable
class Scored(Protocol):
    """Data that can tell the true scores of any item."""

    def scores(self, items: Float[Tensor, "batch *item"]) -> Float[Tensor, "batch factors"]:
        """One for each factor."""


Truth = Callable[[Float[Tensor, "batch dim"]], Float[Tensor, "batch outputs"]]
"""Codes -> a score of each attribute, or logits of its classes."""
Alike = Callable[[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]], Float[Tensor, " batch"]]
"""Codes, others -> how alike those are whom they show."""
Navigate = Callable[
    [Float[Tensor, "batch dim"], int, Float[Tensor, " batch"], Callable[[Tensor], Tensor]], Float[Tensor, "batch dim"]
]
"""(codes, control, which way each goes, who has arrived) -> where they end."""


@dataclass(frozen=True)
class Effect:
    """What edits by one control did.

    Attributes:
        success: Share of the items that got where they should.
        others: Mean change of the other attributes of these items; 0 where there are none.
        alike: How alike those are whom these items show before and after; NaN where nobody can tell.
    """

    success: float
    others: float
    alike: float


def effect(
    codes: Float[Tensor, "batch dim"],
    truth: Truth,
    spread: Float[Tensor, " outputs"],
    middle: Float[Tensor, " outputs"] | None,
    classes: Sequence[int],
    control: int,
    navigate: Navigate,
    alike: Alike | None = None,
) -> Effect:
    """Edit by one control until the true score has moved by a standard deviation, or the class is reached.

    Scores grow, or those above a middle fall. Of the items of several classes those are edited that are of another.
    The change of another attribute is that of its score in standard deviations, or whether its class is another.

    Args:
        codes: What is edited.
        truth: The scores that count.
        spread: Their standard deviations.
        middle: What scores above it fall from; all grow where None.
        classes: Columns of each attribute, 1 for a score.
        control: Column of the target.
        navigate: Edits codes.
        alike: Compares codes and edited ones.
    """
    owners = [k for k, n in enumerate(classes) for _ in range(n)]
    target = owners[control]
    mine = [c for c, owner in enumerate(owners) if owner == target]
    scores = truth(codes)
    if len(mine) > 1:
        codes = codes[scores[:, mine].argmax(1) != mine.index(control)]
        scores = truth(codes)
    way = torch.ones(len(codes), device=codes.device)
    if middle is not None and len(mine) == 1:
        way = torch.where(scores[:, control] <= middle[control], way, -way)
    goal = scores[:, control] + way * spread[control]

    def arrived(w: Tensor) -> Bool[Tensor, " batch"]:
        now = truth(w)
        if len(mine) == 1:
            return (now[:, control] - goal) * way >= 0
        return now[:, mine].argmax(1) == mine.index(control)

    end = navigate(codes, control, way, arrived)
    there = arrived(end)
    if not there.any():
        return Effect(0.0, 0.0, torch.nan)
    changed = changes(scores[there], truth(end)[there], spread, classes, target)
    kept = torch.nan if alike is None else float(alike(codes[there], end[there]).mean())
    return Effect(float(there.float().mean()), float(changed.mean()) if changed.numel() else 0.0, kept)


def changes(
    before: Float[Tensor, "batch outputs"],
    after: Float[Tensor, "batch outputs"],
    spread: Float[Tensor, " outputs"],
    classes: Sequence[int],
    target: int,
) -> Float[Tensor, "batch others"]:
    """How much each attribute but the target has changed."""
    found = []
    columns = (torch.split(t, list(classes), dim=-1) for t in (before, after, spread))
    for k, (old, new, sd) in enumerate(zip(*columns, strict=True)):
        if k != target:
            apart = old.argmax(1) != new.argmax(1)
            found.append((new - old).abs()[:, 0] / sd if classes[k] == 1 else apart.float())
    return torch.stack(found, 1) if found else before[:, :0]


UNITS = {
    "success": "share",
    "side effect": "standard deviations of the other attributes",
    "likeness": "cosine of the people before and after",
}


def summed(names: Sequence[str], found: Sequence[Effect]) -> dict[str, float]:
    """The effects of each control, and their means: of success over all, of the rest over those with any."""
    numbers: dict[str, float] = {}
    for name, one in zip(names, found, strict=True):
        numbers |= {f"success of {name}": one.success, f"side effect of {name}": one.others}
        numbers |= {} if math.isnan(one.alike) else {f"likeness after {name}": one.alike}
    arrived = [one for one in found if one.success]
    numbers["success"] = sum(one.success for one in found) / len(found)
    numbers["side effect"] = sum(one.others for one in arrived) / max(1, len(arrived))
    alike = [one.alike for one in arrived if not math.isnan(one.alike)]
    return numbers | ({"likeness": sum(alike) / len(alike)} if alike else {})
